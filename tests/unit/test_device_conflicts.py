"""Which of the conflicting revisions of a subscription wins."""

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.documents import JsonDict
from syncpoint_device.transitions import pick_winner

STATES = st.sampled_from(["active", "paused", "stopped"])
LEAVES = st.fixed_dictionaries(
    {"state": STATES, "_rev": st.text("0123456789abcdef", min_size=1)},
    optional={"reason": st.sampled_from(["", "you are no longer a member"])},
)


def a_leaf(rev: str, state: str, **more: object) -> JsonDict:
    return {"_id": "a-sub-b", "_rev": rev, "state": state, **more}


def test_between_two_devices_couchdbs_winner_wins() -> None:
    winner, loser = a_leaf("3-b", "paused"), a_leaf("3-a", "stopped")
    assert pick_winner([winner, loser]) is winner


def test_a_revision_of_the_cloud_wins_over_couchdbs_winner() -> None:
    winner, loser = a_leaf("9-b", "active"), a_leaf("3-a", "stopped", reason="no longer a member")
    assert pick_winner([winner, loser]) is loser


def test_of_two_revisions_of_the_cloud_couchdbs_winner_wins() -> None:
    leaves = [
        a_leaf("9-b", "active"),
        a_leaf("4-b", "stopped", reason="the channel was closed"),
        a_leaf("3-a", "stopped", reason="no longer a member"),
    ]
    assert pick_winner(leaves) is leaves[1]


def test_an_empty_reason_is_none() -> None:
    winner, loser = a_leaf("9-b", "active"), a_leaf("3-a", "stopped", reason="")
    assert pick_winner([winner, loser]) is winner


@given(st.lists(LEAVES, min_size=1, max_size=6))
def test_what_holds_is_the_first_with_a_reason_or_else_the_first(leaves: list[JsonDict]) -> None:
    with_reason = [leaf for leaf in leaves if leaf.get("reason")]
    assert pick_winner(leaves) is (with_reason or leaves)[0]
