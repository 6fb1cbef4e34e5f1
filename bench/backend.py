"""Run the poller, handlers and routes that ship in this process: over a CouchDB, and AWS in memory.

`Around` is called around each request, with the request's name (``couchdb.GET``,
``dynamodb.PutItem``) and the request itself.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from chalicelib.couch import Server
from chalicelib.domain.documents import JsonDict
from chalicelib.engine.batch import BatchFailed, LambdaWork, handle_batch
from chalicelib.engine.dependencies import Dependencies
from chalicelib.engine.docstate import Transition
from chalicelib.engine.runner import Message, Outcome, handle
from chalicelib.handlers.all import registry
from chalicelib.settings import MAX_QUOTA, PollerSettings, queue_name
from poller.app import PollerDependencies, run
from tests.kit.fakes.aws import FakeAws
from tests.kit.fakes.couch import ADMIN_URL

STAGE, TABLE, SECRET = "bench", "bench", "bench/secret"
BATCH_MESSAGES = 10
REMAINING_S = 30.0

Around = Callable[[str, Callable[[], Any]], Any]
MakeServer = Callable[[Around], Server]


class WatchedAdapter(HTTPAdapter):
    """Connections to CouchDB with something around each request."""

    def __init__(self, around: Around) -> None:
        super().__init__(pool_connections=1, pool_maxsize=16)
        self._around = around

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send a request as requests does."""
        send = super().send
        answer: Response = self._around(
            f"couchdb.{request.method}", lambda: send(request, *args, **kwargs)
        )
        return answer


def connect(url: str, around: Around) -> Server:
    """Connect to a CouchDB with something around each request."""
    return Server(url, WatchedAdapter(around))


class Backend:
    """One installation; each thread has its own `Dependencies`, as a Lambda has.

    It counts the requests by service (``couchdb``, ``dynamodb``, …), the seconds of their answers,
    and the batches with a message that is to be tried again.
    """

    def __init__(
        self,
        control_db: str,
        make_server: MakeServer,
        take_mail: Callable[[bytes], None] | None = None,
    ) -> None:
        self.aws = FakeAws(self._now_s, take_mail)
        self.requests: Counter[str] = Counter()
        self.answers_s = 0.0
        self.retried = 0
        self._make_server = make_server
        self._ahead_s = 0.0
        self._lock = threading.Lock()
        self._local = threading.local()
        self.aws.create_table(TABLE)
        # The URL is not used: `make_server` knows the server.
        self.aws.put_secret(
            SECRET, json.dumps({"couchdb_url": ADMIN_URL, "link_keys": ["5a" * 32]})
        )
        self._queues = {t: queue_name(STAGE, t.doc_type, t.state) for t in registry}
        routes = {
            f"{t.doc_type}/{t.state}": self.aws.create_queue(queue)
            for t, queue in self._queues.items()
        }
        self._environment = {
            "STAGE": STAGE,
            "TABLE_NAME": TABLE,
            "SECRET_ID": SECRET,
            "CONTROL_DB": control_db,
            "ROUTES": json.dumps(routes),
            "POLL_WINDOW_SECONDS": "0",
            "PUBLIC_URL": "https://sync.example.com/api",
            "MAIL_FROM": "syncpoint@example.com",
            # Owners with many devices and channels are no abuse here.
            "MAILS_PER_ADDRESS_HOUR": str(MAX_QUOTA),
            "MAILS_PER_ADDRESS_DAY": str(MAX_QUOTA),
            "CHANNELS_PER_OWNER_HOUR": str(MAX_QUOTA),
            "CHANNELS_PER_OWNER_DAY": str(MAX_QUOTA),
        }
        self._poller = PollerSettings.read(self._environment)

    @property
    def dependencies(self) -> Dependencies:
        """The dependencies of this thread."""
        if not hasattr(self._local, "dependencies"):
            self._local.dependencies = Dependencies(
                self._environment, self._now, self._client, self._server
            )
        dependencies: Dependencies = self._local.dependencies
        return dependencies

    def handle(self, db: str, doc: JsonDict) -> None:
        """Run a document's transition; raise `RuntimeError` if its next state is not saved."""
        message = Message(db, doc["_id"], doc["type"], doc["state"], doc)
        dependencies = self.dependencies
        with dependencies.use() as context:
            outcome = handle(message, registry, context, dependencies.claims)
        if outcome is not Outcome.SAVED:
            raise RuntimeError(f"{doc['type']}/{doc['state']} of {doc['_id']}: {outcome}")

    def poll(self, executor: Executor | None = None) -> int:
        """Let the poller make one pass; return how many messages it sent."""
        dependencies = PollerDependencies(self._client, self._server, self._now_s)
        if executor is not None:
            dependencies = replace(dependencies, executor=lambda: executor)
        sent: int = run(self._poller, dependencies=dependencies)["sent"]
        return sent

    def handle_all(self) -> int:
        """Handle messages until no queue has any; return how many were handled."""
        handled, before = 0, -1
        while handled > before:
            before = handled
            for transition, queue in self._queues.items():
                while records := self.aws.receive(queue, BATCH_MESSAGES):
                    handled += len(records)
                    self._handle_batch(transition, queue, records)
        return handled

    def skip_the_wait(self) -> bool:
        """Move the clock to the return of the next hidden message; return whether there is one."""
        next_s = self.aws.next_visible_at_s()
        if next_s is None:
            return False
        self._ahead_s += max(0.0, next_s - self._now_s())
        return True

    def dead_letters(self) -> list[str]:
        """Return the bodies of all dead letters."""
        return [
            letter for queue in self._queues.values() for letter in self.aws.dead_letters(queue)
        ]

    def running_claims(self) -> list[str]:
        """Return the keys of the claims that were neither finished nor released."""
        items = self.aws.items(TABLE)
        return [item["pk"]["S"] for item in items if item.get("status") == {"S": "running"}]

    def _handle_batch(self, transition: Transition, queue: str, records: list[JsonDict]) -> None:
        work = LambdaWork(self.dependencies, registry, transition, lambda: REMAINING_S)
        try:
            handle_batch(records, work)
        except BatchFailed:  # each of its messages was deleted or hidden by itself
            with self._lock:
                self.retried += 1
        else:
            self.aws.delete(queue, records)

    def _client(self, service: str) -> Any:
        return self.aws.client(service, self._counted)

    def _server(self, url: str) -> Server:
        return self._make_server(self._counted)

    def _counted(self, name: str, call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        try:
            return call()
        finally:
            with self._lock:
                self.requests[name.partition(".")[0]] += 1
                self.answers_s += time.perf_counter() - began

    def _now_s(self) -> float:
        return time.time() + self._ahead_s

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._now_s(), UTC)
