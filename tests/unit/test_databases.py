"""Which databases a poller takes for its own, and what a server's refusal means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.couch import CouchError
from poller.databases import DbUpdates, DbUpdatesRefused, Scan, Shard
from tests.kit.fakes.couch_http import Refusal
from tests.kit.fakes.couch_watched import WatchedCouch

OWNER = "0123456789abcdef" * 2
OWNERS = st.integers(0, 2**128 - 1).map(lambda number: f"control-{number:032x}")


@pytest.mark.parametrize("db", ["control", f"control-{OWNER}"])
def test_control_db_and_its_owners_databases_are_ours(db: str) -> None:
    assert Shard("control").holds(db)


@pytest.mark.parametrize(
    "db",
    [
        "_users",
        "control-",
        f"control-{OWNER[:-1]}",
        f"control-{OWNER}0",
        f"control-{OWNER.upper()}",
        f"control-{OWNER}\n",
        f"control-dev-{OWNER}",
        f"control{OWNER}",
        f"db-{OWNER}",
        f"a-control-{OWNER}",
        f"-{OWNER}",
        OWNER,
        "",
    ],
)
def test_other_peoples_databases_are_not(db: str) -> None:
    assert not Shard("control").holds(db)


def test_a_longer_control_db_is_another_installations() -> None:
    assert Shard("control-dev").holds(f"control-dev-{OWNER}")
    assert not Shard("control-dev").holds(f"control-{OWNER}")


@given(OWNERS, st.integers(1, 9))
def test_each_database_is_just_one_shards(db: str, shards: int) -> None:
    holders = [shard for shard in range(shards) if Shard("control", shard, shards).holds(db)]
    assert len(holders) == 1


def test_the_shards_share_about_alike() -> None:
    dbs = [f"control-{number:032x}" for number in range(1000)]
    for shard in range(4):
        held = sum(Shard("control", shard, 4).holds(db) for db in dbs)
        assert 200 < held < 300


def test_a_databases_shard_stays_the_same_from_one_release_to_the_next() -> None:
    dbs = ["control"] + [f"control-{number:032x}" for number in range(7)]
    assert [db for db in dbs if Shard("control", 1, 2).holds(db)] == [dbs[2], dbs[5]]


@given(OWNERS)
def test_the_last_key_comes_after_every_owners_database(db: str) -> None:
    assert f"{Shard('control').control_db}-" < db < Shard("control").end_key


# A server that does not know a request, and one that fails.

CREATE = "PUT /_global_changes"


def a_server(request: str, status: int) -> WatchedCouch:
    """A server that refuses this request, and has the database of an owner."""
    couch = WatchedCouch()
    couch.create(f"control-{OWNER}")
    couch.refuse(request, Refusal(status, "refused", "whatever it says"))
    return couch


@pytest.mark.parametrize(("status", "created"), [(400, 0), (404, 1), (405, 0)])
def test_a_server_without_db_updates_is_known_by_its_answer(status: int, created: int) -> None:
    """Only where the feed is missing, the poller tries to make it: once."""
    couch = a_server("GET /_db_updates", status)
    couch.delete("_global_changes")
    updates = DbUpdates(couch.server(), Shard("control"))
    assert updates.last_seq() is None
    assert couch.asked.count(CREATE) == created
    with pytest.raises(DbUpdatesRefused):
        updates.read("7", 0.0)


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_server_that_fails_may_have_db_updates(status: int) -> None:
    couch = a_server("GET /_db_updates", status)
    updates = DbUpdates(couch.server(), Shard("control"))
    with pytest.raises(CouchError):
        updates.last_seq()
    with pytest.raises(CouchError):
        updates.read("7", 0.0)
    assert CREATE not in couch.asked


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_a_login_may_have_no_right_to_make_the_feed(status: int) -> None:
    couch = a_server(CREATE, status)
    couch.delete("_global_changes")
    assert DbUpdates(couch.server(), Shard("control")).last_seq() is None


def test_a_server_that_fails_while_the_feed_is_made_may_have_it_later() -> None:
    couch = a_server(CREATE, 500)
    couch.delete("_global_changes")
    with pytest.raises(CouchError):
        DbUpdates(couch.server(), Shard("control")).last_seq()


@pytest.mark.parametrize(("status", "asked"), [(400, 1), (404, 1), (405, 1), (500, 2)])
def test_without_dbs_info_each_database_is_asked(status: int, asked: int) -> None:
    """A server that only fails is asked for it again."""
    couch = a_server("POST /_dbs_info", status)
    scan = Scan(couch.server(), Shard("control"))
    for _ in range(2):
        assert scan.update_seqs([f"control-{OWNER}"])[f"control-{OWNER}"]
    assert couch.asked.count("POST /_dbs_info") == asked
