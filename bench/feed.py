"""Measure documents a second from `_changes` to accepted messages, and the memory that takes."""

import json
import sys
from collections import defaultdict
from functools import partial

from bench.feed_reader import BARE, POLLER, READERS
from bench.measure import Rounds, interleave, ratios, spread
from bench.report import Finding, at_least, at_most
from bench.setup import Bench, output_of

SIZES, ROUNDS = (1_000, 10_000, 50_000), 7
QUICK_SIZES, QUICK_ROUNDS = (1_000, 2_000), 1

# For each reader, its peak memory with each backlog.
Peaks = defaultdict[str, dict[int, float]]


def measure(bench: Bench) -> Finding:
    """Let all readers read the same feeds in turn."""
    sizes, count = (QUICK_SIZES, QUICK_ROUNDS) if bench.is_quick else (SIZES, ROUNDS)
    peaks: Peaks = defaultdict(dict)
    rounds: dict[int, Rounds] = {}

    def read(name: str, db: str, backlog: int) -> float:
        command = [sys.executable, "-m", "bench.feed_reader", name, bench.couch_url, db]
        result = json.loads(output_of(*command, str(backlog)))
        peaks[name][backlog] = max(result["peak_mb"], peaks[name].get(backlog, 0.0))
        return backlog / float(result["s"])

    for backlog in sizes:
        bench.say(f"writing {backlog:,} documents")
        with bench.database(backlog) as database:
            readers = {name: partial(read, name, database.name, backlog) for name in READERS}
            rounds[backlog] = interleave(readers, count, bench.say)
    return _finding(rounds, peaks)


def _finding(rounds: dict[int, Rounds], peaks: Peaks) -> Finding:
    *_, middle, largest = sorted(rounds)
    of_bare = ratios(rounds[largest], POLLER, BARE).median
    growth = peaks[POLLER][largest] / peaks[POLLER][middle]
    return Finding(
        head=["reader", *(f"{size:,} documents" for size in rounds), "of the bare loop", "peak MB"],
        rows=[
            [
                name,
                *(spread(each[name]).shown() for each in rounds.values()),
                f"{ratios(rounds[largest], name, BARE).median:.2f}",
                f"{peaks[name][largest]:.0f}",
            ]
            for name in READERS
        ],
        goals=[
            at_least(f"{POLLER} / {BARE}", 0.8, of_bare),
            at_most(f"peak memory, {largest:,} / {middle:,} documents", 1.1, growth),
        ],
    )
