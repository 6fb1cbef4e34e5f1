"""Documents as they are sent to FakeCouch: what is CouchDB's own in them, and what is not."""

import re
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.documents import JsonDict
from tests.kit.fakes.couch_http import Refusal

_KNOWN = {"_id", "_rev", "_deleted", "_revisions", "_conflicts"}
_REV = re.compile(r"[1-9]\d*-.+")


@dataclass(frozen=True)
class Edit:
    """A document that somebody wants to write.

    Attributes
    ----------
    rev : str or None
        The revision it is written over; with ``new_edits=false``, its own.
    revisions : list of str
        With ``new_edits=false``: its own and its ancestors', the newest first.
    """

    doc_id: str
    body: JsonDict
    rev: str | None = None
    is_deleted: bool = False
    revisions: tuple[str, ...] = ()

    @classmethod
    def of(cls, doc: Any, doc_id: str, rev: str | None = None) -> "Edit":
        """The document of a request; `doc_id` and `rev` as the request's path and query say."""
        if not isinstance(doc, dict):
            raise Refusal(400, "bad_request", "Document must be a JSON object")
        special = {name for name in doc if name.startswith("_")}
        if "_attachments" in special:
            raise NotImplementedError("_attachments")
        if special - _KNOWN:
            reason = f"Bad special document member: {min(special - _KNOWN)}"
            raise Refusal(400, "doc_validation", reason)
        if doc_id.startswith("_") and not doc_id.startswith("_design/"):
            reason = "Only reserved document ids may start with underscore."
            raise Refusal(400, "illegal_docid", reason)
        body = {name: value for name, value in doc.items() if name not in _KNOWN}
        is_deleted = doc.get("_deleted") is True
        return cls(doc_id, body, checked_rev(rev or doc.get("_rev")), is_deleted, _revisions(doc))


def checked_rev(rev: object) -> str | None:
    """The revision, if it could be one."""
    if rev is None:
        return None
    if not isinstance(rev, str) or not _REV.fullmatch(rev):
        raise Refusal(400, "bad_request", "Invalid rev format")
    return rev


def _revisions(doc: JsonDict) -> tuple[str, ...]:
    known = doc.get("_revisions")
    if not known:
        return ()
    return tuple(f"{known['start'] - back}-{digest}" for back, digest in enumerate(known["ids"]))
