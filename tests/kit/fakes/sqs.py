# ruff: noqa: N803 - the arguments have AWS's names
"""SQS in memory: the operations that this project uses, over queues of their own.

Kinder than SQS: messages of quiet groups come in the order in which they were sent, each is found
at the first request, none is given out twice while it is hidden, and none is ever too old.
"""

import hashlib
import re
import threading
from collections.abc import Callable, Collection, Sequence

from chalicelib.domain.documents import JsonDict
from tests.kit.fakes.aws_errors import client_error
from tests.kit.fakes.sqs_queue import FakeQueue, Message, NoSuchReceipt, NotInFlight

URL = "https://sqs.us-east-1.amazonaws.com/123456789012"
ARN = "arn:aws:sqs:us-east-1:123456789012"
BATCH_ENTRIES = 10
BATCH_BYTES = 1_048_576
LONGEST_DELAY_S = 900
LONGEST_VISIBILITY_S = 12 * 3600
# What a group may be called.
# Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_GROUP = re.compile(r"[!-~]{1,128}")
# SQS's codes begin with this.
_SQS = "AWS.SimpleQueueService."


class Sqs:
    """The queues of one account and region."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.lock = threading.Lock()
        self.queues: dict[str, FakeQueue] = {}
        self._now_s = now_s

    def create(self, name: str, visibility_s: float, max_receives: int) -> str:
        """A queue with dead letters behind it; its URL."""
        with self.lock:
            self.queues[name] = FakeQueue(name, self._now_s, visibility_s, max_receives)
        return f"{URL}/{name}"

    def get_queue_url(self, *, QueueName: str) -> JsonDict:
        self._queue("GetQueueUrl", QueueName)
        return {"QueueUrl": f"{URL}/{QueueName}"}

    def get_queue_attributes(
        self, *, QueueUrl: str, AttributeNames: Sequence[str] = ()
    ) -> JsonDict:
        queue = self._queue("GetQueueAttributes", QueueUrl)
        with self.lock:
            attributes = {
                "ApproximateNumberOfMessages": str(queue.waiting()),
                "ApproximateNumberOfMessagesNotVisible": str(queue.hidden()),
                "ApproximateNumberOfMessagesDelayed": str(queue.delayed()),
                "QueueArn": f"{ARN}:{queue.name}",
                "VisibilityTimeout": f"{queue.visibility_s:.0f}",
            }
        asked = attributes if "All" in AttributeNames else AttributeNames
        return {"Attributes": {name: attributes[name] for name in asked}}

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[JsonDict]) -> JsonDict:
        queue = self._queue("SendMessageBatch", QueueUrl)
        _check(
            "SendMessageBatch", Entries, {"Id", "MessageBody"}, {"MessageGroupId", "DelaySeconds"}
        )
        if not all(_GROUP.fullmatch(entry.get("MessageGroupId", "none")) for entry in Entries):
            raise client_error("SendMessageBatch", "InvalidParameterValue", "MessageGroupId")
        if sum(len(entry["MessageBody"].encode()) for entry in Entries) > BATCH_BYTES:
            raise client_error("SendMessageBatch", _SQS + "BatchRequestTooLong")
        if any(not 0 <= entry.get("DelaySeconds", 0) <= LONGEST_DELAY_S for entry in Entries):
            raise NotImplementedError("a delay of more than 15 minutes")
        with self.lock:
            sent = [
                (
                    entry["Id"],
                    queue.send(
                        entry["MessageBody"],
                        entry.get("MessageGroupId"),
                        entry.get("DelaySeconds", 0),
                    ),
                )
                for entry in Entries
            ]
        return {
            "Successful": [
                {
                    "Id": entry_id,
                    "MessageId": message.message_id,
                    "MD5OfMessageBody": _md5(message.body),
                }
                for entry_id, message in sent
            ]
        }

    def receive_message(
        self,
        *,
        QueueUrl: str,
        MaxNumberOfMessages: int = 1,
        WaitTimeSeconds: int = 0,
        VisibilityTimeout: int | None = None,
        MessageSystemAttributeNames: Sequence[str] = (),
    ) -> JsonDict:
        """What waits now; time is the test's own here, so nothing is waited for."""
        queue = self._queue("ReceiveMessage", QueueUrl)
        if not 1 <= MaxNumberOfMessages <= BATCH_ENTRIES:
            raise client_error("ReceiveMessage", "InvalidParameterValue", "MaxNumberOfMessages")
        messages: list[JsonDict] = []
        with self.lock:
            while len(messages) < MaxNumberOfMessages:
                message = queue.receive(VisibilityTimeout)
                if message is None:
                    break
                messages.append(_shown(message, MessageSystemAttributeNames))
        return {"Messages": messages} if messages else {}

    def delete_message_batch(self, *, QueueUrl: str, Entries: Sequence[JsonDict]) -> JsonDict:
        queue = self._queue("DeleteMessageBatch", QueueUrl)
        _check("DeleteMessageBatch", Entries, {"Id", "ReceiptHandle"})

        def delete(entry: JsonDict) -> None:
            queue.delete(entry["ReceiptHandle"])

        return self._each(Entries, delete)

    def change_message_visibility_batch(
        self, *, QueueUrl: str, Entries: Sequence[JsonDict]
    ) -> JsonDict:
        operation = "ChangeMessageVisibilityBatch"
        queue = self._queue(operation, QueueUrl)
        _check(operation, Entries, {"Id", "ReceiptHandle", "VisibilityTimeout"})

        def hide(entry: JsonDict) -> None:
            if not 0 <= entry["VisibilityTimeout"] <= LONGEST_VISIBILITY_S:
                raise ValueError
            queue.hide(entry["ReceiptHandle"], entry["VisibilityTimeout"])

        return self._each(Entries, hide)

    def next_visible_at_s(self) -> float | None:
        """When the next hidden message of any queue comes back."""
        with self.lock:
            moments = [queue.next_visible_at_s() for queue in self.queues.values()]
        return min((moment for moment in moments if moment is not None), default=None)

    def _queue(self, operation: str, url_or_name: str) -> FakeQueue:
        name = url_or_name.removeprefix(f"{URL}/")
        if name not in self.queues:
            raise client_error(operation, _SQS + "NonExistentQueue", "no such queue")
        return self.queues[name]

    def _each(self, entries: Sequence[JsonDict], act: Callable[[JsonDict], None]) -> JsonDict:
        """Each entry stands or falls alone."""
        codes: dict[type[Exception], str] = {
            NoSuchReceipt: "ReceiptHandleIsInvalid",
            NotInFlight: _SQS + "MessageNotInflight",
            ValueError: "InvalidParameterValue",
        }
        answer: dict[str, list[JsonDict]] = {"Successful": [], "Failed": []}
        with self.lock:
            for entry in entries:
                try:
                    act(entry)
                except tuple(codes) as exc:
                    code = codes[type(exc)]
                    failed = {"Id": entry["Id"], "SenderFault": True, "Code": code, "Message": code}
                    answer["Failed"].append(failed)
                else:
                    answer["Successful"].append({"Id": entry["Id"]})
        return {what: listed for what, listed in answer.items() if listed}


