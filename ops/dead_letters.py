"""Parse a dead letter, and describe it for an operator. No I/O."""

import re
from dataclasses import dataclass
from typing import Any

from chalicelib.engine.docstate import Registry
from chalicelib.engine.runner import InvalidMessage, Message

_ADDRESS = re.compile(r"[^\s@<>\"',;:]+@[^\s@<>\"',;]+")
_MAX_LENGTH = 120


@dataclass(frozen=True)
class DeadLetter:
    """A message that failed too often.

    Attributes
    ----------
    message : Message or None
        The parsed message; None if it is not a message of the poller.
    sent_at_s : float
        When it was first sent, in seconds since 1970.
    group : str or None
        Who caused it (`poller.messages.group_of`), for the fairness of the queue that it goes to.
    """

    message_id: str
    receipt_handle: str
    body: str
    message: Message | None
    receive_count: int
    sent_at_s: float
    group: str | None

    @classmethod
    def read(cls, received: Any, registry: Registry) -> "DeadLetter":
        """Parse a message from SQS, with its system attributes."""
        attributes = received.get("Attributes", {})
        return cls(
            message_id=received["MessageId"],
            receipt_handle=received["ReceiptHandle"],
            body=received["Body"],
            message=_ours(received["Body"], registry),
            receive_count=int(attributes.get("ApproximateReceiveCount", "0")),
            sent_at_s=int(attributes.get("SentTimestamp", "0")) / 1000,
            group=attributes.get("MessageGroupId"),
        )

    def summary(self, now_s: float) -> str:
        """Say what it is, how often it was received and how old it is, without any address."""
        times = "once" if self.receive_count == 1 else f"{self.receive_count} times"
        tried = f"received {times}, {age(now_s - self.sent_at_s)} old"
        if self.message is None:
            return f"message {self.message_id}: not a message of the poller; {tried}"
        doc_type, state = self.message.doc_type, self.message.state
        doc_id, db = shown(self.message.doc_id), shown(self.message.db)
        return f"{doc_type}/{state} {doc_id} in {db}: {tried}"


def age(seconds: float) -> str:
    """Return a duration in the largest unit that fits."""
    for size_s, unit in ((24 * 3600, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size_s:
            return f"{seconds / size_s:.1f} {unit}"
    return f"{max(seconds, 0):.0f} seconds"


def shown(text: str) -> str:
    """Make a stranger's text safe for a terminal: printable, short, and without addresses."""
    printable = "".join(char if char.isprintable() else "?" for char in text)
    masked = _ADDRESS.sub("…@…", printable)
    return masked if len(masked) <= _MAX_LENGTH else masked[:_MAX_LENGTH] + "…"


def _ours(body: str, registry: Registry) -> Message | None:
    try:
        message = Message.parse(body)
    except InvalidMessage:
        return None
    routes = {(transition.doc_type, transition.state) for transition in registry}
    return message if (message.doc_type, message.state) in routes else None
