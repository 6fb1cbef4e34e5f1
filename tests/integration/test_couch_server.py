"""Server's view of many databases: a real server's, and the one's that tests have in memory."""

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.couch import (
    AccountLocked,
    BadRequest,
    Database,
    NotFound,
    Server,
    Unauthorized,
    is_outage,
)
from chalicelib.domain.documents import JsonDict
from tests.kit.basics import wait_for
from tests.kit.fakes.couch import FakeCouch
from tests.kit.poller.over_servers import remove


@pytest.fixture
def real(server: Server) -> Server:
    """The server with its feed of databases: CouchDB 3 has none before this database is there."""
    try:
        server.db_updates("now", limit=1)
    except NotFound:
        server.database("_global_changes").create()
    return server


@pytest.fixture(params=[pytest.param("real", marks=[pytest.mark.couchdb, pytest.mark.io]), "fake"])
def any_server(request: pytest.FixtureRequest) -> Server:
    return FakeCouch().server() if request.param == "fake" else request.getfixturevalue("real")


@pytest.fixture
def prefix(any_server: Server) -> str:
    return f"syncpoint-test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def three(any_server: Server, prefix: str) -> Iterator[list[Database]]:
    databases = [any_server.database(f"{prefix}-{letter}") for letter in "abc"]
    feed = Feed(any_server, prefix)
    try:
        for database in databases:
            database.create()
        # CouchDB tells of a database up to half a second after it was made.
        wait_for(lambda: len(feed.rows()) == 3, "three databases in their feed")
        yield databases
    finally:
        remove(databases)


# Names


def test_names_come_in_order_from_the_first_key_to_the_last(
    any_server: Server, three: list[Database], prefix: str
) -> None:
    names = [database.name for database in three]
    assert any_server.all_dbs(f"{prefix}-", f"{prefix}-~", 10) == names
    assert any_server.all_dbs(names[1], names[2], 10) == names[1:]
    assert any_server.all_dbs(f"{names[0]}-", names[1], 10) == [names[1]]


def test_no_more_names_come_than_were_asked_for(
    any_server: Server, three: list[Database], prefix: str
) -> None:
    assert any_server.all_dbs(f"{prefix}-", f"{prefix}-~", 2) == [
        database.name for database in three[:2]
    ]


# Infos


def test_an_info_moves_with_its_database_and_only_then(
    any_server: Server, three: list[Database]
) -> None:
    def seqs() -> list[str]:
        rows = any_server.dbs_info([database.name for database in three])
        assert [row["key"] for row in rows] == [database.name for database in three]
        return [str(row["info"]["update_seq"]) for row in rows]

    before = seqs()
    assert seqs() == before
    three[1].put({"_id": "d1"})
    after = seqs()
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]
    assert after[1] == str(three[1].info()["update_seq"])


def test_a_database_that_is_not_there_has_an_error_for_its_info(
    any_server: Server, three: list[Database]
) -> None:
    rows = any_server.dbs_info([three[0].name, f"{three[0].name}-gone"])
    assert "info" in rows[0]
    assert rows[1] == {"key": f"{three[0].name}-gone", "error": "not_found"}


# The feed of databases


class Feed:
    """The feed of databases from now on, of those with this prefix."""

    def __init__(self, server: Server, prefix: str) -> None:
        self._server = server
        self._prefix = prefix
        self.since = self.end()

    def end(self) -> str:
        return str(self._server.db_updates("now", limit=1)["last_seq"])

    def rows(self) -> list[JsonDict]:
        page = self._server.db_updates(self.since, limit=1000)
        return [row for row in page["results"] if row["db_name"].startswith(self._prefix)]

    def has(self, name: str, kind: str) -> bool:
        return any(row["db_name"] == name and row["type"] == kind for row in self.rows())


def test_what_happens_to_a_database_is_told(
    any_server: Server, three: list[Database], prefix: str
) -> None:
    feed = Feed(any_server, prefix)
    three[0].put({"_id": "d1"})
    three[1].delete()
    new = any_server.database(f"{prefix}-new")
    try:
        new.create()
        for name, kind in [
            (three[0].name, "updated"),
            (three[1].name, "deleted"),
            (new.name, "created"),
        ]:
            wait_for(lambda name=name, kind=kind: feed.has(name, kind), f"{name} {kind}")  # type: ignore[misc]
        assert three[2].name not in {row["db_name"] for row in feed.rows()}
    finally:
        new.delete()


