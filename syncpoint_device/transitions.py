"""The transitions that run on a device, for the documents of its owner's control database.

All are safe, because the agent handles every document again at each start.
"""

from collections.abc import Sequence
from contextlib import suppress

from chalicelib.couch import Conflict, InvalidName, NotFound, Unreadable
from chalicelib.domain.channel import DEFAULT_NAME
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import subscription_id
from chalicelib.engine.docstate import Registry
from syncpoint_device import reasons
from syncpoint_device.databases import Device
from syncpoint_device.endpoints import is_shared_id
from syncpoint_device.errors import Revoked
from syncpoint_device.log import Problem

registry = Registry()


@registry.safe("channel", "new", to="new")
def create_copy(doc: JsonDict, device: Device) -> None:
    """Create the channel's database on this device, so that it accepts documents offline."""
    device.acquire(device.channel(doc["_id"]))


@registry.safe("channel", "ready", to="ready")
def subscribe(doc: JsonDict, device: Device) -> None:
    """Create the owner's subscription, unless there is one, or there was one.

    All devices of the owner write the same document, so that they do not conflict.
    """
    subscription = {
        "_id": subscription_id(doc["_id"], device.profile.owner_id),
        "type": "subscription",
        "state": "active",
        "channel": doc["_id"],
        "remote": doc.get("syncpoint"),
    }
    # Unlike a GET, this also finds a deleted document.
    found = device.database.request("POST", "_all_docs", body={"keys": [subscription["_id"]]})
    if "error" in found["rows"][0]:
        with suppress(Conflict):  # it was replicated to this device in this moment
            device.database.put(subscription)


@registry.safe("subscription", "active", to="active")
@registry.safe("subscription", "paused", to="paused")
@registry.safe("subscription", "stopped", to="stopped")
def reconcile_subscription(doc: JsonDict, device: Device) -> None:
    """Replicate the channel both ways if active. Else end its replication, and keep its data."""
    if not isinstance(doc.get("channel"), str):
        return
    doc = resolve_conflict(doc, device)
    channel = device.database.find_one(doc["channel"]) or {}
    local, name = device.channel(doc["channel"]), str(channel.get("name", DEFAULT_NAME))
    if doc["state"] == "active":
        _replicate(doc["channel"], channel, name, device)
    elif device.replications.reconcile(local.name, []) and not doc.get("reason"):
        device.say(name, doc["state"])  # `syncpoint_device.news` tells what the cloud has stopped


@registry.safe("device", "revoked", to="revoked")
def end_if_revoked(doc: JsonDict, device: Device) -> None:
    """End the agent with an error, if the revoked device is this one.

    Raises
    ------
    Revoked
        If it is.
    """
    if doc["_id"] == device.profile.device_id:
        raise Revoked


def _replicate(channel_id: str, channel: JsonDict, name: str, device: Device) -> None:
    """Replicate a channel both ways with the database in the cloud that its id and owner give.

    What the subscription and the channel say about that database does not count: a stolen device
    may have written it.
    """
    if not device.profile.cloud or not device.has_login():
        return  # the agent handles all documents again when it knows the cloud, and the cloud it
    local = device.channel(channel_id)
    problem = None
    if channel.get("state") == "shared" and not is_shared_id(channel_id):
        problem = reasons.ODD_ID
    elif not device.acquire(local):
        problem = reasons.ANOTHERS.format(database=local.name)
    if problem:
        device.replications.reconcile(local.name, [])
        device.say(name, Problem(f"not in sync: {problem}"))
        return
    ways = device.both_ways(local, device.channel_in_cloud(channel_id).name)
    if device.replications.reconcile(local.name, ways):
        device.say(name, f"is being replicated; its database here is {local.name}")


def resolve_conflict(doc: JsonDict, device: Device) -> JsonDict:
    """Return the subscription's conflict winner, report the losers and remove them.

    The device that wrote a losing revision removes it, so that its user reads the report. If that
    device no longer exists, any device does. One request; a few for each conflicting revision.
    """
    current = device.database.get(doc["_id"], conflicts=True)
    revs = current.pop("_conflicts", [])
    leaves = [current, *(device.database.leaf(doc["_id"], rev) for rev in revs)]
    winner = pick_winner(leaves)
    for leaf in leaves:
        if leaf is winner:
            continue
        if leaf.get("state", winner["state"]) != winner["state"]:
            device.say(
                device.channel_name(doc["channel"]),
                Problem(
                    f"changed on two devices at the same time: {_change(winner, device)} wins over "
                    f"{_change(leaf, device)}"
                ),
            )
        if winner.get("reason") or _is_ours(leaf, device):
            with suppress(Conflict, NotFound):  # another device removed it first
                device.database.remove(leaf)
    return winner


def pick_winner(leaves: Sequence[JsonDict]) -> JsonDict:
    """Choose the conflict winner of a subscription's revisions. No I/O.

    CouchDB chooses the same revision on every device. But if the cloud stopped the subscription,
    its revision wins. Only the cloud writes a `reason`.

    Parameters
    ----------
    leaves : sequence of dict
        The conflicting revisions, CouchDB's own winner first.
    """
    return next((leaf for leaf in leaves if leaf.get("reason")), leaves[0])


def _is_ours(leaf: JsonDict, device: Device) -> bool:
    """Tell whether this device wrote a revision, or a device that is no longer active."""
    if leaf.get("changed_by") == device.profile.device_id:
        return True
    return _writer(leaf, device).get("state") != "active"


def _change(leaf: JsonDict, device: Device) -> str:
    """Describe a revision and its writer, as in ``paused (by phone)``."""
    if leaf.get("reason"):
        return f"{leaf['state']} (by the cloud: {leaf['reason']})"
    if "changed_by" not in leaf:
        return str(leaf["state"])
    return f"{leaf['state']} (by {_writer(leaf, device).get('name', 'another device')})"


def _writer(leaf: JsonDict, device: Device) -> JsonDict:
    """Return the document of the device that wrote a revision; empty if there is none to read."""
    try:
        return device.database.find_one(str(leaf.get("changed_by"))) or {}
    except (InvalidName, Unreadable):
        return {}
