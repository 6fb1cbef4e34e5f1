"""Everything that runs in the cloud, in one process and in virtual time, over the two fakes.

Each run of a Lambda is a process of its own: it has `Dependencies` of its own, knows nothing of
those before it, and all that it asks of CouchDB and AWS goes through the one gate. What CouchDB
and AWS do by themselves does not: the schedule, the event source mappings, the API.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from chalicelib.couch import Server
from chalicelib.engine.batch import BatchFailed, LambdaWork, handle_batch
from chalicelib.engine.dependencies import Dependencies
from chalicelib.engine.docstate import Transition
from chalicelib.handlers.all import registry
from chalicelib.settings import PollerSettings, queue_name
from poller.app import PollerDependencies, run
from poller.lease import LeaseLost
from tests.kit.basics import LINK_KEY, PUBLIC_URL, START, FakeLambdaContext
from tests.kit.fakes.aws import FakeAws
from tests.kit.fakes.couch import ADMIN_URL, FakeCouch
from tests.kit.fakes.executor import LazyExecutor
from tests.kit.fakes.sqs import URL
from tests.world.copies import copy_aws, copy_couch
from tests.world.faults import Killed
from tests.world.gate import Gate, Process

STAGE, CONTROL, TABLE, SECRET = "test", "control", "syncpoint", "syncpoint/test"
PARAMETER = "/syncpoint/test/public-url"
ENVIRON = {
    "STAGE": STAGE,
    "CONTROL_DB": CONTROL,
    "TABLE_NAME": TABLE,
    "SECRET_ID": SECRET,
    "PUBLIC_URL_PARAMETER": PARAMETER,
    "MAIL_FROM": "sync@example.com",
}
TRANSITIONS = tuple(registry)
QUEUES = {t: queue_name(STAGE, t.doc_type, t.state) for t in TRANSITIONS}
POLLER = PollerSettings.read(
    ENVIRON
    | {
        "POLL_WINDOW_SECONDS": "0",
        "ROUTES": json.dumps({f"{t.doc_type}/{t.state}": f"{URL}/{QUEUES[t]}" for t in QUEUES}),
    }
)
# As template.yaml and .chalice/config.json have them.
VISIBILITY_S, MAX_RECEIVES, HANDLER_TIMEOUT_S, SCHEDULE_S = 180, 5, 30.0, 60
# More turns than anything should take, and more waits.
MAX_TURNS, MAX_WAKES = 1000, 100


class NotQuiet(AssertionError):
    """The cloud is still at work after more turns than anything should take."""


@dataclass
class Clock:
    """The time, which stands still until it is moved."""

    now_s: float = START.timestamp()

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self.now_s, UTC)

    def time_s(self) -> float:
        return self.now_s

    def move(self, seconds: float) -> None:
        self.now_s += seconds


class Region:
    """CouchDB, AWS, and the Lambdas between them.

    Attributes
    ----------
    beginning : callable
        Told of each process by its name, before it does anything.
    received : list
        Each message that a handler was given: the queue, the body.
    """

    def __init__(self, clock: Clock, aws: FakeAws, couch: FakeCouch) -> None:
        self.clock, self.aws, self.couch = clock, aws, couch
        self.gate = Gate()
        self.received: list[tuple[str, str]] = []
        self.beginning: Callable[[str], None] = lambda name: None
        self._turn = 0
        self._idle_turns = 0
        self._next_poll_s = 0.0

    def copy(self) -> Self:
        """The same at this moment; what happens to the one does not happen to the other."""
        clock = Clock(self.clock.now_s)
        copied = type(self)(clock, copy_aws(self.aws, clock.time_s), copy_couch(self.couch))
        copied._turn, copied._idle_turns = self._turn, self._idle_turns
        copied._next_poll_s = self._next_poll_s
        return copied

    @classmethod
    def new(cls) -> Self:
        """As a deployment leaves it."""
        clock = Clock()
        aws, couch = FakeAws(clock.time_s), FakeCouch()
        aws.create_table(TABLE)
        for name in QUEUES.values():
            aws.create_queue(name, visibility_s=VISIBILITY_S, max_receives=MAX_RECEIVES)
        secret = {"couchdb_url": ADMIN_URL, "link_keys": [LINK_KEY.hex()]}
        aws.put_secret(SECRET, json.dumps(secret))
        aws.put_parameter(PARAMETER, PUBLIC_URL)
        couch.create(CONTROL)
        return cls(clock, aws, couch)

    @property
    def server(self) -> Server:
        """CouchDB as its administrator sees it, not through the gate."""
        return self.couch.server()

    def begin(self, name: str) -> Process:
        """A process that is about to run."""
        self.beginning(name)
        return Process(name)

    def dependencies(self, process: Process) -> Dependencies:
        """What a new process makes of its environment."""
        around = self.gate.around(process)
        return Dependencies(
            ENVIRON,
            self.clock,
            lambda service: self.aws.client(service, around),
            lambda url: Server(url, self.couch.adapter(around), self.clock.move),
        )

    def redrive(self) -> None:
        """The operator brings the dead letters back: `make redrive`."""
        sqs = self.aws.client("sqs")
        for name, queue in self.aws._sqs.queues.items():
            letters = [queue.dead_letters.pop() for _ in list(queue.dead_letters)]
            for number, body in enumerate(letters):
                entry = {"Id": str(number), "MessageBody": body}
                sqs.send_message_batch(QueueUrl=f"{URL}/{name}", Entries=[entry])

    def replay(self, number: int) -> None:
        """A message that was received before comes again, whatever became of it."""
        queue, body = self.received[number % len(self.received)]
        entry = {"Id": "0", "MessageBody": body}
        self.aws.client("sqs").send_message_batch(QueueUrl=f"{URL}/{queue}", Entries=[entry])

    def run_until_quiet(self) -> None:
        """Let the cloud work, and time pass, until nothing is left to be done."""
        for _ in range(MAX_WAKES):
            self.run_while_busy()
            wake_s = self._wakes_at_s()
            if wake_s is None:
                return
            self.clock.now_s = max(self.clock.now_s, wake_s)
        raise NotQuiet(f"still at work at {self.clock()}")

    def run_while_busy(self) -> None:
        """Let the cloud do what it can do at this moment."""
        for _ in range(MAX_TURNS):
            if self._idle_turns > len(TRANSITIONS):
                self._idle_turns = 0
                return
            self.take_turn()
        raise NotQuiet(f"no end of work at {self.clock()}")

    def take_turn(self) -> None:
        """The poller and the queues, one after another."""
        is_busy = self.deliver(TRANSITIONS[self._turn - 1]) if self._turn else self.poll()
        self._turn = (self._turn + 1) % (len(TRANSITIONS) + 1)
        self._idle_turns = 0 if is_busy else self._idle_turns + 1

    def poll(self) -> bool:
        """A run of the poller, if one is due; whether it sent anything."""
        if self.clock.now_s < self._next_poll_s:
            return False
        return self._poll(self.begin("poller"))

    def deliver(self, transition: Transition, most: int = 10) -> bool:
        """A batch of a queue's messages to its handler, if any wait."""
        if not self.aws.waiting(QUEUES[transition]):
            return False
        process = self.begin(f"{transition.doc_type}/{transition.state}")
        records = self.aws.receive(QUEUES[transition], most)
        if records:
            self.received += [(QUEUES[transition], record["body"]) for record in records]
            self._handle(process, transition, records)
        return True

    def _poll(self, process: Process) -> bool:
        around = self.gate.around(process)
        dependencies = PollerDependencies(
            client=lambda service: self.aws.client(service, around),
            server=lambda url: Server(url, self.couch.adapter(around), self.clock.move),
            now_s=self.clock.time_s,
            monotonic_s=self.clock.time_s,
            pause=self.clock.move,
            executor=LazyExecutor,
        )
        try:
            result = run(POLLER, dependencies=dependencies)
        except LeaseLost:  # to another poller, or with the table
            result = {"polled": False}
        except (Exception, Killed):
            _forgive(process)
            result = {"polled": False}
        if result["polled"]:
            return bool(result["sent"])
        self._next_poll_s = self.clock.now_s + SCHEDULE_S
        return False

    def _handle(
        self, process: Process, transition: Transition, records: list[dict[str, Any]]
    ) -> None:
        """What Lambda does with a batch: its messages are deleted if the function returns."""
        left = FakeLambdaContext(HANDLER_TIMEOUT_S)
        work = LambdaWork(self.dependencies(process), registry, transition, left)
        try:
            handle_batch(records, work)
        except BatchFailed:
            return
        except (Exception, Killed):
            _forgive(process)
        else:
            self.aws.delete(QUEUES[transition], records)

    def _wakes_at_s(self) -> float | None:
        """When there is something to do again, if nothing else happens."""
        times = [self._next_poll_s] if self.clock.now_s < self._next_poll_s else []
        next_message_s = self.aws.next_visible_at_s()
        return min([*times, *([] if next_message_s is None else [next_message_s])], default=None)


def _forgive(process: Process) -> None:
    """Let what a process died of pass, if a fault hit it; without one it is a defect."""
    if not process.was_hit:
        raise
