"""Item 4: whether a confirmation takes longer where there are more registrations."""

import statistics
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from urllib.parse import urlencode

from bench import plots
from bench.handlers import Handlers
from bench.item import Bench, timed_s
from bench.measure import Rounds, interleave, ratios, spread
from bench.report import Finding, Goal, shown
from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import confirm_id
from chalicelib.handlers.logins import remove_login
from chalicelib.web import confirm
from device.registration import new_device
from local.outbox import read_mail

SIZES, ROUNDS = (1_000, 10_000, 100_000), 25
QUICK_SIZES, QUICK_ROUNDS = (1_000, 5_000), 3


class Confirmations:
    """Confirms one device after another in one control database."""

    def __init__(self, bench: Bench, database: Database) -> None:
        self._database = database
        self._handlers = Handlers(bench.couch_url, database.name)
        self._server = Server(bench.couch_url)
        self._confirmed: list[JsonDict] = []
        self.requests: list[Counter[str]] = []

    def confirm(self) -> float:
        """Register a device, then confirm it; how many ms it took from the click to ``active``."""
        device = new_device(
            f"{uuid.uuid4().hex}@example.com", "Bench", "2026-11-25T06:00:00Z", sha256=False
        )
        self._database.put(device.doc)
        self._handle(device.device_id)
        code = read_mail(self._handlers.mails[-1])["links"][0].rpartition("/")[2]
        form = urlencode({"device_code": device.device_code})
        before = self._handlers.requests.copy()
        use = self._handlers.dependencies.use
        seconds = timed_s(lambda: confirm.answer(use, code, form))
        seconds += self._handle(confirm_id(device.device_id, 0))
        seconds += self._handle(device.device_id)
        self.requests.append(self._handlers.requests - before)
        doc = self._database.get(device.device_id)
        if doc["state"] != "active":
            raise RuntimeError(f"{device.device_id} is {doc['state']}, not active")
        self._confirmed.append(doc)
        return 1000 * seconds

    def close(self) -> None:
        """Remove the devices' logins."""
        for doc in self._confirmed:
            remove_login(self._server, doc)
        self._server.close()

    def _handle(self, doc_id: str) -> float:
        """The time that the step takes which a document waits for; reading it is the poller's."""
        doc = self._database.get(doc_id)
        return timed_s(lambda: self._handlers.handle(self._database.name, doc))


def measure(bench: Bench) -> Finding:
    """Confirm devices in databases of several sizes in turn."""
    sizes, rounds = (QUICK_SIZES, QUICK_ROUNDS) if bench.is_quick else (SIZES, ROUNDS)
    with ExitStack() as exits:
        runs: dict[int, Confirmations] = {}
        for size in sizes:
            bench.say(f"writing {size:,} registrations")
            database = exits.enter_context(bench.database(size, state="active"))
            runs[size] = Confirmations(bench, database)
            exits.callback(runs[size].close)
            runs[size].confirm()  # with the first, clients are made and pages compiled
        contestants: dict[str, Callable[[], float]] = {
            f"{size:,}": partial(run.confirm) for size, run in runs.items()
        }
        figures = interleave(contestants, rounds, bench.say)
        return _finding(figures, {f"{size:,}": run.requests[1:] for size, run in runs.items()})


def _finding(rounds: Rounds, requests: dict[str, list[Counter[str]]]) -> Finding:
    smallest, *_, largest = rounds
    growth = ratios(rounds, largest, smallest).median
    counts = {size: {tuple(sorted(of.items())) for of in each} for size, each in requests.items()}
    is_same = len(set.union(*counts.values())) == 1
    [each, *_] = counts[smallest]
    services = [service for service, _ in each]
    points = [(float(size.replace(",", "")), statistics.median(of)) for size, of in rounds.items()]
    return Finding(
        head=["registrations", "ms", *(f"{service} requests" for service in services)],
        rows=[
            [size, shown(spread(of), 1), *(_counted(requests[size], name) for name in services)]
            for size, of in rounds.items()
        ],
        goals=[
            Goal(f"time at {largest} / {smallest}", "≤ 1.10", f"{growth:.2f}", growth <= 1.1),
            Goal("requests", "the same", "the same" if is_same else "not the same", is_same),
        ],
        plots={
            "confirmations.svg": lambda path: plots.lines(
                path,
                "A confirmation, from the click to an active device",
                "registrations in the control database",
                "ms",
                {"median": points},
                log_x=True,
            )
        },
        figures={"ms": rounds, "requests": dict(each)},
    )


def _counted(requests: list[Counter[str]], service: str) -> str:
    counts = sorted({of[service] for of in requests})
    return "–".join(str(count) for count in (counts[0], counts[-1])[: len(counts)])
