"""Prints what the models explore: `python -m tests.model [gate]`."""

import io
import logging
import sys
import time
from contextlib import redirect_stdout

from tests.model.cases import FULL, GATE, POLLERS


def main() -> None:
    logging.disable()
    print(f"{'':38}{'states':>10}{'steps':>10}{'interleavings':>20}{'CPU s':>8}")
    for case in [*POLLERS, *GATE] if "gate" in sys.argv else FULL:
        began_s = time.process_time()
        with redirect_stdout(io.StringIO()):  # the pollers' metrics
            explored = case.explore()
        took_s = time.process_time() - began_s
        figures = f"{len(explored.ways):10,}{explored.steps:10,}{explored.interleavings():20,}"
        print(f"{case.name:38}{figures}{took_s:8.1f}", flush=True)


if __name__ == "__main__":
    main()
