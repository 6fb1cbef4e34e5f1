"""Reads the requests of replicators to the registrations endpoint, within limits. No I/O."""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from chalicelib.domain.documents import JsonDict

MAX_BYTES = 256 * 1024
MAX_DOCS = 100  # PouchDB sends this many at once; after a 413, CouchDB sends half as many
MAX_IDS = 500  # CouchDB asks for this many at once
MAX_REVS = 100


class RefusedRequest(Exception):
    """Raised when the whole request is refused.

    Attributes
    ----------
    status : int
        The HTTP status of the answer.
    error, reason : str
        The two fields of the answer's body, as CouchDB names them.
    headers : mapping
        Further headers of the answer, beside the default headers.
    """

    def __init__(
        self, status: int, error: str, reason: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.error = error
        self.reason = reason
        self.headers = headers or {}


def docs_of(headers: Mapping[str, str], body: bytes | str) -> list[Any]:
    """Return the documents of a ``_bulk_docs`` request, which may be any JSON values.

    Parameters
    ----------
    headers : mapping
        The request's headers. They are looked up by lower-case names.

    Raises
    ------
    RefusedRequest
        With status 400, 413 or 415. All functions in this module raise it.
    """
    asked = _json_object(headers, body)
    if asked.get("new_edits", True) is not False:
        _refuse(
            "new_edits must be false: the registrations endpoint takes what a replicator brings. "
            "Write the document into a database of the device, and replicate that database here"
        )
    docs = asked.get("docs")
    if not isinstance(docs, list):
        _refuse("docs must be a list of documents")
    _bound(len(docs), MAX_DOCS, "documents in one request")
    return docs


def revs_of(headers: Mapping[str, str], body: bytes | str) -> dict[str, list[str]]:
    """Return the revisions that a ``_revs_diff`` request asks for, by document id."""
    asked = _json_object(headers, body)
    _bound(len(asked), MAX_IDS, "ids in one request")
    for doc_id, revs in asked.items():
        if not isinstance(revs, list) or not all(isinstance(rev, str) for rev in revs):
            _refuse(f"{doc_id[:60]!a} must have a list of revisions")
        _bound(len(revs), MAX_REVS, "revisions of one document")
    return asked


def _json_object(headers: Mapping[str, str], body: bytes | str) -> JsonDict:
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise RefusedRequest(415, "bad_content_type", "Content-Encoding must be left out")
    # Any web page can make a browser post without a content type, and without a CORS preflight.
    otherwise = "" if "origin" in headers else "application/json"
    content_type = headers.get("content-type", otherwise).partition(";")[0]
    if content_type.strip().lower() != "application/json":
        raise RefusedRequest(415, "bad_content_type", "Content-Type must be application/json")
    raw = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    _bound(len(raw), MAX_BYTES, "bytes in one request")
    try:
        asked = json.loads(raw.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        # The error repeats nothing of the body, because that may have secrets.
        _refuse("the body must be JSON in UTF-8: no NaN, no Infinity, not nested too deeply")
    if not isinstance(asked, dict):
        _refuse("the body must be a JSON object")
    return asked


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _bound(count: int, maximum: int, what: str) -> None:
    if count > maximum:
        raise RefusedRequest(
            413, "document_too_large", f"at most {maximum} {what}; send fewer at once"
        )


def _refuse(reason: str) -> NoReturn:
    raise RefusedRequest(400, "bad_request", reason)
