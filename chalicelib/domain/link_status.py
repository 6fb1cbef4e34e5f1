"""The status of a link in a mail, computed from the document that the link belongs to. No I/O."""

from datetime import datetime
from enum import StrEnum, auto

from chalicelib.domain.documents import JsonDict, generation_of

WRONG_CODES = 5  # this many different wrong device codes reject a registration


class LinkStatus(StrEnum):
    """The status of a link in a mail."""

    OPEN = auto()
    EARLY = auto()
    UNKNOWN = auto()
    EXPIRED = auto()
    REPLACED = auto()
    USED = auto()
    REJECTED = auto()
    UNDELIVERABLE = auto()
    WITHDRAWN = auto()
    FAILED = auto()


# For each type: the field with the time when its link expires, and the link status for each state.
_BY_TYPE = {
    "device": (
        "confirm_expires_at",
        {
            "new": LinkStatus.EARLY,
            "confirming": LinkStatus.OPEN,
            "confirmed": LinkStatus.USED,
            "active": LinkStatus.USED,
            "revoking": LinkStatus.USED,
            "revoked": LinkStatus.USED,
            "expired": LinkStatus.EXPIRED,
            "rejected": LinkStatus.REJECTED,
            "undeliverable": LinkStatus.UNDELIVERABLE,
            "error": LinkStatus.FAILED,
        },
    ),
    "invitation": (
        "expires_at",
        {
            "new": LinkStatus.EARLY,
            "sent": LinkStatus.OPEN,
            "accepting": LinkStatus.USED,
            "accepted": LinkStatus.USED,
            "declined": LinkStatus.USED,
            "withdrawn": LinkStatus.WITHDRAWN,
            "expired": LinkStatus.EXPIRED,
            "error": LinkStatus.FAILED,
        },
    ),
}


def link_status(doc: JsonDict | None, generation: int, now: datetime) -> LinkStatus:
    """Return the status of the link of `generation`.

    Parameters
    ----------
    doc : dict or None
        The current document of the device or the invitation; None if there is none.
    """
    doc_type = str((doc or {}).get("type"))
    if doc is None or doc_type not in _BY_TYPE:
        return LinkStatus.UNKNOWN
    if generation != generation_of(doc):
        return LinkStatus.REPLACED
    expires_field, by_state = _BY_TYPE[doc_type]
    status = by_state.get(str(doc.get("state")), LinkStatus.UNKNOWN)
    return (
        LinkStatus.EXPIRED
        if status is LinkStatus.OPEN and _is_over(doc, expires_field, now)
        else status
    )


def _is_over(doc: JsonDict, expires_field: str, now: datetime) -> bool:
    try:
        return now >= datetime.fromisoformat(doc[expires_field])
    except (KeyError, TypeError, ValueError):
        return True  # the cloud always sets it, so the cloud did not write this document
