"""`make cold-start`: what each function imports when it starts cold, by cost.

The artifacts, in the real Lambda runtime: until they wait for their first event, and in their
sample events (events/). Measured by ``python -X importtime``; compared with Lambda, only the
processor is another. "Beyond" is what the floor does not import: boto3, requests and what they need
(bench/floor_function.py).
"""

import os
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from bench.starts import make_floor
from local.aws import LocalAws
from local.couchdb_process import EmbeddedCouchDB
from local.system import prepare_process
from ops.rights import RIGHTS
from tests.runtime.harness import artifacts
from tests.runtime.harness.function import Function
from tests.runtime.harness.specs import POLLER
from tests.runtime.harness.world import World
from tests.runtime.plays import PLAYS, ensure

LARGEST = 6
FUNCTIONS = {*RIGHTS, POLLER}


def main(names: list[str]) -> int:
    """Print a line for each function; for those that are named, a table of their packages.

    Returns
    -------
    int
        1 if there is no such function, with a line on stderr that says which there are; else 0.
    """
    if unknown := sorted(set(names) - FUNCTIONS):
        there = ", ".join(sorted(FUNCTIONS))
        print(f"error: no function {', '.join(unknown)}; there are: {there}", file=sys.stderr)
        return 1
    prepare_process()
    with ExitStack() as exits:
        given = tempfile.TemporaryDirectory(prefix="syncpoint-bench-")
        folder = Path(exits.enter_context(given))
        built = artifacts.build(folder)
        for name, path in built.zips.items():
            print(f"{name}: {path.stat().st_size / 1e6:.2f} MB zipped")
        aws = LocalAws()
        exits.callback(aws.stop)
        couch_url = os.environ.get("COUCHDB_URL") or _embedded(folder, exits)
        world = World(built, couch_url.rstrip("/"), aws, folder, keeps_bytecode=False)
        exits.callback(world.close)
        floor = Function(
            make_floor(world, folder),
            built.runtime,
            folder,
            world.environment("poller") | {"CLIENTS": "secretsmanager,dynamodb"},
        )
        exits.callback(floor.stop)
        floor.start()
        _measure(world, floor, names)
    return 0


def _embedded(folder: Path, exits: ExitStack) -> str:
    couchdb = EmbeddedCouchDB(folder / "couchdb", uuid.uuid4().hex)
    exits.callback(couchdb.stop)
    return couchdb.url


def _measure(world: World, floor: Function, names: list[str]) -> None:
    # All at rest before the first event: one that starts beside a busy one looks slow.
    functions = {name: world.function(name) for name in sorted(world.specs)}
    for play in PLAYS:
        ensure(world, play)
    print("\nuntil the first event, and in the sample events; ms")
    head = f"{'function':<22}{'start':>6}{'import':>8}{'modules':>9}{'later':>8}{'modules':>9}"
    print(f"{head}{'beyond':>8}   most of that")
    for name, function in functions.items():
        later, beyond = _later(function), _beyond(function, floor)
        print(
            f"{name:<22}{function.init_s * 1000:6.0f}{_ms(function.imports_at_init):8.0f}"
            f"{len(function.imports_at_init):9}{_ms(later):8.0f}{len(later):9}{_ms(beyond):8.0f}"
            f"   {_largest(beyond)}"
        )
    print(f"{'floor':<22}{floor.init_s * 1000:6.0f}{_ms(floor.imports):8.0f}{len(floor.imports):9}")
    for name in names:
        _print_packages(functions[name], floor)


def _print_packages(function: Function, floor: Function) -> None:
    print(f"\n{function.spec.name}, ms by package: until the first event, later, beyond the floor")
    before, after = _by_package(function.imports_at_init), _by_package(_later(function))
    beyond = _by_package(_beyond(function, floor))
    for package, _ in (before + after).most_common(30):
        costs_us = (before[package], after[package], beyond[package])
        print(f"  {package:<28}{''.join(f'{cost_us / 1000:8.1f}' for cost_us in costs_us)}")


def _later(function: Function) -> dict[str, int]:
    at_init = function.imports_at_init
    return {name: cost for name, cost in function.imports.items() if name not in at_init}


def _beyond(function: Function, floor: Function) -> dict[str, int]:
    return {name: cost for name, cost in function.imports.items() if name not in floor.imports}


def _largest(imports: Mapping[str, int]) -> str:
    packages = _by_package(imports).most_common(LARGEST)
    return ", ".join(f"{name} {cost_us / 1000:.0f}" for name, cost_us in packages)


def _by_package(imports: Mapping[str, int]) -> Counter[str]:
    costs: Counter[str] = Counter()
    for name, cost_us in imports.items():
        costs[name.partition(".")[0]] += cost_us
    return costs


def _ms(imports: Mapping[str, int]) -> float:
    return sum(imports.values()) / 1000


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
