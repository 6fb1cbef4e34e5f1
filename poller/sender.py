"""Messages → SQS, in batches cut by count and bytes; whatever SQS refuses is sent again."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from poller.ahead import Begin, when_needed
from poller.messages import MESSAGE_BYTES, Outgoing

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

BATCH_MESSAGES = 10
SEND_ATTEMPTS = 5
FIRST_PAUSE_S = 0.1


class NotAccepted(Exception):
    """SQS refused some messages each time; the page must be sent again, its seq not be saved."""


class Sender:
    """Sends messages to their queues.

    Parameters
    ----------
    pause : callable
        Waits for so many seconds; ``time.sleep`` but in tests.
    begin : callable
        Begins a batch while another is on its way.
    """

    def __init__(
        self, client: "SQSClient", pause: Callable[[float], None], begin: Begin = when_needed
    ) -> None:
        self._client = client
        self._pause = pause
        self._begin = begin

    def send(self, messages: Iterable[Outgoing]) -> int:
        """Send all; return how many when SQS has accepted every one. A request a batch.

        Raises
        ------
        NotAccepted
            If SQS kept refusing some of them.
        """
        by_queue = sorted(messages, key=lambda message: message.queue_url)
        calls: list[Callable[[], None]] = [
            partial(self._send_batch, queue_url, batch)
            for queue_url, group in groupby(by_queue, key=lambda message: message.queue_url)
            for batch in batches(group)
        ]
        # The first in this thread: one batch alone, as most are, needs no other.
        others = [self._begin(call) for call in calls[1:]]
        for call in (*calls[:1], *others):
            call()
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
