"""The story without a fault, and then from each of its points with one.

While the story is told once, the world is copied before each act and each process that the quiet
cloud runs by itself. A trial goes on from such a copy, meets its fault at one request, and is
compared with the story where its chapter ends: a world that looks the same then goes on the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from chalicelib.domain.documents import JsonDict
from tests.world.faults import Kind
from tests.world.gate import Gate, GateRequest, at
from tests.world.looks import differences, leftovers, mail_differences, picture_of
from tests.world.story import ACTS, NAMES, quiet
from tests.world.world import SentMail, World


@dataclass(frozen=True)
class End:
    """What a chapter comes to."""

    picture: JsonDict
    mails: list[SentMail]


@dataclass
class Scene:
    """The world at some moment of the story, and what is asked from there to the next scene."""

    world: World
    act: int
    asked: list[GateRequest] = field(default_factory=list)


@dataclass(frozen=True)
class Point:
    """A request of the story; numbers count from 0."""

    scene: int
    request: int
    chapter: str
    asked: GateRequest
    before: str

    def may_mail_twice(self, kind: Kind) -> bool:
        """Whether it lies between SES and the end of the claim: SES may have, and nobody knows."""
        if self.asked.name == "sesv2.SendEmail":
            return kind.takes_effect
        return kind is Kind.KILLED_BEFORE and self.before == "sesv2.SendEmail"

    def __str__(self) -> str:
        return f"{self.chapter}: {self.asked.process}, {self.request}: {self.asked.name}"


@dataclass(frozen=True)
class Story:
    """What was recorded."""

    scenes: list[Scene]
    ends: dict[str, End]

    @property
    def points(self) -> Iterator[Point]:
        """Every request."""
        for number, scene in enumerate(self.scenes):
            before = ""
            for request, asked in enumerate(scene.asked):
                yield Point(number, request, NAMES[scene.act], asked, before)
                before = asked.name

    def failures(self, point: Point, kind: Kind) -> list[str]:
        """What differs at the chapter's end if this request meets this fault."""
        scene = self.scenes[point.scene]
        world = scene.world.copy()
        world.gate = Gate(at(point.request, kind))
        end = self.ends[point.chapter]
        try:
            _tell(world, scene.act)
        except AssertionError as exc:
            return [f"{type(exc).__name__}: {exc}"]
        return [
            *differences(end.picture, picture_of(world)),
            *mail_differences(end.mails, world.mails(), point.may_mail_twice(kind)),
            *leftovers(world),
        ]


@cache
def story() -> Story:
    """The story without a fault; told once in each process of the tests."""
    world, told = World.new(), Story([], {})
    act_number = 0
    is_new_act = False

    def begin(name: str) -> None:
        nonlocal is_new_act
        if is_new_act or ACTS[act_number] is quiet:
            _end_scene(world, told)
            told.scenes.append(Scene(world.copy(), act_number))
        is_new_act = False

    world.beginning = begin
    for act_number, act in enumerate(ACTS):
        is_new_act = True
        act(world)
        if act is quiet:
            told.ends[NAMES[act_number]] = End(picture_of(world), world.mails())
            if problems := leftovers(world):
                raise AssertionError(problems)
    _end_scene(world, told)
    return told


def _end_scene(world: World, told: Story) -> None:
    if told.scenes:
        told.scenes[-1].asked = world.gate.asked
    world.gate.asked = []


def _tell(world: World, act: int) -> None:
    """Go on to the end of the chapter."""
    while ACTS[act] is not quiet:
        ACTS[act](world)
        act += 1
    quiet(world)
