"""Which databases a poller takes for its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.databases import Shard

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
