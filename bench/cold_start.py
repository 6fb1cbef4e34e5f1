"""`make cold-start`: print what each function imports when it starts cold, by cost.

The artifacts run in the real Lambda runtime, up to their first event and in their sample events
(events/), measured by ``python -X importtime``. "Beyond" is what the floor does not import: boto3,
requests and their dependencies (bench/floor_function.py).
"""

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from bench.setup import couchdb
from bench.starts import deployed, make_floor
from local.system import prepare_process
from ops.rights import RIGHTS
from tests.runtime.harness.function import Function
from tests.runtime.harness.specs import POLLER
from tests.runtime.harness.world import World
from tests.runtime.plays import PLAYS, ensure

LARGEST = 6
FUNCTIONS = {*RIGHTS, POLLER}


def main(names: list[str]) -> int:
    """Print a line for each function, and a table of the packages of those that are named.

    Returns
    -------
    int
        1 if a function does not exist, with a line on stderr that says which do; else 0.
    """
    if unknown := sorted(set(names) - FUNCTIONS):
        there = ", ".join(sorted(FUNCTIONS))
        print(f"error: no function {', '.join(unknown)}; there are: {there}", file=sys.stderr)
        return 1
    prepare_process()
    with couchdb() as (couch_url, folder), deployed(couch_url, folder) as world:
        _measure(world, folder, names)
    return 0


def _measure(world: World, folder: Path, names: list[str]) -> None:
    for name, path in world.artifacts.zips.items():
        print(f"{name}: {path.stat().st_size / 1e6:.2f} MB zipped")
    world.specs["floor"] = make_floor(world, folder)
    floor = world.start("floor", CLIENTS="secretsmanager,dynamodb")
    # All start before the first event: one that starts beside a busy one looks slow.
    functions = {name: world.function(name) for name in sorted(FUNCTIONS)}
    for play in PLAYS:
        ensure(world, play)
    print("\nuntil the first event, and in the sample events; ms")
    head = f"{'function':<22}{'start':>6}{'import':>8}{'modules':>9}{'later':>8}{'modules':>9}"
    print(f"{head}{'beyond':>8}   most of that")
    for name, function in {**functions, "floor": floor}.items():
        first, later, beyond = _parts(function, floor)
        largest = ", ".join(
            f"{package} {us / 1000:.0f}" for package, us in _by_package(beyond).most_common(LARGEST)
        )
        print(
            f"{name:<22}{function.init_s * 1000:6.0f}{_ms(first):8.0f}{len(first):9}"
            f"{_ms(later):8.0f}{len(later):9}{_ms(beyond):8.0f}   {largest}"
        )
    for name in names:
        print(f"\n{name}, ms by package: until the first event, later, beyond the floor")
        parts = [_by_package(part) for part in _parts(functions[name], floor)]
        for package, _ in (parts[0] + parts[1]).most_common(30):
            costs = "".join(f"{part[package] / 1000:8.1f}" for part in parts)
            print(f"  {package:<28}{costs}")


def _parts(function: Function, floor: Function) -> list[dict[str, int]]:
    """Split the imports, in µs: until the first event, later, and beyond the floor."""
    first, imports = function.imports_at_init, function.imports
    return [
        first,
        {name: us for name, us in imports.items() if name not in first},
        {name: us for name, us in imports.items() if name not in floor.imports},
    ]


def _by_package(imports: Mapping[str, int]) -> Counter[str]:
    costs: Counter[str] = Counter()
    for name, us in imports.items():
        costs[name.partition(".")[0]] += us
    return costs


def _ms(imports: Mapping[str, int]) -> float:
    return sum(imports.values()) / 1000


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
