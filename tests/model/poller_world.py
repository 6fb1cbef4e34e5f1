"""Pollers of the same databases at once: the real `poller.app.run`, from its start to its end."""

import json
import pickle
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError

from chalicelib.couch import CouchError
from chalicelib.settings import PollerSettings
from poller.app import PollerDependencies, run
from poller.databases import DbUpdatesRefused
from poller.lease import LeaseLost
from poller.messages import NotAccepted
from tests.kit.fakes.aws import FakeClient
from tests.kit.fakes.aws_small import SecretsManager
from tests.kit.fakes.couch import ADMIN_URL, FakeCouch
from tests.kit.fakes.dynamodb import DynamoDb
from tests.kit.fakes.executor import LazyExecutor
from tests.kit.fakes.sqs import Sqs
from tests.model.direct_couch import direct_server
from tests.model.poller_couch import CONTROL, OWNERS, Change, ControlDatabases
from tests.model.poller_notes import MAX_DOCS, PAGE_SIZE, ROUTED, START_S, Notes
from tests.model.poller_requests import Requests
from tests.model.scheduler import Program, Scheduler

LEASE_S = 60
TABLE = "table"
RESCUER = "rescuer"

# What a run may end with; whatever else it raised would be a defect.
FAILURES = (BotoCoreError, CouchError, LeaseLost, NotAccepted, DbUpdatesRefused)