def test_many_writes_to_a_database_are_one_row(
    any_server: Server, three: list[Database], prefix: str
) -> None:
    feed = Feed(any_server, prefix)
    for number in range(5):
        three[0].put({"_id": f"d{number}"})
    wait_for(lambda: feed.has(three[0].name, "updated"), "the row")
    assert len([row for row in feed.rows() if row["type"] == "updated"]) == 1


def test_whoever_reads_row_by_row_misses_none(
    any_server: Server, three: list[Database], prefix: str
) -> None:
    feed = Feed(any_server, prefix)
    for number, database in enumerate([*three, three[0]]):
        database.put({"_id": f"d{number}"})
    wait_for(
        lambda: all(feed.has(database.name, "updated") for database in three), "the three rows"
    )
    told: set[str] = set()
    while rows := (page := any_server.db_updates(feed.since, limit=1))["results"]:
        told |= {row["db_name"] for row in rows}
        feed.since = str(page["last_seq"])
    assert {database.name for database in three} <= told


def test_after_a_last_seq_nothing_is_told_again(
    any_server: Server, three: list[Database], prefix: str
) -> None:
    feed = Feed(any_server, prefix)
    three[0].put({"_id": "d1"})
    wait_for(lambda: feed.has(three[0].name, "updated"), "the row")
    feed.since = str(any_server.db_updates(feed.since, limit=1000)["last_seq"])
    assert feed.rows() == []


def test_a_seq_that_was_never_given_is_refused(any_server: Server) -> None:
    with pytest.raises(BadRequest):
        any_server.db_updates("nonsense", limit=1)


def test_writes_that_come_by_replication_are_told_too(
    any_server: Server, three: list[Database], prefix: str
) -> None:
    feed = Feed(any_server, prefix)
    revision: dict[str, Any] = {"_id": "d1", "_rev": "1-abc"}
    body = {"docs": [revision], "new_edits": False}
    any_server.http.request("POST", f"/{three[0].name}/_bulk_docs", body=body)
    wait_for(lambda: feed.has(three[0].name, "updated"), "the row")


def test_what_was_written_during_a_wait_is_told_at_its_end() -> None:
    couch = FakeCouch()
    server, control = couch.server(), couch.server().database("control")
    control.create()
    waits: list[float] = []

    def waited(wait_s: float) -> None:
        waits.append(wait_s)
        control.put({"_id": f"d{len(waits)}"})

    couch.waited = waited
    end = str(server.db_updates("now", limit=1)["last_seq"])
    [told] = server.db_updates(end, limit=10, wait_s=15)["results"]
    assert (told["db_name"], told["type"]) == ("control", "updated")
    assert control.changes("now", limit=10, wait_s=7)["results"][0]["id"] == "d2"
    assert waits == [15, 7]


def test_only_an_administrator_is_told(any_server: Server) -> None:
    stranger = Server(any_server.url, any_server.http._session.get_adapter(any_server.url))
    with pytest.raises(Unauthorized):
        stranger.db_updates("now", limit=1)
    with pytest.raises(Unauthorized):
        stranger.dbs_info(["_users"])


# The real ones alone.


def test_a_wait_ends_with_the_first_change(real: Server, control: Database) -> None:
    seq = real.db_updates("now", limit=1)["last_seq"]
    later = threading.Timer(0.3, control.put, [{"_id": "d1"}])
    later.start()
    began_s = time.monotonic()
    page = real.db_updates(seq, limit=1000, wait_s=30)
    later.join()
    assert page["results"]
    assert time.monotonic() - began_s < 15


def test_a_wait_without_a_change_ends_with_its_time(real: Server) -> None:
    seq = real.db_updates("now", limit=1)["last_seq"]
    began_s = time.monotonic()
    real.db_updates(seq, limit=1, wait_s=0.3)
    assert time.monotonic() - began_s < 9


@pytest.mark.couchdb
@pytest.mark.io
def test_wrong_passwords_lock_an_administrator(real: Server) -> None:
    """CouchDB locks the account for five minutes; the embedded server never does."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    real.config_set("admins", name, "right")
    host = real.url.partition("://")[2]
    right, wrong = (Server(f"http://{name}:{password}@{host}") for password in ("right", "wrong"))

    def is_known() -> bool:
        try:
            right.db_updates("now", limit=1)
        except Unauthorized:
            return False
        return True

    try:
        wait_for(is_known, "the hash of the new administrator's password")
        for _ in range(5):
            with pytest.raises(Unauthorized):
                wrong.db_updates("now", limit=1)
        if "couchdb" not in real.info():
            assert is_known()
            return
        with pytest.raises(AccountLocked) as refused:
            right.db_updates("now", limit=1)
        assert is_outage(refused.value)
    finally:
        real.config_delete("admins", name)
