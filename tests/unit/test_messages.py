"""The messages for a page of changes, and the batches in which they are sent."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.documents import JsonDict
from poller.messages import (
    FIRST_PAUSE_S,
    MAX_BATCH_MESSAGES,
    MAX_MESSAGE_BYTES,
    MAX_SEND_ATTEMPTS,
    NotAccepted,
    QueueMessage,
    batches,
    group_of,
    messages_for,
)
from tests.kit.poller.sender import ROUTES, FakeSqs, row, sender_to

# What is sent for a change.


def test_a_document_with_a_route_is_sent_whole() -> None:
    [message] = messages_for("control", [row(name="ü \x00 \ud800")], ROUTES)
    assert message.queue_url == "https://sqs/device-new"
    assert json.loads(message.body) == {
        "db": "control",
        "id": "device-1",
        "rev": "1-a",
        "type": "device",
        "state": "new",
        "doc": row(name="ü \x00 \ud800")["doc"],
    }
    assert message.body.isascii()
    assert message.body.isprintable()


@pytest.mark.parametrize(
    "skipped",
    [
        row(state="confirming"),
        row(type="kettle"),
        row(state=["new"]),
        row(type=None),
        row("_design/syncpoint"),
        {**row(), "deleted": True},
        {**row(), "doc": None},
        {"id": "x", "seq": "1"},
        {"id": "x", "seq": "1", "doc": {"_id": "x", "_rev": "1-a"}},
    ],
    ids=str,
)
def test_a_change_without_a_route_is_skipped_and_the_next_is_not(
    skipped: JsonDict,
) -> None:
    [message] = messages_for("control", [skipped, row("device-2")], ROUTES)
    assert json.loads(message.body)["id"] == "device-2"


def test_a_document_too_large_for_sqs_is_sent_without_its_body() -> None:
    [message] = messages_for("control", [row(name="x" * MAX_MESSAGE_BYTES)], ROUTES)
    assert json.loads(message.body) == {
        "db": "control",
        "id": "device-1",
        "rev": "1-a",
        "type": "device",
        "state": "new",
    }


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_the_limit_is_exact(spare: int) -> None:
    [empty] = messages_for("control", [row(name="")], ROUTES)
    name = "x" * (MAX_MESSAGE_BYTES - len(empty.body) + spare)
    [message] = messages_for("control", [row(name=name)], ROUTES)
    assert ("doc" in json.loads(message.body)) == (spare <= 0)


def test_a_document_that_cannot_be_written_as_json_is_sent_without_its_body() -> None:
    deep: JsonDict = {}
    for _ in range(100_000):
        deep = {"deeper": deep}
    [message] = messages_for("control", [row(deep=deep)], ROUTES)
    assert "doc" not in json.loads(message.body)


# Who caused a message.

OWNER_ID = "0123456789abcdef" * 2
GROUP = re.compile("[0-9a-f]{32}")


def test_the_group_in_an_owners_control_database_is_the_owner() -> None:
    for doc in (row()["doc"], row(network="192.0.2.0/24", owner="ben@example.com")["doc"]):
        assert group_of(f"control-{OWNER_ID}", doc) == OWNER_ID


REGISTRATION: JsonDict = {"_id": "a", "owner": "x@example.com", "network": "203.0.113.0/24"}


@pytest.mark.parametrize(
    ("missing", "decides", "other"),
    [
        ([], "network", "198.51.100.0/24"),
        (["network"], "owner", "y@example.com"),
        (["network", "owner"], "_id", "b"),
    ],
)
def test_the_group_in_the_control_database_is_the_network_or_what_else_there_is(
    missing: list[str], decides: str, other: str
) -> None:
    doc = {name: value for name, value in REGISTRATION.items() if name not in missing}
    group = group_of("control", doc)
    assert group_of("control", {**doc, decides: other}) != group
    for name in doc.keys() - {decides}:
        assert group_of("control", {**doc, name: "another"}) == group


def test_who_registers_under_many_addresses_is_one_group() -> None:
    docs = [row(network="192.0.2.0/24", owner=f"{name}@example.com")["doc"] for name in "abc"]
    assert len({group_of("control", doc) for doc in docs}) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(["network", "owner"]), json_values))
def test_sqs_takes_every_group_whatever_a_document_has(fields: JsonDict) -> None:
    for db in ("control", f"control-{OWNER_ID}"):
        assert GROUP.fullmatch(group_of(db, {"_id": "\ud800 ü", **fields}))


def test_each_message_is_sent_with_its_group_also_when_it_is_sent_again() -> None:
    sqs = FakeSqs(refuse=lambda call, entry: call == 1 and entry["MessageBody"] == "2")
    messages = [QueueMessage("q", "1", "ada"), QueueMessage("q", "2", "ben")]
    sender_to(sqs).send(messages)
    sent = [
        [(entry["MessageBody"], entry["MessageGroupId"]) for entry in call] for call in sqs.calls
    ]
    assert sent == [[("1", "ada"), ("2", "ben")], [("2", "ben")]]


# Batches.


@given(st.lists(st.integers(1, MAX_MESSAGE_BYTES), max_size=60))
def test_batches_hold_all_messages_in_order_within_both_limits(sizes: list[int]) -> None:
    messages = [QueueMessage("q", "x" * size, "g") for size in sizes]
    cut = list(batches(messages))
    assert [message for batch in cut for message in batch] == messages
    for batch in cut:
        assert 1 <= len(batch) <= MAX_BATCH_MESSAGES
        assert sum(message.size_bytes for message in batch) <= MAX_MESSAGE_BYTES


def test_messages_that_fill_a_batch_to_its_last_byte_are_sent_together() -> None:
    half = QueueMessage("q", "x" * (MAX_MESSAGE_BYTES // 2), "g")
    assert list(batches([half] * 4)) == [[half] * 2] * 2


def test_each_message_goes_to_its_own_queue() -> None:
    sqs = FakeSqs()
    messages = [
        QueueMessage("a", "1", "g"),
        QueueMessage("b", "2", "g"),
        QueueMessage("a", "3", "g"),
    ]
    assert sender_to(sqs).send(messages) == 3
    assert sqs.accepted == {"a": ["1", "3"], "b": ["2"]}
    assert len(sqs.calls) == 2


def test_nothing_to_send_asks_nothing() -> None:
    sqs = FakeSqs()
    assert sender_to(sqs).send([]) == 0
    assert sqs.calls == []


def test_only_the_entries_that_sqs_refused_are_sent_again() -> None:
    sqs = FakeSqs(refuse=lambda call, entry: call == 1 and entry["MessageBody"] in "24")
    pauses: list[float] = []
    sender_to(sqs, pauses).send([QueueMessage("q", str(number), "g") for number in range(6)])
    assert sorted(sqs.accepted["q"]) == ["0", "1", "2", "3", "4", "5"]
    assert [len(call) for call in sqs.calls] == [6, 2]
    assert len(pauses) == 1


def test_entries_that_are_refused_each_time_are_reported_not_forgotten() -> None:
    sqs = FakeSqs(refuse=lambda call, entry: entry["MessageBody"] == "2")
    pauses: list[float] = []
    with pytest.raises(NotAccepted, match="1 of 3 messages 5 times: InternalError"):
        sender_to(sqs, pauses).send([QueueMessage("q", str(number), "g") for number in range(3)])
    assert len(sqs.calls) == MAX_SEND_ATTEMPTS
    assert pauses[0] == FIRST_PAUSE_S
    assert all(later == 2 * pause for pause, later in pairwise(pauses))


def test_an_entry_that_sqs_does_not_mention_counts_as_refused() -> None:
    class Forgetful(FakeSqs):
        def send_message_batch(self, QueueUrl: str, Entries: list[JsonDict]) -> JsonDict:  # noqa: N803
            super().send_message_batch(QueueUrl, Entries)
            return {"Successful": []} if len(self.calls) == 1 else {"Successful": Entries}

    sqs = Forgetful()
    sender_to(sqs).send([QueueMessage("q", "1", "g")])
    assert len(sqs.calls) == 2


def test_an_sqs_that_mentions_nothing_has_accepted_nothing() -> None:
    class Silent(FakeSqs):
        def send_message_batch(self, QueueUrl: str, Entries: list[JsonDict]) -> JsonDict:  # noqa: N803
            return {}

    with pytest.raises(NotAccepted, match="2 of 2 messages"):
        sender_to(Silent()).send([QueueMessage("q", "1", "g"), QueueMessage("q", "2", "g")])
