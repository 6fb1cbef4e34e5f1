"""Item 7: what a pass of the poller costs where many control databases exist, and few change."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from requests import Response

from bench import plots
from bench.handlers import Around, WatchedAdapter
from bench.item import Bench
from bench.measure import interleave, spread
from bench.passes import CHANGING, Feeds, MakeServer, Pass
from bench.report import Finding, Goal, shown
from chalicelib.couch import Server
from tests.fakes.couch import FakeCouch
from tests.fakes.couch_http import Answer, response_of

FAKE, SCANNED, REAL = "CouchDB 3 in memory", "the same without _db_updates", "this server"
# For each kind of server, how many control databases exist.
SIZES = {FAKE: (100, 1_000, 5_000), SCANNED: (100, 1_000, 5_000), REAL: (100, 1_000)}
QUICK_SIZES = {FAKE: (100, 1_000), SCANNED: (100, 1_000), REAL: (20, 100)}
ROUNDS, QUICK_ROUNDS = 15, 3


def measure(bench: Bench) -> Finding:
    """Let pollers of several numbers of databases make their passes in turn."""
    sizes, rounds = (QUICK_SIZES, QUICK_ROUNDS) if bench.is_quick else (SIZES, ROUNDS)
    feeds: dict[str, Feeds] = {}
    with ExitStack() as exits:
        for kind, counts in sizes.items():
            for count in counts:
                bench.say(f"{kind}: making {count:,} control databases")
                control_db = exits.enter_context(bench.database()).name
                feeds[f"{kind}, {count:,}"] = Feeds(control_db, count, _server(kind, bench))
        interleave({name: of.one_pass for name, of in feeds.items()}, rounds, bench.say)
    return _finding(sizes, {name: of.passes for name, of in feeds.items()})


def _server(kind: str, bench: Bench) -> MakeServer:
    """What makes clients of a server of this kind."""
    if kind == REAL:
        return lambda around: Server(bench.couch_url, WatchedAdapter(around))
    couch = FakeCouch()
    if kind == FAKE:
        return couch.server
    return lambda around: couch.server(partial(_without_updates, around))


def _without_updates(around: Around, name: str, call: Callable[[], Response]) -> Any:
    """As a server answers that knows no feed of databases."""
    if name.endswith("/_db_updates"):
        answer = Answer({"error": "bad_request", "reason": "no such feed"}, 400)
        return around(name, lambda: response_of(answer))
    return around(name, call)


def _finding(sizes: Mapping[str, Sequence[int]], passes: Mapping[str, Sequence[Pass]]) -> Finding:
    rows = []
    for kind, counts in sizes.items():
        for count in counts:
            of = passes[f"{kind}, {count:,}"]
            services = ("couchdb", "dynamodb", "sqs")
            sent = [spread(one.requests[service] for one in of).median for service in services]
            times = [
                shown(spread(one.ms for one in of), 1),
                shown(spread(one.own_ms for one in of), 1),
            ]
            rows.append([kind, f"{count:,}", *(f"{n:g}" for n in sent), *times])
    return Finding(
        head=["server", "databases", "CouchDB", "DynamoDB", "SQS", "ms", "without the answers"],
        rows=rows,
        goals=_goals(sizes, passes),
        plots={"many_feeds.svg": partial(_plot, sizes, passes)},
        figures={
            name: [{"ms": one.ms, "own_ms": one.own_ms, **one.requests} for one in of[-3:]]
            for name, of in passes.items()
        },
        notes=[
            f"{CHANGING} databases changed before each pass. Requests are medians of each pass."
        ],
    )


def _goals(sizes: Mapping[str, Sequence[int]], passes: Mapping[str, Sequence[Pass]]) -> list[Goal]:
    smallest, largest = (
        passes[f"{FAKE}, {count:,}"] for count in (sizes[FAKE][0], sizes[FAKE][-1])
    )
    what = f"{sizes[FAKE][-1]:,} / {sizes[FAKE][0]:,} databases"
    requests = [
        spread(float(one.requests.total()) for one in of).median for of in (largest, smallest)
    ]
    own = spread(a.own_ms / b.own_ms for a, b in zip(largest, smallest, strict=True)).median
    return [
        Goal(
            f"requests, {what}",
            "≤ 1.10",
            f"{requests[0] / requests[1]:.2f}",
            requests[0] <= 1.1 * requests[1],
        ),
        Goal(f"the poller's own time, {what}", "≤ 1.10", f"{own:.2f}", own <= 1.1),
    ]


def _plot(
    sizes: Mapping[str, Sequence[int]], passes: Mapping[str, Sequence[Pass]], path: Path
) -> None:
    plots.lines(
        path,
        f"A pass of the poller, {CHANGING} databases changed",
        "control databases that exist",
        "requests",
        {
            kind: [
                (
                    float(count),
                    spread(
                        float(one.requests.total()) for one in passes[f"{kind}, {count:,}"]
                    ).median,
                )
                for count in counts
            ]
            for kind, counts in sizes.items()
        },
        log_x=True,
    )
