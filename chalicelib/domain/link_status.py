"""What a link in a mail is worth at this moment, told from the document it is about. No I/O."""

from datetime import datetime
from enum import StrEnum, auto

from chalicelib.domain.documents import JsonDict, generation_of

WRONG_CODES = 5  # so many different wrong device codes reject a registration


class Link(StrEnum):
    """What a link in a mail is worth."""

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


# For each type: the field that says when its link's time is over, and what a state makes of it.
_BY_TYPE = {
    "device": (
        "confirm_expires_at",
        {
            "new": Link.EARLY,
            "confirming": Link.OPEN,
            "confirmed": Link.USED,
            "active": Link.USED,
            "revoking": Link.USED,
            "revoked": Link.USED,
            "expired": Link.EXPIRED,
            "rejected": Link.REJECTED,
            "undeliverable": Link.UNDELIVERABLE,
            "error": Link.FAILED,
        },
    ),
    "invitation": (
        "expires_at",
        {
            "new": Link.EARLY,
            "sent": Link.OPEN,
            "accepting": Link.USED,
            "accepted": Link.USED,
            "declined": Link.USED,
            "withdrawn": Link.WITHDRAWN,
            "expired": Link.EXPIRED,
            "error": Link.FAILED,
        },
    ),
}


def link_of(doc: JsonDict | None, generation: int, now: datetime) -> Link:
    """What the link of `generation` is worth.

    Parameters
    ----------
    doc : dict or None
        The document of the device or the invitation as it is now; None if there is none.
    """
    doc_type = str((doc or {}).get("type"))
    if doc is None or doc_type not in _BY_TYPE:
        return Link.UNKNOWN
    if generation != generation_of(doc):
        return Link.REPLACED
    expires_field, by_state = _BY_TYPE[doc_type]
    worth = by_state.get(str(doc.get("state")), Link.UNKNOWN)
    return Link.EXPIRED if worth is Link.OPEN and _is_over(doc, expires_field, now) else worth


def _is_over(doc: JsonDict, expires_field: str, now: datetime) -> bool:
    try:
        return now >= datetime.fromisoformat(doc[expires_field])
    except (KeyError, TypeError, ValueError):
        return True  # the cloud always sets it: a document without it did not come from here
