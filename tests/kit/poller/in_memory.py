"""A whole poller as it is wired, over AWS and CouchDB in memory, in virtual time."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib.couch import Server
from chalicelib.settings import PollerSettings, poller_key
from poller.app import PollerDependencies, run
from poller.lease import Lease
from tests.kit.fakes.aws import Around, FakeAws
from tests.kit.fakes.couch import ADMIN_URL
from tests.kit.fakes.couch_watched import WatchedCouch
from tests.kit.fakes.executor import LazyExecutor

TABLE, SECRET, QUEUE, START_S = "table", "secret", "device-new", 1_800_000_000.0


@dataclass
class PollerSite:
    """What a poller finds around it; time passes only by waiting, or when it is moved.

    Attributes
    ----------
    executor : LazyExecutor
        Counts the requests that need not wait for one another.
    on_wait : callable
        What happens elsewhere while the poller waits.
    around : callable
        Runs around each request to AWS.
    """

    passed_s: float = 0.0
    executor: LazyExecutor = field(default_factory=LazyExecutor)
    on_wait: Callable[[], None] = lambda: None
    around: Around = lambda name, call: call()
    couch: WatchedCouch = field(default_factory=WatchedCouch)

    def __post_init__(self) -> None:
        self.aws = FakeAws(self.now_s)
        self.aws.create_table(TABLE)
        queue_url = self.aws.create_queue(QUEUE)
        self.aws.put_secret(
            SECRET, json.dumps({"couchdb_url": ADMIN_URL, "link_keys": ["00" * 32]})
        )
        self.couch.waited = self.wait
        self.couch.create("control")
        self.settings = PollerSettings.read(
            {
                "STAGE": "test",
                "TABLE_NAME": TABLE,
                "SECRET_ID": SECRET,
                "ROUTES": json.dumps({"device/new": queue_url}),
                "POLL_WINDOW_SECONDS": "0",
                "POLL_PAGE_SIZE": "3",
            }
        )

    def now_s(self) -> float:
        """The time in seconds since 1970."""
        return START_S + self.passed_s

    def wait(self, wait_s: float) -> None:
        """Let time pass."""
        self.passed_s += wait_s
        self.on_wait()

    def run(self, stopped: Callable[[], bool] = lambda: False, **changes: Any) -> dict[str, Any]:
        """One run; `changes` to its settings."""
        dependencies = PollerDependencies(
            client=lambda service: self.aws.client(service, self.around),
            server=lambda url: Server(url, self.couch.adapter()),
            now_s=self.now_s,
            monotonic_s=lambda: self.passed_s + 7.0,
            pause=self.wait,
            executor=lambda: self.executor,
        )
        return run(replace(self.settings, **changes), stopped, dependencies)

    def lease(self, shard: int = 0, shards: int = 1) -> Lease:
        """Another poller's lease on the same databases."""
        key = poller_key("control", shard, shards)
        return Lease(self.aws.client("dynamodb"), TABLE, key, 60, self.now_s)

    def sent(self) -> list[str]:
        """The ids of the documents that wait in the queue; they are taken out of it."""
        ids: list[str] = []
        while records := self.aws.receive(QUEUE):
            self.aws.delete(QUEUE, records)
            ids += [json.loads(record["body"])["id"] for record in records]
        return ids
