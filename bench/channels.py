"""Compare channels that the handler makes ready with bare requests that make the databases."""

import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import requests

from bench.backend import Backend, connect
from bench.measure import interleave, ratios, spread
from bench.report import Finding, at_least
from bench.setup import Bench, timed_s
from chalicelib.couch import Database, Server
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.channel import Channel, parse_channel
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_control_db

CONNECTIONS = 4
CHANNELS, ROUNDS = 60, 9
QUICK_CHANNELS, QUICK_ROUNDS = 12, 2
HANDLERS, BARE = "channel/new → ready", "bare requests"
BARE_REQUESTS = 3
OWNER = owner_id_of("bench@example.com")


class Channels:
    """Makes the databases of channels, with the handlers or without, and deletes them again."""

    def __init__(self, couch_url: str, server: Server, control: Database, count: int) -> None:
        self._url, self._server, self._count = couch_url, server, count
        self._owners = server.database(owner_control_db(control.name, OWNER))
        self._owners.create()
        self._backend = Backend(control.name, partial(connect, couch_url))
        self._pool = ThreadPoolExecutor(CONNECTIONS)
        self._local = threading.local()
        self.requests_each = 0.0

    def by_handlers(self) -> float:
        """Make the channels ready with the transition; return channels a second."""
        docs = [{**doc, "_rev": self._owners.put(doc)} for doc in self._new_docs()]
        before = self._backend.requests["couchdb"]
        rate = self._rate(lambda doc: self._backend.handle(self._owners.name, doc), docs)
        self.requests_each = (self._backend.requests["couchdb"] - before) / self._count
        return rate

    def bare(self) -> float:
        """Make the databases with three requests each; return databases a second."""
        return self._rate(self._make, self._new_docs())

    def _new_docs(self) -> list[JsonDict]:
        fields = {"type": "channel", "state": "new", "name": "Bench"}
        return [{"_id": f"bench-{uuid.uuid4().hex}", **fields} for _ in range(self._count)]

    def _rate(self, make: Callable[[JsonDict], None], docs: Sequence[JsonDict]) -> float:
        seconds = timed_s(lambda: list(self._pool.map(make, docs)))
        for doc in docs:  # the next round finds the same server
            self._server.database(self._channel(doc).db).delete()
        return len(docs) / seconds

    def _channel(self, doc: JsonDict) -> Channel:
        return parse_channel(doc, self._owners.name, OWNER)

    def _make(self, doc: JsonDict) -> None:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        channel = self._channel(doc)
        bodies = {"": None, "/_security": channel.security, "/description": channel.describe({})}
        for path, body in bodies.items():
            url = f"{self._url}/{channel.db}{path}"
            self._local.session.put(url, json=body, timeout=30).raise_for_status()


def measure(bench: Bench) -> Finding:
    """Make channels by the handlers and without them, in turn."""
    count, rounds = (QUICK_CHANNELS, QUICK_ROUNDS) if bench.is_quick else (CHANNELS, ROUNDS)
    with bench.database() as control, closing(Server(bench.couch_url)) as server:
        channels = Channels(bench.couch_url, server, control, count)
        contestants = {HANDLERS: channels.by_handlers, BARE: channels.bare}
        interleave(contestants, 1, lambda _: None)  # the first round is not counted
        figures = interleave(contestants, rounds, bench.say)
    requests_each = {HANDLERS: channels.requests_each, BARE: BARE_REQUESTS}
    return Finding(
        head=["", "channels a second", "requests each"],
        rows=[
            [name, spread(each).shown(1), f"{requests_each[name]:g}"]
            for name, each in figures.items()
        ],
        goals=[at_least("handlers / bare requests", 0.7, ratios(figures, HANDLERS, BARE).median)],
    )
