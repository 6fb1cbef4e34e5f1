"""The whole system, over its real edges: documents in, mails and documents out."""

import os
import subprocess
import sys
from typing import Any

import pytest
import requests

from chalicelib.couch import Server
from chalicelib.domain.documents import JsonDict
from local.system import ROOT, LocalSystem
from tests.kit.basics import a_device, an_address, wait_for

LOG_LEVEL = "POWERTOOLS_LOG_LEVEL"  # of the tests: who runs the demo has set none


def outbox_of(system: LocalSystem, address: str) -> list[JsonDict]:
    mails: list[JsonDict] = requests.get(f"{system.outbox}/outbox.json", timeout=10).json()
    return [mail for mail in mails if mail["to"] == address]


def test_an_error_does_not_block_those_behind_it(system: LocalSystem) -> None:
    control = Server(system.couch_url).database(system.control_db)
    address = an_address()
    wrong = [a_device(owner=[address]) for _ in range(3)]  # type: ignore[arg-type]
    for device in wrong:
        control.put(device.doc)
    right = a_device(owner=address)
    control.put(right.doc)
    wait_for(lambda: outbox_of(system, address), "the mail")
    for device in wrong:

        def error(doc_id: str = device.device_id) -> Any:
            return control.get(doc_id).get("error")

        assert wait_for(error, "the error")["reason"] == "owner must be a text"


def test_the_health_route_says_that_all_is_well(system: LocalSystem) -> None:
    def well() -> JsonDict | None:
        answer = requests.get(f"{system.api}/health", timeout=10)
        return answer.json() if answer.status_code == 200 else None

    body = wait_for(well, "a healthy answer")
    assert {key: body[key] for key in ("ok", "couchdb", "dynamodb", "sqs", "poller")} == {
        "ok": True,
        "couchdb": "ok",
        "dynamodb": "ok",
        "sqs": "ok",
        "poller": "ok",
    }


def of_the_demo(server: Server) -> set[str]:
    """What the demo's devices have on a CouchDB that was lent to them."""
    parts = ("-phone-", "-laptop-", "-tablet-")
    replications = server.database("_replicator")
    replications.create()
    rows = replications.changes("0", limit=100_000)["results"]
    sources = {str(row["doc"].get("source")) for row in rows if not row.get("deleted")}
    names = server.all_dbs("a", "z", 100_000)
    return {text for text in [*sources, *names] for part in parts if part in text}


@pytest.mark.slow
def test_the_demo_tells_the_whole_story_and_leaves_a_lent_couchdb_as_it_was(
    couch_url: str, server: Server
) -> None:
    before = of_the_demo(server)
    of_users = {name: value for name, value in os.environ.items() if name != LOG_LEVEL}
    finished = subprocess.run(
        [sys.executable, "-m", "local.demo"],
        cwd=ROOT,
        env=of_users | {"COUCHDB_URL": couch_url},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    for line in (
        "phone        shows the device code",
        "device       new → confirming",
        "a wrong code is refused: 403",
        "clicked → used",
        "Your device is active",
        "a second use of the link is refused: 409",
        "channel      new → ready",
        "laptop       has photo-1: a lighthouse",
        "laptop       has photo-2 from the phone: a storm",
        "in the same revision, without a conflict",
        "to ben@example.com: “You are invited to share a channel”",
        "invitation   accepting → accepted",
        "tablet       has photo-1: a lighthouse",
        "phone        has photo-3 from the tablet: a ferry",
        "reads Ada's control database: 40",
        "writes a channel in state ready: 403, channel/ready is not for a device to write",
        "creates a channel with an invalid name: name must not contain control characters",
        "reads the channel: 40",
        "this device was revoked. Its data stays here",
        "still has the channel, with photo-3: a ferry",
        "all databases are removed",
    ):
        assert line in finished.stdout
    assert finished.stderr == ""
    assert of_the_demo(server) <= before


@pytest.mark.io
def test_the_demo_says_why_it_failed_and_exits_with_1() -> None:
    environment = os.environ | {"COUCHDB_URL": "http://admin:secret-word@127.0.0.1:9"}
    finished = subprocess.run(
        [sys.executable, "-m", "local.demo"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 1
    assert "demo failed: CouchDB at http://127.0.0.1:9" in finished.stderr
    assert "secret-word" not in finished.stderr + finished.stdout
    assert "Traceback" not in finished.stderr
