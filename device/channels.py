"""What a person does with channels on a device: documents in its copy of the control database."""

import time
import uuid
from contextlib import suppress

from chalicelib.couch import CouchError, Database, InvalidName
from chalicelib.domain import fields
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.channel import DEFAULT_NAME, NAME_LENGTH
from chalicelib.domain.documents import JsonDict, Rejected, timestamp
from chalicelib.domain.names import subscription_id
from device.databases import Device
from device.errors import AgentRuns, DeviceError
from device.home import Home
from device.replications import behind
from device.transitions import obey

# What the commands are called, and the states that they lead to.
STATES = {"pause": "paused", "resume": "active", "stop": "stopped"}
QUIET_LIMIT_S = 30.0
_MAX_DOCS = 1_000_000


def create(device: Device, name: str) -> JsonDict:
    """Make a channel; its database here takes documents at once.

    Returns
    -------
    dict
        ``{channel, name, database}``: its id, its name, and its database here.
    """
    try:
        fields.text({"name": name}, "name", 1, NAME_LENGTH)
    except Rejected as exc:
        raise DeviceError(exc.reason) from exc
    channel_id = f"channel-{uuid.uuid4().hex}"
    local = device.channel(channel_id)
    device.make(local)
    doc = {"_id": channel_id, "type": "channel", "state": "new", "name": name}
    device.database.put({**doc, "created_at": timestamp(device.clock())})
    return {"channel": channel_id, "name": name, "database": local.name}


def invite(device: Device, channel: str, address: str) -> JsonDict:
    """Invite somebody to a channel, by mail.

    Returns
    -------
    dict
        ``{invitation, channel, email}``.

    Raises
    ------
    DeviceError
        If the owner has no such channel, or the address is none, or the owner's own.
    """
    try:
        fields.mail_address({"email": address}, "email")
    except Rejected as exc:
        raise DeviceError(exc.reason) from exc
    if owner_id_of(address) == device.profile.owner:
        raise DeviceError("email is your own address: your devices have the channel already")
    found = find(device, channel)
    if found.get("state") == "shared":
        raise DeviceError(f"“{found['name']}” is shared with you: only its owner invites")
    doc = {
        "_id": f"invitation-{uuid.uuid4().hex}",
        "type": "invitation",
        "state": "new",
        "channel": found["_id"],
        "email": address,
    }
    device.database.put(doc)
    return {"invitation": doc["_id"], "channel": found["_id"], "email": address}


def change_subscription(
    device: Device,
    channel: str,
    what: str,
    *,
    purge: bool = False,
    force: bool = False,
    home: Home | None = None,
) -> JsonDict:
    """Pause, resume or stop the sync of a channel, on all devices of the owner's.

    Parameters
    ----------
    what : str
        One of `STATES`.
    purge : bool
        Whether to delete this device's copy, too.
    force : bool
        Whether to do that even if something in it has not reached the cloud.
    home : Home, optional
        Of the device: if no agent runs there, its replications are changed at once.

    Returns
    -------
    dict
        ``{channel, name, state, purged}``.

    Raises
    ------
    DeviceError
        If there is no such subscription, the cloud has stopped it, or the copy holds what the cloud
        does not.
    """
    found = find(device, channel)
    subscription = subscription_of(device, found)
    if subscription is None:
        raise DeviceError(f"“{found['name']}” is not in sync yet: the cloud has to make it first")
    if subscription.get("reason") and what != "stop":
        raise DeviceError(f"the cloud stopped it: {subscription['reason']}")
    local = device.channel(found["_id"])
    if purge and not force:
        _check_is_sent(device, found, subscription)
    state = STATES[what]
    changes = {
        "state": state,
        "changed_by": device.profile.device_id,
        "changed_at": timestamp(device.clock()),
    }
    device.database.update(
        subscription["_id"], lambda doc: doc if doc["state"] == state else {**doc, **changes}
    )
    if home is not None:
        _obey_alone(home, device, subscription["_id"])
    if purge:
        _wait_until_quiet(device, local)
    purged = purge and device.is_own(local)
    if purged:
        local.delete()
    return {"channel": found["_id"], "name": found["name"], "state": state, "purged": purged}


