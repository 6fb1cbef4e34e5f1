"""What all documents have in common: a state, a generation, an error with its reason. No I/O."""

from datetime import UTC, datetime
from typing import Any

JsonDict = dict[str, Any]

ERROR_STATE = "error"


class Rejected(Exception):
    """Raised when the document itself is at fault. It then goes to state ``error``.

    Parameters
    ----------
    reason : str
        What is wrong with which field, and what to do. It is stored as ``error.reason``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def generation_of(doc: JsonDict) -> int:
    """Return a document's `generation`; 0 if it is missing or invalid.

    The generation counts how often the same thing was requested again. 5.0 counts as 5, because
    JSON and JavaScript do not distinguish them.
    """
    generation = doc.get("generation", 0)
    if isinstance(generation, float) and generation.is_integer():
        generation = int(generation)
    is_count = isinstance(generation, int) and not isinstance(generation, bool)
    return generation if is_count and generation >= 0 else 0


def revision_number(doc: JsonDict) -> int:
    """Return the number of a document's revision (3 in ``3-abc``); a later one has a higher one."""
    return int(doc["_rev"].partition("-")[0])


def rejection(reason: str, now: datetime) -> JsonDict:
    """Build the changes that put a document into ``error``: ``{state, error: {reason, at}}``."""
    return {"state": ERROR_STATE, "error": {"reason": reason, "at": timestamp(now)}}


def timestamp(moment: datetime) -> str:
    """Format a time for a document: ISO 8601 in UTC, to the second, ``2026-11-23T06:00:00Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
