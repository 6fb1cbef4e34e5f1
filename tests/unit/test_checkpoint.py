"""The seqs of many databases, as DynamoDB gives them."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.documents import JsonDict
from poller.checkpoint import DATABASES_AT_ONCE, PAUSE_S, Checkpoint, Sent, by_hundreds
from poller.lease import Lease, LeaseLost
from tests.kit.poller.state import KEY, LEASE_S, TABLE, Pollers


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


# Over a table in memory, and a lease.


def checkpoint_of(on: Pollers, lease: Lease) -> Checkpoint:
    return Checkpoint(on.aws.client("dynamodb"), TABLE, lease, lambda pause_s: None)


def test_a_seq_is_found_again_as_it_was_saved() -> None:
    on = Pollers()
    checkpoint = checkpoint_of(on, on.taken())
    checkpoint.save("control", Sent("7-seq", "7-info"))
    checkpoint.save("control-ab", Sent("8-seq"))
    assert checkpoint.sent(["control", "control-ab", "control-new"]) == {
        "control": Sent("7-seq", "7-info"),
        "control-ab": Sent("8-seq", ""),
    }


def test_a_database_that_was_forgotten_is_not_known() -> None:
    on = Pollers()
    checkpoint = checkpoint_of(on, on.taken())
    checkpoint.save("control", Sent("7-seq"))
    checkpoint.save("control-ab", Sent("8-seq"))
    checkpoint.forget("control-ab")
    checkpoint.forget("control-never-known")
    assert checkpoint.sent(["control", "control-ab"]) == {"control": Sent("7-seq")}


def test_a_poller_that_was_overtaken_cannot_put_a_seq_back_nor_forget_it() -> None:
    on = Pollers()
    stalled = on.taken()
    checkpoint_of(on, stalled).save("control", Sent("1-old"))
    on.now_s += LEASE_S + 1
    later = on.taken()
    checkpoint_of(on, later).save("control", Sent("2-new"))
    with pytest.raises(LeaseLost, match=KEY):
        checkpoint_of(on, stalled).save("control", Sent("1-old"))
    with pytest.raises(LeaseLost, match=KEY):
        checkpoint_of(on, stalled).forget("control")
    assert checkpoint_of(on, later).sent(["control"]) == {"control": Sent("2-new")}
    checkpoint_of(on, later).forget("control")
    assert checkpoint_of(on, later).sent(["control"]) == {}


def test_the_fences_of_another_shards_lease_say_nothing() -> None:
    on = Pollers()
    for _ in range(3):
        many = on.lease("poller#control#0of2")
        many.take()
        many.release()
    checkpoint_of(on, many).save("control", Sent("1-a"))
    checkpoint_of(on, many).save("control-ab", Sent("1-a"))
    alone = checkpoint_of(on, on.taken())
    alone.save("control", Sent("2-b"))
    alone.forget("control-ab")
    assert alone.sent(["control", "control-ab"]) == {"control": Sent("2-b")}
