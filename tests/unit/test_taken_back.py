"""Which conflicting revisions of an owner take an invitation back that its guest has accepted."""

from typing import Any

import pytest

from chalicelib.domain.documents import JsonDict
from chalicelib.domain.invitation import taken_back

SENT: JsonDict = {
    "_id": "invitation-1",
    "type": "invitation",
    "channel": "photos",
    "email": "ben@example.com",
    "sent_rev": 1,
}
ACCEPTING: JsonDict = {**SENT, "_rev": "3-a", "state": "accepting"}


def leaf(state: str, rev: str = "3-b", **fields: Any) -> JsonDict:
    return {**SENT, "_rev": rev, "state": state, **fields}


def deleted(rev: str) -> JsonDict:
    return {"_id": "invitation-1", "_rev": rev, "_deleted": True}


EVE = {"email": "eve@example.com", "channel": "photos"}
BEN = {"email": "ben@example.com", "channel": "photos"}


@pytest.mark.parametrize(
    ("others", "changes"),
    [
        ([], None),
        ([leaf("withdrawn")], {"state": "withdrawn"}),
        ([leaf("sent", note="hello")], None),
        ([leaf("new", note="an edit from before the mail")], None),
        ([leaf("accepting")], None),
        ([leaf("new", generation=2)], {"state": "new", "generation": 2, **BEN}),
        ([leaf("sent", generation=2)], {"state": "new", "generation": 2, **BEN}),
        ([leaf("withdrawn", generation=2)], {"state": "withdrawn", "generation": 2, **BEN}),
        ([leaf("new", **EVE)], {"state": "new", "generation": 0, **EVE}),
        (
            [leaf("new", channel="other")],
            {"state": "new", "generation": 0, **BEN, "channel": "other"},
        ),
        ([{**leaf("new"), "type": "channel"}], {"state": "withdrawn"}),
        ([deleted("3-b")], {"state": "withdrawn", "sent_rev": 3}),
        ([deleted("4-b"), deleted("7-c")], {"state": "withdrawn", "sent_rev": 7}),
        ([deleted("1-b")], None),
        ([leaf("sent"), leaf("withdrawn", "2-c")], {"state": "withdrawn"}),
        (
            [leaf("withdrawn"), leaf("new", "4-c", generation=1)],
            {"state": "new", "generation": 1, **BEN},
        ),
    ],
)
def test_the_owners_last_word_counts(others: list[JsonDict], changes: JsonDict | None) -> None:
    for leaves in ([ACCEPTING, *others], [*others, ACCEPTING], others):
        assert taken_back(ACCEPTING, leaves) == changes


def test_what_was_about_an_earlier_mail_does_not_count() -> None:
    again = {**ACCEPTING, "_rev": "7-a", "generation": 1, "sent_rev": 5}
    for other in (leaf("withdrawn"), leaf("new", **EVE), deleted("3-b"), deleted("5-b")):
        assert taken_back(again, [again, other]) is None
    assert taken_back(again, [again, deleted("6-b")]) == {"state": "withdrawn", "sent_rev": 6}


def test_an_invitation_of_an_earlier_version_is_taken_back_by_any_deletion() -> None:
    old = {name: value for name, value in ACCEPTING.items() if name != "sent_rev"}
    assert taken_back(old, [old, deleted("1-b")]) == {"state": "withdrawn", "sent_rev": 1}
