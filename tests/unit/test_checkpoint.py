"""The seqs of many databases, as DynamoDB gives them."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.couch import JsonDict
from poller.checkpoint import DATABASES_AT_ONCE, PAUSE_S, Checkpoint, Sent, by_hundreds
from poller.lease import Lease


@dataclass
class HalfAtOnce:
    """DynamoDB on a bad day: leaves half of what is asked for to another request."""

    items: dict[str, JsonDict]
    asked: list[JsonDict] = field(default_factory=list)

    def batch_get_item(self, RequestItems: JsonDict) -> JsonDict:  # noqa: N803
        [(table_name, request)] = RequestItems.items()
        self.asked.append(request)
        keys = request["Keys"]
        read, left = keys[: len(keys) // 2 + 1], keys[len(keys) // 2 + 1 :]
        found = [self.items[key["pk"]["S"]] for key in read if key["pk"]["S"] in self.items]
        return {
            "Responses": {table_name: found} if found else {},
            "UnprocessedKeys": {table_name: {**request, "Keys": left}} if left else {},
        }


def test_what_dynamodb_leaves_for_later_is_asked_for_again_after_a_pause() -> None:
    dbs = [f"control-{number}" for number in range(20)]
    items = {f"feed#{db}": {"pk": {"S": f"feed#{db}"}, "seq": {"S": f"{db}-seq"}} for db in dbs[3:]}
    client, pauses = HalfAtOnce(items), list[float]()
    lease = Lease(cast(Any, client), "table", "poller#control", 60, lambda: 0.0)
    sent = Checkpoint(cast(Any, client), "table", lease, pauses.append).sent(dbs)
    assert sent == {db: Sent(f"{db}-seq") for db in dbs[3:]}
    assert pauses == [PAUSE_S] * (len(client.asked) - 1)
    assert all(request["ConsistentRead"] for request in client.asked)


@pytest.mark.parametrize(
    ("sent", "update_seq", "is_all"),
    [
        (Sent("7-seq", "7-info"), "7-info", True),
        (Sent("7", ""), "7", True),
        (Sent("7-seq", "7-info"), "8-info", False),
        (Sent("7-seq", ""), "7-info", False),
        (Sent("7-seq", ""), "", False),
        (Sent(), "", False),
    ],
)
def test_a_database_is_at_its_end_only_if_the_very_words_are_the_same(
    sent: Sent, update_seq: str, is_all: bool
) -> None:
    assert sent.is_all_up_to(update_seq) is is_all


@given(st.lists(st.text(max_size=3), max_size=3 * DATABASES_AT_ONCE))
def test_hundreds_hold_all_in_order(dbs: list[str]) -> None:
    lists = list(by_hundreds(dbs))
    assert [db for one in lists for db in one] == dbs
    assert all(1 <= len(one) <= DATABASES_AT_ONCE for one in lists)
