"""Every interleaving of a few actors, with the real code as the model: an explicit-state search.

A state is data: what the actors share, and what each of them has heard since it began. Whoever has
heard the same does the same next, so states that are equal are explored once:

    start ── A's request ──> state ── the clock jumps ──> state ── B crashes ──> state ── …

From each state all is tried that may come next: an actor's request goes through; what else may
become of it (its answer is lost, …); the actor crashes, and restarts; an event of the world.
Breadth comes first, so the way to what breaks an invariant is a shortest one.
"""

import hashlib
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from tests.model.scheduler import Actor, Broken, Program, Scheduler

# Who, and what comes: the request by its name, what else becomes of it, or `CRASH`; or the event.
Choice = tuple[str, str]

CRASH = "crash"
EVENT = "event"

# Random ids differ by nothing but their names; they are told by the order of their appearance. So
# are actors, if they are called by such names: which of two alike does a thing is all the same.
_RANDOM_ID = re.compile("[0-9a-f]{32}")


class World(Protocol):
    """What is explored: what the actors share, and their programs."""

    programs: Mapping[str, Program]

    def save(self) -> Any:
        """A copy of all that the actors share, for `load`."""

    def load(self, saved: Any) -> None:
        """Put all back as it was. It may be asked for again."""

    def describe(self, name: str = "") -> str:
        """All that decides what may come: what is noted of an actor, or all the rest."""

    def events(self) -> Mapping[str, Callable[[], Collection[str]]]:
        """What may happen by itself now; each returns the actors that do not outlive it."""

    def crash(self, name: str) -> None:
        """An actor crashed: all that it knew is gone."""

    def check(self) -> None:
        """Assert what must hold after each step."""

    def check_end(self) -> None:
        """Assert what must hold once no actor has anything left to do. It may change the world."""


class Violation(AssertionError):
    """An invariant does not hold; the text tells the way there."""


@dataclass(frozen=True)
class Bounds:
    """How many rounds each actor has; how many crashes and faults they have all together."""

    rounds: int = 1
    crashes: int = 0
    faults: int = 0


@dataclass(frozen=True)
class State:
    """All that decides what may come; `left` has the crashes and faults that still may."""

    shared: Any
    actors: Mapping[str, Actor]
    left: Bounds


@dataclass
class Explorer:
    """Explores a world within bounds.

    Afterwards `ways` has every distinct state and, one for each step, the states it leads to.
    """

    world: World
    scheduler: Scheduler
    bounds: Bounds = Bounds()
    ways: dict[bytes, list[bytes]] = field(default_factory=dict)
    _came: dict[bytes, tuple[bytes, Choice]] = field(default_factory=dict)

    def explore(self) -> "Explorer":
        """Visit every state; raise `Violation` at the first that breaks an invariant."""
        actors = {name: self._begun(name, 0) for name in self.world.programs}
        state = State(self.world.save(), actors, self.bounds)
        todo = deque([(self._key(state), state)])
        self.ways[todo[0][0]] = []
        while todo:
            key, state = todo.popleft()
            for choice in self._choices(state):
                after_key, after = self._after(state, choice, key)
                self.ways[key].append(after_key)
                if after_key not in self.ways:
                    self.ways[after_key] = []
                    self._came[after_key] = key, choice
                    todo.append((after_key, after))
        return self

    @property
    def steps(self) -> int:
        """How many steps there are from state to state."""
        return sum(map(len, self.ways.values()))

    def interleavings(self) -> int:
        """How many ways lead from the start to an end. No step leads back: it uses something up."""
        start = next(iter(self.ways))
        counts: dict[bytes, int] = {}
        todo = [start]
        while todo:
            missing = [after for after in self.ways[todo[-1]] if after not in counts]
            if missing:
                todo.extend(missing)
            else:
                key = todo.pop()
                counts[key] = sum(counts[after] for after in self.ways[key]) or 1
        return counts[start]

    def _choices(self, state: State) -> Iterator[Choice]:
        alive = [(name, actor.awaits) for name, actor in state.actors.items() if actor.awaits]
        for name, (request, *faults) in alive:
            yield name, request
            if state.left.faults:
                yield from ((name, fault) for fault in faults)
            if state.left.crashes:
                yield name, CRASH
        if alive:
            self.world.load(state.shared)
            yield from [(EVENT, event) for event in self.world.events()]

    def _after(self, state: State, choice: Choice, key: bytes) -> tuple[bytes, State]:
        self.world.load(state.shared)
        try:
            after = self._step(state, *choice)
            self.world.check()
            after = replace(after, shared=self.world.save())
            after_key = self._key(after)
            if after_key not in self.ways and not any(a.awaits for a in after.actors.values()):
                self.world.check_end()
        except (AssertionError, Broken) as exc:
            raise Violation(f"{exc}\n{self._way(key, choice)}") from exc
        return after_key, after

    def _step(self, state: State, name: str, what: str) -> State:
        if name == EVENT:
            dead = self.world.events()[what]()
            return replace(state, actors={**state.actors, **self._crashed(state, dead)})
        if what == CRASH:
            actors = {**state.actors, **self._crashed(state, [name])}
            left = replace(state.left, crashes=state.left.crashes - 1)
            return replace(state, actors=actors, left=left)
        actor = state.actors[name]
        after = self.scheduler.run(self.world.programs[name], actor, what)
        if isinstance(after, bool):
            after = Actor() if after else self._begun(name, actor.round + 1)
        faults = state.left.faults - (what != actor.awaits[0])
        left = replace(state.left, faults=faults)
        return replace(state, actors={**state.actors, name: after}, left=left)

    def _crashed(self, state: State, names: Collection[str]) -> dict[str, Actor]:
        for name in names:
            self.world.crash(name)
        return {name: self._begun(name, state.actors[name].round + 1) for name in names}

    def _begun(self, name: str, number: int) -> Actor:
        if number >= self.bounds.rounds:
            return Actor()
        begun = self.scheduler.run(self.world.programs[name], Actor(number))
        return begun if isinstance(begun, Actor) else Actor()

    def _key(self, state: State) -> bytes:
        """What tells a state from all others; the world is in it."""
        names: dict[str, str] = {}
        actors = [
            f"{actor.text} {self.world.describe(name)} {name}"
            for name, actor in state.actors.items()
        ]
        actors.sort(key=lambda text: _RANDOM_ID.sub("", text))
        text = _RANDOM_ID.sub(
            lambda found: names.setdefault(found[0], f"id{len(names)}"),
            f"{state.left} {actors} {self.world.describe()}",
        )
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    def _way(self, key: bytes, choice: Choice) -> str:
        steps = [choice]
        while key in self._came:
            key, came = self._came[key]
            steps.append(came)
        letters = dict(zip(self.world.programs, "ABCDEFGH", strict=False))
        return "\n".join(f"  {letters.get(who, who)}: {what}" for who, what in reversed(steps))
