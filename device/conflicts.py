"""Two devices changed a subscription offline: one change holds, and both devices obey it."""

from collections.abc import Sequence
from contextlib import suppress

from chalicelib.couch import Conflict, NotFound
from chalicelib.domain.documents import JsonDict
from device.databases import Device


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
