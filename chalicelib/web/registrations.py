"""The registrations endpoint: the target side of CouchDB's replication protocol, write-only.

Source: https://docs.couchdb.org/en/stable/replication/protocol.html
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from chalicelib.domain import registration
from chalicelib.domain.documents import ERROR_STATE, JsonDict, Rejected
from chalicelib.emails import sending
from chalicelib.emails.sending import TooManyMails
from chalicelib.engine.context import Context
from chalicelib.web.replication import RefusedRequest, docs_of, revs_of

# A replicator compares this value to notice a restart of its target. It never changes here.
_NEVER_RESTARTED = {"instance_start_time": "0"}

_NO_MAIL = "no mail can be sent to this address"

Headers = Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """An answer to a replicator; `body` is JSON."""

    status: int
    body: Any
    headers: Headers = field(default_factory=dict)


def info(context: Context) -> Answer:
    """Return the information that a replicator reads first, and the URL of CouchDB. No request."""
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
    """Answer 404: there are no checkpoints.

    So each replication starts over. Documents that exist already are accepted again.
    """
    return _error(404, "not_found", "missing")


def put_checkpoint(local_id: str) -> Answer:
    """Accept a replicator's checkpoint, but do not store it.

    Parameters
    ----------
    local_id : str
        The id as in the path of the request, percent-encoded.
    """
    return Answer(201, {"ok": True, "id": f"_local/{unquote(local_id)}", "rev": "0-1"})


def ensure_full_commit() -> Answer:
    """Answer 201; CouchDB's replicator sends this request at each checkpoint."""
    return Answer(201, {"ok": True, **_NEVER_RESTARTED})


def revs_diff(headers: Headers, body: bytes | str) -> Answer:
    """Answer that all revisions are missing, so that nobody learns what exists here. No request."""
    try:
        revs = revs_of(headers, body)
    except RefusedRequest as exc:
        return _refusal(exc)
    return Answer(200, {doc_id: {"missing": each} for doc_id, each in revs.items()})


def bulk_docs(context: Context, headers: Headers, body: bytes | str, source_ip: object) -> Answer:
    """Take new device documents; return those that were refused, with reasons.

    One request to CouchDB for all documents, and one for each that is taken. Two or three to
    DynamoDB for each that causes a mail. A document that changes nothing costs no further request.

    Parameters
    ----------
    source_ip : object
        The IP address that the request came from, according to API Gateway.
    """
    network = registration.network_of(source_ip)
    try:
        docs = docs_of(headers, body)
        parsed = [_parse(doc, context.settings.device_auth, network) for doc in docs]
        reasons = _take_all(context, parsed)
    except RefusedRequest as exc:
        return _refusal(exc)
    rows = zip(docs, reasons, strict=True)
    return Answer(201, [_row(doc, reason) for doc, reason in rows if reason])


def show_state(context: Context, device_id: str) -> Answer:
    """Return ``{state, reason?}`` of a registration. One request; none for an id of another form.

    The reason of an ``error`` is shown, because only the device knows its id. Somebody may register
    a device for a stranger's address. So the reason tells no more than asking for another mail
    does: whether the address is above its quota, but not whether somebody there complained.
    """
    if not registration.is_device_id(device_id):
        reason = "only the state of a device (device-<uuid4 hex>) is shown here"
        return _error(403, "forbidden", reason)
    device = context.control_database.find_one(device_id)
    if device is None or device.get("type") != "device":
        return _error(404, "not_found", "there is no such device")
    state, error = device["state"], device.get("error")
    why = error.get("reason") if isinstance(error, dict) and state == ERROR_STATE else None
    if not isinstance(why, str):
        return Answer(200, {"state": state})
    is_private = why.endswith((sending.UNWANTED, sending.NOT_SENT))
    return Answer(200, {"state": state, "reason": _NO_MAIL if is_private else why})


def refuse() -> Answer:
    """Answer 403 to all other requests that a database would accept."""
    reason = "only registrations that a replicator brings are accepted here, without attachments"
    return _error(403, "forbidden", reason)


def _parse(doc: object, device_auth: str, network: str) -> registration.MailRequest | str:
    """Return what a document asks for, or why it is refused."""
    try:
        return registration.parse_registration(doc, device_auth, network)
    except Rejected as exc:
        return exc.reason


def _take_all(context: Context, parsed: Sequence[registration.MailRequest | str]) -> list[str]:
    """Take what is not refused, in its order; return the reasons, empty for what was taken.

    The same document again is not handled again.
    """
    doc_ids = {each.doc["_id"]: None for each in parsed if not isinstance(each, str)}
    known = context.control_database.find_all(list(doc_ids)) if doc_ids else {}
    taken: dict[str, str] = {}
    reasons = []
    for each in parsed:
        if isinstance(each, str):
            reasons.append(each)
            continue
        name = json.dumps(each.doc, sort_keys=True)
        if name not in taken:
            taken[name] = _take(context, each, known)
        reasons.append(taken[name])
    return reasons


def _take(
    context: Context, mail_request: registration.MailRequest, known: dict[str, JsonDict | None]
) -> str:
    """Store a new device document, move a stored one back to ``new``, or change nothing.

    Parameters
    ----------
    known : dict
        What is stored, as `Database.find_all` returns it. The document is replaced in it.

    Returns
    -------
    str
        Why the document is refused; empty if it is not.
    """

    def change(stored: JsonDict) -> JsonDict:
        is_new = "_rev" not in stored
        after = registration.merge_request(None if is_new else stored, mail_request.doc)
        if after is not stored and stored.get("state") != "new":
            _count(context, after, mail_request.address, is_new=is_new)
        return after

    doc_id = mail_request.doc["_id"]
    default = {"_id": doc_id}
    before = (known[doc_id] or default) if doc_id in known else None
    try:
        known[doc_id] = context.control_database.update(doc_id, change, default, before)
    except Rejected as exc:
        return exc.reason
    return ""


def _count(context: Context, doc: JsonDict, address: str, *, is_new: bool) -> None:
    """Count a mail against its network when it is requested.

    The transition makes the same call with the same key, and the mail counts once. Only the
    transition counts the address. A device that asks again is refused here already if its address
    has no room, so that its older link stays valid. A new device is not: the answer would tell a
    stranger whether the address is in use.

    The network is counted last, and not for a device whose earlier mail is not sent yet. So nobody
    uses up what their neighbours need without a mail.
    """
    # Imported here: every function imports this module, but few of them need the transitions.
    from chalicelib.handlers import devices

    key = devices.mail_key(context, doc)
    if not is_new:
        sending.check_room_for_address(context, key, address)
    try:
        sending.count_from_network(context, doc, key, address)
    except TooManyMails as exc:
        wait_s = max(1, math.ceil(exc.retry_at_s - context.clock().timestamp()))
        headers = {"Retry-After": str(wait_s)}
        raise RefusedRequest(429, "too_many_requests", exc.reason, headers) from exc


def _row(doc: object, reason: str) -> JsonDict:
    given = doc if isinstance(doc, dict) else {}
    named = {name: given.get(f"_{name}") for name in ("id", "rev")}
    texts = {name: text if isinstance(text, str) else "" for name, text in named.items()}
    return {**texts, "error": "forbidden", "reason": reason}


def _refusal(exc: RefusedRequest) -> Answer:
    return _error(exc.status, exc.error, exc.reason, exc.headers)


def _error(status: int, error: str, reason: str, headers: Headers | None = None) -> Answer:
    return Answer(status, {"error": error, "reason": reason}, headers or {})
