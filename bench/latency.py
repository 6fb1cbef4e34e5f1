"""Item 2: from a write in CouchDB to the start of its handler, and to the next state."""

import json
import os
import subprocess
import sys
import time
from typing import Any

from bench import plots
from bench.item import Bench
from bench.measure import quantile
from bench.report import Finding, Goal
from chalicelib.domain.documents import JsonDict
from local.aws import LocalAws
from local.system import ROOT, LocalSystem, Options, prepare_process

WRITES, QUICK_WRITES = 200, 15
# Those are not counted: clients are made and pages compiled with the first.
WARM_UP = 5
LIMIT_S = 300
FLOOR, STARTED, SAVED = "CouchDB's continuous feed", "start of the handler", "next state saved"
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class TimedAws(LocalAws):
    """Notes when a document's message is received: its handler is called with it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.received_s: dict[str, float] = {}

    def client(self, service: str) -> Any:
        """A boto3 client, watched by boto3's own events."""
        client = super().client(service)
        if service == "sqs":
            client.meta.events.register("after-call.sqs.ReceiveMessage", self._note)
        return client

    def _note(self, parsed: JsonDict, **_: object) -> None:
        for message in parsed.get("Messages", []):
            doc_id = json.loads(message["Body"])["id"]
            self.received_s.setdefault(doc_id, time.monotonic())


def measure(bench: Bench) -> Finding:
    """Write registrations one after another into the running local system."""
    prepare_process()
    aws = TimedAws()
    options = Options(couchdb_url=os.environ.get("COUCHDB_URL") or None)
    writes = QUICK_WRITES if bench.is_quick else WRITES
    with LocalSystem(options, aws) as system:
        bench.say(f"{writes} registrations, one after another")
        moments = _write(system, WARM_UP + writes)
    counted = list(moments.items())[WARM_UP:]
    return _finding(
        {
            FLOOR: [1000 * (at["seen"] - at["written"]) for _, at in counted],
            STARTED: [1000 * (aws.received_s[doc_id] - at["written"]) for doc_id, at in counted],
            SAVED: [1000 * (at["saved"] - at["written"]) for _, at in counted],
        }
    )


def _write(system: LocalSystem, count: int) -> dict[str, dict[str, float]]:
    command = (sys.executable, "-m", "bench.latency_client", system.couch_url, system.control_db)
    done = subprocess.run(  # noqa: S603
        [*command, str(count)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    moments: dict[str, dict[str, float]] = json.loads(done.stdout)
    return moments


def _finding(figures_ms: dict[str, list[float]]) -> Finding:
    table = {
        name: {share: quantile(figures, at) for share, at in SHARES.items()}
        for name, figures in figures_ms.items()
    }
    above_ms = table[STARTED]["p50"] - table[FLOOR]["p50"]
    return Finding(
        head=["from the write to …, ms", *SHARES],
        rows=[[name, *(f"{ms:.0f}" for ms in of.values())] for name, of in table.items()],
        goals=[
            Goal(
                "start of the handler above the floor, p50",
                "< 100 ms",
                f"{above_ms:.0f} ms",
                above_ms < 100,
            )
        ],
        plots={
            "latency.svg": lambda path: plots.bars(
                path, "From a write in CouchDB to …", "ms", table
            )
        },
        figures={"ms": table, "writes": len(figures_ms[FLOOR])},
    )
