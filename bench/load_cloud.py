"""The poller and the handlers that ship, over AWS in memory and a CouchDB, driven by threads."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bench.load_couch import Couch
from bench.load_people import Answer
from chalicelib.couch import Server
from chalicelib.engine.batch import BatchFailed, Work, handle_batch
from chalicelib.engine.dependencies import Dependencies
from chalicelib.engine.docstate import Transition
from chalicelib.handlers.all import registry
from chalicelib.settings import PollerSettings, queue_name
from chalicelib.web import confirm
from local.aws import new_link_key
from poller.app import PollerDependencies, run
from tests.fakes.aws import FakeAws

STAGE = "load"
TABLE = "load"
SECRET = "load/secret"  # noqa: S105 - a name, not the secret
BATCH_MESSAGES = 10
LEFT_S = 30.0


class LoadedCloud:
    """The whole cloud in one process; each thread has a dependencies of its own, as a Lambda has.

    Parameters
    ----------
    take_mail : callable
        Given the MIME of each mail.
    threads : int
        How many handlers run at once.

    Attributes
    ----------
    requests : Counter
        How many were sent by now: to ``couchdb``, ``dynamodb``, ``sqs``, ``sesv2``, …
    again : int
        How many batches had a message that is to be tried again.
    """

    def __init__(self, couch: Couch, take_mail: Callable[[bytes], None], threads: int) -> None:
        self.aws = FakeAws(self._now_s, take_mail)
        self.requests: Counter[str] = Counter()
        self.again = 0
        self._couch = couch
        self._ahead_s = 0.0
        self._lock = threading.Lock()
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)
        self._local = threading.local()
        self._transitions = list(registry)
        secret = {"couchdb_url": couch.url, "link_keys": [new_link_key()]}
        self.aws.create_table(TABLE)
        self.aws.put_secret(SECRET, json.dumps(secret))
        routes = {
            f"{transition.doc_type}/{transition.state}": self.aws.create_queue(_queue(transition))
            for transition in self._transitions
        }
        environment = self._environment(routes)
        self._poller = PollerSettings.read(environment)
        self._wiring = partial(Dependencies, environment, self._now, self._client, self._server)

    def poll(self) -> int:
        """One pass of the poller; how many messages it sent."""
        dependencies = PollerDependencies(self._client, self._server, self._now_s)
        return int(run(self._poller, dependencies=dependencies)["sent"])

    def handle_all(self) -> int:
        """Handle what waits in the queues, in all threads; how many messages."""
        workers = [self._pool.submit(self._handle_all) for _ in range(self._threads)]
        return sum(worker.result() for worker in workers)

    def confirm_all(self, answers: Sequence[Answer]) -> list[Answer]:
        """Answer the pages behind links, in all threads; those answers that were not taken."""
        statuses = self._pool.map(self._confirm, answers)
        return [answer for answer, status in zip(answers, statuses, strict=True) if status != 303]

    def skip_the_wait(self) -> bool:
        """Put the clock to when the next hidden message comes back; whether there is any."""
        next_s = self.aws.next_visible_at_s()
        if next_s is None:
            return False
        self._ahead_s += max(0.0, next_s - self._now_s())
        return True

    def dead_letters(self) -> list[str]:
        """What no handler could do."""
        letters = [self.aws.dead_letters(_queue(transition)) for transition in self._transitions]
        return [letter for some in letters for letter in some]

    def running_claims(self) -> list[str]:
        """The claims that nobody finished or released."""
        items = self.aws.items(TABLE)
        return [item["pk"]["S"] for item in items if item.get("status") == {"S": "running"}]

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _handle_all(self) -> int:
        handled, before = 0, -1
        while handled > before:
            before = handled
            for transition in self._transitions:
                while records := self.aws.receive(_queue(transition), BATCH_MESSAGES):
                    handled += len(records)
                    work = Work.of(self._own_wiring(), registry, transition, lambda: LEFT_S)
                    self._handle(records, work)
        return handled

    def _handle(self, records: list[Any], work: Work) -> None:
        try:
            handle_batch(records, work)
        except BatchFailed:  # its messages were settled one by one
            with self._lock:
                self.again += 1
        else:
            self.aws.delete(_queue(work.transition), records)

    def _confirm(self, answer: Answer) -> int:
        body = f"device_code={answer.device_code}"
        return confirm.answer(self._own_wiring().use, answer.code, body).status

    def _own_wiring(self) -> Dependencies:
        if not hasattr(self._local, "dependencies"):
            self._local.dependencies = self._wiring()
        dependencies: Dependencies = self._local.dependencies
        return dependencies

    def _client(self, service: str) -> Any:
        return self.aws.client(service, self._counted)

    def _server(self, url: str) -> Server:
        return self._couch.connect(url, self._counted)

    def _counted(self, name: str, call: Callable[[], Any]) -> Any:
        with self._lock:
            self.requests[name.partition(".")[0]] += 1
        return call()

    def _now_s(self) -> float:
        return time.time() + self._ahead_s

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._now_s(), UTC)

    def _environment(self, routes: dict[str, str]) -> dict[str, str]:
        return {
            "STAGE": STAGE,
            "TABLE_NAME": TABLE,
            "SECRET_ID": SECRET,
            "CONTROL_DB": self._couch.control_db,
            "ROUTES": json.dumps(routes),
            "POLL_WINDOW_SECONDS": "0",
            "PUBLIC_URL": "https://sync.example.com/api",
            "MAIL_FROM": "sync@example.com",
            # Owners with many devices are no abuse here.
            "MAILS_PER_ADDRESS_HOUR": "1000000",
            "MAILS_PER_ADDRESS_DAY": "1000000",
        }


def _queue(transition: Transition) -> str:
    return queue_name(STAGE, transition.doc_type, transition.state)
