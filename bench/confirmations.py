"""Measure whether a confirmation takes longer in a control database with more registrations."""

import uuid
from collections import Counter
from contextlib import ExitStack
from functools import partial
from urllib.parse import urlencode

from bench.backend import Backend, connect
from bench.measure import Rounds, interleave, ratios, spread
from bench.report import Finding, Goal, at_most
from bench.setup import CREATED_AT, Bench, timed_s
from chalicelib.couch import Database
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import confirm_id
from chalicelib.handlers.logins import remove_login
from chalicelib.web import confirm
from local.outbox import read_mail
from syncpoint_device.registration import new_device

SIZES, ROUNDS = (1_000, 10_000, 100_000), 25
QUICK_SIZES, QUICK_ROUNDS = (1_000, 5_000), 3
SERVICES = ("couchdb", "dynamodb")


class Confirmations:
    """Confirms one device after another in one control database, and counts their requests."""

    def __init__(self, couch_url: str, database: Database) -> None:
        self._database = database
        self._backend = Backend(database.name, partial(connect, couch_url))
        self._confirmed: list[JsonDict] = []
        self.requests: list[Counter[str]] = []

    def confirm(self) -> float:
        """Register a device and confirm it; return the ms from the click to ``active``."""
        address = f"{uuid.uuid4().hex}@example.com"
        device = new_device(address, "Bench", CREATED_AT, sha256=False)
        self._database.put(device.doc)
        self._handle(device.device_id)
        token = read_mail(self._backend.aws.mails[-1])["links"][0].rpartition("/")[2]
        form = urlencode({"device_code": device.device_code})
        before = self._backend.requests.copy()
        with self._backend.dependencies.use() as context:
            seconds = timed_s(lambda: confirm.answer(context, token, form))
        seconds += self._handle(confirm_id(device.device_id, 0))
        seconds += self._handle(device.device_id)
        self.requests.append(self._backend.requests - before)
        doc = self._database.get(device.device_id)
        if doc["state"] != "active":
            raise RuntimeError(f"{device.device_id} is {doc['state']}, not active")
        self._confirmed.append(doc)
        return 1000 * seconds

    def remove_logins(self) -> None:
        """Remove the devices' logins, which are not in the control database."""
        server = self._backend.dependencies.context().server
        for doc in self._confirmed:
            remove_login(server, doc)

    def _handle(self, doc_id: str) -> float:
        """Run the document's transition; return its seconds, without the read."""
        doc = self._database.get(doc_id)
        return timed_s(lambda: self._backend.handle(self._database.name, doc))


def measure(bench: Bench) -> Finding:
    """Confirm devices in databases of several sizes in turn."""
    sizes, rounds = (QUICK_SIZES, QUICK_ROUNDS) if bench.is_quick else (SIZES, ROUNDS)
    runs: dict[str, Confirmations] = {}
    with ExitStack() as exits:
        for size in sizes:
            bench.say(f"writing {size:,} registrations")
            database = exits.enter_context(bench.database(size, state="active"))
            run = runs[f"{size:,}"] = Confirmations(bench.couch_url, database)
            exits.callback(run.remove_logins)
            run.confirm()  # not counted: it makes clients and compiles pages
        figures = interleave({size: run.confirm for size, run in runs.items()}, rounds, bench.say)
    return _finding(figures, {size: run.requests[1:] for size, run in runs.items()})


def _finding(rounds: Rounds, requests: dict[str, list[Counter[str]]]) -> Finding:
    smallest, *_, largest = rounds
    sent = {
        size: {tuple(each[service] for service in SERVICES) for each in of}
        for size, of in requests.items()
    }
    is_same = len(set.union(*sent.values())) == 1
    growth = ratios(rounds, largest, smallest).median
    return Finding(
        head=["registrations", "ms", *(f"{service} requests" for service in SERVICES)],
        rows=[
            [
                size,
                spread(of).shown(1),
                *(" or ".join(map(str, sorted(set(n)))) for n in zip(*sent[size], strict=True)),
            ]
            for size, of in rounds.items()
        ],
        goals=[
            at_most(f"time at {largest} / {smallest}", 1.1, growth),
            Goal("requests", "the same", "the same" if is_same else "not the same", is_same),
        ],
    )
