"""The registrations endpoint: the target side of CouchDB's replication protocol, write-only.

Source: https://docs.couchdb.org/en/stable/replication/protocol.html
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from chalicelib.domain import registration
from chalicelib.domain.documents import JsonDict, Rejected
from chalicelib.emails import sending
from chalicelib.emails.sending import TooManyMails
from chalicelib.engine.context import Context
from chalicelib.web.replication import RefusedRequest, docs_of, revs_of

# A replicator compares this value: the endpoint never restarts.
_NEVER_RESTARTED = {"instance_start_time": "0"}

Headers = Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """An answer to a replicator; `body` is JSON."""

    status: int
    body: Any
    headers: Headers = field(default_factory=dict)


def info(context: Context) -> Answer:
    """What a replicator asks first; and where a device finds the cloud's CouchDB. No request."""
    body = {
        "db_name": registration.DB_NAME,
        "update_seq": "0",
        "doc_count": 0,
        "doc_del_count": 0,
        **_NEVER_RESTARTED,
        "syncpoint": {
            "couchdb": context.public_couchdb_url,
            "control_db": context.settings.control_db,
        },
    }
    return Answer(200, body)


def no_checkpoint() -> Answer:
    """There is none: each replication starts over, and what is here already is accepted again."""
    return _error(404, "not_found", "missing")


def put_checkpoint(local_id: str) -> Answer:
    """Take a replicator's checkpoint, and forget it.

    Parameters
    ----------
    local_id : str
        As it stands in the path, percent-encoded.
    """
    return Answer(201, {"ok": True, "id": f"_local/{unquote(local_id)}", "rev": "0-1"})


def ensure_full_commit() -> Answer:
    """What CouchDB's replicator asks for at each checkpoint."""
    return Answer(201, {"ok": True, **_NEVER_RESTARTED})


def revs_diff(headers: Headers, body: bytes | str) -> Answer:
    """Answer that all revisions are missing, so that nobody learns what is here. No request."""
    try:
        revs = revs_of(headers, body)
    except RefusedRequest as exc:
        return _refusal(exc)
    return Answer(200, {doc_id: {"missing": each} for doc_id, each in revs.items()})


def bulk_docs(context: Context, headers: Headers, body: bytes | str, source_ip: object) -> Answer:
    """Take new device documents; the answer lists those that were refused, and why.

    Two requests to CouchDB for each document that is taken, and one to four to DynamoDB.

    Parameters
    ----------
    source_ip : object
        Where the request comes from, as API Gateway saw it.
    """
    network = registration.network_of(source_ip)
    refused: list[JsonDict] = []
    try:
        for doc in docs_of(headers, body):
            try:
                _take(context, registration.read(doc, context.settings.device_auth, network))
            except Rejected as exc:
                refused.append(_row(doc, exc.reason))
    except RefusedRequest as exc:
        return _refusal(exc)
    return Answer(201, refused)


def show_state(context: Context, device_id: str) -> Answer:
    """``{"state"}`` of a registration. One request, none if the id is no device's."""
    if not registration.is_device_id(device_id):
        reason = "only the state of a device (device-<uuid4 hex>) is shown here"
        return _error(403, "forbidden", reason)
    device = context.control_database.find_one(device_id)
    if device is None or device.get("type") != "device":
        return _error(404, "not_found", "there is no such device")
    return Answer(200, {"state": device["state"]})


def refuse() -> Answer:
    """Whatever else might be asked of a database."""
    reason = "only registrations that a replicator brings are accepted here, without attachments"
    return _error(403, "forbidden", reason)


def _take(context: Context, asking: registration.Asking) -> None:
    """Store a new device's document, or move a stored one back to ``new``; or neither."""

    def change(stored: JsonDict) -> JsonDict:
        is_new = "_rev" not in stored
        after = registration.after(None if is_new else stored, asking.doc)
        if after is not stored:
            _count(context, after, None if is_new else asking.address)
        return after

    doc_id = asking.doc["_id"]
    context.control_database.update(doc_id, change, default={"_id": doc_id})


def _count(context: Context, doc: JsonDict, address: str | None) -> None:
    """Count a mail before it is asked for; its transition counts the same one, which is no more.

    Parameters
    ----------
    address : str or None
        Of a device that asks again. That of a new one is left to the transition: the answer here
        would tell a stranger whether the address has been in use.
    """
    try:
        sending.count_from_network(context, doc)
    except TooManyMails as exc:
        wait_s = max(1, math.ceil(exc.retry_at_s - context.clock().timestamp()))
        headers = {"Retry-After": str(wait_s)}
        raise RefusedRequest(429, "too_many_requests", exc.reason, headers) from exc
    if address is not None:
        sending.count_to_address(context, doc, address)


def _row(doc: object, reason: str) -> JsonDict:
    given = doc if isinstance(doc, dict) else {}
    named = {name: given.get(f"_{name}") for name in ("id", "rev")}
    texts = {name: text if isinstance(text, str) else "" for name, text in named.items()}
    return {**texts, "error": "forbidden", "reason": reason}


def _refusal(exc: RefusedRequest) -> Answer:
    return _error(exc.status, exc.error, exc.reason, exc.headers)


def _error(status: int, error: str, reason: str, headers: Headers | None = None) -> Answer:
    return Answer(status, {"error": error, "reason": reason}, headers or {})
