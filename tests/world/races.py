"""A worker that stands still for a moment, while others are faster; and may die after that."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from tests.world.faults import Kind
from tests.world.gate import Gate, Process
from tests.world.looks import leftovers
from tests.world.rules import broken
from tests.world.story import (
    LAPTOP,
    PHONE,
    Act,
    channel,
    invites,
    posts,
    quiet,
    registers,
    types_code,
    writes,
)
from tests.world.world import World


@dataclass(frozen=True)
class Race:
    """A worker, and what happens while it stands still.

    Attributes
    ----------
    process : str
        Which worker, by its type and state.
    comes_by : sequence
        What brings its message about.
    meanwhile : callable
        What somebody does; the cloud does what comes of it before the worker goes on.
    """

    process: str
    comes_by: Sequence[Act]
    meanwhile: Act


def revokes_laptop(world: World) -> None:
    world.edit("control", LAPTOP.device_id, {"state": "revoking"})


_CLICK = (registers(LAPTOP), quiet, types_code(LAPTOP, 303))
_ACCEPT = (invites("inv-ben", "notes"), quiet, posts("inv-ben", 303, 409, answer="accept"))
_CLOSE = channel("notes", "closing")
_REMOVE = writes("notes", members=[])

RACES = {
    "a device is revoked while it is activated": Race("device/confirmed", _CLICK, revokes_laptop),
    "a channel is closed while it is made": Race(
        "channel/new", (channel("films", "new", public=True),), channel("films", "closing")
    ),
    "a channel is closed while it is renamed": Race(
        "channel/ready", (channel("notes", "ready", name="Ours"),), _CLOSE
    ),
    "a channel is renamed while it is made": Race(
        "channel/new", (channel("films", "new"),), writes("films", name="Films")
    ),
    "a channel is closed while a guest accepts": Race("invitation/accepting", _ACCEPT, _CLOSE),
    "a guest is removed while they accept": Race("invitation/accepting", _ACCEPT, _REMOVE),
    "a channel is renamed while a guest accepts": Race(
        "invitation/accepting", _ACCEPT, writes("notes", name="Ours")
    ),
    "a channel is renamed while a guest is removed": Race(
        "channel/ready", (*_ACCEPT, quiet, _REMOVE), writes("notes", name="Ours")
    ),
    "a channel is closed while a guest is removed": Race(
        "channel/ready", (*_ACCEPT, quiet, _REMOVE), _CLOSE
    ),
    "a channel with a guest is closed twice at once": Race(
        "channel/closing", (*_ACCEPT, quiet, _CLOSE), lambda world: None
    ),
    "another guest accepts at the same time": Race(
        "invitation/accepting",
        (invites("inv-cleo", "notes"), *_ACCEPT),
        posts("inv-cleo", 303, 409, answer="accept"),
    ),
    "an invitation is withdrawn while its mail is sent": Race(
        "invitation/new", (invites("inv-ben", "notes"),), writes("inv-ben", state="withdrawn")
    ),
    "a channel is closed while a guest is invited": Race(
        "invitation/new", (invites("inv-ben", "notes"),), _CLOSE
    ),
    "a device asks again while its mail is sent": Race(
        "device/new", (registers(LAPTOP),), registers(LAPTOP, generation=1)
    ),
    "a device is revoked while it is revoked": Race(
        "device/revoking", (writes(PHONE.device_id, state="revoking"),), lambda world: None
    ),
}


@cache
def beginning(name: str) -> World:
    """The moment in which the worker begins."""
    race, world = RACES[name], _before_all().copy()
    for act in race.comes_by:
        act(world)
    moments: list[World] = []

    def begin(process: str) -> None:
        if process == race.process and not moments:
            moments.append(world.copy())

    world.beginning = begin
    quiet(world)
    return moments[0]


@cache
def requests(name: str) -> list[str]:
    """What the worker asks, if nobody disturbs it."""
    world = beginning(name).copy()
    world.take_turn()
    return [asked.name for asked in world.gate.asked]


def moments(name: str) -> Iterator[tuple[int, int]]:
    """Before which request it stands still, and at which one it meets its fault."""
    numbers = range(len(requests(name)))
    return ((stop, hit) for stop in numbers for hit in numbers[stop:])


def failures(name: str, stop: int, hit: int = 0, kind: Kind | None = None) -> list[str]:
    """What is wrong in the end, if the worker stands still before one request."""
    race, world = RACES[name], beginning(name).copy()
    worker: Process | None = None
    asked = 0

    def meets(process: Process, request: str) -> Kind | None:
        nonlocal worker, asked
        worker = worker or process
        if process is not worker:
            return None
        number, asked = asked, asked + 1
        if number == stop:
            race.meanwhile(world)
            world.run_while_busy()
        return kind if number == hit else None

    world.gate = Gate(meets)
    world.take_turn()
    quiet(world)
    return [*broken(world), *leftovers(world)]


@cache
def _before_all() -> World:
    world = World.new()
    for act in (registers(PHONE), quiet, types_code(PHONE, 303), quiet, channel("notes", "new")):
        act(world)
    quiet(world)
    return world
