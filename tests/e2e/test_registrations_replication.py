"""Devices without a login register by replication: a real PouchDB, and the server's replicator."""

import base64
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests

from chalicelib.aws.rate_limiter import RateLimiter
from chalicelib.couch import Conflict, Database, NotFound, Server
from chalicelib.domain.documents import JsonDict
from local.lambdas import Api, load_app
from local.system import ROOT
from syncpoint_device.registration import NewDevice
from tests.kit.basics import (
    FakeClock,
    FakeDependencies,
    FakeMailer,
    a_device,
    an_address,
    make_context,
    wait_for,
)
from tests.kit.system import pouchdb
from tests.kit.system.pouchdb import PouchDB
from tests.kit.system.registering import Where, mails_to, post, replicate_once


@pytest.fixture
def app(where: Where, tmp_path: Path) -> Iterator[PouchDB]:
    """An app whose database replicates to the registrations endpoint."""
    with pouchdb.running(tmp_path / "app", f"{where.api}/registrations") as app:
        yield app


def state(where: Where, device: NewDevice) -> str | None:
    """What the registrations endpoint says of a device; None if it has not heard of it."""
    answer = requests.get(f"{where.api}/registrations/{device.device_id}", timeout=30)
    assert answer.status_code in (200, 404)
    assert set(answer.json()) == ({"state"} if answer.ok else {"error", "reason"})
    return str(answer.json()["state"]) if answer.ok else None


def confirm(where: Where, device: NewDevice, mails: int = 1) -> None:
    """Wait for so many mails, answer the newest, and wait until the device is active."""

    def newest() -> str | None:
        links = [mail["links"][0] for mail in mails_to(where, str(device.doc["owner"]))]
        return max(links) if len(links) == mails else None  # their generations count up

    link = wait_for(newest, "the mail")
    wait_for(lambda: state(where, device) == "confirming", "confirming")
    assert post(link, device_code=device.device_code).status_code == 303
    wait_for(lambda: state(where, device) == "active", "active")


def stored(where: Where, device: NewDevice) -> JsonDict:
    control = Server(where.couch).database(where.control_db)
    return control.get(device.device_id, conflicts=True)


# PouchDB.


def test_an_app_replicates_its_registration_and_becomes_active(
    where: Where, app: PouchDB, device: NewDevice
) -> None:
    app.put(device.doc)
    app.replicate()
    result = app.wait_for("complete")
    assert (result["docs_written"], result["doc_write_failures"]) == (1, 0)
    assert state(where, device) in ("new", "confirming")
    confirm(where, device)
    assert stored(where, device)["network"] == "127.0.0.0/24"
    app.replicate()
    assert app.wait_for("complete")["doc_write_failures"] == 0
    assert state(where, device) == "active"


def test_an_app_that_follows_registers_what_is_written_later_and_asks_again(
    where: Where, app: PouchDB, device: NewDevice
) -> None:
    app.replicate(live=True, retry=True)
    app.wait_for("paused")
    rev = app.put(device.doc)
    assert app.wait_for("change")["docs_written"] == 1
    wait_for(lambda: list(mails_to(where, str(device.doc["owner"]))), "the first mail")
    wait_for(lambda: state(where, device) == "confirming", "confirming")
    app.put({**device.doc, "generation": 1, "_rev": rev})
    app.wait_for("change")
    confirm(where, device, mails=2)
    assert stored(where, device)["generation"] == 1


def test_an_app_hears_what_was_refused_and_why_and_the_rest_goes_through(
    where: Where, app: PouchDB, device: NewDevice
) -> None:
    odd = a_device(owner=an_address())
    note = f"note-{uuid.uuid4().hex}"
    app.put({"_id": note, "text": "not for the registrations endpoint"})
    app.put({**odd.doc, "state": "active"})
    app.put(device.doc)
    app.replicate()
    denied = {says["id"]: says for says in (app.wait_for("denied"), app.wait_for("denied"))}
    assert {says["name"] for says in denied.values()} == {"forbidden"}
    assert denied[note]["reason"].startswith("_id must be device-")
    assert denied[odd.device_id]["reason"].startswith('state must be "new"')
    result = app.wait_for("complete")
    assert (result["docs_written"], result["doc_write_failures"]) == (1, 2)
    assert (state(where, odd), state(where, device) is not None) == (None, True)


def test_an_app_hears_that_an_attachment_is_refused(
    where: Where, app: PouchDB, device: NewDevice
) -> None:
    attachment = {"content_type": "text/plain", "data": base64.b64encode(b"hello").decode()}
    app.put({**device.doc, "_attachments": {"a.txt": attachment}})
    app.replicate()
    assert app.wait_for("denied")["reason"].startswith("'_attachments' is no field")
    assert app.wait_for("complete")["doc_write_failures"] == 1
    assert state(where, device) is None


