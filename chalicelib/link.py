"""What a confirmation link is worth at this moment, told from its device's document. No I/O."""

from datetime import datetime
from enum import StrEnum

from chalicelib.docstate import JsonDict, generation_of

WRONG_CODES = 5  # so many different wrong device codes reject a registration


class Link(StrEnum):
    """What became of a link; its value is the reason that a confirm document in error gives."""

    OPEN = "open"
    EARLY = "the mail is still being sent"
    UNKNOWN = "no matching device"
    EXPIRED = "expired"
    REPLACED = "replaced by a newer link"
    USED = "already used"
    REJECTED = "rejected"
    FAILED = "the device could not be activated"


_BY_STATE = {
    "new": Link.EARLY,
    "confirmed": Link.USED,
    "active": Link.USED,
    "revoking": Link.USED,
    "revoked": Link.USED,
    "expired": Link.EXPIRED,
    "rejected": Link.REJECTED,
    "undeliverable": Link.REJECTED,
    "error": Link.FAILED,
}


def link_of(device: JsonDict | None, generation: int, now: datetime) -> Link:
    """What the link of `generation` is worth.

    Parameters
    ----------
    device : dict or None
        The device's document as it is now; None if there is none.
    """
    if device is None or device.get("type") != "device":
        return Link.UNKNOWN
    if generation != generation_of(device):
        return Link.REPLACED
    if device.get("state") != "confirming":
        return _BY_STATE.get(str(device.get("state")), Link.UNKNOWN)
    return Link.EXPIRED if _is_over(device, now) else Link.OPEN


def _is_over(device: JsonDict, now: datetime) -> bool:
    try:
        return now >= datetime.fromisoformat(device["confirm_expires_at"])
    except (KeyError, TypeError, ValueError):
        return True  # the cloud always sets it: a document without it did not come from here
