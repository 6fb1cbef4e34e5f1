"""Forward the changes of databases: read a page, send it, and then save a checkpoint."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from chalicelib.couch import LOGIN_REFUSED, CouchError, Unavailable
from chalicelib.domain.documents import JsonDict
from poller.checkpoint import Checkpoint
from poller.forward import (
    MAX_FAILURES_IN_A_ROW,
    MAX_MESSAGES_IN_A_ROW,
    MAX_PAGES_IN_A_ROW,
    MAX_TURN_S,
    MAX_URGENT_ROWS,
    Forwarder,
)
from poller.messages import NotAccepted
from tests.kit.fakes.couch import FakeCouch
from tests.kit.fakes.couch_http import Answer, Asked, Refusal
from tests.kit.fakes.couch_watched import WatchedCouch
from tests.kit.fakes.executor import LazyExecutor
from tests.kit.poller.sender import ROUTES, FakeSqs, sender_to
from tests.kit.poller.state import FakeCheckpoints

ADA, BOB, EVE = (f"control-{letter * 32}" for letter in "abe")
WRONG_PASSWORD = Refusal(401, "unauthorized", "Name or password is incorrect.")
LOCKED = Refusal(
    403, "forbidden", "Account is temporarily locked due to multiple authentication failures"
)


@dataclass
class Forwarding:
    """A forwarder over fakes, with a page of two."""

    couch: WatchedCouch = field(default_factory=WatchedCouch)
    sqs: FakeSqs = field(default_factory=FakeSqs)
    checkpoints: FakeCheckpoints = field(default_factory=FakeCheckpoints)
    told: list[str] = field(default_factory=list)
    remaining_s: Callable[[], float] = lambda: 100.0
    page_size: int = 2
    max_messages: int = 1000
    passed_s: float = 0.0

    def __post_init__(self) -> None:
        self.forwarder = Forwarder(
            server=self.couch.server(),
            checkpoints=cast(Any, self.checkpoints),
            sender=sender_to(self.sqs),
            control_db="control",
            routes=ROUTES,
            page_size=self.page_size,
            remaining_s=lambda: self.remaining_s(),
            monotonic_s=lambda: self.passed_s,
            warn=lambda what, why: self.told.append(why),
            executor=LazyExecutor(),
            max_messages=self.max_messages,
        )

    def create(self, db: str, *doc_ids: str) -> None:
        self.couch.create(db)
        self.couch.add(db, *doc_ids)

    def fails(self, db: str) -> None:
        self.couch.refuse(f"GET /{db}/_changes")

    def sent(self, db: str, number: int, info: int | None = None) -> Checkpoint:
        """The checkpoint of a database after so many changes."""
        update_seq = "" if info is None else self.couch.seq(db, info, "info")
        return Checkpoint(self.couch.seq(db, number), update_seq)

    def forward(self, *dbs: str, update_seq: str = "") -> None:
        self.forwarder.forward(dict.fromkeys(dbs, update_seq))

    def asked_of(self, db: str) -> int:
        return self.couch.asked.count(f"GET /{db}/_changes")


def test_each_database_is_read_to_its_end_and_each_page_is_saved() -> None:
    on = Forwarding()
    on.create(ADA, "a1", "a2", "a3")
    on.create(BOB, "b1")
    on.forward(ADA, BOB)
    assert on.checkpoints.saved == [
        (ADA, on.sent(ADA, 2)),
        (ADA, on.sent(ADA, 3)),
        (BOB, on.sent(BOB, 1)),
    ]
    summary = on.forwarder.summary
    assert (summary.databases, summary.changes, summary.sent) == (2, 4, 4)
    assert on.forwarder.is_caught_up


def test_a_changed_database_costs_one_request_and_messages_name_it() -> None:
    on = Forwarding()
    on.create(ADA, "a1")
    on.checkpoints.known[ADA] = Checkpoint("0")
    on.forward(ADA)
    assert on.couch.asked == [f"GET /{ADA}/_changes"]
    [body] = on.sqs.accepted["https://sqs/device-new"]
    assert f'"db":"{ADA}"' in body


def test_a_database_without_changes_is_not_read() -> None:
    on = Forwarding()
    on.create(ADA, "a1")
    on.checkpoints.known[ADA] = on.sent(ADA, 1, 1)
    on.remaining_s = lambda: 0.5
    on.forward(ADA, update_seq=on.couch.seq(ADA, 1, "info"))
    assert on.couch.asked == []
    assert on.forwarder.is_caught_up


def test_checkpoints_are_read_by_the_hundred() -> None:
    on = Forwarding()
    dbs = [f"control-{number:032x}" for number in range(205)]
    for db in dbs:
        on.create(db)
    on.forward(*dbs)
    assert [len(read) for read in on.checkpoints.reads] == [100, 100, 5]


def test_a_page_without_changes_saves_nothing() -> None:
    on = Forwarding()
    on.create(ADA)
    on.checkpoints.known[ADA] = on.sent(ADA, 0)
    on.forward(ADA)
    assert on.checkpoints.saved == []


def test_the_update_seq_is_saved_even_if_nothing_changed() -> None:
    on = Forwarding()
    on.create(ADA, "a1")
    on.checkpoints.known[ADA] = on.sent(ADA, 1)
    on.forward(ADA, update_seq=on.couch.seq(ADA, 1, "info"))
    assert on.checkpoints.saved == [(ADA, on.sent(ADA, 1, 1))]
    assert on.couch.asked == [f"GET /{ADA}/_changes"]


def test_the_update_seq_is_saved_only_with_the_last_page() -> None:
    on = Forwarding()
    on.create(ADA, "a1", "a2", "a3")
    on.forward(ADA, update_seq=on.couch.seq(ADA, 3, "info"))
    assert [sent.update_seq for _, sent in on.checkpoints.saved] == [
        "",
        on.couch.seq(ADA, 3, "info"),
    ]


def test_a_document_without_a_route_still_moves_the_seq() -> None:
    on = Forwarding()
    on.create(ADA)
    on.couch.add(ADA, "a1", state="active")
    on.forward(ADA)
    assert (on.checkpoints.saved, on.sqs.calls) == ([(ADA, on.sent(ADA, 1))], [])


# What fails.


def test_the_seq_is_not_saved_past_what_sqs_refused_and_others_go_on() -> None:
    on = Forwarding(sqs=FakeSqs(refuse=lambda call, entry: "stubborn" in entry["MessageBody"]))
    on.create(ADA, "a1", "a2", "a3", "stubborn", "a5")
    on.create(BOB, "b1")
    on.forward(ADA, BOB)
    assert on.checkpoints.saved == [(ADA, on.sent(ADA, 2)), (BOB, on.sent(BOB, 1))]
    assert isinstance(on.forwarder.failure, NotAccepted)


def test_the_seq_is_not_saved_when_sqs_fails_as_a_whole() -> None:
    class Down(FakeSqs):
        def send_message_batch(self, QueueUrl: str, Entries: list[JsonDict]) -> JsonDict:  # noqa: N803
            raise ConnectionError

    on = Forwarding(sqs=Down())
    on.create(ADA, "a1")
    with pytest.raises(ConnectionError):
        on.forward(ADA)
    assert on.checkpoints.saved == []


def test_a_database_that_fails_does_not_delay_the_others() -> None:
    on = Forwarding()
    for db in (ADA, BOB, EVE):
        on.create(db, "d1")
    on.fails(BOB)
    on.forward(ADA, BOB, EVE)
    assert [db for db, _ in on.checkpoints.saved] == [ADA, EVE]
    assert isinstance(on.forwarder.failure, Unavailable)
    assert not on.forwarder.is_caught_up
    [why] = on.told
    assert why.startswith(f"{BOB}: ")


def test_a_seq_that_couchdb_refuses_is_warned_of_and_loses_nothing() -> None:
    on = Forwarding()
    on.create(ADA, "a1")
    on.checkpoints.known[ADA] = Checkpoint("nonsense")
    on.forward(ADA)
    assert on.forwarder.summary.sent == 1
    assert on.told == [f"{ADA}: Malformed sequence supplied in 'since' parameter."]


def test_the_run_ends_if_several_databases_fail_in_a_row() -> None:
    on = Forwarding()
    dbs = [f"control-{number:032x}" for number in range(20)]
    for db in dbs:
        on.create(db, "d1")
        on.fails(db)
    with pytest.raises(Unavailable):
        on.forward(*dbs)
    assert len(on.couch.asked) == MAX_FAILURES_IN_A_ROW


def test_the_run_does_not_end_if_failures_are_not_in_a_row() -> None:
    on = Forwarding()
    dbs = [f"control-{number:032x}" for number in range(20)]
    for number, db in enumerate(dbs):
        on.create(db, "d1")
        if number % MAX_FAILURES_IN_A_ROW:
            on.fails(db)
    on.forward(*dbs)
    assert [db for db, _ in on.checkpoints.saved] == dbs[::MAX_FAILURES_IN_A_ROW]


def test_the_database_that_failed_last_is_the_last_of_the_failing() -> None:
    on = Forwarding()
    on.forwarder.failing = {ADA: None, BOB: None}
    on.create(ADA, "a1")
    on.fails(ADA)
    on.forward(ADA)
    assert list(on.forwarder.failing) == [BOB, ADA]


def test_a_failing_database_without_changes_is_no_longer_failing() -> None:
    on = Forwarding()
    on.create(ADA, "a1")
    on.forwarder.failing = {ADA: None}
    on.checkpoints.known[ADA] = on.sent(ADA, 1, 1)
    on.forward(ADA, update_seq=on.couch.seq(ADA, 1, "info"))
    assert on.forwarder.is_caught_up


def test_the_checkpoint_of_a_database_that_is_gone_is_deleted() -> None:
    on = Forwarding()
    on.checkpoints.known[ADA] = Checkpoint("7-g1AAAA")
    on.forward(ADA, BOB)
    assert on.checkpoints.deleted == [ADA]
    assert on.forwarder.is_caught_up


def test_a_missing_control_db_is_an_error_and_keeps_its_checkpoint() -> None:
    on = Forwarding()
    on.checkpoints.known["control"] = Checkpoint("7-g1AAAA")
    on.forward("control")
    assert on.checkpoints.deleted == []
    assert on.forwarder.failure is not None


@pytest.mark.parametrize("refusal", [WRONG_PASSWORD, LOCKED])
def test_a_login_that_is_refused_ends_the_run_and_no_database_is_failing(refusal: Refusal) -> None:
    on = Forwarding()
    for db in (ADA, BOB):
        on.create(db, "d1")
        on.couch.refuse(f"GET /{db}/_changes", refusal)
    with pytest.raises(LOGIN_REFUSED):
        on.forward(ADA, BOB)
    assert (on.asked_of(ADA), on.asked_of(BOB)) == (1, 0)
    assert on.forwarder.failing == {}


def test_a_database_that_is_forbidden_is_failing_and_delays_no_other() -> None:
    on = Forwarding()
    for db in (ADA, BOB):
        on.create(db, "d1")
    on.couch.refuse(f"GET /{ADA}/_changes", Refusal(403, "forbidden", "You are not allowed."))
    on.forward(ADA, BOB)
    assert on.forwarder.failing == {ADA: None}
    assert isinstance(on.forwarder.failure, CouchError)
    assert [db for db, _ in on.checkpoints.saved] == [BOB]


# What is sent first.


def test_a_revocation_is_sent_before_the_changes_that_wait() -> None:
    on = Forwarding()
    on.create(ADA, *(f"a{number}" for number in range(MAX_PAGES_IN_A_ROW * 3)))
    on.couch.add(ADA, "device-1", state="active")
    on.couch.add(ADA, "device-2", state="revoking")
    on.forward(ADA)
    [first, *_] = on.sqs.calls
    assert [json.loads(entry["MessageBody"])["id"] for entry in first] == ["device-2"]
    assert on.couch.asked[:2] == [f"GET /{ADA}/_changes", f"GET /{ADA}/_all_docs"]
    # Once in a turn, and again when the feed comes to it.
    assert on.couch.asked.count(f"GET /{ADA}/_all_docs") == 1
    while not on.forwarder.is_caught_up:
        on.forward()
    assert len(on.sqs.accepted["https://sqs/device-revoking"]) > 1


@pytest.mark.parametrize("db", ["control", ADA])
def test_only_an_owners_backlog_is_searched_for_revocations(db: str) -> None:
    on = Forwarding()
    on.create(db, "a1", *(["a2", "a3"] if db == "control" else []))
    on.forward(db)
    assert f"GET /{db}/_all_docs" not in on.couch.asked


def test_a_search_for_revocations_reads_a_bounded_number_of_documents() -> None:
    on, limits = Forwarding(), list[str]()
    on.create(ADA, "a1", "a2", "a3")

    def all_docs(asked: Asked) -> Answer:
        limits.append(asked.params["limit"])
        return FakeCouch.answer(on.couch, asked)

    on.couch.instead[f"GET /{ADA}/_all_docs"] = all_docs
    on.forward(ADA)
    assert limits == [str(MAX_URGENT_ROWS)]


# Time.


def slow(on: Forwarding, db: str, takes_s: float) -> None:
    """Let each page of a database take so long."""

    def changes(asked: Asked) -> Answer:
        on.passed_s += takes_s
        return FakeCouch.answer(on.couch, asked)

    on.couch.instead[f"GET /{db}/_changes"] = changes


def test_a_turn_ends_by_time_and_the_next_database_is_read() -> None:
    on = Forwarding()
    on.create(ADA, *(f"a{number}" for number in range(9)))
    on.create(BOB, "b1")
    slow(on, ADA, MAX_TURN_S / 2)
    on.forward(ADA, BOB)
    assert on.asked_of(ADA) == 2
    assert on.checkpoints.known[BOB] == on.sent(BOB, 1)
    assert on.forwarder.lagging == {ADA}


def test_a_page_that_takes_longer_than_a_turn_is_sent_whole() -> None:
    """A slow server has prepared all of its rows."""
    on = Forwarding()
    on.create(ADA, "a1", "a2", "a3")
    slow(on, ADA, MAX_TURN_S * 2)
    for sent in (2, 3):
        on.forward(ADA)
        assert on.checkpoints.known[ADA].seq == on.couch.seq(ADA, sent)
    assert on.forwarder.is_caught_up


def test_databases_that_lag_come_after_those_that_changed() -> None:
    on = Forwarding()
    for db in (ADA, EVE):
        on.create(db, *(f"d{number}" for number in range(MAX_PAGES_IN_A_ROW * 4)))
    on.forward(ADA, EVE)
    assert on.forwarder.lagging == {ADA, EVE}
    on.create(BOB, "b1")
    saved = len(on.checkpoints.saved)
    on.forward(EVE, BOB)
    dbs = dict.fromkeys(db for db, _ in on.checkpoints.saved[saved:])
    assert list(dbs) == [BOB, ADA, EVE]


def test_the_lease_is_renewed_between_databases_and_between_pages() -> None:
    on = Forwarding()
    on.create(ADA, "a1", "a2", "a3")
    on.create(BOB, "b1")
    on.forward(ADA, BOB)
    assert on.checkpoints.lease.renewed == 3


def test_nothing_is_requested_when_no_time_remains() -> None:
    on = Forwarding(remaining_s=lambda: 0.0)
    on.create(ADA, "a1")
    on.forward(ADA)
    assert (on.checkpoints.reads, on.couch.asked) == ([], [])
    assert on.forwarder.lagging == {ADA}


def test_no_further_database_is_read_when_the_time_is_over() -> None:
    on = Forwarding()
    for db in (ADA, BOB, EVE):
        on.create(db, "d1")
    on.remaining_s = lambda: 1.0 if len(on.checkpoints.saved) < 1 else 0.0
    on.forward(ADA, BOB, EVE)
    assert on.couch.asked == [f"GET /{ADA}/_changes"]
    assert on.forwarder.lagging == {BOB, EVE}
    assert not on.forwarder.is_caught_up


def test_a_long_feed_is_left_between_pages_when_the_time_is_over() -> None:
    on = Forwarding()
    on.create(ADA, *(f"a{number}" for number in range(9)))
    on.remaining_s = lambda: 1.0 if len(on.checkpoints.saved) < 2 else 0.0
    on.forward(ADA)
    assert on.checkpoints.known[ADA] == on.sent(ADA, 4)
    assert on.forwarder.lagging == {ADA}


def test_a_busy_database_does_not_delay_the_others() -> None:
    on = Forwarding()
    on.create(ADA, *(f"a{number}" for number in range(MAX_PAGES_IN_A_ROW * 2 + 1)))
    on.create(BOB, "b1")
    on.forward(ADA, BOB)
    assert on.asked_of(ADA) == MAX_PAGES_IN_A_ROW
    assert on.checkpoints.known[BOB] == on.sent(BOB, 1)
    assert on.forwarder.lagging == {ADA}
    on.forward()
    assert on.asked_of(ADA) == MAX_PAGES_IN_A_ROW + 1
    assert on.checkpoints.known[ADA] == on.sent(ADA, MAX_PAGES_IN_A_ROW * 2 + 1)
    assert on.forwarder.is_caught_up


# What one owner can cause.


def flooded(page_size: int = 1000, max_messages: int = 300, docs: int = 10_000) -> Forwarding:
    """Ada's device has written very many documents, Bob's one."""
    on = Forwarding(page_size=page_size, max_messages=max_messages)
    on.create(ADA, *(f"a{number}" for number in range(docs)))
    on.create(BOB, "b1")
    return on


def sent_of(on: Forwarding, db: str) -> int:
    bodies = on.sqs.accepted["https://sqs/device-new"]
    return sum(f'"db":"{db}"' in body for body in bodies)


def forward_while_lagging(on: Forwarding) -> None:
    while on.forwarder.lagging:
        on.forward()


def test_after_some_messages_of_an_owner_another_owner_has_a_turn() -> None:
    on = flooded()
    on.forward(ADA, BOB)
    assert (sent_of(on, ADA), sent_of(on, BOB)) == (MAX_MESSAGES_IN_A_ROW, 1)
    assert on.forwarder.lagging == {ADA}


@pytest.mark.parametrize(("page_size", "max_messages"), [(1000, 300), (7, 300), (1000, 399)])
def test_a_run_sends_no_more_messages_of_one_owner_than_allowed(
    page_size: int, max_messages: int
) -> None:
    on = flooded(page_size, max_messages)
    on.forward(ADA, BOB)
    forward_while_lagging(on)
    assert max_messages - MAX_MESSAGES_IN_A_ROW < sent_of(on, ADA) <= max_messages
    assert on.checkpoints.known[ADA] == on.sent(ADA, sent_of(on, ADA))


def test_an_owner_who_is_held_costs_no_more_requests_and_delays_nobody() -> None:
    on = flooded()
    on.forward(ADA, BOB)
    forward_while_lagging(on)
    asked = on.asked_of(ADA)
    on.couch.add(BOB, "b2")
    on.forward(ADA, BOB)
    assert (on.asked_of(ADA), sent_of(on, BOB)) == (asked, 2)
    assert (on.forwarder.held, on.forwarder.is_caught_up) == ({ADA}, True)
    assert on.told == [f"{ADA}: too many messages"]


def test_documents_without_a_route_are_no_messages() -> None:
    on = flooded(docs=0)
    on.couch.add(ADA, *(f"a{number}" for number in range(2000)), state="active")
    on.couch.add(ADA, "last")
    on.forward(ADA)
    forward_while_lagging(on)
    assert sent_of(on, ADA) == 1
    assert on.forwarder.held == set()


def test_the_control_database_has_no_such_limit() -> None:
    on = Forwarding(page_size=1000, max_messages=100)
    on.create("control", *(f"c{number}" for number in range(2500)))
    on.forward("control")
    assert sent_of(on, "control") == 2500
