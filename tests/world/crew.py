"""Processes that stand still in the middle while others run, and faults that come at some request.

A process runs in a greenlet, which the gate leaves at the request where it is to stand still. Once
it has been at work for longer than its Lambda may, it is killed where it stands.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import greenlet  # type: ignore[import-untyped]

from tests.world.faults import Kind
from tests.world.gate import Gate, Process
from tests.world.region import HANDLER_TIMEOUT_S
from tests.world.world import World

SES = "sesv2.SendEmail"


@dataclass
class Worker:
    """A process, and how many requests it may send before it stands still again."""

    run: greenlet.greenlet
    began_s: float
    left: int
    process: Process | None = None
    last_asked: str = ""


@dataclass
class Crew:
    """The gate of a world in which anything may happen.

    Attributes
    ----------
    faults : list
        (after how many requests of anybody, which kind); the first one counts first.
    second_mails : int
        How many mails may have gone out twice by now, and nobody could have told.
    """

    world: World
    waiting: list[Worker] = field(default_factory=list)
    faults: list[tuple[int, Kind]] = field(default_factory=list)
    second_mails: int = 0
    _last_asked: dict[int, str] = field(default_factory=dict)
    _workers: dict[int, Worker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world.gate = Gate(self._meets)

    def start(self, act: Callable[[], object], requests: int) -> None:
        """Begin a process, which stands still before it has sent one request too many."""
        run = greenlet.greenlet(act)
        worker = Worker(run, self.world.clock.now_s, requests)
        self._workers[id(run)] = worker
        run.switch()
        self._keep(worker)

    def resume(self, number: int, requests: int) -> None:
        """One of those that stand still goes on, for some requests."""
        worker = self.waiting.pop(number % len(self.waiting))
        self._kill_if_overdue(worker)
        worker.left = requests
        worker.run.switch()
        self._keep(worker)

    def kill(self, number: int) -> None:
        """One of those that stand still goes on no more."""
        worker = self.waiting.pop(number % len(self.waiting))
        self._kill(worker)
        worker.run.switch()
        self._keep(worker)

    def pass_time(self, seconds: float) -> None:
        """Move the clock: those who have stood still for too long are killed."""
        self.world.clock.move(seconds)
        for worker in list(self.waiting):
            if self._kill_if_overdue(worker):
                self.waiting.remove(worker)
                worker.run.switch()

    def finish(self) -> None:
        """No more faults; those who stand still go on to their ends."""
        self.faults.clear()
        while self.waiting:
            self.resume(0, 10**6)

    def _keep(self, worker: Worker) -> None:
        if worker.run.dead:
            del self._workers[id(worker.run)]
        else:
            self.waiting.append(worker)

    def _kill_if_overdue(self, worker: Worker) -> bool:
        is_overdue = self.world.clock.now_s - worker.began_s > HANDLER_TIMEOUT_S
        if is_overdue:
            self._kill(worker)
        return is_overdue

    def _kill(self, worker: Worker) -> None:
        assert worker.process  # it has asked for something, and stands still there
        worker.process.is_dead = worker.process.was_hit = True
        self.second_mails += self._last_asked.get(id(worker.process)) == SES

    def _meets(self, process: Process, name: str) -> Kind | None:
        worker = self._workers.get(id(greenlet.getcurrent()))
        if worker:
            worker.process = process
            if worker.left <= 0:
                worker.run.parent.switch()
            worker.left -= 1
        kind = self._fault()
        before = self._last_asked.get(id(process))
        self._last_asked[id(process)] = name
        if kind and (before == SES or (name == SES and kind.takes_effect)):
            self.second_mails += 1
        return kind

    def _fault(self) -> Kind | None:
        if not self.faults:
            return None
        after, kind = self.faults[0]
        if after:
            self.faults[0] = (after - 1, kind)
            return None
        self.faults.pop(0)
        return kind
