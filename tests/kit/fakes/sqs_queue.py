"""A standard SQS queue in memory: messages that wait, messages that are hidden, dead letters.

Nothing here looks through all messages: to send, to receive and to delete one takes the same time
whatever the queue holds, and of a deleted one nothing is kept.
"""

import heapq
import itertools
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

# So many outdated entries are carried along before the hidden messages are sorted again.
_OUTDATED = 64
# A world that is run again has the same messages, with the same ids.
_OF_QUEUES = uuid.UUID(int=0)


class NoSuchReceipt(Exception):
    """No message was ever received with this handle, or SQS has forgotten it."""


class NotInFlight(Exception):
    """The message waits already: it has no visibility time-out to change."""


@dataclass(eq=False)
class Message:
    """One message.

    Attributes
    ----------
    receipt : str
        The handle of the newest receive.
    visible_at_s : float
        When it comes back; 0 while it waits.
    """

    message_id: str
    body: str
    sent_at_s: float
    receive_count: int = 0
    first_received_at_s: float = 0.0
    receipt: str = ""
    visible_at_s: float = 0.0
    is_deleted: bool = False


class FakeQueue:
    """The messages of one queue. Not thread-safe: the service has the lock."""

    def __init__(
        self, name: str, now_s: Callable[[], float], visibility_s: float, max_receives: int
    ) -> None:
        self.name = name
        self.visibility_s = visibility_s
        self.max_receives = max_receives
        self.dead_letters: list[str] = []
        self._now_s = now_s
        self._numbers = itertools.count()
        self._waiting: deque[Message] = deque()
        self._hidden: list[tuple[float, int, Message]] = []
        self._received: dict[str, Message] = {}  # by message id
        self._waiting_count = 0
        self._hidden_count = 0

    def send(self, body: str) -> Message:
        """A new message, that waits."""
        message_id = uuid.uuid5(_OF_QUEUES, f"{self.name}/{next(self._numbers)}")
        message = Message(str(message_id), body, self._now_s())
        self._wait(message)
        return message

    def receive(self, visibility_s: float | None = None) -> Message | None:
        """The next message, hidden now; None if none waits. Those with no try left are dead."""
        self._show_again()
        while self._waiting:
            message = self._waiting.popleft()
            if message.is_deleted:
                continue
            self._waiting_count -= 1
            if message.receive_count >= self.max_receives:
                self._forget(message)
                self.dead_letters.append(message.body)
                continue
            self._hand_out(message, self.visibility_s if visibility_s is None else visibility_s)
            return message
        return None

    def delete(self, receipt: str) -> None:
        """Delete the message; nothing happens if it is gone, or was received again since."""
        message = self._find(receipt)
        if message is None or message.receipt != receipt:
            return
        if message.visible_at_s:
            self._hidden_count -= 1
            self._tidy()
        else:
            self._waiting_count -= 1
        self._forget(message)

    def hide(self, receipt: str, visibility_s: float) -> None:
        """Change when a hidden message comes back."""
        self._show_again()
        message = self._find(receipt)
        if message is None:
            raise NoSuchReceipt
        if not message.visible_at_s or message.receipt != receipt:
            raise NotInFlight
        self._hidden_count -= 1
        if visibility_s:
            self._hide(message, visibility_s)
        else:
            self._wait(message)
        self._tidy()

    def waiting(self) -> int:
        """How many may be received now."""
        self._show_again()
        return self._waiting_count

    def hidden(self) -> int:
        """How many were received, and are neither deleted nor back."""
        self._show_again()
        return self._hidden_count

    def next_visible_at_s(self) -> float | None:
        """When the next hidden message comes back."""
        self._drop_outdated()
        return self._hidden[0][0] if self._hidden else None

    def _hand_out(self, message: Message, visibility_s: float) -> None:
        message.receive_count += 1
        message.first_received_at_s = message.first_received_at_s or self._now_s()
        message.receipt = f"{message.message_id}#{message.receive_count}#{uuid.uuid4().hex}"
        self._received[message.message_id] = message
        if visibility_s:
            self._hide(message, visibility_s)
        else:
            self._wait(message)

    def _wait(self, message: Message) -> None:
        message.visible_at_s = 0.0
        self._waiting.append(message)
        self._waiting_count += 1

    def _hide(self, message: Message, visibility_s: float) -> None:
        message.visible_at_s = self._now_s() + visibility_s
        heapq.heappush(self._hidden, (message.visible_at_s, next(self._numbers), message))
        self._hidden_count += 1

    def _show_again(self) -> None:
        self._drop_outdated()
        while self._hidden and self._hidden[0][0] <= self._now_s():
            message = heapq.heappop(self._hidden)[2]
            self._hidden_count -= 1
            self._wait(message)
            self._drop_outdated()

    def _drop_outdated(self) -> None:
        while self._hidden and _is_outdated(self._hidden[0]):
            heapq.heappop(self._hidden)

    def _tidy(self) -> None:
        if len(self._hidden) > 2 * self._hidden_count + _OUTDATED:
            self._hidden = [entry for entry in self._hidden if not _is_outdated(entry)]
            heapq.heapify(self._hidden)

    def _find(self, receipt: str) -> Message | None:
        message_id, _, rest = receipt.partition("#")
        if not rest:
            raise NoSuchReceipt
        return self._received.get(message_id)

    def _forget(self, message: Message) -> None:
        message.is_deleted = True
        message.visible_at_s = 0.0
        self._received.pop(message.message_id, None)


def _is_outdated(entry: tuple[float, int, Message]) -> bool:
    visible_at_s, _, message = entry
    return message.visible_at_s != visible_at_s
