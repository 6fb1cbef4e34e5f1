"""Create and find channels, invite people, and change subscriptions, by writing documents."""

import time
import uuid
from collections.abc import Sequence
from contextlib import suppress

from chalicelib.couch import Database, NoDatabase
from chalicelib.domain import fields
from chalicelib.domain.addresses import owner_id_of, shown_address
from chalicelib.domain.channel import CHANNEL_NAME_LENGTH, DEFAULT_NAME, ENDED
from chalicelib.domain.documents import ERROR_STATE, JsonDict, Rejected, timestamp
from chalicelib.domain.invitation import guest_and_channel
from chalicelib.domain.names import subscription_id
from syncpoint_device.databases import Device, owner_of
from syncpoint_device.errors import (
    AgentRunning,
    DeviceError,
    NotAllowed,
    NothingToDo,
    RegistrationRejected,
    Revoked,
    Unknown,
)
from syncpoint_device.home import Home
from syncpoint_device.purge import Checker, refuse_losses
from syncpoint_device.transitions import reconcile_subscription

# The states of an invitation that waits for its guest or for the cloud.
_OPEN = ("new", "sent", "accepting")
# The state of a subscription after each `subscription` command.
STATES = {"pause": "paused", "resume": "active", "stop": "stopped"}
REPLICATION_END_LIMIT_S = 30.0


def create(device: Device, name: str) -> JsonDict:
    """Create a channel. Its database on this device accepts documents at once.

    Returns
    -------
    dict
        ``{channel, name, database, confirmed}``: its id, its name, its database on this device, and
        whether this device is confirmed, as far as it knows.

    Raises
    ------
    DeviceError
        If the name is wrong, the owner has a channel of that name, or this device can tell the
        cloud nothing.
    """
    state = check_may_write(device)
    name = name.strip()
    try:
        fields.text({"name": name}, "name", 1, CHANNEL_NAME_LENGTH)
    except Rejected as exc:
        raise DeviceError(exc.reason) from exc
    for doc in list_all(device):
        if _is_in_use(doc) and is_same_name(doc["name"], name):
            raise DeviceError(
                f"you have a channel “{doc['name']}” already; `status` lists the channels"
            )
    channel_id = f"channel-{uuid.uuid4().hex}"
    local = device.channel(channel_id)
    device.acquire(local)
    doc = {"_id": channel_id, "type": "channel", "state": "new", "name": name}
    device.database.put({**doc, "created_at": timestamp(device.clock())})
    return {
        "channel": channel_id,
        "name": name,
        "database": local.name,
        "confirmed": state == "active",
    }


def invite(device: Device, channel: str, address: str) -> JsonDict:
    """Invite a person to a channel. The cloud sends the mail.

    Returns
    -------
    dict
        ``{invitation, channel, email}``.

    Raises
    ------
    DeviceError
        If the owner has no such channel, the address is invalid or the owner's own, or nothing
        would come of the invitation.
    """
    check_may_write(device)
    try:
        fields.mail_address({"email": address}, "email")
    except Rejected as exc:
        raise DeviceError(exc.reason) from exc
    if owner_id_of(address) == device.profile.owner_id:
        raise DeviceError("that is your own address; your devices have the channel already")
    found = find(device, channel)
    if is_shared_with_me(found):
        raise DeviceError(f"“{found['name']}” is shared with you; only its owner can invite")
    if not _is_in_use(found):
        raise DeviceError(f"“{found['name']}” {_why_not_in_use(found)}; nobody can be invited")
    _check_not_invited(device, found, address)
    doc = {
        "_id": f"invitation-{uuid.uuid4().hex}",
        "type": "invitation",
        "state": "new",
        "channel": found["_id"],
        "email": address,
    }
    device.database.put(doc)
    return {"invitation": doc["_id"], "channel": found["_id"], "email": address}


def check_may_write(device: Device) -> str | None:
    """Check that the cloud will hear of what this device writes. Return the device's state.

    Raises
    ------
    DeviceError
        If this device was revoked, or its registration was rejected.
    """
    state = own_state(device)
    if device.profile.is_revoked or state in ("revoking", "revoked"):
        raise Revoked
    if device.profile.is_rejected:
        raise RegistrationRejected
    return state


def is_shared_with_me(channel: JsonDict) -> bool:
    """Tell whether a channel is another owner's. Its id is then the name of its database."""
    return channel.get("state") == "shared" or str(channel["_id"]).startswith("db-")


