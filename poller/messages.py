"""What is sent for a change: the message's body, and the queue that it goes to. No I/O."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from chalicelib.domain.documents import JsonDict

# SQS takes up to 1 MiB, but counts each 64 KiB as a request, and a queue may be set lower.
# A batch may hold as much as one message may.
# Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
MESSAGE_BYTES = 262_144


@dataclass(frozen=True)
class Outgoing:
    """A message for one queue; SQS counts the body's bytes."""

    queue_url: str
    body: str

    @property
    def size_bytes(self) -> int:
        """The size that counts against SQS's limit; the body is ASCII."""
        return len(self.body)


def messages_for(
    db: str, rows: Iterable[JsonDict], routes: Mapping[str, str]
) -> Iterator[Outgoing]:
    """The messages for a page of changes.

    Deleted documents, design documents and documents without a route are passed over.

    Parameters
    ----------
    rows : iterable of dict
        Rows of ``_changes`` with their documents.
    routes : mapping
        ``{"type/state": queue URL}``.
    """
    for row in rows:
        doc = row.get("doc")
        if row.get("deleted") or not isinstance(doc, dict) or row["id"].startswith("_design/"):
            continue
        queue_url = routes.get(f"{doc.get('type')}/{doc.get('state')}")
        if queue_url is not None:
            yield Outgoing(queue_url, _body(db, doc))


def _body(db: str, doc: JsonDict) -> str:
    about = {
        "db": db,
        "id": doc["_id"],
        "rev": doc["_rev"],
        "type": doc["type"],
        "state": doc["state"],
    }
    try:
        body = _json({**about, "doc": doc})
    except RecursionError:
        return _json(about)
    # Too large to travel: the handler reads the document itself.
    return body if len(body) <= MESSAGE_BYTES else _json(about)


def _json(value: JsonDict) -> str:
    # ASCII: what SQS refuses (control characters, lone surrogates) travels escaped.
    return json.dumps(value, separators=(",", ":"))
