"""Item 5: channels made ready a second, beside bare requests that make as many databases."""

import threading
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import requests

from bench import plots
from bench.handlers import Handlers
from bench.item import Bench, timed_s
from bench.measure import Rounds, interleave, ratios, spread
from bench.report import Finding, Goal, shown
from chalicelib.couch import Database, Server
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.channel import Channel, parse_channel
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_control_db

CONNECTIONS = 4
CHANNELS, ROUNDS = 60, 9
QUICK_CHANNELS, QUICK_ROUNDS = 12, 2
HANDLERS, BARE = "channel/new → ready", "bare requests"
OWNER = owner_id_of("bench@example.com")

Item = TypeVar("Item")


class Channels:
    """Makes channels' databases, by the handlers or without them, and removes them again.

    Attributes
    ----------
    requests : int
        How many requests to CouchDB the handlers sent in the last round.
    """

    def __init__(self, bench: Bench, control: Database, count: int) -> None:
        self._server = Server(bench.couch_url)
        self._url = bench.couch_url
        self._owners = self._server.database(owner_control_db(control.name, OWNER))
        self._owners.create()
        self._handlers = Handlers(bench.couch_url, control.name, CONNECTIONS)
        self._threads = threading.local()
        self._count = count
        self.requests = 0

    def by_handlers(self) -> float:
        """Channels a second that the transition made ready."""
        docs = [self._written(doc) for doc in self._docs()]
        before = self._handlers.requests["couchdb"]
        seconds = timed_s(lambda: _at_once(self._handle, docs))
        self.requests = self._handlers.requests["couchdb"] - before
        return self._rate(docs, seconds)

    def bare(self) -> float:
        """Databases a second that three requests each made, with rights and a description."""
        docs = self._docs()
        channels = [self._channel(doc) for doc in docs]
        return self._rate(docs, timed_s(lambda: _at_once(self._make, channels)))

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _docs(self) -> list[JsonDict]:
        about = {"type": "channel", "state": "new", "name": "Bench"}
        return [{"_id": f"bench-{uuid.uuid4().hex}", **about} for _ in range(self._count)]

    def _written(self, doc: JsonDict) -> JsonDict:
        return {**doc, "_rev": self._owners.put(doc)}

    def _handle(self, doc: JsonDict) -> None:
        self._handlers.handle(self._owners.name, doc)

    def _channel(self, doc: JsonDict) -> Channel:
        return parse_channel(doc, self._owners.name, OWNER)

    def _make(self, channel: Channel) -> None:
        session = self._session()
        url = f"{self._url}/{channel.db}"
        session.put(url, timeout=30).raise_for_status()
        session.put(f"{url}/_security", json=channel.security, timeout=30).raise_for_status()
        description = channel.describe({})
        session.put(f"{url}/description", json=description, timeout=30).raise_for_status()

    def _session(self) -> requests.Session:
        """This thread's own connection."""
        if not hasattr(self._threads, "session"):
            self._threads.session = requests.Session()
        session: requests.Session = self._threads.session
        return session

    def _rate(self, docs: list[JsonDict], seconds: float) -> float:
        """Channels a second; removes their databases, so that the next round finds the same."""
        for doc in docs:
            self._server.database(self._channel(doc).db).delete()
        return len(docs) / seconds


def measure(bench: Bench) -> Finding:
    """Make channels by the handlers and without them, in turn."""
    count, rounds = (QUICK_CHANNELS, QUICK_ROUNDS) if bench.is_quick else (CHANNELS, ROUNDS)
    with bench.database() as control:
        channels = Channels(bench, control, count)
        runs = {HANDLERS: channels.by_handlers, BARE: channels.bare}
        for run in runs.values():
            run()  # not counted
        figures = interleave(runs, rounds, bench.say)
        channels.close()
    return _finding(figures, channels.requests / count)


def _finding(rounds: Rounds, requests_each: float) -> Finding:
    of_bare = ratios(rounds, HANDLERS, BARE).median
    medians = {name: spread(of).median for name, of in rounds.items()}
    counts = {HANDLERS: requests_each, BARE: 3}
    return Finding(
        head=["", "channels a second", "requests each"],
        rows=[[name, shown(spread(of), 1), f"{counts[name]:g}"] for name, of in rounds.items()],
        goals=[Goal("handlers / bare requests", "≥ 0.7", f"{of_bare:.2f}", of_bare >= 0.7)],
        plots={
            "channels.svg": lambda path: plots.bars(
                path,
                f"Channels made, {CONNECTIONS} connections",
                "channels a second",
                {name: {"median": median} for name, median in medians.items()},
            )
        },
        figures={"channels_per_s": rounds, "requests_each": requests_each},
    )


def _at_once(act: Callable[[Item], None], items: Iterable[Item]) -> None:
    """As many at once as there are connections; whatever failed is raised."""
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(act, items))
