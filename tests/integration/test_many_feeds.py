"""Many owners' control databases: what changed is found, and costs what changed."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import requests
from botocore.awsrequest import AWSPreparedRequest
from botocore.httpsession import URLLib3Session

from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from chalicelib.engine.dependencies import Dependencies
from chalicelib.web.health import check_health
from poller.app import run
from tests.kit.basics import PUBLIC_URL, wait_for
from tests.kit.cases.attacks import nested_text
from tests.kit.poller.over_servers import Poller, owners


@pytest.fixture
def ours(server: Server, control: Database) -> Iterator[list[Database]]:
    """A few owners' control databases."""
    with owners(server, control.name, 3) as databases:
        yield databases


def in_dbs(poller: Poller) -> list[tuple[str, str]]:
    """Which document of which database each waiting message is about."""
    return sorted((body["db"], body["id"]) for body in poller.messages())


def test_documents_of_every_control_database_are_sent_with_their_databases_name(
    poller: Poller, ours: list[Database]
) -> None:
    poller.add("d0")
    for number, database in enumerate(ours):
        poller.add(f"d{number}", f"e{number}", database=database)
    assert poller.run()["sent"] == 7
    assert in_dbs(poller) == sorted(
        [(poller.control.name, "d0")]
        + [(database.name, f"{letter}{n}") for n, database in enumerate(ours) for letter in "de"]
    )


def test_only_what_changed_since_is_sent_by_the_next_run(
    poller: Poller, ours: list[Database]
) -> None:
    for database in ours:
        poller.add("old", database=database)
    poller.run()
    poller.messages()
    poller.add("new", database=ours[1])
    poller.run()
    poller.run()
    assert in_dbs(poller) == [(ours[1].name, "new")]


def test_a_database_made_after_the_first_run_is_found(poller: Poller, server: Server) -> None:
    poller.run()
    with owners(server, poller.control.name, 1) as [database]:
        poller.add("d1", database=database)
        poller.run()
        assert in_dbs(poller) == [(database.name, "d1")]


def test_a_database_that_was_deleted_and_made_again_is_read_from_the_start(
    poller: Poller, ours: list[Database]
) -> None:
    poller.add("d1", "d2", database=ours[0])
    poller.run()
    assert f"feed#{ours[0].name}" in poller.items("feed#")
    ours[0].delete()
    # CouchDB itself tells of it with a delay.
    wait_for(
        lambda: poller.run() and f"feed#{ours[0].name}" not in poller.items("feed#"),
        "the checkpoint of the deleted database to be deleted",
    )
    poller.messages()
    ours[0].create()
    poller.add("d3", "d4", "d5", database=ours[0])
    wait_for(lambda: poller.run()["sent"], "the new database's documents")
    assert poller.received() == ["d3", "d4", "d5"]


def test_databases_that_are_not_control_databases_are_not_read(
    poller: Poller, server: Server
) -> None:
    names = [f"{poller.control.name}-{name}" for name in ("dev", "a" * 31, f"dev-{'a' * 32}")]
    others = [server.database(name) for name in names]
    try:
        for database in others:
            database.create()
            poller.add("d1", database=database)
        poller.run()
        poller.run()
        assert poller.messages() == []
    finally:
        for database in others:
            database.delete()


def test_within_its_window_an_owners_change_is_sent_as_it_happens(
    poller: Poller, ours: list[Database]
) -> None:
    stopped = threading.Event()
    settings = replace(poller.settings, window_s=60)
    thread = threading.Thread(target=run, args=(settings, stopped.is_set))
    thread.start()
    poller.add("d1", database=ours[0])
    wait_for(poller.received, "the first document in the queue")
    began_s = time.monotonic()
    poller.add("d2", database=ours[1])
    wait_for(poller.received, "the second document in the queue")
    assert time.monotonic() - began_s < 5
    stopped.set()
    poller.add("d3")  # ends the wait for changes
    thread.join(timeout=30)
    assert not thread.is_alive()


