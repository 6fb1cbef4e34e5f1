"""What a device does about its owner's documents, whoever wrote them and wherever.

All of it is safe: at each start of the agent every document is looked at again.
"""

from collections.abc import Sequence
from contextlib import suppress

from chalicelib.couch import Conflict, Database, NotFound
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import subscription_id
from chalicelib.engine.docstate import Registry
from device.databases import Device
from device.endpoints import is_in_cloud, is_plain_url
from device.errors import Revoked

registry = Registry()


@registry.safe("channel", "new", to="new")
def prepare(doc: JsonDict, device: Device) -> None:
    """A channel's own copy is there at once: what is put into it waits for the cloud."""
    device.make(device.channel(doc["_id"]))


@registry.safe("channel", "ready", to="ready")
def subscribe(doc: JsonDict, device: Device) -> None:
    """Subscribe to the owner's own channels, once: whoever stopped that has stopped it.

    Every device of the owner's writes the same document under the same id, and so the same one.
    """
    subscription = {
        "_id": subscription_id(doc["_id"], device.profile.owner),
        "type": "subscription",
        "state": "active",
        "channel": doc["_id"],
        "remote": doc.get("syncpoint"),
    }
    # A deleted one was there, too.
    row = device.database.request("POST", "_all_docs", body={"keys": [subscription["_id"]]})
    if "error" in row["rows"][0]:
        with suppress(Conflict):  # replicated in this very moment
            device.database.put(subscription)


@registry.safe("subscription", "active", to="active")
@registry.safe("subscription", "paused", to="paused")
@registry.safe("subscription", "stopped", to="stopped")
def obey(doc: JsonDict, device: Device) -> None:
    """Active: a database here, replicated both ways. Else no replication; what is here stays.

    Of conflicting changes the one that holds is obeyed.
    """
    if not isinstance(doc.get("channel"), str):
        return
    doc = settle(doc, device)
    local, name = device.channel(doc["channel"]), device.channel_name(doc["channel"])
    if doc["state"] == "active":
        _follow(doc.get("remote"), local, name, device)
    elif device.replications.keep(local.name, []) or doc.get("reason"):
        why = f": {doc['reason']}" if doc.get("reason") else ""
        device.say(name, f"{doc['state']}{why}")


@registry.safe("device", "revoked", to="revoked")
def leave(doc: JsonDict, device: Device) -> None:
    """If it is this device: the agent says so, and ends.

    Raises
    ------
    Revoked
        If it is this one.
    """
    if doc["_id"] == device.profile.device_id:
        raise Revoked


def _follow(remote: object, local: Database, name: str, device: Device) -> None:
    if not isinstance(remote, str) or not is_plain_url(remote):
        device.replications.keep(local.name, [])
        device.say(name, "not in sync: its subscription has no usable remote")
        return
    if not device.profile.cloud:
        return  # the agent begins anew when it has heard where the cloud is
    remote = device.present(remote)
    if not is_in_cloud(remote, device.profile.cloud):
        device.say(name, f"{remote} is not the cloud's: replicated without this device's password")
    if not device.make(local):
        device.replications.keep(local.name, [])
        device.say(name, f"not in sync: {local.name} here is not this device's")
        return
    if device.replications.keep(local.name, device.both_ways(local, remote)):
        device.say(name, f"in sync; its documents are in {local.name}")


def pick(leaves: Sequence[JsonDict]) -> JsonDict:
    """The one of a subscription's conflicting revisions that holds. No I/O.

    CouchDB's choice is the same on every device. But where the cloud stopped a subscription (only
    the cloud writes a `reason`), no device's change outweighs that.

    Parameters
    ----------
    leaves : sequence of dict
        CouchDB's winner first.
    """
    return next((leaf for leaf in leaves if leaf.get("reason")), leaves[0])


def settle(doc: JsonDict, device: Device) -> JsonDict:
    """The subscription as it holds; says so where that was in conflict, and mends it.

    The device whose change does not hold removes that, so its user surely hears of it; if there is
    none, whoever sees it. One request; a few for each conflicting revision.
    """
    winner = device.database.get(doc["_id"], conflicts=True)
    revs = winner.pop("_conflicts", [])
    leaves = [winner, *(device.database.get(doc["_id"], rev) for rev in revs)]
    holds = pick(leaves)
    for leaf in leaves:
        if leaf is holds:
            continue
        if leaf["state"] != holds["state"]:
            device.say(
                device.channel_name(doc["channel"]),
                f"changed in two places at once: {_change(holds, device)} holds, "
                f"{_change(leaf, device)} does not",
            )
        if holds.get("reason") or _is_ours(leaf, device):
            with suppress(Conflict, NotFound):  # another device was faster
                device.database.remove(leaf)
    return holds


def _is_ours(leaf: JsonDict, device: Device) -> bool:
    """Whether this device wrote it, or none that would still mend it."""
    by = leaf.get("changed_by")
    if by == device.profile.device_id:
        return True
    writer = device.database.find_one(by) if isinstance(by, str) else None
    return writer is None or writer.get("state") != "active"


def _change(leaf: JsonDict, device: Device) -> str:
    """What a revision says and who wrote it: `paused (by phone)`."""
    if leaf.get("reason"):
        return f"{leaf['state']} (by the cloud: {leaf['reason']})"
    if "changed_by" not in leaf:
        return str(leaf["state"])
    known = device.database.find_one(str(leaf["changed_by"])) or {}
    return f"{leaf['state']} (by {known.get('name', 'another device')})"