def _obey_alone(home: Home, device: Device, doc_id: str) -> None:
    """Do what the agent would, if it is not there to do it."""
    with suppress(AgentRuns), home.only_agent():
        obey(device.database.get(doc_id), device)


def _wait_until_quiet(device: Device, local: Database) -> None:
    """Wait until the agent has ended the replications of a database that is to go."""
    deadline = time.monotonic() + QUIET_LIMIT_S
    while any(one.of == local.name for one in device.replications.all()):
        if time.monotonic() > deadline:
            raise DeviceError("its copy is still replicated; is the agent well? Try again")
        time.sleep(0.1)


def find(device: Device, text: str) -> JsonDict:
    """The one channel of that name or id; one that is closed only if no other has the name.

    Raises
    ------
    DeviceError
        If there is none, or more than one of that name.
    """
    named = [doc for doc in all_of(device) if text in (doc["_id"], doc["name"])]
    found = [doc for doc in named if doc.get("state") not in ("closing", "closed")] or named
    if not found:
        raise DeviceError(f"there is no channel “{text}”; `status` lists what there is")
    if len(found) > 1:
        ids = ", ".join(str(doc["_id"]) for doc in found)
        raise DeviceError(f"more than one channel is called “{text}”; say which: {ids}")
    return found[0]


def all_of(device: Device) -> list[JsonDict]:
    """The documents of all channels, own and shared ones; each has a name. One request."""
    return [
        {**doc, "name": str(doc.get("name", DEFAULT_NAME))}
        for doc in documents(device)
        if doc.get("type") == "channel"
    ]


def documents(device: Device) -> list[JsonDict]:
    """All documents of the copy of the control database. One request."""
    rows = device.database.changes("0", limit=_MAX_DOCS)["results"]
    return [row["doc"] for row in rows if not row.get("deleted")]


def subscription_of(device: Device, channel: JsonDict) -> JsonDict | None:
    """The owner's subscription to a channel, if there is one. One request."""
    return device.database.find_one(subscription_id(channel["_id"], device.profile.owner))


def own_state(device: Device) -> str | None:
    """What the cloud says of this device; None while it says nothing. One request."""
    return (device.database.find_one(device.profile.device_id) or {}).get("state")


def check_all_sent(device: Device) -> None:
    """Make sure that nothing is lost if all that is here is deleted. Two requests and more each.

    Raises
    ------
    DeviceError
        If something has not reached the cloud, or that cannot be told.
    """
    for channel in all_of(device):
        if channel.get("state") != "closed":  # else its owner has deleted it everywhere
            _check_is_sent(device, channel, subscription_of(device, channel) or {})
    if device.profile.cloud:
        _check_is_in(device.database, device.cloud_control, "the list of channels")


def _check_is_sent(device: Device, channel: JsonDict, subscription: JsonDict) -> None:
    local, what = device.channel(channel["_id"]), f"“{channel['name']}”"
    remote = subscription.get("remote")
    if not device.is_own(local):
        return  # it will not be deleted either
    if not isinstance(remote, str):
        if local.info()["doc_count"] > 0:
            raise DeviceError(f"{what} has not reached the cloud yet; --force deletes it for good")
        return
    try:
        _check_is_in(local, device.remote(remote), what)
    except InvalidName as exc:
        raise DeviceError(f"{what} is nowhere but here; --force deletes it for good") from exc


def _check_is_in(local: Database, cloud: Database, what: str) -> None:
    try:
        is_left = behind(local, cloud, enough=1) > 0
    except CouchError as exc:
        raise DeviceError(
            f"it cannot be told whether all of {what} is in the cloud ({exc}); --force deletes it "
            "anyway"
        ) from exc
    if is_left:
        raise DeviceError(
            f"not all of {what} is in the cloud yet (`status` counts it); --force deletes it for "
            "good"
        )
