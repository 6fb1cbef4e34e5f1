"""What is sent for a change, and how: in batches cut by count and bytes, until SQS has all."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from chalicelib.domain.documents import JsonDict

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# SQS takes up to 1 MiB, but counts each 64 KiB as a request, and a queue may be set lower.
# A batch may hold as much as one message may.
# Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
MESSAGE_BYTES = 262_144

BATCH_MESSAGES = 10
SEND_ATTEMPTS = 5
FIRST_PAUSE_S = 0.1


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


class NotAccepted(Exception):
    """SQS refused some messages each time; the page must be sent again, its seq not be saved."""


class Sender:
    """Sends messages to their queues.

    Parameters
    ----------
    pause : callable
        Waits for so many seconds; ``time.sleep`` but in tests.
    executor : Executor
        Sends a batch while another is on its way.
    """

    def __init__(
        self, client: "SQSClient", pause: Callable[[float], None], executor: Executor
    ) -> None:
        self._client = client
        self._pause = pause
        self._executor = executor

    def send(self, messages: Iterable[Outgoing]) -> int:
        """Send all; return how many when SQS has accepted every one. A request a batch.

        Raises
        ------
        NotAccepted
            If SQS kept refusing some of them.
        """
        by_queue = sorted(messages, key=lambda message: message.queue_url)
        calls = [
            (queue_url, batch)
            for queue_url, group in groupby(by_queue, key=lambda message: message.queue_url)
            for batch in batches(group)
        ]
        # The first in this thread: one batch alone, as most are, needs no other.
        futures = [self._executor.submit(self._send_batch, *call) for call in calls[1:]]
        for call in calls[:1]:
            self._send_batch(*call)
        for future in futures:
            future.result()
        return len(by_queue)

    def _send_batch(self, queue_url: str, batch: list[Outgoing]) -> None:
        left = {str(number): message.body for number, message in enumerate(batch)}
        for attempt in range(SEND_ATTEMPTS):
            if attempt:
                self._pause(FIRST_PAUSE_S * 2 ** (attempt - 1))
            answer = self._client.send_message_batch(
                QueueUrl=queue_url,
                Entries=[{"Id": entry, "MessageBody": body} for entry, body in left.items()],
            )
            # Only what SQS names as accepted is: an entry that it forgot to mention is sent again.
            accepted = {entry["Id"] for entry in answer.get("Successful", [])}
            left = {entry: body for entry, body in left.items() if entry not in accepted}
            if not left:
                return
        codes = sorted({entry["Code"] for entry in answer.get("Failed", [])})
        raise NotAccepted(f"SQS refused {len(left)} of {len(batch)} messages: {', '.join(codes)}")


def batches(messages: Iterable[Outgoing]) -> Iterator[list[Outgoing]]:
    """Cut into batches that SQS takes: at most 10 messages, at most `MESSAGE_BYTES` together."""
    batch: list[Outgoing] = []
    size_bytes = 0
    for message in messages:
        too_large = size_bytes + message.size_bytes > MESSAGE_BYTES
        if batch and (too_large or len(batch) == BATCH_MESSAGES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(message)
        size_bytes += message.size_bytes
    if batch:
        yield batch


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