def _check(
    operation: str,
    entries: Sequence[JsonDict],
    members: set[str],
    more: Collection[str] = (),
) -> None:
    ids = [entry["Id"] for entry in entries]
    if not ids:
        raise client_error(operation, _SQS + "EmptyBatchRequest")
    if len(ids) > BATCH_ENTRIES:
        raise client_error(operation, _SQS + "TooManyEntriesInBatchRequest")
    if len(set(ids)) < len(ids):
        raise client_error(operation, _SQS + "BatchEntryIdsNotDistinct")
    if any(set(entry) - set(more) != members for entry in entries):
        raise NotImplementedError(f"{operation} with entries of other than {sorted(members)}")


def _shown(message: Message, names: Sequence[str]) -> JsonDict:
    attributes = {
        "SenderId": "AIDAFAKE",
        "SentTimestamp": f"{message.sent_at_s * 1000:.0f}",
        "ApproximateReceiveCount": str(message.receive_count),
        "ApproximateFirstReceiveTimestamp": f"{message.first_received_at_s * 1000:.0f}",
    }
    if message.group is not None:
        attributes["MessageGroupId"] = message.group
    asked = attributes if "All" in names else names
    shown = {
        "MessageId": message.message_id,
        "ReceiptHandle": message.receipt,
        "MD5OfBody": _md5(message.body),
        "Body": message.body,
    }
    return {**shown, "Attributes": {name: attributes[name] for name in asked}} if asked else shown


def _md5(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