@pytest.fixture
def no_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server without its feed of databases and without ``_dbs_info``, as others are."""
    ask = requests.Session.request

    def ask_without(session: requests.Session, method: str, url: str, **kwargs: Any) -> Any:
        if url.endswith("/_db_updates"):
            kwargs["params"] = {"since": "refused"}
        return ask(session, method, url.replace("/_dbs_info", "/_no_such_thing"), **kwargs)

    monkeypatch.setattr(requests.Session, "request", ask_without)


@pytest.mark.usefixtures("no_updates")
def test_a_server_that_does_not_tell_what_changed_is_looked_through(
    poller: Poller, ours: list[Database]
) -> None:
    poller.add("d0")
    for database in ours:
        poller.add("d1", database=database)
    assert poller.run()["sent"] == 4
    poller.add("d2", database=ours[1])
    assert poller.run()["sent"] == 1
    poller.add("d3")
    assert poller.run()["sent"] == 1
    assert poller.run()["changes"] == 0


# Shards.


def test_shards_share_the_databases_and_each_has_a_lease_of_its_own(
    poller: Poller, server: Server
) -> None:
    with owners(server, poller.control.name, 12) as databases:
        poller.add("d0")
        for database in databases:
            poller.add("d1", database=database)
        other = poller.lease(shards=2)
        other.take()
        assert not poller.run(shards=2, shard=0)["polled"]
        second = poller.run(shards=2, shard=1)["sent"]
        other.release()
        first = poller.run(shards=2, shard=0)["sent"]
        assert (first > 0, second > 0, first + second) == (True, True, 13)
        assert len(poller.messages()) == 13
        assert poller.run()["sent"] == 0


def test_another_number_of_shards_goes_on_from_what_was_sent(
    poller: Poller, ours: list[Database]
) -> None:
    for _ in range(3):
        poller.run(shards=2, shard=0)
        poller.run(shards=2, shard=1)
    for database in ours:
        poller.add("d1", database=database)
    assert poller.run()["sent"] == 3
    for database in ours:
        poller.add("d2", database=database)
    assert poller.run(shards=2, shard=0)["sent"] + poller.run(shards=2, shard=1)["sent"] == 3


def test_the_poller_is_as_old_as_the_one_of_them_not_seen_for_longest(
    poller: Poller,
) -> None:
    environment = {
        "TABLE_NAME": poller.settings.table_name,
        "SECRET_ID": poller.settings.secret_id,
        "CONTROL_DB": poller.control.name,
        "PUBLIC_URL": PUBLIC_URL,
        "MAIL_FROM": "sync@example.com",
        "POLLER_SHARDS": "2",
    }

    def health() -> JsonDict:
        """Ask a new instance, which has kept no answer."""
        return check_health(Dependencies(environment), "device", "new")[1]

    poller.lease(now_s=time.time() - 1000, shards=2).take()
    assert health()["poller_age_s"] is None
    poller.run(shards=2, shard=1)
    assert 1000 <= health()["poller_age_s"] < 1060
    assert health()["poller"] == "not seen lately"
    poller.run(shards=2, shard=0)
    assert 0 <= health()["poller_age_s"] < 60


# What it costs.


@contextmanager
def requests_counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Every request to CouchDB, by its last part, and to DynamoDB, by its action."""
    counted: Counter[str] = Counter()
    couch, aws = requests.Session.request, URLLib3Session.send

    def ask_couch(session: requests.Session, method: str, url: str, **kwargs: Any) -> Any:
        last = url.rpartition("/")[2]
        counted[f"couchdb {last if last.startswith('_') else method}"] += 1
        return couch(session, method, url, **kwargs)

    def ask_aws(session: URLLib3Session, request: AWSPreparedRequest) -> Any:
        action = request.headers.get("X-Amz-Target", b"")
        text = action.decode() if isinstance(action, bytes) else action
        if text.startswith("DynamoDB"):
            counted[f"dynamodb {text.rpartition('.')[2]}"] += 1
        return aws(session, request)

    with monkeypatch.context() as patch:
        patch.setattr(requests.Session, "request", ask_couch)
        patch.setattr(URLLib3Session, "send", ask_aws)
        yield counted


def are_told(server: Server, since: str, databases: list[Database]) -> bool:
    """Whether the feed of databases has told of all of these: CouchDB's does so with a delay."""
    rows = server.db_updates(since, limit=10_000)["results"]
    told = {row["db_name"] for row in rows if row["type"] != "deleted"}
    return {database.name for database in databases} <= told


def cost_of_five_changes(
    poller: Poller, server: Server, count: int, monkeypatch: pytest.MonkeyPatch
) -> Counter[str]:
    """What a run asks for when 5 of so many databases changed, spread over them evenly."""
    before = server.db_updates("now", limit=1)["last_seq"]
    with owners(server, poller.control.name, count) as databases:
        # Or the run that is counted would look at some for the first time.
        wait_for(lambda: are_told(server, before, databases), "all databases in their feed")
        poller.run()
        since = server.db_updates("now", limit=1)["last_seq"]
        changed = databases[:: count // 5]
        for database in changed:
            poller.add("d1", database=database)
        wait_for(lambda: are_told(server, since, changed), "the changes in the feed of databases")
        with requests_counted(monkeypatch) as counted:
            assert poller.run()["sent"] == 5
        return counted


def add_deep(database: Database, count: int) -> None:
    """Write documents that nobody can read, as a device could before rules refused them."""
    doc = f'{{"type":"device","state":"new","x":{nested_text(1_500)}}}'
    answer = database._http._session.post(
        f"{database.url}/_bulk_docs",
        data=f'{{"docs":[{",".join([doc] * count)}]}}',
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    answer.raise_for_status()


def test_deep_documents_delay_neither_a_revocation_nor_another_owner(
    poller: Poller, ours: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    eve, bob, _ = ours
    add_deep(eve, 200)
    eve.put({"_id": "device-1", "type": "device", "state": "revoking"})
    bob.put({"_id": "channel-1", "type": "channel", "state": "new"})
    routes = ("device/new", "device/revoking", "channel/new")
    settings = replace(poller.settings, routes=dict.fromkeys(routes, poller.queue_url))
    settings = replace(settings, page_size=100)
    with requests_counted(monkeypatch) as counted:
        summary = run(settings)
    assert summary["changes"] == 202
    sent = [body["id"] for body in poller.messages()]
    # The revocation comes before the backlog, and again where it is in the feed.
    assert set(sent) == {"channel-1", "device-1"}
    assert sent.count("device-1") > 1
    # Three pages; the other databases are read once or twice.
    assert counted["couchdb _changes"] <= 3 + 3 * 2
    assert counted["couchdb _all_docs"] <= 3
    assert poller.run(page_size=100)["changes"] == 0


@pytest.mark.slow
def test_five_changes_cost_the_same_in_ten_and_a_thousand_databases(
    poller: Poller, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A CouchDB that was lent to us is not to be filled with so many.
    thousand = 200 if "couchdb" in server.info() else 1000
    few = cost_of_five_changes(poller, server, 10, monkeypatch)
    many = cost_of_five_changes(poller, server, thousand, monkeypatch)
    assert many["couchdb _changes"] == few["couchdb _changes"] == 5 + 1
    assert many["dynamodb PutItem"] == few["dynamodb PutItem"] == 5
    assert many.total() <= few.total() + 2
    assert sum(many[key] for key in many if key.startswith("couchdb")) <= 5 + 6
    assert sum(many[key] for key in many if key.startswith("dynamodb")) <= 5 + 6
