"""The one gate that all requests of the cloud's processes go through: counted, failed, killed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.world.faults import Call, Killed, Kind, strike


@dataclass
class Process:
    """One run of a Lambda; what it asks after its death does not leave it."""

    name: str
    is_dead: bool = False
    was_hit: bool = False


@dataclass(frozen=True)
class GateRequest:
    """A request that came through the gate."""

    process: str
    name: str


# What a request of a process meets: a fault, or None. Whoever decides it may let others go first.
Meets = Callable[[Process, str], Kind | None]


@dataclass
class Gate:
    """Lets requests through, but for those that `meets` has a fault for."""

    meets: Meets = lambda process, name: None
    asked: list[GateRequest] = field(default_factory=list)

    def around(self, process: Process) -> Callable[[str, Call], Any]:
        """What the fakes are given for a process."""

        def run(name: str, call: Call) -> Any:
            if process.is_dead:
                raise Killed(name)
            self.asked.append(GateRequest(process.name, name))
            kind = self.meets(process, name)
            if process.is_dead:  # it was killed while others went first
                raise Killed(name)
            if kind is None:
                return call()
            process.was_hit = True
            process.is_dead = kind.kills
            return strike(kind, name, call)

        return run


def at(number: int, kind: Kind) -> Meets:
    """A fault for one request of all; the first is 0."""
    left = number

    def meets(process: Process, name: str) -> Kind | None:
        nonlocal left
        left -= 1
        return kind if left == -1 else None

    return meets
