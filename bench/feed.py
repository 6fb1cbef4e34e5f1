"""Item 1: documents a second from `_changes` to accepted messages, and the memory that takes."""

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import plots
from bench.item import Bench
from bench.measure import Rounds, interleave, ratios, spread
from bench.report import Finding, Goal, shown
from local.couchdb_process import find_node
from local.system import ROOT

FOLLOW = "follow@1.1.0"
LIMIT_S = 120
POLLER, SLOW_SQS, BARE, CURL, NODE = (
    "poller",
    "poller, SQS takes 10 ms",
    "bare loop",
    "curl",
    "follow (npm)",
)
# For each backlog, in how many rounds.
SIZES = {1_000: 7, 10_000: 7, 50_000: 7}
QUICK_SIZES = {1_000: 1, 2_000: 1}


class Readers:
    """Starts each reader of a feed in a process of its own.

    Attributes
    ----------
    peak_mb : dict
        The most memory that a reader had, by its name and the backlog.
    """

    def __init__(self, bench: Bench) -> None:
        self._url = bench.couch_url
        self._modules = _install_follow(bench)
        self.peak_mb: dict[str, dict[int, float]] = {}

    def of(self, db: str, backlog: int) -> dict[str, Callable[[], float]]:
        """What reads this database, by name; each returns documents a second."""
        url, count = f"{self._url}/{db}", str(backlog)
        python = {
            name: partial(self._run, name, backlog, *_python(name, self._url, db, count))
            for name in (POLLER, BARE, SLOW_SQS)
        }
        node = (find_node(), str(ROOT / "bench" / "follow_reader.js"), url, count)
        also: dict[str, Callable[[], float]] = {}
        if shutil.which("curl"):
            also[CURL] = partial(_curl, url, backlog)
        if self._modules:
            also[NODE] = partial(self._run, NODE, backlog, *node)
        return python | also

    def _run(self, name: str, backlog: int, *command: str) -> float:
        said = json.loads(_output(*command, NODE_PATH=str(self._modules)))
        peaks = self.peak_mb.setdefault(name, {})
        peaks[backlog] = max(said["peak_mb"], peaks.get(backlog, 0.0))
        return float(said["documents"] / said["s"])


def measure(bench: Bench) -> Finding:
    """Let all readers read the same feeds in turn."""
    readers = Readers(bench)
    rounds: dict[int, Rounds] = {}
    for backlog, count in (QUICK_SIZES if bench.is_quick else SIZES).items():
        bench.say(f"writing {backlog:,} documents")
        with bench.database(backlog) as database:
            rounds[backlog] = interleave(readers.of(database.name, backlog), count, bench.say)
    return _finding(rounds, readers.peak_mb)


def _finding(rounds: dict[int, Rounds], peak_mb: dict[str, dict[int, float]]) -> Finding:
    names = list(next(iter(rounds.values())))
    middle, largest = sorted(rounds)[-2:]
    series = {
        name: [(size, statistics.median(of[name])) for size, of in rounds.items()] for name in names
    }
    return Finding(
        head=["reader", *(f"{size:,} documents" for size in rounds), "of the bare loop", "peak MB"],
        rows=[
            [
                name,
                *(shown(spread(of[name])) for of in rounds.values()),
                f"{ratios(rounds[largest], name, BARE).median:.2f}",
                f"{peak_mb[name][largest]:.0f}" if name in peak_mb else "",
            ]
            for name in names
        ],
        goals=_goals(rounds, peak_mb[POLLER], middle, largest),
        plots={
            "feed.svg": lambda path: plots.lines(
                path,
                "Reading a feed to its end",
                "documents in the feed",
                "documents a second",
                series,
                log_x=True,
            )
        },
        figures={"documents_per_s": rounds, "peak_mb": peak_mb},
    )


def _goals(
    rounds: dict[int, Rounds], peak_mb: dict[int, float], middle: int, largest: int
) -> list[Goal]:
    of_bare = ratios(rounds[largest], POLLER, BARE).median
    growth = peak_mb[largest] / peak_mb[middle]
    goals = [Goal("poller / bare loop", "≥ 0.8", f"{of_bare:.2f}", of_bare >= 0.8)]
    if NODE in rounds[largest]:
        of_node = ratios(rounds[largest], POLLER, NODE).median
        goals.append(Goal(f"poller / {NODE}", "> 1", f"{of_node:.2f}", of_node > 1))
    what = f"peak memory, {largest:,} / {middle:,} documents"
    return [*goals, Goal(what, "≤ 1.10", f"{growth:.2f}", growth <= 1.1)]


def _python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "bench.feed_reader", *arguments)


def _curl(url: str, backlog: int) -> float:
    """The whole feed in one answer, thrown away."""
    feed = f"{url}/_changes?include_docs=true"
    seconds = _output("curl", "-sS", "-o", os.devnull, "-w", "%{time_total}", feed)
    return backlog / float(seconds)


def _install_follow(bench: Bench) -> Path | None:
    """`follow` in a folder of its own; None without the network, and then it is left out."""
    folder = bench.folder / "follow"
    folder.mkdir()
    npm = shutil.which("npm") or str(Path(find_node()).parent / "npm")
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", FOLLOW]
    try:
        subprocess.run(command, cwd=folder, check=True, timeout=LIMIT_S, capture_output=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        bench.say(f"npm could not install {FOLLOW}: it is left out")
        return None
    return folder / "node_modules"


def _output(*command: str, **variables: str) -> str:
    """What a command prints; its errors are seen."""
    done = subprocess.run(  # noqa: S603
        command,
        cwd=ROOT,
        env=os.environ | {"POWERTOOLS_METRICS_DISABLED": "true"} | variables,
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    return done.stdout
