"""A world in which anything may happen, in any order; and what must hold when it is quiet again."""

from collections import Counter
from functools import cache, partial

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from chalicelib.domain.documents import generation_of
from chalicelib.engine.docstate import Transition
from tests.kit.tokens import take_apart
from tests.world.acts import ADA, CHANNEL, CHANNELS, DEVICES, GUESTS, Act, acts, invites
from tests.world.crew import Crew
from tests.world.faults import Kind
from tests.world.looks import leftovers
from tests.world.region import CONTROL, QUEUES, TABLE, TRANSITIONS
from tests.world.rules import broken
from tests.world.world import DAY_S, World

anything = st.sampled_from(acts())
numbers = st.integers(0, 30)
batches = st.sampled_from([1, 10])
requests = st.integers(0, 16)
kinds = st.sampled_from(Kind)


class Machine(RuleBasedStateMachine):
    """People and devices, workers, faults, and time."""

    def __init__(self) -> None:
        super().__init__()
        self.world = _beginning().copy()
        self.crew = Crew(self.world)
        self.lost_tables = 0

    @rule(act=anything)
    def somebody_acts(self, act: Act) -> None:
        act.do(self.world)

    @rule(act=anything)
    def somebody_acts_and_the_cloud_follows(self, act: Act) -> None:
        act.do(self.world)
        self.world.run_while_busy()

    @rule(first=anything, number=numbers, most=batches, stop=requests, act=anything)
    def somebody_acts_while_a_worker_stands_still(
        self, first: Act, number: int, most: int, stop: int, act: Act
    ) -> None:
        first.do(self.world)
        self.world.poll()
        self.start_a_worker(number, most, stop)
        act.do(self.world)
        self.world.run_while_busy()

    @rule(number=numbers, most=batches)
    def deliver(self, number: int, most: int) -> None:
        for transition in self._busy(number):
            self.world.deliver(transition, most)

    @rule(number=numbers, most=batches, stop=requests)
    def start_a_worker(self, number: int, most: int, stop: int) -> None:
        for transition in self._busy(number):
            self.crew.start(partial(self.world.deliver, transition, most), stop)

    @rule(stop=requests)
    def start_a_poller(self, stop: int) -> None:
        self.crew.start(self.world.poll, stop)

    @precondition(lambda self: self.crew.waiting)
    @rule(number=numbers, stop=requests)
    def resume(self, number: int, stop: int) -> None:
        self.crew.resume(number, stop)

    @precondition(lambda self: self.crew.waiting)
    @rule(number=numbers)
    def kill(self, number: int) -> None:
        self.crew.kill(number)

    @precondition(lambda self: self.world.received)
    @rule(number=numbers)
    def replay(self, number: int) -> None:
        self.world.replay(number)

    @rule(after=st.integers(0, 20), kind=kinds)
    def something_will_fail(self, after: int, kind: Kind) -> None:
        self.crew.faults.append((after, kind))

    @rule()
    def lose_the_table(self) -> None:
        self.world.aws.drop_table_items(TABLE)
        self.lost_tables += 1

    @rule(seconds=st.sampled_from([5.0, 20.0, 61.0, 95.0, 181.0, DAY_S + 1, 8 * DAY_S]))
    def time_passes(self, seconds: float) -> None:
        self.crew.pass_time(seconds)

    @rule()
    def sweep(self) -> None:
        self.world.sweep()

    def teardown(self) -> None:
        """Whatever happened: let it come to rest, and look."""
        self.crew.finish()
        self.world.run_until_quiet()
        for _ in range(2):
            self.world.redrive()
            self.world.run_until_quiet()
        found = [*broken(self.world), *leftovers(self.world)]
        assert [*found, *self._unmailed(), *self._mailed_again()] == []

    def _busy(self, number: int) -> list[Transition]:
        """One of those for which messages wait; the poller brings some if there are none."""
        for _ in range(2):
            if busy := [each for each in TRANSITIONS if self.world.aws.waiting(QUEUES[each])]:
                return [busy[number % len(busy)]]
            self.world.poll()
        return []

    def _unmailed(self) -> list[str]:
        """Devices that wait for a click on a link that was never sent."""
        links = {take_apart(mail.code)[:2] for mail in self.world.mails()}
        docs = self.world.couch.databases[CONTROL].docs().values()
        waiting = [doc for doc in docs if doc.get("state") == "confirming"]
        asked = [(doc["_id"], str(generation_of(doc))) for doc in waiting]
        return [f"no mail for {each}" for each in asked if each not in links]

    def _mailed_again(self) -> list[str]:
        """Mails that went out more often than kills, lost answers and lost tables explain."""
        sent = Counter((mail.to, mail.link) for mail in self.world.mails())
        most = 1 + self.crew.second_mails + self.lost_tables
        found = [f"{count} mails to {to}" for (to, _), count in sent.items() if count > most]
        again = sum(count - 1 for count in sent.values())
        if again > self.crew.second_mails and not self.lost_tables:
            found.append(f"{again} second mails, of which {self.crew.second_mails} are explained")
        return found


@cache
def _beginning() -> World:
    """Two owners with a device each; the one has a channel, and has invited two guests."""
    world = World.new()
    for phone in (DEVICES[0], DEVICES[2]):
        world.register(phone)
        world.run_until_quiet()
        world.click(phone)
        world.run_until_quiet()
    world.edit_own(ADA, CHANNELS[0], **CHANNEL)
    world.run_until_quiet()
    for guest in GUESTS:
        invites(world, ADA, CHANNELS[0], guest)
    world.run_until_quiet()
    return world
