"""Measure the time from a write in CouchDB to the start of its handler, and to the next state."""

import json
import os
import sys
import time
from typing import Any

from bench.measure import quantile
from bench.report import Finding, at_most
from bench.setup import Bench, output_of
from chalicelib.domain.documents import JsonDict
from local.aws import LocalAws
from local.system import LocalSystem, Options

WRITES, QUICK_WRITES = 200, 15
WARM_UP = 5  # not counted: these make clients and compile pages
SHARES = (0.5, 0.9, 0.99)
ENDS = {
    "seen": "CouchDB's continuous feed",
    "started": "start of the handler",
    "saved": "next state saved",
}


class TimedAws(LocalAws):
    """Notes when the message of a document is received; its handler starts at once."""

    def __init__(self) -> None:
        super().__init__()
        self.received_s: dict[str, float] = {}

    def client(self, service: str) -> Any:
        """Make a boto3 client that notes what it receives."""
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
    aws = TimedAws()
    options = Options(couchdb_url=os.environ.get("COUCHDB_URL") or None)
    writes = QUICK_WRITES if bench.is_quick else WRITES
    with LocalSystem(options, aws) as system:
        bench.say(f"{writes} registrations, one after another")
        client = [sys.executable, "-m", "bench.latency_client"]
        answer = output_of(*client, system.couch_url, system.control_db, str(WARM_UP + writes))
    moments = list(json.loads(answer).items())[WARM_UP:]
    times = [at | {"started": aws.received_s[doc_id]} for doc_id, at in moments]
    rows = {name: [1000 * (at[end] - at["written"]) for at in times] for end, name in ENDS.items()}
    floor, started = (quantile(rows[ENDS[end]], 0.5) for end in ("seen", "started"))
    return Finding(
        head=["from the write to …, ms", *(f"p{share * 100:.0f}" for share in SHARES)],
        rows=[
            [name, *(f"{quantile(each, share):.0f}" for share in SHARES)]
            for name, each in rows.items()
        ],
        goals=[at_most("start of the handler above the floor, p50", 100, started - floor, " ms")],
    )
