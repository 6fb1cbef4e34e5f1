"""Checkpoints, as DynamoDB stores them."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.documents import JsonDict
from poller.checkpoint import MAX_DATABASES, PAUSE_S, Checkpoint, Checkpoints, batched
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


def test_unprocessed_keys_are_requested_again_after_a_pause() -> None:
    dbs = [f"control-{number}" for number in range(20)]
    items = {f"feed#{db}": {"pk": {"S": f"feed#{db}"}, "seq": {"S": f"{db}-seq"}} for db in dbs[3:]}
    client, pauses = HalfAtOnce(items), list[float]()
    lease = Lease(cast(Any, client), "table", "poller#control", 60, lambda: 0.0)
    sent = Checkpoints(cast(Any, client), "table", lease, pauses.append).read(dbs)
    assert sent == {db: Checkpoint(f"{db}-seq") for db in dbs[3:]}
    assert pauses == [PAUSE_S] * (len(client.asked) - 1)
    assert all(request["ConsistentRead"] for request in client.asked)


@pytest.mark.parametrize(
    ("checkpoint", "update_seq", "covers"),
    [
        (Checkpoint("7-seq", "7-info"), "7-info", True),
        (Checkpoint("7", ""), "7", True),
        (Checkpoint("7-seq", "7-info"), "8-info", False),
        (Checkpoint("7-seq", ""), "7-info", False),
        (Checkpoint("7-seq", ""), "", False),
        (Checkpoint(), "", False),
    ],
)
def test_a_checkpoint_covers_an_update_seq_only_if_the_texts_are_equal(
    checkpoint: Checkpoint, update_seq: str, covers: bool
) -> None:
    assert checkpoint.covers(update_seq) is covers


@given(st.lists(st.text(max_size=3), max_size=3 * MAX_DATABASES))
def test_batches_hold_all_databases_in_order(dbs: list[str]) -> None:
    lists = list(batched(dbs))
    assert [db for one in lists for db in one] == dbs
    assert all(1 <= len(one) <= MAX_DATABASES for one in lists)


# Over a table in memory, and a lease.


def checkpoints_of(on: Pollers, lease: Lease) -> Checkpoints:
    return Checkpoints(on.aws.client("dynamodb"), TABLE, lease, lambda pause_s: None)


def test_a_checkpoint_is_read_as_it_was_saved() -> None:
    on = Pollers()
    checkpoints = checkpoints_of(on, on.taken())
    checkpoints.save("control", Checkpoint("7-seq", "7-info"))
    checkpoints.save("control-ab", Checkpoint("8-seq"))
    assert checkpoints.read(["control", "control-ab", "control-new"]) == {
        "control": Checkpoint("7-seq", "7-info"),
        "control-ab": Checkpoint("8-seq", ""),
    }


def test_a_deleted_checkpoint_is_not_read() -> None:
    on = Pollers()
    checkpoints = checkpoints_of(on, on.taken())
    checkpoints.save("control", Checkpoint("7-seq"))
    checkpoints.save("control-ab", Checkpoint("8-seq"))
    checkpoints.delete("control-ab")
    checkpoints.delete("control-never-known")
    assert checkpoints.read(["control", "control-ab"]) == {"control": Checkpoint("7-seq")}


def test_a_poller_that_lost_its_lease_can_neither_save_nor_delete() -> None:
    on = Pollers()
    stalled = on.taken()
    checkpoints_of(on, stalled).save("control", Checkpoint("1-old"))
    on.now_s += LEASE_S + 1
    later = on.taken()
    checkpoints_of(on, later).save("control", Checkpoint("2-new"))
    with pytest.raises(LeaseLost, match=KEY):
        checkpoints_of(on, stalled).save("control", Checkpoint("1-old"))
    with pytest.raises(LeaseLost, match=KEY):
        checkpoints_of(on, stalled).delete("control")
    assert checkpoints_of(on, later).read(["control"]) == {"control": Checkpoint("2-new")}
    checkpoints_of(on, later).delete("control")
    assert checkpoints_of(on, later).read(["control"]) == {}


def test_fences_of_different_leases_are_not_compared() -> None:
    on = Pollers()
    for _ in range(3):
        many = on.lease("poller#control#0of2")
        many.take()
        many.release()
    checkpoints_of(on, many).save("control", Checkpoint("1-a"))
    checkpoints_of(on, many).save("control-ab", Checkpoint("1-a"))
    alone = checkpoints_of(on, on.taken())
    alone.save("control", Checkpoint("2-b"))
    alone.delete("control-ab")
    assert alone.read(["control", "control-ab"]) == {"control": Checkpoint("2-b")}
