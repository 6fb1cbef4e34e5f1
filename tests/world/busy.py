"""The cloud in virtual time where requests take time, and Lambdas run at the same time.

Each run of a Lambda is a greenlet. At each of its requests it waits for as long as the answer is
assumed to take (bench/estimate.py), while the others go on. A queue has as many workers, and a
batch as many messages, as app.py says. A worker takes the next batch as soon as it has finished
one. The queues are fair as tests/kit/fakes/sqs_queue.py says. The poller runs each minute, for the
length of its window.

Not modelled: cold starts, CouchDB or SES becoming slower under load, CouchDB's own delay of
``_db_updates`` (some 0.4 s, which would make idle and flood more alike), and Lambda's readers that
receive messages before a worker is free.
"""

import functools
import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec, TypeVar

import greenlet  # type: ignore[import-untyped]

from bench.estimate import COUCHDB_S, DYNAMODB_S, OWN_S, SES_S
from chalicelib.couch import Server
from chalicelib.engine.docstate import Transition
from chalicelib.settings import PollerSettings
from local.lambdas import load_app, queue_sources
from local.system import ROOT
from poller.app import MAX_REQUESTS_AT_ONCE, PollerDependencies, run
from tests.world.gate import Gate, Process
from tests.world.region import POLLER, QUEUES, SCHEDULE_S, STAGE, TRANSITIONS, Clock
from tests.world.world import World

Params = ParamSpec("Params")
Result = TypeVar("Result")

SHIPPED_POLLER = replace(POLLER, window_s=50)  # as template.yaml has it
# How long somebody who waits for something looks away.
STEP_S = 0.001
# The poller's own time for a change: docs/performance.md has some 15,000 a second.
CHANGE_S = 1 / 15_000
SQS_S = 0.010
# A Lambda has the secret and the URL in memory from an earlier run.
ANSWERS_S = {"couchdb": COUCHDB_S, "dynamodb": DYNAMODB_S, "sesv2": SES_S, "sqs": SQS_S}


@dataclass
class Timeline:
    """Greenlets, each of which goes on when its time has come; only they move the clock."""

    clock: Clock
    _due: list[tuple[float, int, Any]] = field(default_factory=list)
    _numbers: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self._main = greenlet.getcurrent()

    def start(self, act: Callable[[], object], after_s: float = 0.0) -> None:
        """Begin something, now or later."""
        self._put(greenlet.greenlet(act, self._main), after_s)

    def sleep(self, seconds: float) -> None:
        """Let the greenlet that calls this wait."""
        self._put(greenlet.getcurrent(), seconds)
        self._main.switch()

    def run(self) -> None:
        """Go on until everything that was begun has ended."""
        while self._due:
            at_s, _, one = heapq.heappop(self._due)
            self.clock.now_s = max(self.clock.now_s, at_s)
            one.switch()

    def _put(self, one: Any, after_s: float) -> None:
        heapq.heappush(self._due, (self.clock.now_s + after_s, next(self._numbers), one))


class TimelineFuture(Future[Any]):
    """A call whose result a greenlet waits for."""

    def __init__(self, timeline: Timeline, call: Callable[[], Any]) -> None:
        super().__init__()
        self.call = call
        self._timeline = timeline

    def result(self, timeout: float | None = None) -> Any:
        while not self.done():
            self._timeline.sleep(STEP_S)
        return super().result(timeout)


