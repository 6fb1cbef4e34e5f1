"""The poller's rules: what is sent for a change, in which batches, and when the seq is saved."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.couch import BadRequest, CouchError, Database, JsonDict, Unavailable, Unreadable
from poller.checkpoint import Checkpoint
from poller.feed import BEGINNING, Feed
from poller.follow import Summary, follow
from poller.messages import MESSAGE_BYTES, Outgoing, messages_for
from poller.sender import BATCH_MESSAGES, SEND_ATTEMPTS, NotAccepted, Sender, batches

ROUTES = {"device/new": "https://sqs/device-new", "confirm/clicked": "https://sqs/confirm-clicked"}


def row(doc_id: str = "device-1", **fields: Any) -> JsonDict:
    doc = {"_id": doc_id, "_rev": "1-a", "type": "device", "state": "new", **fields}
    return {"id": doc_id, "seq": "1", "changes": [{"rev": "1-a"}], "doc": doc}


# What is sent for a change.


def test_a_document_with_a_route_travels_whole() -> None:
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
    "passed_over",
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
def test_what_has_no_route_is_passed_over(passed_over: JsonDict) -> None:
    assert list(messages_for("control", [passed_over], ROUTES)) == []


def test_a_document_too_large_for_sqs_travels_without_its_body() -> None:
    [message] = messages_for("control", [row(name="x" * MESSAGE_BYTES)], ROUTES)
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
    name = "x" * (MESSAGE_BYTES - len(empty.body) + spare)
    [message] = messages_for("control", [row(name=name)], ROUTES)
    assert ("doc" in json.loads(message.body)) == (spare <= 0)


# Batches.


@given(st.lists(st.integers(1, MESSAGE_BYTES), max_size=60))
def test_batches_hold_all_messages_in_order_within_both_limits(sizes: list[int]) -> None:
    messages = [Outgoing("q", "x" * size) for size in sizes]
    cut = list(batches(messages))
    assert [message for batch in cut for message in batch] == messages
    for batch in cut:
        assert 1 <= len(batch) <= BATCH_MESSAGES
        assert sum(message.size_bytes for message in batch) <= MESSAGE_BYTES


@dataclass
class FakeSqs:
    """Accepts what `refuse` lets through; keeps what it accepted, by queue."""

    refuse: Callable[[int, JsonDict], bool] = lambda call, entry: False
    accepted: dict[str, list[str]] = field(default_factory=dict)
    calls: list[list[JsonDict]] = field(default_factory=list)

    def send_message_batch(self, QueueUrl: str, Entries: list[JsonDict]) -> JsonDict:  # noqa: N803
        self.calls.append(Entries)
        refused = [entry for entry in Entries if self.refuse(len(self.calls), entry)]
        taken = [entry for entry in Entries if entry not in refused]
        self.accepted.setdefault(QueueUrl, []).extend(entry["MessageBody"] for entry in taken)
        return {
            "Successful": [{"Id": entry["Id"]} for entry in taken],
            "Failed": [{"Id": entry["Id"], "Code": "InternalError"} for entry in refused],
        }


def sender_to(sqs: FakeSqs, pauses: list[float] | None = None) -> Sender:
    return Sender(cast(Any, sqs), (pauses if pauses is not None else []).append)


def test_each_message_goes_to_its_own_queue() -> None:
    sqs = FakeSqs()
    messages = [Outgoing("a", "1"), Outgoing("b", "2"), Outgoing("a", "3")]
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
    sender_to(sqs, pauses).send([Outgoing("q", str(number)) for number in range(6)])
    assert sorted(sqs.accepted["q"]) == ["0", "1", "2", "3", "4", "5"]
    assert [len(call) for call in sqs.calls] == [6, 2]
    assert len(pauses) == 1


def test_entries_that_are_refused_each_time_are_reported_not_forgotten() -> None:
    sqs = FakeSqs(refuse=lambda call, entry: entry["MessageBody"] == "2")
    pauses: list[float] = []
    with pytest.raises(NotAccepted, match="1 of 3 messages: InternalError"):
        sender_to(sqs, pauses).send([Outgoing("q", str(number)) for number in range(3)])
    assert len(sqs.calls) == SEND_ATTEMPTS
    assert pauses == sorted(pauses)


def test_an_entry_that_sqs_does_not_mention_counts_as_refused() -> None:
    class Forgetful(FakeSqs):
        def send_message_batch(self, QueueUrl: str, Entries: list[JsonDict]) -> JsonDict:  # noqa: N803
            super().send_message_batch(QueueUrl, Entries)
            return {"Successful": []} if len(self.calls) == 1 else {"Successful": Entries}

    sqs = Forgetful()
    sender_to(sqs).send([Outgoing("q", "1")])
    assert len(sqs.calls) == 2


# The loop: read, send, and only then save.


@dataclass
class FakeFeed:
    """A database whose feed is these pages; each may be an error to raise instead."""

    pages: list[list[JsonDict] | CouchError]
    name: str = "control"
    asked: list[tuple[str, float]] = field(default_factory=list)

    def changes(
        self, since: str, *, limit: int, wait_s: float = 0, include_docs: bool = True
    ) -> JsonDict:
        self.asked.append((since, wait_s))
        page = self.pages.pop(0) if self.pages else []
        if isinstance(page, CouchError):
            raise page
        seq = since if not page else f"seq-{len(self.asked)}"
        return {"results": page, "last_seq": seq}


@dataclass
class FakeCheckpoint:
    saved: list[str] = field(default_factory=list)
    renewed: int = 0

    def save_seq(self, db: str, seq: str) -> None:
        self.saved.append(seq)

    def renew(self) -> None:
        self.renewed += 1


def follow_pages(
    database: FakeFeed,
    sqs: FakeSqs,
    checkpoint: FakeCheckpoint,
    left_s: Callable[[], float] | None = None,
    since: str = BEGINNING,
    page_size: int = 2,
) -> Summary:
    feed = Feed(cast(Database, database), since, page_size, lambda what, why: None)
    sender = sender_to(sqs)
    return follow(feed, sender, cast(Checkpoint, checkpoint), ROUTES, left_s)


def test_without_a_window_the_feed_is_read_to_its_end() -> None:
    database = FakeFeed([[row("a"), row("b")], [row("c")]])
    sqs, checkpoint = FakeSqs(), FakeCheckpoint()
    summary = follow_pages(database, sqs, checkpoint)
    assert (summary.changes, summary.sent) == (3, 3)
    assert database.asked == [("0", 0.0), ("seq-1", 0.0), ("seq-2", 0.0)]
    assert checkpoint.saved == ["seq-1", "seq-2"]


def test_within_its_window_it_waits_for_changes() -> None:
    left = iter([50.0, 50.0, 40.0, 40.0, 5.0, 0.0])
    database = FakeFeed([[row("a")], [], [row("b")]])
    sqs, checkpoint = FakeSqs(), FakeCheckpoint()
    summary = follow_pages(database, sqs, checkpoint, lambda: next(left))
    assert summary.sent == 2
    assert [wait_s for _, wait_s in database.asked] == [15.0, 15.0, 5.0]
    assert checkpoint.renewed == 3


def test_a_page_without_changes_saves_nothing() -> None:
    checkpoint = FakeCheckpoint()
    follow_pages(FakeFeed([[]]), FakeSqs(), checkpoint)
    assert checkpoint.saved == []


def test_a_page_of_documents_without_a_route_still_moves_the_seq() -> None:
    checkpoint, sqs = FakeCheckpoint(), FakeSqs()
    follow_pages(FakeFeed([[row(state="active")]]), sqs, checkpoint)
    assert (checkpoint.saved, sqs.calls) == (["seq-1"], [])


def test_the_seq_is_not_saved_past_what_sqs_refused() -> None:
    sqs = FakeSqs(refuse=lambda call, entry: "stubborn" in entry["MessageBody"])
    checkpoint = FakeCheckpoint()
    database = FakeFeed([[row("a"), row("b")], [row("c"), row("stubborn")], [row("d")]])
    with pytest.raises(NotAccepted):
        follow_pages(database, sqs, checkpoint)
    assert checkpoint.saved == ["seq-1"]


def test_the_seq_is_not_saved_when_sqs_fails_as_a_whole() -> None:
    class Down(FakeSqs):
        def send_message_batch(self, QueueUrl: str, Entries: list[JsonDict]) -> JsonDict:  # noqa: N803
            raise ConnectionError

    checkpoint = FakeCheckpoint()
    with pytest.raises(ConnectionError):
        follow_pages(FakeFeed([[row("a")]]), Down(), checkpoint)
    assert checkpoint.saved == []


def test_when_couchdb_fails_the_seq_stands_before_the_page_that_was_not_read() -> None:
    checkpoint, sqs = FakeCheckpoint(), FakeSqs()
    database = FakeFeed([[row("a"), row("b")], Unavailable(500, "boom", "boom")])
    with pytest.raises(Unavailable):
        follow_pages(database, sqs, checkpoint)
    assert checkpoint.saved == ["seq-1"]


# A seq that CouchDB refuses.


def test_a_malformed_seq_starts_the_feed_anew_and_says_so() -> None:
    refused = BadRequest(400, "bad_request", "Malformed sequence supplied in 'since' parameter.")
    database = FakeFeed([refused, [row("a")]])
    told: list[str] = []
    feed = Feed(cast(Database, database), "12-nonsense", 10, lambda what, why: told.append(why))
    page = feed.read(0)
    assert [one["id"] for one in page.rows] == ["a"]
    assert [since for since, _ in database.asked] == ["12-nonsense", "0"]
    assert told == ["Malformed sequence supplied in 'since' parameter."]


def test_a_bad_request_from_the_beginning_is_no_matter_of_the_seq() -> None:
    database = FakeFeed([BadRequest(400, "bad_request", "limit")])
    with pytest.raises(BadRequest):
        Feed(cast(Database, database), BEGINNING, 10, lambda what, why: None).read(0)


@dataclass
class FakeInfo:
    update_seq: object
    name: str = "control"

    def info(self) -> JsonDict:
        return {"update_seq": self.update_seq}


@pytest.mark.parametrize(
    ("update_seq", "since", "expected"),
    [
        (5, "7", "0"),
        (7, "7", "7"),
        (9, "7", "7"),
        ("5-g1AAAA", "7-g1AAAA", "7-g1AAAA"),
        ("5-g1AAAA", "7", "7"),
        (5, "3-g1AAAA", "0"),
    ],
)
def test_where_seqs_are_plain_numbers_one_past_the_end_starts_the_feed_anew(
    update_seq: object, since: str, expected: str
) -> None:
    feed = Feed(cast(Database, FakeInfo(update_seq)), since, 10, lambda what, why: None)
    feed.restart_if_replaced()
    assert feed.since == expected


# A document that cannot be read.


@dataclass
class FeedWithPoison:
    """Six documents, of which one cannot be decoded in whatever page it comes."""

    poison: int
    name: str = "control"

    def changes(
        self, since: str, *, limit: int, wait_s: float = 0, include_docs: bool = True
    ) -> JsonDict:
        begin = int(since)
        numbers = range(begin + 1, min(begin + limit, 6) + 1)
        if include_docs and self.poison in numbers:
            raise Unreadable(200, "unreadable", "RecursionError")
        rows = [row(f"d{number}") for number in numbers]
        if not include_docs:
            rows = [{key: value for key, value in one.items() if key != "doc"} for one in rows]
        return {"results": rows, "last_seq": str(begin + len(rows))}


@pytest.mark.parametrize("poison", [1, 2, 3, 6])
def test_a_document_that_cannot_be_read_does_not_hold_up_the_others(poison: int) -> None:
    told: list[str] = []
    feed = Feed(cast(Database, FeedWithPoison(poison)), "0", 3, lambda what, why: told.append(what))
    sqs, checkpoint = FakeSqs(), FakeCheckpoint()
    follow(feed, sender_to(sqs), cast(Checkpoint, checkpoint), ROUTES)
    sent = sorted(json.loads(body)["id"] for body in sqs.accepted["https://sqs/device-new"])
    assert sent == [f"d{number}" for number in range(1, 7) if number != poison]
    assert told == ["a document cannot be read and is passed over"]
    assert checkpoint.saved[-1] == "6"


def test_a_document_that_cannot_be_written_as_json_travels_without_its_body() -> None:
    deep: JsonDict = {}
    for _ in range(100_000):
        deep = {"deeper": deep}
    [message] = messages_for("control", [row(deep=deep)], ROUTES)
    assert "doc" not in json.loads(message.body)
