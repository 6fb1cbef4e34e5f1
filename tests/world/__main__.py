"""`python -m tests.world`: every point of the story with every kind of fault, as a table."""

import logging
import os
import sys
from concurrent.futures import ProcessPoolExecutor

from local.system import prepare_process

prepare_process()

from tests.world.faults import Kind  # noqa: E402 - the environment comes first
from tests.world.trials import story  # noqa: E402


def main() -> int:
    """Try them all on every core; 1 if anything differed."""
    numbers = range(len(list(story().points)))
    failed = False
    print(f"{'kind of fault':<28}{'points':>8}{'failures':>10}")
    with ProcessPoolExecutor(os.cpu_count(), initializer=_quiet) as pool:
        for kind in Kind:
            found = list(pool.map(_failures, [kind] * len(numbers), numbers, chunksize=20))
            failures = [failure for failure in found if failure]
            failed = failed or bool(failures)
            print(f"{kind:<28}{len(found):>8}{len(failures):>10}", flush=True)
            print("".join(f"  {failure}\n" for failure in failures), end="")
    print(f"{'together':<28}{len(numbers) * len(Kind):>8}")
    return failed


def _quiet() -> None:
    for name in ("syncpoint", "syncpoint-poller"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _failures(kind: Kind, number: int) -> str:
    point = list(story().points)[number]
    found = story().failures(point, kind)
    return f"{point}: {'; '.join(found)}" if found else ""


if __name__ == "__main__":
    sys.exit(main())
