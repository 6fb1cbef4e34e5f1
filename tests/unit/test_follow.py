"""Databases that changed, one after another: read, send, and only then save."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from chalicelib.couch import Unavailable
from chalicelib.domain.documents import JsonDict
from poller.checkpoint import Sent
from poller.follow import FAILURES_IN_A_ROW, TURN_PAGES, Follower
from poller.sender import NotAccepted
from tests.kit.fakes.couch_watched import WatchedCouch
from tests.kit.poller.sender import ROUTES, FakeSqs, sender_to
from tests.kit.poller.state import FakeCheckpoint

ADA, BOB, EVE = (f"control-{letter * 32}" for letter in "abe")


@dataclass
class Following:
    """A follower over fakes, with a page of two."""

    couch: WatchedCouch = field(default_factory=WatchedCouch)
    sqs: FakeSqs = field(default_factory=FakeSqs)
    checkpoint: FakeCheckpoint = field(default_factory=FakeCheckpoint)
    told: list[str] = field(default_factory=list)
    remaining_s: Callable[[], float] = lambda: 100.0

    def __post_init__(self) -> None:
        self.follower = Follower(
            server=self.couch.server(),
            checkpoint=cast(Any, self.checkpoint),
            sender=sender_to(self.sqs),
            control_db="control",
            routes=ROUTES,
            page_size=2,
            remaining_s=lambda: self.remaining_s(),
            warn=lambda what, why: self.told.append(why),
        )

    def create(self, db: str, *doc_ids: str) -> None:
        self.couch.create(db)
        self.couch.add(db, *doc_ids)

    def fails(self, db: str) -> None:
        self.couch.refuse(f"GET /{db}/_changes")

    def sent(self, db: str, number: int, info: int | None = None) -> Sent:
        """What is remembered of a database after so many changes."""
        info_seq = "" if info is None else self.couch.seq(db, info, "info")
        return Sent(self.couch.seq(db, number), info_seq)

    def follow(self, *dbs: str, info_seq: str = "") -> None:
        self.follower.follow(dict.fromkeys(dbs, info_seq))

    def asked_of(self, db: str) -> int:
        return self.couch.asked.count(f"GET /{db}/_changes")


def test_each_database_is_brought_to_its_end_and_then_remembered() -> None:
    on = Following()
    on.create(ADA, "a1", "a2", "a3")
    on.create(BOB, "b1")
    on.follow(ADA, BOB)
    assert on.checkpoint.saved == [
        (ADA, on.sent(ADA, 2)),
        (ADA, on.sent(ADA, 3)),
        (BOB, on.sent(BOB, 1)),
    ]
    summary = on.follower.summary
    assert (summary.databases, summary.changes, summary.sent) == (2, 4, 4)
    assert on.follower.is_caught_up


def test_a_changed_database_costs_one_request_and_is_named_in_the_message() -> None:
    on = Following()
    on.create(ADA, "a1")
    on.checkpoint.known[ADA] = Sent("0")
    on.follow(ADA)
    assert on.couch.asked == [f"GET /{ADA}/_changes"]
    [body] = on.sqs.accepted["https://sqs/device-new"]
    assert f'"db":"{ADA}"' in body


def test_a_database_that_is_where_it_was_is_not_read() -> None:
    on = Following()
    on.create(ADA, "a1")
    on.checkpoint.known[ADA] = on.sent(ADA, 1, 1)
    on.remaining_s = lambda: 0.5
    on.follow(ADA, info_seq=on.couch.seq(ADA, 1, "info"))
    assert on.couch.asked == []
    assert on.follower.is_caught_up


def test_the_seqs_of_many_databases_are_read_by_the_hundred() -> None:
    on = Following()
    dbs = [f"control-{number:032x}" for number in range(205)]
    for db in dbs:
        on.create(db)
    on.follow(*dbs)
    assert [len(read) for read in on.checkpoint.reads] == [100, 100, 5]


def test_a_page_without_changes_saves_nothing() -> None:
    on = Following()
    on.create(ADA)
    on.checkpoint.known[ADA] = on.sent(ADA, 0)
    on.follow(ADA)
    assert on.checkpoint.saved == []


def test_what_the_scan_saw_is_remembered_even_if_nothing_changed() -> None:
    on = Following()
    on.create(ADA, "a1")
    on.checkpoint.known[ADA] = on.sent(ADA, 1)
    on.follow(ADA, info_seq=on.couch.seq(ADA, 1, "info"))
    assert on.checkpoint.saved == [(ADA, on.sent(ADA, 1, 1))]
    assert on.couch.asked == [f"GET /{ADA}/_changes"]


def test_what_the_scan_saw_is_remembered_only_with_the_last_page() -> None:
    on = Following()
    on.create(ADA, "a1", "a2", "a3")
    on.follow(ADA, info_seq=on.couch.seq(ADA, 3, "info"))
    assert [sent.info_seq for _, sent in on.checkpoint.saved] == ["", on.couch.seq(ADA, 3, "info")]


def test_a_document_without_a_route_still_moves_the_seq() -> None:
    on = Following()
    on.create(ADA)
    on.couch.add(ADA, "a1", state="active")
    on.follow(ADA)
    assert (on.checkpoint.saved, on.sqs.calls) == ([(ADA, on.sent(ADA, 1))], [])


# What fails.


def test_the_seq_is_not_saved_past_what_sqs_refused_and_others_go_on() -> None:
    on = Following(sqs=FakeSqs(refuse=lambda call, entry: "stubborn" in entry["MessageBody"]))
    on.create(ADA, "a1", "a2", "a3", "stubborn", "a5")
    on.create(BOB, "b1")
    on.follow(ADA, BOB)
    assert on.checkpoint.saved == [(ADA, on.sent(ADA, 2)), (BOB, on.sent(BOB, 1))]
    assert isinstance(on.follower.failure, NotAccepted)


def test_the_seq_is_not_saved_when_sqs_fails_as_a_whole() -> None:
    class Down(FakeSqs):
        def send_message_batch(self, QueueUrl: str, Entries: list[JsonDict]) -> JsonDict:  # noqa: N803
            raise ConnectionError

    on = Following(sqs=Down())
    on.create(ADA, "a1")
    with pytest.raises(ConnectionError):
        on.follow(ADA)
    assert on.checkpoint.saved == []


def test_a_database_that_fails_does_not_keep_the_others_waiting() -> None:
    on = Following()
    for db in (ADA, BOB, EVE):
        on.create(db, "d1")
    on.fails(BOB)
    on.follow(ADA, BOB, EVE)
    assert [db for db, _ in on.checkpoint.saved] == [ADA, EVE]
    assert isinstance(on.follower.failure, Unavailable)
    assert not on.follower.is_caught_up
    [why] = on.told
    assert why.startswith(f"{BOB}: ")


def test_a_seq_that_couchdb_refuses_is_told_and_loses_nothing() -> None:
    on = Following()
    on.create(ADA, "a1")
    on.checkpoint.known[ADA] = Sent("nonsense")
    on.follow(ADA)
    assert on.follower.summary.sent == 1
    assert on.told == ["Malformed sequence supplied in 'since' parameter."]


def test_when_several_fail_in_a_row_it_is_the_server_and_the_run_ends() -> None:
    on = Following()
    dbs = [f"control-{number:032x}" for number in range(20)]
    for db in dbs:
        on.create(db, "d1")
        on.fails(db)
    with pytest.raises(Unavailable):
        on.follow(*dbs)
    assert len(on.couch.asked) == FAILURES_IN_A_ROW


def test_as_many_that_fail_here_and_there_do_not_end_the_run() -> None:
    on = Following()
    dbs = [f"control-{number:032x}" for number in range(20)]
    for number, db in enumerate(dbs):
        on.create(db, "d1")
        if number % FAILURES_IN_A_ROW:
            on.fails(db)
    on.follow(*dbs)
    assert [db for db, _ in on.checkpoint.saved] == dbs[::FAILURES_IN_A_ROW]


def test_of_those_that_fail_the_one_that_did_so_last_is_the_last() -> None:
    on = Following()
    on.follower.failing = {ADA: None, BOB: None}
    on.create(ADA, "a1")
    on.fails(ADA)
    on.follow(ADA)
    assert list(on.follower.failing) == [BOB, ADA]


def test_one_that_failed_and_is_where_it_was_no_longer_fails() -> None:
    on = Following()
    on.create(ADA, "a1")
    on.follower.failing = {ADA: None}
    on.checkpoint.known[ADA] = on.sent(ADA, 1, 1)
    on.follow(ADA, info_seq=on.couch.seq(ADA, 1, "info"))
    assert on.follower.is_caught_up


def test_a_database_that_is_gone_is_forgotten() -> None:
    on = Following()
    on.checkpoint.known[ADA] = Sent("7-g1AAAA")
    on.follow(ADA, BOB)
    assert on.checkpoint.forgotten == [ADA]
    assert on.follower.is_caught_up


def test_control_db_is_never_forgotten_and_missing_it_is_an_error() -> None:
    on = Following()
    on.checkpoint.known["control"] = Sent("7-g1AAAA")
    on.follow("control")
    assert on.checkpoint.forgotten == []
    assert on.follower.failure is not None


# Time and turns.


def test_the_lease_is_kept_between_databases_and_between_pages() -> None:
    on = Following()
    on.create(ADA, "a1", "a2", "a3")
    on.create(BOB, "b1")
    on.follow(ADA, BOB)
    assert on.checkpoint.lease.renewed == 3


def test_when_no_time_is_left_nothing_is_asked() -> None:
    on = Following(remaining_s=lambda: 0.0)
    on.create(ADA, "a1")
    on.follow(ADA)
    assert (on.checkpoint.reads, on.couch.asked) == ([], [])
    assert on.follower.lagging == {ADA}


def test_when_the_time_is_over_no_further_database_is_begun() -> None:
    on = Following()
    for db in (ADA, BOB, EVE):
        on.create(db, "d1")
    on.remaining_s = lambda: 1.0 if len(on.checkpoint.saved) < 1 else 0.0
    on.follow(ADA, BOB, EVE)
    assert on.couch.asked == [f"GET /{ADA}/_changes"]
    assert on.follower.lagging == {BOB, EVE}
    assert not on.follower.is_caught_up


def test_when_the_time_is_over_a_long_feed_is_left_between_pages() -> None:
    on = Following()
    on.create(ADA, *(f"a{number}" for number in range(9)))
    on.remaining_s = lambda: 1.0 if len(on.checkpoint.saved) < 2 else 0.0
    on.follow(ADA)
    assert on.checkpoint.known[ADA] == on.sent(ADA, 4)
    assert on.follower.lagging == {ADA}


def test_a_database_that_never_rests_lets_the_others_have_their_turn() -> None:
    on = Following()
    on.create(ADA, *(f"a{number}" for number in range(TURN_PAGES * 2 + 1)))
    on.create(BOB, "b1")
    on.follow(ADA, BOB)
    assert on.asked_of(ADA) == TURN_PAGES
    assert on.checkpoint.known[BOB] == on.sent(BOB, 1)
    assert on.follower.lagging == {ADA}
    on.follow()
    assert on.asked_of(ADA) == TURN_PAGES + 1
    assert on.checkpoint.known[ADA] == on.sent(ADA, TURN_PAGES * 2 + 1)
    assert on.follower.is_caught_up
