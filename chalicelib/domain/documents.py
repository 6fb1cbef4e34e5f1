"""What all documents have: a state, a generation, an error with its reason. No I/O."""

from datetime import UTC, datetime
from typing import Any

JsonDict = dict[str, Any]

ERROR_STATE = "error"


class Rejected(Exception):
    """The document itself is at fault: it goes to state ``error`` with this reason.

    Parameters
    ----------
    reason : str
        What is wrong with which field, and what to do; stored in the document as ``error.reason``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def generation_of(doc: JsonDict) -> int:
    """The document's `generation`: how often its step was wanted again; 0 if absent or odd.

    5.0 is 5: to JSON, and to a device that is written in JavaScript, they are one.
    """
    generation = doc.get("generation", 0)
    if isinstance(generation, float) and generation.is_integer():
        generation = int(generation)
    is_count = isinstance(generation, int) and not isinstance(generation, bool)
    return generation if is_count and generation >= 0 else 0


def rejection(reason: str, now: datetime) -> JsonDict:
    """The changes that put a document into state ``error``: ``{state, error: {reason, at}}``."""
    return {"state": ERROR_STATE, "error": {"reason": reason, "at": timestamp(now)}}


def timestamp(moment: datetime) -> str:
    """`moment` as documents carry it: ISO 8601 in UTC, to the second, ``2026-11-23T06:00:00Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
