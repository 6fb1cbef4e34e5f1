"""Prints what the models explore: `python -m tests.model [gate]`."""

import sys
import time

from tests.model.cases import FULL, GATE


def main() -> None:
    print(f"{'':34}{'states':>10}{'steps':>10}{'interleavings':>26}{'CPU s':>7}")
    for case in GATE if "gate" in sys.argv else FULL:
        began_s = time.process_time()
        explored = case.explore()
        took_s = time.process_time() - began_s
        figures = f"{len(explored.ways):10,}{explored.steps:10,}{explored.interleavings():26,}"
        print(f"{case.name:34}{figures}{took_s:7.1f}", flush=True)


if __name__ == "__main__":
    main()
