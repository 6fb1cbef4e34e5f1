"""Make the messages for changes, and send them to SQS in batches until all are accepted.

Each message names its group: who caused it. SQS gives out the messages of quiet groups before those
of a group that has many (docs/platform.md), so one owner's flood does not delay the others.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import is_owner_id

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
    """A message for one queue; its `group` is whom its queue is to be fair to."""

    queue_url: str
    body: str
    group: str

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
            yield QueueMessage(queue_url, _body(db, doc), group_of(db, doc))


def group_of(db: str, doc: JsonDict) -> str:
    """Return who caused a change, as a `MessageGroupId`.

    In an owner's control database, `<CONTROL_DB>-<owner id>`, that is the owner. In `<CONTROL_DB>`,
    it is the network that a registration came from: nobody has proved its address yet, and a
    stranger who registers many devices can write any. Without a network it is the `owner`, and
    without both the document.
    """
    owner_id = db.rpartition("-")[2]
    if is_owner_id(owner_id):
        return owner_id
    who = doc.get("network") or doc.get("owner") or doc["_id"]
    # SQS takes at most 128 characters, and not all of them. A hash is no address, either.
    return hashlib.sha256(str(who).encode("utf-8", "surrogatepass")).hexdigest()[:32]


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
        remaining = {str(number): message for number, message in enumerate(batch)}
        for attempt in range(MAX_SEND_ATTEMPTS):
            if attempt:
                self._pause(FIRST_PAUSE_S * 2 ** (attempt - 1))
            answer = self._client.send_message_batch(
                QueueUrl=queue_url,
                Entries=[
                    {"Id": key, "MessageBody": message.body, "MessageGroupId": message.group}
                    for key, message in remaining.items()
                ],
            )
            # An entry that SQS does not mention at all is sent again, too.
            accepted = {entry["Id"] for entry in answer.get("Successful", [])}
            remaining = {key: one for key, one in remaining.items() if key not in accepted}
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
