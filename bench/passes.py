"""Owners' control databases on some server, and a poller that makes its passes over them."""

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from bench.feed_reader import settings
from bench.handlers import Around
from chalicelib.couch import Server
from poller.ahead import when_needed
from poller.app import PollerDependencies, run
from tests.fakes.aws import FakeAws
from tests.fakes.couch import ADMIN_URL

CHANGING = 10
AT_ONCE = 4

MakeServer = Callable[[Around], Server]


@dataclass(frozen=True)
class Pass:
    """One pass of the poller: how long it took, without the server's answers, and what it sent."""

    ms: float
    own_ms: float
    requests: Counter[str]


class Feeds:
    """Owners' control databases on one server, and the poller that follows them.

    Parameters
    ----------
    make_server : callable
        Makes a client whose requests run through what it is given.

    Attributes
    ----------
    passes : list of Pass
        Those that found some changes.
    """

    def __init__(self, control_db: str, count: int, make_server: MakeServer) -> None:
        self._make_server = make_server
        self._server = make_server(lambda name, call: call())
        self._names = [f"{control_db}-{number:032x}" for number in range(count)]
        self._aws = FakeAws(time.time)
        queue_url = self._aws.create_queue("device-new")
        self._settings = replace(settings(control_db), routes={"device/new": queue_url})
        self._aws.create_table(self._settings.table_name)
        secret = {"couchdb_url": ADMIN_URL, "link_keys": ["5a" * 32]}
        self._aws.put_secret(self._settings.secret_id, json.dumps(secret))
        self._server.database(control_db).create()
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(lambda name: self._server.database(name).create(), self._names))
        self.passes: list[Pass] = []
        self._run()  # the first pass looks at all of them

    def one_pass(self) -> float:
        """Some databases change, and the poller sends that; how many ms its pass took."""
        step = len(self._names) // CHANGING
        for name in self._names[::step][:CHANGING]:
            doc = {"_id": uuid.uuid4().hex, "type": "device", "state": "new"}
            self._server.database(name).put(doc)
        self.passes.append(self._measured())
        return self.passes[-1].ms

    def _measured(self) -> Pass:
        requests: Counter[str] = Counter()
        answers_s = 0.0

        def around(name: str, call: Callable[[], Any]) -> Any:
            nonlocal answers_s
            requests[name.partition(".")[0]] += 1
            began = time.perf_counter()
            answer = call()
            answers_s += time.perf_counter() - began
            return answer

        began = time.perf_counter()
        sent = self._run(around)["sent"]
        took_s = time.perf_counter() - began
        if sent != CHANGING:
            raise RuntimeError(f"the pass sent {sent} of {CHANGING} changes")
        return Pass(1000 * took_s, 1000 * (took_s - answers_s), requests)

    def _run(self, around: Around = lambda name, call: call()) -> dict[str, Any]:
        dependencies = PollerDependencies(
            client=lambda service: self._aws.client(service, around),
            server=lambda url: self._make_server(around),
            begin=when_needed,
        )
        return run(self._settings, dependencies=dependencies)