def _is_in_use(channel: JsonDict) -> bool:
    """Tell whether a channel is the owner's own, and works or will work."""
    is_over = channel.get("state") in (*ENDED, ERROR_STATE)
    return not is_over and not is_shared_with_me(channel)


def _why_not_in_use(channel: JsonDict) -> str:
    if channel["state"] == ERROR_STATE:
        return f"cannot be used by the cloud: {why_in_error(channel) or 'no reason is given'}"
    return "is being closed" if channel["state"] == "closing" else "is closed"


def _check_not_invited(device: Device, channel: JsonDict, address: str) -> None:
    """Check that a person neither has a channel nor has an open invitation to it."""
    guest, name, shown = owner_id_of(address), channel["name"], shown_address(address)
    if guest in member_ids(channel):
        raise DeviceError(f"{shown} has “{name}” already")
    for doc in documents(device):
        is_same = guest_and_channel(doc) == [guest, channel["_id"]]
        if doc.get("type") == "invitation" and is_same and doc.get("state") in _OPEN:
            raise DeviceError(
                f"{shown} is invited to “{name}” already; `status` shows the invitation"
            )


def is_same_name(one: str, other: str) -> bool:
    """Return whether two names are the same for people, whatever case and spaces around them."""
    return fields.same_name(one.strip().casefold(), other.strip().casefold())


def change_subscription(
    device: Device,
    channel: str,
    command: str,
    *,
    purge: bool = False,
    force: bool = False,
    home: Home | None = None,
) -> JsonDict:
    """Pause, resume or stop the sync of a channel on all devices of the owner.

    Parameters
    ----------
    command : str
        A key of `STATES`.
    purge : bool
        Whether to delete this device's copy, too.
    force : bool
        Whether to delete even documents that are not in the cloud.
    home : Home, optional
        The device's folder. If no agent runs there, the replications are changed at once.

    Returns
    -------
    dict
        ``{channel, name, database, state, changed, purged}``: whether the subscription had another
        state before, and whether the copy, `database`, was deleted.

    Raises
    ------
    DeviceError
        If there is no such subscription, it is in that state already, the cloud has stopped it,
        documents that are not in the cloud would be deleted, or the copy is not this device's.
    """
    check_may_write(device)
    found = find(device, channel)
    subscription = subscription_of(device, found)
    if subscription is None:
        raise DeviceError(
            f"“{found['name']}” is not in sync yet; try again when the cloud has created it"
        )
    if subscription.get("reason") and command != "stop":
        raise DeviceError(f"the cloud has stopped the subscription: {subscription['reason']}")
    local = device.channel(found["_id"])
    checker = Checker(device, device.profile.prefix)
    purge = purge and _has_own_copy(device, local)
    if purge and not force:
        refuse_losses([checker.check(local)])
    state = STATES[command]
    is_changed = subscription.get("state") != state
    changes = {
        "state": state,
        "changed_by": device.profile.device_id,
        "changed_at": timestamp(device.clock()),
    }
    device.database.update(
        subscription["_id"], lambda doc: doc if doc["state"] == state else {**doc, **changes}
    )
    if home is not None:
        _reconcile_without_agent(home, device, subscription["_id"])
    if not is_changed and not purge:
        raise NothingToDo(f"“{found['name']}” is {state} already; nothing was changed")
    if purge:
        _wait_until_not_replicated(device, local)
        if force:
            local.delete()
        else:
            checker.delete(local, f"“{found['name']}” is {state}, but not deleted")
    return {
        "channel": found["_id"],
        "name": found["name"],
        "database": local.name,
        "state": state,
        "changed": is_changed,
        "purged": purge,
    }


def _has_own_copy(device: Device, local: Database) -> bool:
    """Return whether there is a copy of a channel to purge. One request.

    Raises
    ------
    NotAllowed
        If there is one that is not this device's.
    """
    try:
        owner = owner_of(local)
    except NoDatabase:
        return False
    if owner == device.profile.device_id:
        return True
    whose, hint = "does not belong to this device", ""
    if owner is None:
        whose = "belongs to an earlier registration"
        hint = f"; `clean {local.name}` deletes it"
    raise NotAllowed(
        f"{local.name} {whose}, and would not be deleted. Nothing was changed. Leave out "
        f"--purge{hint}"
    )


