"""Compare cold starts with those of a function that makes the same clients and does nothing."""

import json
import resource
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.measure import Rounds, interleave, ratios, spread
from bench.report import Finding, at_most
from bench.setup import Bench
from chalicelib.domain.documents import JsonDict
from local.aws import LocalAws
from local.system import ROOT
from tests.runtime.acts import Acts
from tests.runtime.harness import artifacts
from tests.runtime.harness.function import Function, Spec
from tests.runtime.harness.world import World

ROUNDS, QUICK_ROUNDS = 9, 1
QUICK_FUNCTIONS = ("poller", "device_confirmed")
GOAL = 1.15
# The floor's artifact: requests and its dependencies, as the functions' artifact has them.
SHIPPED = ("requests", "urllib3", "certifi", "idna", "charset_normalizer")
# The first event of the function with all routes: somebody follows a link.
SAMPLES = {"api_handler": "api/show_confirmation"}


class Starts:
    """Cold starts of all functions, and of a floor for each set of clients.

    `wall_ms` includes the answers of moto and CouchDB; the compared processor's time does not.
    """

    def __init__(self, world: World, folder: Path) -> None:
        self._world, self._folder = world, folder
        self._floor = make_floor(world, folder)
        self.wall_ms: defaultdict[str, list[float]] = defaultdict(list)

    def floor_of(self, name: str) -> tuple[str, Callable[[], float]]:
        """Start a function once to see which clients it makes; name and prepare their floor."""
        before = len(self._world.guarded.calls)
        self.function(name)
        self.wall_ms.clear()
        calls = self._world.guarded.calls[before:]
        services = {request.action.partition(":")[0] for key, request in calls if key == name}
        clients = sorted("sesv2" if service == "ses" else service for service in services)
        floor = f"floor: {', '.join(clients) or 'no client'}"
        variables = self._world.environment("poller") | {"CLIENTS": ",".join(clients)}
        return floor, partial(self._start, floor, self._floor, variables, {})

    def function(self, name: str) -> float:
        """Start a function with its sample event; return the processor's ms."""
        event = _event(Acts.of(self._world), name)
        return self._start(name, self._world.specs[name], self._world.environment(name), event)

    def _start(self, name: str, spec: Spec, variables: dict[str, str], event: JsonDict) -> float:
        before_s, began_s = _children_s(), time.perf_counter()
        runtime = self._world.artifacts.runtime
        function = Function(spec, runtime, self._folder, variables, times_imports=False)
        try:
            function.start()
            result = function.invoke(event)
            self.wall_ms[name].append(1000 * (time.perf_counter() - began_s))
        finally:
            function.stop()
        if result.error:
            raise RuntimeError(f"{name} failed: {result.error}")
        return 1000 * (_children_s() - before_s)


def measure(bench: Bench) -> Finding:
    """Start all functions and their floors in turn."""
    bench.say("building the artifacts")
    with deployed(bench.couch_url, bench.folder) as world:
        starts = Starts(world, bench.folder)
        names = QUICK_FUNCTIONS if bench.is_quick else sorted(world.specs)
        floors: dict[str, str] = {}
        contestants: dict[str, Callable[[], float]] = {}
        for name in names:
            bench.say(f"first start: {name}")
            floors[name], start_floor = starts.floor_of(name)
            contestants.setdefault(floors[name], start_floor)
            contestants[name] = partial(starts.function, name)
        count = QUICK_ROUNDS if bench.is_quick else ROUNDS
        rounds = interleave(contestants, count, bench.say)
    return _finding(rounds, starts.wall_ms, floors)


def make_floor(world: World, folder: Path) -> Spec:
    """Make the floor's artifact in `folder`; ``CLIENTS`` will name the services of its clients."""
    code = folder / "floor"
    code.mkdir()
    shutil.copy(ROOT / "bench" / "floor_function.py", code)
    for name in SHIPPED:
        (code / name).symlink_to(world.artifacts.handlers / name)
    return replace(world.specs["poller"], name="floor", handler="floor_function.handler", code=code)


@contextmanager
def deployed(couch_url: str, folder: Path) -> Iterator[World]:
    """Build the artifacts and yield the deployed system, whose functions keep no bytecode."""
    with ExitStack() as exits:
        built = artifacts.build(folder)
        aws = LocalAws()
        exits.callback(aws.stop)
        world = World(built, couch_url, aws, folder, keeps_bytecode=False)
        exits.callback(world.close)
        yield world


def _event(acts: Acts, name: str) -> JsonDict:
    """Read the function's sample event (events/) and write its document."""
    event: JsonDict = acts.cast.event(SAMPLES.get(name, name))
    record = event.get("Records", [{}])[0]
    if "body" in record:
        if json.loads(record["body"])["db"] != acts.control.name:
            acts.make_owner()
        record["body"] = json.dumps(acts.message(name))
    return event


def _children_s() -> float:
    """Return the processor's time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _finding(rounds: Rounds, wall_ms: dict[str, list[float]], floors: dict[str, str]) -> Finding:
    found = {name: ratios(rounds, name, floor) for name, floor in floors.items()}
    worst = max(found, key=lambda name: found[name].median)
    return Finding(
        head=["function", "processor, ms", "wall, ms", "of its floor"],
        rows=[
            [
                name,
                spread(cpu_ms).shown(),
                spread(wall_ms[name]).shown(),
                found[name].shown(2) if name in found else "",
            ]
            for name, cpu_ms in rounds.items()
        ],
        goals=[at_most(f"the worst of its floor: {worst}", GOAL, found[worst].median)],
    )