def test_many_registrations_come_in_one_replication(where: Where, app: PouchDB) -> None:
    devices = [a_device(owner=an_address()) for _ in range(120)]  # PouchDB sends 100 at once
    for each in devices:
        app.put({**each.doc, "owner": "nobody"})  # without a mail each
    app.put(devices[0].doc | {"_id": f"device-{uuid.uuid4().hex}"})
    app.replicate()
    result = app.wait_for("complete")
    assert (result["docs_written"], result["doc_write_failures"]) == (1, 120)


@dataclass(frozen=True)
class Busy:
    """An endpoint for one registration an hour from all of this machine, and its clock."""

    url: str
    clock: FakeClock


@pytest.fixture
def busy(where: Where, dynamodb: Any, table_name: str) -> Iterator[Busy]:
    """The routes that ship, with a quota and a clock of their own, before the same CouchDB."""
    server, clock = Server(where.couch), FakeClock()
    rate_limiter = RateLimiter(dynamodb, table_name)
    few = {"MAILS_PER_NETWORK_HOUR": "1"}
    context = make_context(server, where.control_db, rate_limiter, FakeMailer(), clock, **few)
    module = load_app(ROOT)
    module.dependencies = FakeDependencies(context)  # type: ignore[attr-defined]
    api = Api(module, ROOT)
    api.start()
    yield Busy(f"{api.url}/registrations", clock)
    api.stop()
    server.close()


def test_an_app_that_comes_too_often_comes_back_by_itself(
    where: Where, busy: Busy, tmp_path: Path, device: NewDevice
) -> None:
    second = a_device(owner=an_address())
    with pouchdb.running(tmp_path / "app", busy.url) as app:
        for each in (device, second):
            app.put(each.doc)
        app.replicate(live=True, retry=True)
        for _ in range(3):
            refused = app.wait_for("requestError")
            assert (refused["status"], refused["name"]) == (429, "too_many_requests")
            assert "too many mails from this network" in refused["reason"]
        assert sorted([state(where, each) is None for each in (device, second)]) == [False, True]
        asked = {"docs": [device.doc, second.doc], "new_edits": False}
        answer = requests.post(f"{busy.url}/_bulk_docs", json=asked, timeout=30)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3600")
        busy.clock.move(3600)
        app.wait_for("change")
    for each in (device, second):
        confirm(where, each)


# The replicator of the server in use.


@pytest.fixture
def source(where: Where) -> Iterator[Database]:
    """A database of a device's own, on the server in use."""
    database = Server(where.couch).database(f"test-registrations-{uuid.uuid4().hex}")
    database.create()
    yield database
    database.delete()


def endpoint(where: Where, database: Database) -> JsonDict:
    """A database as a `_replicator` document names it, with the administrator's login."""
    parts = urlsplit(where.couch)
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    basic = base64.b64encode(login.encode()).decode()
    return {"url": database.url, "headers": {"Authorization": f"Basic {basic}"}}


def replicate(where: Where, source: Database) -> int:
    """Replicate once to the registrations endpoint; how many documents it refused."""
    said = replicate_once(where.couch, f"{where.couch}/{source.name}", f"{where.api}/registrations")
    # CouchDB counts in the history, express-pouchdb beside it.
    return int((said.get("history") or [said])[0].get("doc_write_failures", 0))


def test_the_servers_replicator_brings_a_registration(
    where: Where, source: Database, device: NewDevice
) -> None:
    source.put(device.doc)
    assert replicate(where, source) == 0
    confirm(where, device)
    assert replicate(where, source) == 0
    assert stored(where, device)["state"] == "active"


def test_the_servers_replicator_goes_on_after_what_was_refused(
    where: Where, source: Database, device: NewDevice
) -> None:
    source.put({"_id": "note", "text": "not for the registrations endpoint"})
    source.put({"_id": "_design/views", "views": {}})
    source.put(device.doc)
    assert replicate(where, source) == 2
    assert state(where, device) is not None


def test_a_replicator_document_follows_what_is_written_later(
    where: Where, source: Database, device: NewDevice
) -> None:
    doc_id = f"test-registrations-{uuid.uuid4().hex}"
    replication = {
        "_id": doc_id,
        "source": endpoint(where, source),
        "target": {"url": f"{where.api}/registrations", "headers": {}},
        "continuous": True,
    }
    replicator = Server(where.couch).database("_replicator")
    replicator.create()
    replicator.put(replication)
    try:
        rev = source.put(device.doc)
        wait_for(lambda: state(where, device) == "confirming", "confirming")
        source.put({**device.doc, "generation": 1, "_rev": rev})
        confirm(where, device, mails=2)
    finally:
        wait_for(lambda: removed(replicator, doc_id), "the end of the replication")


def removed(database: Database, doc_id: str) -> bool:
    """Remove a document that its server may be writing to; whether it is gone."""
    try:
        database.remove(database.get(doc_id))
    except Conflict:
        return False
    except NotFound:
        return True
    return True