def _reconcile_without_agent(home: Home, device: Device, doc_id: str) -> None:
    """Reconcile the replications with a subscription, unless the agent runs and does it."""
    with suppress(AgentRunning), home.only_agent():
        reconcile_subscription(device.database.get(doc_id), device)


def _wait_until_not_replicated(device: Device, local: Database) -> None:
    """Wait until the replications of a database have ended, so that it can be deleted."""
    deadline = time.monotonic() + REPLICATION_END_LIMIT_S
    while any(one.group == local.name for one in device.replications.all()):
        if time.monotonic() > deadline:
            raise DeviceError(
                f"{local.name} is still being replicated; restart the agent, and try again"
            )
        time.sleep(0.1)


def find(device: Device, text: str) -> JsonDict:
    """Find the channel of a name or id. A closed one is found only if no other has the name.

    A name in another case counts if no channel has it in this one.

    Raises
    ------
    DeviceError
        If there is none, or more than one.
    """
    docs = list_all(device)
    named = [doc for doc in docs if is_called(doc, text)]
    named = named or [doc for doc in docs if is_same_name(doc["name"], text)]
    found = [doc for doc in named if doc.get("state") not in ENDED] or named
    if not found:
        raise Unknown(f"there is no channel “{text}”; `status` lists the channels")
    if len(found) > 1:
        ids = ", ".join(str(doc["_id"]) for doc in found)
        raise Unknown(f"more than one channel is called “{text}”; use an id instead: {ids}")
    return found[0]


def is_called(doc: JsonDict, text: str) -> bool:
    """Return whether a text is the id or the name of a channel or of a device."""
    name = doc.get("name")
    return text == doc["_id"] or (isinstance(name, str) and fields.same_name(text, name))


def list_all(device: Device) -> list[JsonDict]:
    """Return the documents of all channels, own and shared, each with a name."""
    return named(documents(device))


def named(docs: Sequence[JsonDict]) -> list[JsonDict]:
    """Return those of some documents that are channels, each with a name. No I/O."""
    return [
        {**doc, "name": str(doc.get("name", DEFAULT_NAME))}
        for doc in docs
        if doc.get("type") == "channel"
    ]


def state_of(doc: JsonDict) -> str:
    """Return a document's state as a text, since a device may have written any value."""
    return str(doc.get("state", "without a state"))


def why_in_error(doc: JsonDict) -> str | None:
    """Return what the cloud said when it rejected a document, if it did."""
    error = doc.get("error")
    return str(error.get("reason")) if isinstance(error, dict) else None


def member_ids(channel: JsonDict) -> list[str]:
    """Return the owner ids of a channel's members."""
    found = channel.get("members")
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def invitations(docs: Sequence[JsonDict]) -> list[JsonDict]:
    """Return those of some documents that are invitations of an address. No I/O."""
    return [
        doc for doc in docs if doc.get("type") == "invitation" and isinstance(doc.get("email"), str)
    ]


def outdated(invitation: JsonDict, channel: JsonDict | None) -> JsonDict:
    """Return ``{outdated}``, what became of an invitation after its state was written. No I/O.

    Empty if nothing did. Nobody writes into an invitation when its channel is closed, or when its
    guest is removed.
    """
    state = state_of(invitation)
    if channel is None or state not in (*_OPEN, "accepted"):
        return {}
    if state_of(channel) in ENDED:
        return {"outdated": "the channel is closed"}
    is_member = owner_id_of(str(invitation.get("email"))) in member_ids(channel)
    return {"outdated": "no longer a member"} if state == "accepted" and not is_member else {}


def addresses(docs: Sequence[JsonDict]) -> dict[str, str]:
    """Return the addresses that the owner has invited, by their owner ids. No I/O."""
    return {owner_id_of(doc["email"]): doc["email"] for doc in invitations(docs)}


def documents(device: Device) -> list[JsonDict]:
    """Return this device's copy of the control database: all documents that can be read."""
    return list(device.database.documents())


def subscription_of(device: Device, channel: JsonDict) -> JsonDict | None:
    """Return the owner's subscription to a channel, if there is one. One request."""
    return device.database.find_one(subscription_id(channel["_id"], device.profile.owner_id))


def own_state(device: Device) -> str | None:
    """Return the state of this device's document from the cloud, if it has come. One request."""
    return (device.database.find_one(device.profile.device_id) or {}).get("state")
