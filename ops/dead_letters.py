"""A dead letter: whose it is, what it says of itself, and how it is told to an operator. No I/O."""

import re
from dataclasses import dataclass
from typing import Any

from chalicelib.engine.docstate import Registry
from chalicelib.engine.runner import InvalidMessage, Message

_ADDRESS = re.compile(r"[^\s@<>\"',;:]+@[^\s@<>\"',;]+")
_LONGEST = 120


@dataclass(frozen=True)
class DeadLetter:
    """A message that its function gave up on.

    Attributes
    ----------
    message : Message or None
        What it asks for; None if it is none of the poller's.
    sent_at_s : float
        When it was first sent, in seconds since 1970.
    """

    message_id: str
    receipt_handle: str
    body: str
    message: Message | None
    receive_count: int
    sent_at_s: float

    @classmethod
    def read(cls, received: Any, registry: Registry) -> "DeadLetter":
        """Read a message as SQS gives it, with its system attributes."""
        attributes = received.get("Attributes", {})
        return cls(
            message_id=received["MessageId"],
            receipt_handle=received["ReceiptHandle"],
            body=received["Body"],
            message=_ours(received["Body"], registry),
            receive_count=int(attributes.get("ApproximateReceiveCount", "0")),
            sent_at_s=int(attributes.get("SentTimestamp", "0")) / 1000,
        )

    def about(self, now_s: float) -> str:
        """What it is, how often it was tried, how old it is; no address and nothing of the body."""
        times = "once" if self.receive_count == 1 else f"{self.receive_count} times"
        tried = f"received {times}, {age(now_s - self.sent_at_s)} old"
        if self.message is None:
            return f"message {self.message_id}: none of the poller's; {tried}"
        doc_type, state = self.message.doc_type, self.message.state
        doc_id, db = shown(self.message.doc_id), shown(self.message.db)
        return f"{doc_type}/{state} {doc_id} in {db}: {tried}"


def age(seconds: float) -> str:
    """How long that is, in the largest unit that fits."""
    for size_s, unit in ((24 * 3600, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size_s:
            return f"{seconds / size_s:.1f} {unit}"
    return f"{max(seconds, 0):.0f} seconds"


def shown(text: str) -> str:
    """A text that a stranger may have written, fit for a terminal, and without an address."""
    printable = "".join(char if char.isprintable() else "?" for char in text)
    masked = _ADDRESS.sub("…@…", printable)
    return masked if len(masked) <= _LONGEST else masked[:_LONGEST] + "…"


def _ours(body: str, registry: Registry) -> Message | None:
    try:
        message = Message.parse(body)
    except InvalidMessage:
        return None
    routes = {(transition.doc_type, transition.state) for transition in registry}
    return message if (message.doc_type, message.state) in routes else None
