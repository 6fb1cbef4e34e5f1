"""A standard SQS queue in memory: messages that wait, messages that are hidden, dead letters.

Nothing here looks through all messages: to send, to receive and to delete one takes the same time
whatever the queue holds, and of a deleted one nothing is kept.

It is fair as AWS describes its fair queues. A tenant is a message group; a message without a group
is a tenant of its own. A tenant with messages waiting is a noisy neighbour

- if it has more than a tenth of all messages in flight, and at least 30 of them, or
- if it had more than a tenth of the consumers' recent time: from the receive of a message to its
  deletion or return. AWS does not say what recent is; here a second counts half after a minute.

A quiet tenant's message is given out before a noisy one's, the oldest first. If only noisy tenants
wait, the one with the fewest messages in flight is next. A tenant that has no message waiting is
quiet, and begins again. Kinder than SQS: it knows of each message at once.

Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues-detailed.html
"""

import heapq
import itertools
import math
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

# So many outdated entries are carried along before the hidden messages are sorted again.
_OUTDATED = 64
# When a tenant is noisy.
_NOISY_SHARE, _NOISY_IN_FLIGHT, _HALF_LIFE_S = 0.1, 30, 60.0
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
    tenant : str
        Its group; without one, its own id.
    number : int
        When it began to wait: a higher number is later.
    receipt : str
        The handle of the newest receive.
    visible_at_s : float
        When it comes back; 0 while it waits. A delayed one was not received yet.
    """

    message_id: str
    body: str
    sent_at_s: float
    group: str | None = None
    number: int = 0
    receive_count: int = 0
    first_received_at_s: float = 0.0
    received_at_s: float = 0.0
    receipt: str = ""
    visible_at_s: float = 0.0
    is_deleted: bool = False

    @property
    def tenant(self) -> str:
        return self.message_id if self.group is None else self.group


@dataclass
class Spent:
    """Seconds that somebody has spent; they count for less the longer ago that is."""

    seconds: float = 0.0
    at_s: float = 0.0

    def recent(self, now_s: float) -> float:
        return self.seconds * math.exp2((self.at_s - now_s) / _HALF_LIFE_S)

    def add(self, seconds: float, now_s: float) -> None:
        self.seconds, self.at_s = self.recent(now_s) + seconds, now_s


@dataclass
class Tenants:
    """What is known of the tenants: who waits since when, has what in flight, took which time."""

    waiting: dict[str, deque[Message]] = field(default_factory=dict)
    in_flight: Counter[str] = field(default_factory=Counter)
    all_in_flight: int = 0
    spent: dict[str, Spent] = field(default_factory=dict)
    spent_by_all: Spent = field(default_factory=Spent)
    # One entry for each tenant that waits: (the number of its first message, the tenant).
    _order: list[tuple[int, str]] = field(default_factory=list)

    def wait(self, message: Message) -> None:
        """Add a message that waits."""
        tenant = message.tenant
        if tenant not in self.waiting:
            self.waiting[tenant] = deque()
            heapq.heappush(self._order, (message.number, tenant))
        self.waiting[tenant].append(message)

    def next(self, now_s: float) -> Message | None:
        """Take out the message that is given out next; it may be one that was deleted."""
        noisy: list[tuple[int, str]] = []
        chosen: tuple[int, str] | None = None
        while self._order and chosen is None:
            entry = heapq.heappop(self._order)
            if self.is_noisy(entry[1], now_s):
                noisy.append(entry)
            else:
                chosen = entry
        if chosen is None and noisy:
            chosen = min(noisy, key=lambda entry: (self.in_flight[entry[1]], entry))
            noisy.remove(chosen)
        for entry in noisy:
            heapq.heappush(self._order, entry)
        return self._take(chosen[1]) if chosen else None

    def is_noisy(self, tenant: str, now_s: float) -> bool:
        """Whether a tenant with messages waiting is a noisy neighbour."""
        count = self.in_flight[tenant]
        if count >= _NOISY_IN_FLIGHT and count > _NOISY_SHARE * self.all_in_flight:
            return True
        spent = self.spent.get(tenant)
        share_s = _NOISY_SHARE * self.spent_by_all.recent(now_s)
        return spent is not None and spent.recent(now_s) > share_s

    def begin(self, message: Message) -> None:
        """A message is in flight."""
        self.in_flight[message.tenant] += 1
        self.all_in_flight += 1

    def end(self, message: Message, now_s: float) -> None:
        """A message is in flight no longer."""
        tenant, seconds = message.tenant, now_s - message.received_at_s
        self.in_flight[tenant] -= 1
        self.all_in_flight -= 1
        if not self.in_flight[tenant]:
            del self.in_flight[tenant]
        self.spent_by_all.add(seconds, now_s)
        if tenant in self.waiting:
            self.spent.setdefault(tenant, Spent()).add(seconds, now_s)

    def _take(self, tenant: str) -> Message:
        messages = self.waiting[tenant]
        message = messages.popleft()
        if messages:
            heapq.heappush(self._order, (messages[0].number, tenant))
        else:
            del self.waiting[tenant]
            self.spent.pop(tenant, None)
        return message


class FakeQueue:
    """The messages of one queue. Not thread-safe: the service has the lock."""

    def __init__(
        self, name: str, now_s: Callable[[], float], visibility_s: float, max_receives: int
    ) -> None:
        self.name = name
        self.visibility_s = visibility_s
        self.max_receives = max_receives
        self.dead_letters: list[Message] = []
        self._now_s = now_s
        self._numbers = itertools.count()
        self._turns = itertools.count()
        self._tenants = Tenants()
        self._hidden: list[tuple[float, int, Message]] = []
        self._received: dict[str, Message] = {}  # by message id
        self._waiting_count = 0
        self._hidden_count = 0

    def send(self, body: str, group: str | None = None, delay_s: float = 0) -> Message:
        """A new message, that waits, or will after its delay."""
        message_id = uuid.uuid5(_OF_QUEUES, f"{self.name}/{next(self._numbers)}")
        message = Message(str(message_id), body, self._now_s(), group)
        if delay_s:
            self._hide(message, delay_s)
        else:
            self._wait(message)
        return message

    def receive(self, visibility_s: float | None = None) -> Message | None:
        """The next message, hidden now; None if none waits. Those with no try left are dead."""
        self._show_again()
        while message := self._tenants.next(self._now_s()):
            if message.is_deleted:
                continue
            self._waiting_count -= 1
            if message.receive_count >= self.max_receives:
                self._forget(message)
                self.dead_letters.append(message)
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
            self._show(message)
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
        if visibility_s:
            self._hidden_count -= 1
            self._hide(message, visibility_s)
        else:
            self._show(message)
            self._wait(message)
        self._tidy()

    def waiting(self) -> int:
        """How many may be received now."""
        self._show_again()
        return self._waiting_count

    def hidden(self) -> int:
        """How many were received, and are neither deleted nor back."""
        self._show_again()
        return self._hidden_count - self.delayed()

    def delayed(self) -> int:
        """How many were sent with a delay that is not over."""
        self._show_again()
        entries = [entry for entry in self._hidden if not _is_outdated(entry)]
        return sum(not message.receive_count for _, _, message in entries)

    def next_visible_at_s(self) -> float | None:
        """When the next hidden message comes back."""
        self._drop_outdated()
        return self._hidden[0][0] if self._hidden else None

    def _hand_out(self, message: Message, visibility_s: float) -> None:
        message.receive_count += 1
        message.received_at_s = self._now_s()
        message.first_received_at_s = message.first_received_at_s or message.received_at_s
        message.receipt = f"{message.message_id}#{message.receive_count}#{uuid.uuid4().hex}"
        self._received[message.message_id] = message
        if visibility_s:
            self._tenants.begin(message)
            self._hide(message, visibility_s)
        else:
            self._wait(message)

    def _wait(self, message: Message) -> None:
        message.visible_at_s = 0.0
        message.number = next(self._turns)
        self._tenants.wait(message)
        self._waiting_count += 1

    def _hide(self, message: Message, visibility_s: float) -> None:
        message.visible_at_s = self._now_s() + visibility_s
        heapq.heappush(self._hidden, (message.visible_at_s, next(self._numbers), message))
        self._hidden_count += 1

    def _show(self, message: Message) -> None:
        self._hidden_count -= 1
        self._tenants.end(message, self._now_s())

    def _show_again(self) -> None:
        self._drop_outdated()
        while self._hidden and self._hidden[0][0] <= self._now_s():
            message = heapq.heappop(self._hidden)[2]
            self._show(message)
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
