"""Item 6: cold starts beside a function that imports boto3 and requests, and makes its clients."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench import plots
from bench.item import Bench
from bench.measure import Rounds, interleave, ratios, spread
from bench.report import Finding, Goal, shown
from bench.started import Start, start
from chalicelib.domain.documents import JsonDict
from local.aws import LocalAws
from local.system import ROOT
from tests.runtime.acts import Acts
from tests.runtime.harness import artifacts
from tests.runtime.harness.function import Spec
from tests.runtime.harness.world import World

ROUNDS = 9
QUICK_FUNCTIONS = ("poller", "device_confirmed")
GOAL = 1.15
# What the floor ships: requests and what that needs, as the functions' artifact has them.
SHIPPED = ("requests", "urllib3", "certifi", "idna", "charset_normalizer")
# The first event of the function with all routes: somebody follows a link.
SAMPLES = {"api_handler": "api/show_confirmation"}


class Starts:
    """Cold starts of all functions, and of a floor for each set of clients.

    Attributes
    ----------
    clients : dict
        The boto3 clients that each function makes for its first event.
    starts : dict
        What each start took, by function or floor.
    """

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._floor = make_floor(world, folder)
        self.clients: dict[str, tuple[str, ...]] = {}
        self.starts: dict[str, list[Start]] = {}

    def learn(self, name: str) -> None:
        """Start a function once, and see which clients it makes."""
        before = len(self._world.guarded.calls)
        self._function(name)
        calls = self._world.guarded.calls[before:]
        services = {request.action.partition(":")[0] for key, request in calls if key == name}
        self.clients[name] = tuple(sorted("sesv2" if one == "ses" else one for one in services))

    def function(self, name: str) -> float:
        """The processor's ms of a function's cold start."""
        return self._kept(name, self._function(name))

    def floor(self, clients: tuple[str, ...]) -> float:
        """The processor's ms of a function that makes these clients and no more."""
        variables = self._world.environment("poller") | {"CLIENTS": ",".join(clients)}
        return self._kept(
            floor_of(clients), start(self._floor, self._world.artifacts.runtime, variables, {})
        )

    def _function(self, name: str) -> Start:
        world = self._world
        event = _event(Acts.of(world), name)
        return start(world.specs[name], world.artifacts.runtime, world.environment(name), event)

    def _kept(self, name: str, one: Start) -> float:
        self.starts.setdefault(name, []).append(one)
        return one.cpu_ms


def measure(bench: Bench) -> Finding:
    """Start all functions and their floors in turn."""
    bench.say("building the artifacts")
    with _world(bench) as world:
        starts = Starts(world, bench.folder)
        names = QUICK_FUNCTIONS if bench.is_quick else sorted(world.specs)
        for name in names:
            bench.say(f"first start: {name}")
            starts.learn(name)
        contestants: dict[str, Callable[[], float]] = {}
        for name in names:
            clients = starts.clients[name]
            contestants.setdefault(floor_of(clients), partial(starts.floor, clients))
            contestants[name] = partial(starts.function, name)
        rounds = interleave(contestants, 1 if bench.is_quick else ROUNDS, bench.say)
    return _finding(rounds, starts)


def floor_of(clients: tuple[str, ...]) -> str:
    """What the floor with these clients is called."""
    return f"floor: {', '.join(clients) or 'no client'}"


def make_floor(world: World, folder: Path) -> Spec:
    """The floor as a function: its artifact is made in `folder`, with what ours bring of requests.

    It is started in the poller's environment, and with ``CLIENTS``, the services' names.
    """
    code = folder / "floor"
    code.mkdir()
    shutil.copy(ROOT / "bench" / "floor_function.py", code)
    for name in SHIPPED:
        (code / name).symlink_to(world.artifacts.handlers / name)
    return replace(world.specs["poller"], name="floor", handler="floor_function.handler", code=code)


@contextmanager
def _world(bench: Bench) -> Iterator[World]:
    built = artifacts.build(bench.folder)
    aws = LocalAws()
    folder = bench.folder / "functions"
    folder.mkdir()
    world = World(built, bench.couch_url, aws, folder, keeps_bytecode=False)
    try:
        yield world
    finally:
        world.close()
        aws.stop()


def _event(acts: Acts, name: str) -> JsonDict:
    """The function's sample event (events/), its document in place."""
    event: JsonDict = acts.cast.event(SAMPLES.get(name, name))
    record = event.get("Records", [{}])[0]
    if "body" in record:
        if json.loads(record["body"])["db"] != acts.control.name:
            acts.make_owner()
        record["body"] = json.dumps(acts.message(name))
    return event


def _finding(rounds: Rounds, starts: Starts) -> Finding:
    found = {
        name: ratios(rounds, name, floor_of(clients)) for name, clients in starts.clients.items()
    }
    worst = max(found, key=lambda name: found[name].median)
    value = found[worst].median
    rows = []
    for name, of in rounds.items():
        wall = spread(one.wall_ms for one in starts.starts[name])
        ratio = shown(found[name], 2) if name in found else ""
        rows.append([name, shown(spread(of)), shown(wall), ratio])
    return Finding(
        head=["function", "processor, ms", "wall, ms", "of its floor"],
        rows=rows,
        goals=[
            Goal(f"the worst of its floor: {worst}", f"≤ {GOAL}", f"{value:.2f}", value <= GOAL)
        ],
        plots={
            "starts.svg": lambda path: plots.bars(
                path,
                "Cold start and first event, beside a floor with the same clients",
                "of the floor",
                {name: {"ratio": one.median} for name, one in found.items()},
            )
        },
        figures={"cpu_ms": rounds},
    )
