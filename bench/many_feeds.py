"""Measure a pass of the poller where many control databases exist and few of them change."""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

from requests import Response

from bench.backend import Around, Backend, MakeServer, connect
from bench.measure import interleave, spread
from bench.report import Finding, at_most
from bench.setup import Bench
from tests.kit.fakes.couch import FakeCouch
from tests.kit.fakes.couch_http import Answer, response_of
from tests.kit.fakes.executor import LazyExecutor

FAKE, SCANNED, REAL = "CouchDB 3 in memory", "the same without _db_updates", "this server"
# For each kind of server, how many control databases exist.
SIZES = {FAKE: (100, 1_000, 5_000), SCANNED: (100, 1_000, 5_000), REAL: (100, 1_000)}
QUICK_SIZES = {FAKE: (100, 1_000), SCANNED: (100, 1_000), REAL: (20, 100)}
ROUNDS, QUICK_ROUNDS = 15, 3
CHANGING = 10
SERVICES = ("couchdb", "dynamodb", "sqs")


class Pass(NamedTuple):
    """One pass: its ms with and without the server's answers, and its requests by service."""

    ms: float
    own_ms: float
    requests: Counter[str]


class Feeds:
    """Owners' control databases on one server, and the poller that follows them."""

    def __init__(self, control_db: str, count: int, make_server: MakeServer) -> None:
        self._server = make_server(lambda name, call: call())
        self._names = [f"{control_db}-{number:032x}" for number in range(count)]
        self._server.database(control_db).create()
        for name in self._names:
            self._server.database(name).create()
        self._backend = Backend(control_db, make_server)
        self._backend.poll()  # the first pass looks at all of them
        self.passes: list[Pass] = []

    def one_pass(self) -> float:
        """Change some databases and let the poller make a pass; return its ms."""
        for name in self._names[:: len(self._names) // CHANGING][:CHANGING]:
            doc = {"_id": uuid.uuid4().hex, "type": "device", "state": "new"}
            self._server.database(name).put(doc)
        requests, answers_s = self._backend.requests.copy(), self._backend.answers_s
        began = time.perf_counter()
        sent = self._backend.poll(LazyExecutor())
        took_s = time.perf_counter() - began
        if sent != CHANGING:
            raise RuntimeError(f"the pass sent {sent} of {CHANGING} changes")
        own_s = took_s - (self._backend.answers_s - answers_s)
        self.passes.append(Pass(1000 * took_s, 1000 * own_s, self._backend.requests - requests))
        return 1000 * took_s


def measure(bench: Bench) -> Finding:
    """Let pollers of several numbers of databases make their passes in turn."""
    sizes, rounds = (QUICK_SIZES, QUICK_ROUNDS) if bench.is_quick else (SIZES, ROUNDS)
    feeds: dict[tuple[str, int], Feeds] = {}
    with ExitStack() as exits:
        for kind, count in ((kind, count) for kind, counts in sizes.items() for count in counts):
            bench.say(f"{kind}: creating {count:,} control databases")
            control_db = exits.enter_context(bench.database()).name
            feeds[kind, count] = Feeds(control_db, count, _make_server(kind, bench))
        contestants = {f"{kind}, {count:,}": of.one_pass for (kind, count), of in feeds.items()}
        interleave(contestants, rounds, bench.say)
    return _finding({key: of.passes for key, of in feeds.items()})


def _make_server(kind: str, bench: Bench) -> MakeServer:
    if kind == REAL:
        return partial(connect, bench.couch_url)
    couch = FakeCouch()
    if kind == FAKE:
        return couch.server
    return lambda around: couch.server(partial(_without_updates, around))


def _without_updates(around: Around, name: str, call: Callable[[], Response]) -> Any:
    """Answer as a server that has no feed of databases."""
    if name.endswith("/_db_updates"):
        answer = Answer({"error": "bad_request", "reason": "no such feed"}, 400)
        return around(name, lambda: response_of(answer))
    return around(name, call)


def _finding(passes: Mapping[tuple[str, int], list[Pass]]) -> Finding:
    smallest, *_, largest = (key for key in passes if key[0] == FAKE)
    pair = passes[largest], passes[smallest]
    what = f"{largest[1]:,} / {smallest[1]:,} databases"
    requests = [spread(one.requests.total() for one in of).median for of in pair]
    own = spread(a.own_ms / b.own_ms for a, b in zip(*pair, strict=True)).median
    return Finding(
        head=["server", "databases", "CouchDB", "DynamoDB", "SQS", "ms", "without the answers"],
        rows=[
            [
                kind,
                f"{count:,}",
                *(f"{spread(p.requests[name] for p in of).median:g}" for name in SERVICES),
                spread(one.ms for one in of).shown(1),
                spread(one.own_ms for one in of).shown(1),
            ]
            for (kind, count), of in passes.items()
        ],
        goals=[
            at_most(f"requests, {what}", 1.1, requests[0] / requests[1]),
            at_most(f"the poller's own time, {what}", 1.1, own),
        ],
    )
