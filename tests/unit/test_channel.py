"""What a channel's document says; and what several revisions of it mean together."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.channel import merge, parse_channel
from chalicelib.domain.documents import JsonDict, Rejected
from chalicelib.domain.names import channel_db, owner_role

ADA, BEN, CY = (owner_id_of(f"{name}@example.com") for name in ("ada", "ben", "cy"))
DOC: JsonDict = {"_id": "channel-photos", "type": "channel", "state": "ready", "name": "Photos"}


def a_leaf(**fields: Any) -> JsonDict:
    return {**DOC, "_rev": "3-a", **fields}


# The document.


def test_the_database_decides_the_owner_in_an_owners_database() -> None:
    channel = parse_channel({**DOC, "owner": "ben@example.com"}, "control-x", ADA)
    assert channel.owner_id == ADA
    assert channel.db == channel_db(ADA, "channel-photos")


def test_the_owner_field_counts_in_the_control_database() -> None:
    for owner in ("Ada@Example.com", ADA):
        channel = parse_channel({**DOC, "owner": owner}, "control", None)
        assert (channel.owner_id, channel.db) == (ADA, "db-channel-photos")


@pytest.mark.parametrize("channel_id", ["../x", "_Users", "A", "x" * 300, "a/b", "a b", "é", ""])
def test_an_id_that_is_no_plain_name_is_refused_in_the_control_database_only(
    channel_id: str,
) -> None:
    with pytest.raises(Rejected, match="_id names the channel's database"):
        parse_channel({**DOC, "_id": channel_id, "owner": ADA}, "control", None)
    assert parse_channel({**DOC, "_id": channel_id}, "control-x", ADA).db.startswith("db-")


@given(st.text(min_size=1), st.text(min_size=1), st.booleans())
def test_two_channels_never_share_a_database(one: str, other: str, same_owner: bool) -> None:
    owner = ADA if same_owner else BEN
    is_same = same_owner and one == other
    assert (channel_db(ADA, one) == channel_db(owner, other)) is is_same


@pytest.mark.parametrize("public", [True, False])
def test_the_security_names_everybody_unless_everybody_may_read(public: bool) -> None:
    doc = {**DOC, "public": public, "members": [BEN, BEN, ADA]}
    security = parse_channel(doc, "control-x", ADA).security
    both = sorted([owner_role(ADA), owner_role(BEN)])
    assert security["members"] == {"names": [], "roles": [] if public else both}
    assert security["admins"] == {"names": [], "roles": ["_admin"]}
    assert security["syncpoint"] == {
        "control_db": "control-x",
        "channel": "channel-photos",
        "roles": both,
    }


@pytest.mark.parametrize(
    ("security", "owned"),
    [
        ({}, True),
        ({"members": {"roles": ["others"]}}, True),
        ({"syncpoint": {"control_db": "control-x", "channel": "channel-photos"}}, True),
        ({"syncpoint": {"control_db": "control-y", "channel": "channel-photos"}}, False),
        ({"syncpoint": {"control_db": "control-x", "channel": "channel-other"}}, False),
        ({"syncpoint": {}}, False),
    ],
)
def test_a_channel_owns_a_database_that_is_marked_as_its_own_or_not_at_all(
    security: JsonDict, owned: bool
) -> None:
    assert parse_channel(DOC, "control-x", ADA).owns(security) is owned


# Several revisions.


def test_without_conflicts_nothing_changes() -> None:
    leaf = a_leaf(members=[BEN], joined={BEN: "2026-11-23T06:00:00Z"})
    assert merge(leaf, []) == leaf
    assert merge(a_leaf(), []) == a_leaf()


def either_way(one: JsonDict, other: JsonDict) -> list[JsonDict]:
    """The merge, whichever of the two has won."""
    return [merge(one, [other]), merge(other, [one])]


def test_a_guest_who_joined_is_kept_when_a_device_renames_the_channel() -> None:
    joined = a_leaf(members=[BEN], joined={BEN: "2026-11-23T06:00:00Z"})
    renamed = a_leaf(name="Holidays")
    for merged in either_way(joined, renamed):
        assert merged["members"] == [BEN]


def test_a_guest_who_was_removed_stays_removed_though_another_joined_meanwhile() -> None:
    at = "2026-11-23T06:00:00Z"
    removed = a_leaf(members=[], joined={BEN: at})
    joined = a_leaf(members=[BEN, CY], joined={BEN: at, CY: "2026-11-23T07:00:00Z"})
    for merged in either_way(removed, joined):
        assert merged["members"] == [CY]


def test_a_guest_who_joined_again_is_in_though_an_older_revision_removed_them() -> None:
    removed = a_leaf(members=[], joined={BEN: "2026-11-23T06:00:00Z"})
    again = a_leaf(members=[BEN], joined={BEN: "2026-11-23T08:00:00Z"})
    for merged in either_way(removed, again):
        assert merged["members"] == [BEN]


@pytest.mark.parametrize("state", ["closing", "closed"])
def test_a_channel_that_was_to_be_closed_is_closed_whoever_won(state: str) -> None:
    for merged in either_way(a_leaf(state=state), a_leaf(name="Holidays")):
        assert merged["state"] == "closing"


def test_members_whom_an_administrator_put_in_are_left_as_the_winner_has_them() -> None:
    assert merge(a_leaf(members=["ben@example.com"]), [a_leaf()]) == a_leaf(
        members=["ben@example.com"]
    )


LEAVES = st.builds(
    lambda joined, removed: a_leaf(
        joined=joined, members=[who for who in joined if who not in removed]
    ),
    st.dictionaries(st.sampled_from([ADA, BEN, CY]), st.sampled_from(["1", "2"])),
    st.sets(st.sampled_from([ADA, BEN, CY])),
)


@given(st.lists(LEAVES, min_size=1, max_size=3))
def test_the_members_do_not_depend_on_who_won(leaves: list[JsonDict]) -> None:
    merges = [merge(order[0], order[1:]) for order in itertools.permutations(leaves)]
    assert len({frozenset(merged.get("members", [])) for merged in merges}) == 1


@given(st.lists(LEAVES, min_size=1, max_size=3))
def test_merging_again_changes_nothing(leaves: list[JsonDict]) -> None:
    merged = merge(leaves[0], leaves[1:])
    assert merge(merged, leaves[1:]) == merged