class PollerWorld:
    """Pollers of two control databases, with pages of two changes.

    Parameters
    ----------
    docs : int
        How many documents the control database holds; an owner's holds one.
    skews : sequence of int
        For each poller, how many seconds its clock is ahead of the time.
    jumps, edits : int
        How often the time may jump past the lease, and the databases be changed.
    window_s : int
        How long a run waits for changes; 0 is one pass.
    executor : Executor
        Decides when requests are made that need not wait for one another.
    stops_at_reads : bool
        Whether anything may happen before a database is read. Need not be where databases do not
        change, and reads do not fail: then their answers are the same at any time.
    requests : type
        How they are answered: well, or so that it must be found out.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        docs: int = 3,
        skews: Sequence[int] = (0, 0),
        jumps: int = 1,
        edits: int = 0,
        window_s: int = 0,
        executor: Executor | None = None,
        stops_at_reads: bool = True,
        requests: type[Requests] = Requests,
    ) -> None:
        self._scheduler = scheduler
        self._executor = executor or LazyExecutor()
        self._stops_at_reads = stops_at_reads
        self._requests = requests
        self._skews = {f"{number:032x} {skew_s:+}": skew_s for number, skew_s in enumerate(skews)}
        self._notes = Notes(jumps, edits, clocks_agree=not any(skews))
        self._couch = FakeCouch(waited=self._wait)
        self._databases = ControlDatabases(self._couch, docs)
        self._dynamodb = DynamoDb()
        self._dynamodb.tables[TABLE] = {}
        self._sqs, self._secrets = Sqs(self._now_s), SecretsManager()
        secret = {"couchdb_url": ADMIN_URL, "link_keys": ["00" * 32]}
        self._secrets.secrets["secret"] = json.dumps(secret)
        self._settings = PollerSettings.read(
            {
                "TABLE_NAME": TABLE,
                "SECRET_ID": "secret",
                "ROUTES": json.dumps({"/".join(ROUTED): self._sqs.create("device-new", 180, 5)}),
                "POLL_WINDOW_SECONDS": str(window_s),
                "POLL_PAGE_SIZE": str(PAGE_SIZE),
                "POLL_LEASE_SECONDS": str(LEASE_S),
            }
        )
        self.programs: Mapping[str, Program] = {name: self._program(name) for name in self._skews}

    def save(self) -> Any:
        # The databases are copied before they are changed.
        return pickle.dumps((self._notes, self._dynamodb.tables)), self._couch.databases

    def load(self, saved: Any) -> None:
        self._notes, self._dynamodb.tables = pickle.loads(saved[0])
        self._couch.databases = saved[1]

    def describe(self, name: str = "") -> str:
        if name:
            return repr(self._notes.at_work.get(name))
        # What was done to the databases tells what they hold.
        rest = replace(self._notes, at_work={}, delivered={})
        return repr((rest, sorted(self._notes.delivered.items()), sorted(self._items().items())))

    def events(self) -> dict[str, Callable[[], Collection[str]]]:
        events: dict[str, Callable[[], Collection[str]]] = {}
        if self._notes.jumps:
            events["the lease passes"] = self._jump
        for db in (CONTROL, OWNERS) if self._notes.edits else ():
            for what, change in self._databases.changes(db).items():
                events[f"{db}: {what}"] = partial(self._change, db, what, change)
            if f"feed#{db}" in self._items():
                events[f"{db}: its seq means nothing now"] = partial(self._spoil, db)
        return events

    def crash(self, name: str) -> None:
        self._notes.at_work.pop(name, None)
        self._notes.excused += PAGE_SIZE

    def check(self) -> None:
        items = self._items()
        for db, database in self._couch.databases.items():
            if f"feed#{db}" in items:
                self._notes.check(database, items[f"feed#{db}"])

    def check_end(self) -> None:
        """After the lease the next ones deliver what is left, and one after them finds nothing."""
        if CONTROL not in self._couch.databases:
            self._databases.copy()
            self._databases.make(CONTROL)
        settings, dependencies = replace(self._settings, window_s=0), self._dependencies(RESCUER)
        for _ in range(2):
            self._jump()
            assert run(settings, dependencies=dependencies)["polled"], "the lease is held for ever"
        self._notes.check_end(list(self._couch.databases.values()))
        self.check()
        assert run(settings, dependencies=dependencies)["sent"] == 0, "the next run sends all again"

    def _program(self, name: str) -> Program:
        dependencies = self._dependencies(name)

        def poll_once() -> bool:
            self._scheduler.request("start", lambda: None)
            with suppress(*FAILURES):
                run(self._settings, dependencies=dependencies)
            self._scheduler.request("end", lambda: self._notes.at_work.pop(name, None))
            return False

        return poll_once

    def _dependencies(self, name: str) -> PollerDependencies:
        services = {"dynamodb": self._dynamodb, "sqs": self._sqs, "secretsmanager": self._secrets}

        requests = self._requests(name, self._scheduler, lambda: self._notes, self._stops_at_reads)

        def now_s() -> float:
            return self._now_s() + self._skews.get(name, 0)

        clients = {
            service: FakeClient(service, of, requests.to_aws) for service, of in services.items()
        }
        server = direct_server(self._couch, requests.to_couchdb)
        return PollerDependencies(
            client=clients.__getitem__,
            server=lambda url: server,
            now_s=lambda: self._scheduler.hear(now_s),
            monotonic_s=lambda: self._scheduler.hear(self._now_s),
            pause=lambda seconds: None,
            executor=lambda: self._executor,
        )

    def _change(self, db: str, what: str, change: Change) -> list[str]:
        self._notes.edits -= 1
        self._notes.changes.append(f"{db}: {what}")
        self._databases.copy()
        uid = self._couch.databases[db].uid if db in self._couch.databases else ""
        change(db)
        if db not in self._couch.databases or self._couch.databases[db].uid != uid:
            self._notes.forget(db)
        return []

    def _spoil(self, db: str) -> list[str]:
        self._notes.edits -= 1
        self._notes.excused += MAX_DOCS
        self._dynamodb.update_item(
            TableName=TABLE,
            Key={"pk": {"S": f"feed#{db}"}},
            UpdateExpression="SET seq = :seq",
            ExpressionAttributeValues={":seq": {"S": "nonsense"}},
        )
        return []

    def _now_s(self) -> float:
        return START_S + self._notes.passed_s

    def _wait(self, wait_s: float) -> None:
        self._notes.passed_s += wait_s

    def _jump(self) -> list[str]:
        self._notes.jumps -= 1
        self._notes.passed_s += LEASE_S + 1 + 2 * max(map(abs, self._skews.values()))
        return []

    def _items(self) -> dict[str, Any]:
        items = self._dynamodb.scan(TableName=TABLE)["Items"]
        return {item["pk"]["S"]: item for item in items}
