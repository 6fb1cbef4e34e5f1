"""A burst of registrations against SES's rate and quota: what waits, what is mailed, and when.

Discrete events, with a fixed seed: a message waits in device-new's queue; Lambda takes batches of
it, in more and more runs at once; each mail takes a while; SES takes so many a second and a day,
and refuses the rest; what was refused is hidden for as long as `batch.back_off_s` says, and after
five tries lies among the dead letters.
"""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from chalicelib.aws.ses import MailNotSent
from chalicelib.engine.batch import Work, back_off_s
from chalicelib.engine.runner import Outcome
from chalicelib.handlers.all import registry

BATCH_MESSAGES = 10
MAX_RECEIVES = 5
DAY_S = 24 * 3600.0
# How Lambda grows with a queue: five batches at once at first, then 300 more each minute.
# Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
FIRST_RUNS, MORE_RUNS_A_SECOND, MAX_RUNS = 5, 5.0, 1000


@dataclass(frozen=True)
class Setting:
    """What is simulated.

    Attributes
    ----------
    burst, burst_s : int, float
        So many registrations, at random moments of so many seconds.
    ses_rate, ses_daily : float
        The mails that SES takes a second, and in any 24 hours.
    max_runs : int
        The most batches that are worked on at once (the mapping's maximum concurrency).
    polled_a_second : float
        The messages that the poller sends.
    mail_s, refusal_s : float
        What a mail takes, on average, and one that SES refuses.
    death_share : float
        How often a run ends in the middle of a batch: all that it had left comes back when its
        visibility time-out ends.
    """

    burst: int
    burst_s: float = 60
    ses_rate: float = 14
    ses_daily: float = 50_000
    max_runs: int = MAX_RUNS
    polled_a_second: float = 500
    mail_s: float = 0.2
    refusal_s: float = 0.1
    death_share: float = 0.0
    visibility_s: float = 180
    seed: int = 1


@dataclass
class Message:
    """A registration's message, and what became of it."""

    arrived_s: float
    tries: int = 0
    mailed_s: list[float] = field(default_factory=list)
    is_dead: bool = False


@dataclass(frozen=True)
class Result:
    """What came of a setting.

    Attributes
    ----------
    depths : list of (second, messages)
        How many had arrived, and were neither mailed nor dead.
    refused : int
        How often SES refused.
    """

    messages: list[Message]
    depths: list[tuple[float, float]]
    refused: int

    @property
    def waits_s(self) -> list[float]:
        """From each registration to its mail, in order."""
        return sorted(m.mailed_s[0] - m.arrived_s for m in self.messages if m.mailed_s)

    @property
    def dead(self) -> int:
        """How many lie among the dead letters."""
        return sum(message.is_dead for message in self.messages)


class Ses:
    """SES's two limits: a bucket that holds a second's mails, and a day's count."""

    def __init__(self, rate: float, daily: float) -> None:
        self._rate, self._daily = rate, daily
        self._tokens, self._at_s = rate, 0.0
        self._sent: deque[float] = deque()

    def takes(self, now_s: float) -> bool:
        """Whether a mail is taken now."""
        self._tokens = min(self._rate, self._tokens + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        while self._sent and self._sent[0] <= now_s - DAY_S:
            self._sent.popleft()
        if self._tokens < 1 or len(self._sent) >= self._daily:
            return False
        self._tokens -= 1
        self._sent.append(now_s)
        return True


class Simulation:
    """One run of a setting."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._random = random.Random(setting.seed)  # noqa: S311 - a simulation
        self._ses = Ses(setting.ses_rate, setting.ses_daily)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._waiting: deque[Message] = deque()
        self._runs = 0
        self._busy_since_s = 0.0
        self._open = 0
        self._refused = 0

    def run(self) -> Result:
        """Until every message is mailed or dead."""
        messages, depths = list(self._arrivals()), [(0.0, 0.0)]
        while self._events:
            now_s, _, happen = heapq.heappop(self._events)
            happen(now_s)
            if now_s >= depths[-1][0] + 1:
                depths.append((now_s, self._open))
        return Result(messages, depths, self._refused)

    def _arrivals(self) -> Iterator[Message]:
        setting, sent_s = self._setting, 0.0
        moments = sorted(self._random.uniform(0, setting.burst_s) for _ in range(setting.burst))
        for arrived_s in moments:
            sent_s = max(arrived_s, sent_s + 1 / setting.polled_a_second)
            message = Message(arrived_s)
            self._at(arrived_s, self._arrive)
            self._at(sent_s, self._shown(message))
            yield message

    def _arrive(self, now_s: float) -> None:
        self._open += 1

    def _shown(self, message: Message) -> Callable[[float], None]:
        def happen(now_s: float) -> None:
            if message.tries >= MAX_RECEIVES:
                message.is_dead = True
                self._open -= 1
                return
            if not self._waiting and not self._runs:
                self._busy_since_s = now_s
            self._waiting.append(message)
            self._begin_runs(now_s)

        return happen

    def _begin_runs(self, now_s: float) -> None:
        allowed = FIRST_RUNS + MORE_RUNS_A_SECOND * (now_s - self._busy_since_s)
        while self._waiting and self._runs < min(allowed, self._setting.max_runs):
            size = min(BATCH_MESSAGES, len(self._waiting))
            batch = deque(self._waiting.popleft() for _ in range(size))
            for message in batch:
                message.tries += 1
            self._runs += 1
            self._go_on(now_s, batch, [])

    def _go_on(self, now_s: float, batch: deque[Message], refused: list[Message]) -> None:
        """The next message of a run's batch; at its end, what was refused is hidden."""
        if batch and self._random.random() < self._setting.death_share:
            for message in (*batch, *refused):  # nobody has settled these
                self._at(now_s + self._setting.visibility_s, self._shown(message))
            self._end_run(now_s)
        elif batch:
            message = batch.popleft()
            is_taken = self._ses.takes(now_s)
            if is_taken:
                message.mailed_s.append(now_s)
                self._open -= 1
            else:
                self._refused += 1
                refused = [*refused, message]
            took_s = self._setting.mail_s if is_taken else self._setting.refusal_s
            after_s = now_s + took_s * self._random.uniform(0.5, 1.5)
            self._at(after_s, lambda now_s: self._go_on(now_s, batch, refused))
        else:
            for message in refused:
                self._at(now_s + hidden_s(message.tries), self._shown(message))
            self._end_run(now_s)

    def _end_run(self, now_s: float) -> None:
        self._runs -= 1
        self._begin_runs(now_s)

    def _at(self, moment_s: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (moment_s, next(self._order), happen))


def hidden_s(tries: int) -> float:
    """For how long batch.py hides a message whose mail SES has refused."""
    record = {"attributes": {"ApproximateReceiveCount": str(tries)}}
    return back_off_s(record, _WORK, MailNotSent("Throttling"))


def _never(*_: object) -> Outcome:
    raise NotImplementedError


_WORK = Work(
    transition=registry.transition("device", "new"),
    handle=_never,
    lease_s=90,
    remaining_s=lambda: 30.0,
    sqs=_never,  # type: ignore[arg-type]
    queue_url=_never,
)
