"""Make the messages for changes, and send them to SQS in batches until all are accepted."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from chalicelib.domain.documents import JsonDict

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# SQS accepts up to 1 MiB, but counts each 64 KiB as a request, and a queue may have a lower limit.
# The limit of a whole batch is the same as that of one message.
# Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
MAX_MESSAGE_BYTES = 262_144

MAX_BATCH_MESSAGES = 10
MAX_SEND_ATTEMPTS = 5
FIRST_PAUSE_S = 0.1


@dataclass(frozen=True)
class QueueMessage:
    """A message for one queue."""

    queue_url: str
    body: str

    @property
    def size_bytes(self) -> int:
        """The size that SQS limits. The body is ASCII, so a character is a byte."""
        return len(self.body)


def messages_for(
    db: str, rows: Iterable[JsonDict], routes: Mapping[str, str]
) -> Iterator[QueueMessage]:
    """Yield the messages for a page of changes.

    Deleted documents, design documents and documents without a route are skipped.

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
            yield QueueMessage(queue_url, _body(db, doc))


class NotAccepted(Exception):
    """SQS refused some messages in every attempt, so the seq of their page must not be saved."""


class Sender:
    """Sends messages to their queues.

    Parameters
    ----------
    pause : callable
        Waits for a number of seconds; ``time.sleep`` except in tests.
    executor : Executor
        Sends batches at the same time.
    """

    def __init__(
        self, client: "SQSClient", pause: Callable[[float], None], executor: Executor
    ) -> None:
        self._client = client
        self._pause = pause
        self._executor = executor

    def send(self, messages: Iterable[QueueMessage]) -> int:
        """Send all messages; return how many they were. One request for each batch.

        Raises
        ------
        NotAccepted
            If SQS refused some of them in every attempt.
        """
        by_queue = sorted(messages, key=lambda message: message.queue_url)
        calls = [
            (queue_url, batch)
            for queue_url, group in groupby(by_queue, key=lambda message: message.queue_url)
            for batch in batches(group)
        ]
        # The first batch is sent in this thread. Most pages have only one.
        futures = [self._executor.submit(self._send_batch, *call) for call in calls[1:]]
        for call in calls[:1]:
            self._send_batch(*call)
        for future in futures:
            future.result()
        return len(by_queue)

    def _send_batch(self, queue_url: str, batch: list[QueueMessage]) -> None:
        remaining = {str(number): message.body for number, message in enumerate(batch)}
        for attempt in range(MAX_SEND_ATTEMPTS):
            if attempt:
                self._pause(FIRST_PAUSE_S * 2 ** (attempt - 1))
            answer = self._client.send_message_batch(
                QueueUrl=queue_url,
                Entries=[{"Id": entry, "MessageBody": body} for entry, body in remaining.items()],
            )
            # An entry that SQS does not mention at all is sent again, too.
            accepted = {entry["Id"] for entry in answer.get("Successful", [])}
            remaining = {key: body for key, body in remaining.items() if key not in accepted}
            if not remaining:
                return
        codes = sorted({entry["Code"] for entry in answer.get("Failed", [])})
        raise NotAccepted(
            f"SQS refused {len(remaining)} of {len(batch)} messages {MAX_SEND_ATTEMPTS} times: "
            f"{', '.join(codes)}"
        )


def batches(messages: Iterable[QueueMessage]) -> Iterator[list[QueueMessage]]:
    """Yield batches of at most 10 messages, and of at most `MAX_MESSAGE_BYTES` together."""
    batch: list[QueueMessage] = []
    size_bytes = 0
    for message in messages:
        too_large = size_bytes + message.size_bytes > MAX_MESSAGE_BYTES
        if batch and (too_large or len(batch) == MAX_BATCH_MESSAGES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(message)
        size_bytes += message.size_bytes
    if batch:
        yield batch


def _body(db: str, doc: JsonDict) -> str:
    reference = {
        "db": db,
        "id": doc["_id"],
        "rev": doc["_rev"],
        "type": doc["type"],
        "state": doc["state"],
    }
    try:
        body = _json({**reference, "doc": doc})
    except RecursionError:
        return _json(reference)
    # If the document is too large for SQS, the handler reads it from CouchDB.
    return body if len(body) <= MAX_MESSAGE_BYTES else _json(reference)


def _json(value: JsonDict) -> str:
    # JSON in ASCII escapes what SQS refuses: control characters and lone surrogates.
    return json.dumps(value, separators=(",", ":"))