class TimelineExecutor(Executor):
    """Makes some calls at the same time, each in a greenlet; the others wait."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._waiting: deque[TimelineFuture] = deque()
        self._running = 0

    def submit(
        self, fn: Callable[Params, Result], /, *args: Params.args, **kwargs: Params.kwargs
    ) -> Future[Result]:
        future = TimelineFuture(self._timeline, functools.partial(fn, *args, **kwargs))
        self._waiting.append(future)
        self._begin()
        return future

    def _begin(self) -> None:
        while self._waiting and self._running < MAX_REQUESTS_AT_ONCE:
            self._running += 1
            self._timeline.start(functools.partial(self._call, self._waiting.popleft()))

    def _call(self, future: TimelineFuture) -> None:
        try:
            future.set_result(future.call())
        except Exception as exc:
            future.set_exception(exc)
        self._running -= 1
        self._begin()


class BusyCloud:
    """The poller and all workers over a world's CouchDB and AWS.

    Parameters
    ----------
    is_fair : bool
        Whether messages name their groups, and batches are as small as they ship. Without it the
        cloud is what it was before: batches of ten, the oldest message first.
    """

    def __init__(
        self, world: World, poller: PollerSettings = SHIPPED_POLLER, *, is_fair: bool = True
    ) -> None:
        self.world = world
        self._poller = poller
        self.timeline = Timeline(world.clock)
        self._is_fair = is_fair
        self._is_over = False
        self._busy: Counter[Transition] = Counter()
        self._limits = limits()
        world.gate = Gate(self._meets)
        world.couch.waited = self._wait_for_change
        self.timeline.start(self._poll)

    def run(self, *acts: Callable[[], object]) -> None:
        """Let time pass until these acts have ended; then whatever is running ends, too."""
        left = len(acts)

        def count_down(act: Callable[[], object]) -> None:
            nonlocal left
            act()
            left -= 1
            self._is_over = not left

        for act in acts:
            self.timeline.start(functools.partial(count_down, act))
        self.timeline.run()

    def _meets(self, process: Process, name: str) -> None:
        self.timeline.sleep(ANSWERS_S.get(name.partition(".")[0], 0.0))

    def _poll(self) -> None:
        """The schedule of the poller."""
        while not self._is_over:
            next_s = self.world.clock.now_s + SCHEDULE_S
            process = self.world.begin("poller")
            around = functools.partial(self._around_poller, self.world.gate.around(process))
            dependencies = PollerDependencies(
                client=functools.partial(self._client, around),
                server=functools.partial(self._server, around),
                now_s=self.world.clock.time_s,
                monotonic_s=self.world.clock.time_s,
                pause=self.timeline.sleep,
                executor=lambda: TimelineExecutor(self.timeline),
            )
            run(self._poller, lambda: self._is_over, dependencies)
            while self.world.clock.now_s < next_s and not self._is_over:
                self.timeline.sleep(min(1.0, next_s - self.world.clock.now_s))

    def _client(self, around: Any, service: str) -> Any:
        return self.world.aws.client(service, around)

    def _server(self, around: Any, url: str) -> Server:
        return Server(url, self.world.couch.adapter(around))

    def _around_poller(self, ask: Any, name: str, call: Any) -> Any:
        if name == "sqs.SendMessageBatch" and not self._is_fair:
            entries = [
                {"Id": entry["Id"], "MessageBody": entry["MessageBody"]}
                for entry in call.keywords["Entries"]
            ]
            call = functools.partial(call.func, **{**call.keywords, "Entries": entries})
        answer = ask(name, call)
        if name.endswith("/_changes"):
            self.timeline.sleep(answer.raw.getvalue().count(b'"changes": ') * CHANGE_S)
        if name == "sqs.SendMessageBatch":
            for transition in TRANSITIONS:
                self._begin_work(transition)
        return answer

    def _wait_for_change(self, wait_s: float) -> None:
        """The answer of a longpoll: as soon as a database has changed."""
        feed = self.world.couch.databases["_global_changes"]
        seen, until_s = len(feed.log), self.world.clock.now_s + wait_s
        while len(feed.log) == seen and self.world.clock.now_s < until_s and not self._is_over:
            self.timeline.sleep(STEP_S)

    def _begin_work(self, transition: Transition) -> None:
        """Give batches to the workers of a queue that are free."""
        batch, concurrency = self._limits[transition]
        while (
            not self._is_over
            and self._busy[transition] < concurrency
            and self.world.aws.waiting(QUEUES[transition])
        ):
            records = self.world.aws.receive(QUEUES[transition], batch if self._is_fair else 10)
            self.world.received += [(QUEUES[transition], record["body"]) for record in records]
            self._busy[transition] += 1
            self.timeline.start(functools.partial(self._work, transition, records))

    def _work(self, transition: Transition, records: list[dict[str, Any]]) -> None:
        self.timeline.sleep(OWN_S)
        process = self.world.begin(f"{transition.doc_type}/{transition.state}")
        self.world._handle(process, transition, records)
        self._busy[transition] -= 1
        self._begin_work(transition)


def limits() -> dict[Transition, tuple[int, int]]:
    """How many messages a batch of each queue has, and how many batches run at the same time."""
    shipped = {
        str(source.queue).split("-", 2)[2]: (source.batch_size, source.maximum_concurrency or 0)
        for source in queue_sources(load_app(ROOT))
    }
    return {t: shipped[name.removeprefix(f"syncpoint-{STAGE}-")] for t, name in QUEUES.items()}
