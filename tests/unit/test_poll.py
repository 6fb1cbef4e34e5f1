"""One run of the poller: which databases it reads, what it saves, when it ends."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from chalicelib.couch import CouchError, Unavailable
from chalicelib.domain.documents import JsonDict
from poller.checkpoint import MAX_DATABASES, Checkpoint
from poller.databases import DB_UPDATES_PAGE_SIZE, DbUpdates, DbUpdatesRefused, Scan, Shard
from poller.forward import MAX_PAGES_IN_A_ROW, Forwarder, Summary
from poller.lease import Cursor
from poller.poll import LONGPOLL_S, MAX_FAILING, MAX_PAUSE_S, SCAN_PAUSE_S, Poll
from tests.kit.fakes.couch import FakeCouch
from tests.kit.fakes.couch_feeds import db_updates, seq_at
from tests.kit.fakes.couch_http import Answer, Asked, Refusal
from tests.kit.fakes.couch_watched import WatchedCouch
from tests.kit.fakes.executor import LazyExecutor
from tests.kit.poller.sender import ROUTES, FakeSqs, sender_to
from tests.kit.poller.state import FakeCheckpoints, FakeLease

DB_UPDATES, ALL_DBS, DBS_INFO = "GET /_db_updates", "GET /_all_dbs", "POST /_dbs_info"
UNKNOWN = Refusal(400, "bad_request", "no such request")
MISSING = Refusal(404, "not_found", "Database does not exist.")


def owner(number: int) -> str:
    return f"control-{number:032x}"


ADA, BOB, EVE = owner(1), owner(2), owner(3)


@dataclass
class Polling:
    """Runs of one poller over fakes; time passes only by waiting."""

    couch: WatchedCouch = field(default_factory=WatchedCouch)
    checkpoints: FakeCheckpoints = field(default_factory=FakeCheckpoints)
    shard: Shard = field(default_factory=lambda: Shard("control"))
    sqs: FakeSqs = field(default_factory=FakeSqs)
    told: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    cursor: Cursor = field(default_factory=Cursor)
    window_s: float = 0.0
    passed_s: float = 0.0
    max_messages: int = 1000
    on_wait: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.couch.waited = self.wait
        self.create("control")

    @property
    def lease(self) -> FakeLease:
        return self.checkpoints.lease

    def wait(self, wait_s: float) -> None:
        self.waits.append(wait_s)
        self.passed_s += wait_s
        self.on_wait()

    def pause(self, pause_s: float) -> None:
        self.pauses.append(pause_s)
        self.passed_s += pause_s
        self.on_wait()

    def run(self) -> Summary:
        """One run from the cursor that the last one saved."""
        self.couch.asked.clear()
        self.passed_s = 0.0

        def remaining_s() -> float:
            return (self.window_s or 1000.0) - self.passed_s

        server = self.couch.server()
        checkpoints = cast(Any, self.checkpoints)
        forwarder = Forwarder(
            server=server,
            checkpoints=checkpoints,
            sender=sender_to(self.sqs),
            control_db="control",
            routes=ROUTES,
            page_size=2,
            remaining_s=remaining_s,
            monotonic_s=lambda: self.passed_s,
            warn=lambda what, why: self.told.append(what),
            executor=LazyExecutor(),
            max_messages=self.max_messages,
        )
        poll = Poll(
            db_updates=DbUpdates(server, self.shard),
            scan=Scan(server, self.shard),
            forwarder=forwarder,
            lease=cast(Any, self.lease),
            cursor=self.cursor,
            is_one_pass=not self.window_s,
            remaining_s=remaining_s,
            pause=self.pause,
            warn=lambda what, why: self.told.append(what),
        )
        try:
            poll.run("control" if self.shard.holds("control") else None)
        finally:
            self.cursor = self.lease.cursors[-1] if self.lease.cursors else Cursor()
        return forwarder.summary

    def create(self, *dbs: str) -> None:
        for db in dbs:
            if db not in self.couch.databases:
                self.couch.create(db)

    def write(self, db: str, *doc_ids: str) -> None:
        self.couch.add(db, *doc_ids)

    def asked_for(self, what: str) -> int:
        return len([asked for asked in self.couch.asked if asked.startswith(what)])

    def changes_asked(self) -> list[str]:
        """The databases whose changes were asked for, in this order."""
        asked = (request.removeprefix("GET /") for request in self.couch.asked)
        return [path.removesuffix("/_changes") for path in asked if path.endswith("/_changes")]

    def infos_asked(self) -> list[str]:
        """The owners' databases that were asked for their infos, one by one."""
        asked = (request.removeprefix("GET /") for request in self.couch.asked)
        return [db for db in asked if db.startswith("control-") and "/" not in db]

    def fails(self, db: str) -> None:
        self.couch.refuse(f"GET /{db}/_changes")

    def works_again(self) -> None:
        self.couch.instead.clear()

    def updates_end(self) -> str:
        """The seq of the feed of databases' end."""
        return self.couch.seq("_global_changes")

    def sent(self) -> int:
        return sum(len(bodies) for bodies in self.sqs.accepted.values())


# Changes in `_db_updates`.


def test_a_run_forwards_the_databases_that_changed_and_no_others() -> None:
    on = Polling()
    on.create(*(owner(number) for number in range(50)))
    on.run()
    on.write(ADA, "a1")
    on.write(EVE, "e1")
    assert on.run() == Summary(databases=3, changes=2, sent=2)
    assert sorted(on.changes_asked()) == ["control", ADA, EVE]


def test_a_new_owners_database_is_read_from_its_beginning() -> None:
    on = Polling()
    on.run()
    on.create(ADA)
    on.write(ADA, "a1", "a2", "a3")
    assert on.run().sent == 3


def test_databases_that_are_not_control_databases_are_never_read() -> None:
    on = Polling()
    others = ["_users", "control-dev", f"control-dev-{'a' * 32}", f"db-{'a' * 32}", "control-"]
    on.create(*others)
    on.run()
    for db in others:
        on.write(db, "x")
    on.run()
    assert set(on.changes_asked()) == {"control"}


def test_control_db_is_read_even_if_db_updates_does_not_name_it() -> None:
    on = Polling()
    on.run()
    on.couch.is_telling = False
    on.write("control", "d1")
    assert on.run().sent == 1


def test_the_checkpoint_of_a_deleted_database_is_deleted() -> None:
    on = Polling()
    on.create(ADA)
    on.write(ADA, "a1")
    on.run()
    on.couch.delete(ADA)
    on.run()
    assert (ADA in on.checkpoints.known, on.checkpoints.deleted) == (False, [ADA])


def test_a_database_with_several_rows_in_any_order_is_read_once() -> None:
    on = Polling()
    on.create(ADA)
    on.run()
    on.write(ADA, "a1")
    for kind in ("created", "updated", "deleted"):
        on.couch.tell(ADA, kind)
    assert on.run().sent == 1
    assert on.checkpoints.deleted == []


def all_updates(couch: WatchedCouch, asked: Asked) -> Answer:
    params = {name: value for name, value in asked.params.items() if name != "limit"}
    feed = couch.databases["_global_changes"]
    return Answer(db_updates(feed, replace(asked, params=params)))


def test_all_pages_are_read_even_if_the_server_ignores_the_limit() -> None:
    for limits in (True, False):
        on = Polling()
        if not limits:
            on.couch.instead[DB_UPDATES] = lambda asked, couch=on.couch: all_updates(couch, asked)  # type: ignore[misc]
        on.run()
        for number in range(DB_UPDATES_PAGE_SIZE + 5):
            on.couch.tell(f"db-{number}", "updated")
        on.create(ADA)
        on.write(ADA, "a1")
        assert on.run().sent == 1
        assert on.cursor.db_updates_seq == on.updates_end()


def test_a_run_without_changes_makes_six_requests_and_saves_nothing() -> None:
    on = Polling()
    on.create(*(owner(number) for number in range(500)))
    on.run()
    for _ in range(3):
        saved = len(on.checkpoints.saved)
        on.run()
        assert on.couch.asked == [
            "GET /control/_changes",
            "GET /control",
            DB_UPDATES,
            DB_UPDATES,
            ALL_DBS,
            DBS_INFO,
        ]
        assert len(on.checkpoints.saved) == saved


def test_the_scan_does_not_read_a_database_that_was_just_read() -> None:
    on = Polling()
    on.create(*(owner(number) for number in range(50)))
    on.run()
    on.write(ADA, "a1")
    on.run()
    on.run()
    assert set(on.changes_asked()) == {"control"}


# What is saved, and when.


def test_the_cursor_names_a_failing_database_and_moves_past_it() -> None:
    on = Polling()
    on.create(ADA, BOB)
    on.run()
    on.write(ADA, "a1")
    on.write(BOB, "b1")
    on.fails(ADA)
    with pytest.raises(Unavailable):
        on.run()
    assert on.sent() == 1
    assert on.cursor == Cursor(on.updates_end(), "", is_fully_scanned=True, failing=(ADA,))
    on.works_again()
    assert on.run().sent == 1
    assert on.cursor.failing == ()


def test_failing_databases_are_read_in_each_run_after_all_others() -> None:
    on = Polling()
    dbs = [owner(number) for number in range(MAX_DATABASES * 4)]
    last = dbs[-1]  # the scan is not yet so far
    on.create(*dbs)
    on.run()
    on.write(last, "d1")
    on.fails(last)
    for doc_id in ("e1", "e2"):
        with pytest.raises(Unavailable):
            on.run()
        on.write(EVE, doc_id)
    with pytest.raises(Unavailable):
        on.run()
    assert on.changes_asked() == ["control", EVE, last]


def test_a_failing_database_is_retried_once_in_a_run_of_many_pages() -> None:
    dbs = [owner(number) for number in range(MAX_DATABASES * 4)]
    on = Polling(cursor=Cursor(failing=(dbs[-1],)))
    on.create(*dbs)
    on.fails(dbs[-1])
    with pytest.raises(Unavailable):
        on.run()
    by_the_scan = 1
    assert on.changes_asked().count(dbs[-1]) == 1 + by_the_scan


def test_ten_databases_may_fail_for_good_and_new_changes_are_sent() -> None:
    """Five in a row that fail are the server's failure, but not if they have failed before."""
    on = Polling()
    dbs = [owner(number) for number in range(20)]
    on.create(*dbs, EVE)
    on.run()
    for db in dbs:
        on.write(db, "d1")
    for db in dbs[::2]:
        on.fails(db)
    for sent in (10, 11, 12):
        with pytest.raises(Unavailable):
            on.run()
        assert (on.sent(), on.cursor.db_updates_seq) == (sent, on.updates_end())
        on.write(EVE, f"e{sent}")


@pytest.mark.parametrize("failing", [MAX_FAILING, MAX_FAILING + 1])
def test_the_cursor_stays_if_more_databases_fail_than_it_can_name(failing: int) -> None:
    on = Polling()
    dbs = [owner(number) for number in range(2 * failing)]
    on.create(*dbs)
    on.run()
    before = on.cursor.db_updates_seq
    for number, db in enumerate(dbs):
        on.write(db, "d1")
        if number % 2:
            on.fails(db)
    with pytest.raises(Unavailable):
        on.run()
    are_kept = failing <= MAX_FAILING
    assert on.cursor.db_updates_seq == (on.updates_end() if are_kept else before)
    assert len(on.cursor.failing) == (failing if are_kept else 0)
    on.works_again()
    on.run()
    assert on.sent() == len(dbs)


def test_a_failing_database_that_gets_no_time_does_not_hold_the_cursor() -> None:
    on = Polling(window_s=10.0)
    on.create(ADA, BOB)
    on.run()
    on.write(ADA, "a1")
    on.fails(ADA)
    with pytest.raises(Unavailable):
        on.run()
    on.write(BOB, "b1")

    class Slow(FakeSqs):
        def send_message_batch(self, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
            on.passed_s += 20.0
            return super().send_message_batch(QueueUrl, Entries)

    on.sqs = Slow()
    on.run()
    assert ADA not in on.changes_asked()
    assert (on.cursor.db_updates_seq, on.cursor.failing) == (on.updates_end(), (ADA,))


def test_a_failing_database_that_is_deleted_is_no_longer_failing() -> None:
    on = Polling()
    on.create(ADA)
    on.run()
    on.write(ADA, "a1")
    on.fails(ADA)
    with pytest.raises(Unavailable):
        on.run()
    on.works_again()
    on.couch.delete(ADA)
    on.run()
    assert on.cursor.failing == ()


def test_all_pages_are_read_after_a_database_failed() -> None:
    on = Polling()
    on.create(ADA, BOB)
    on.run()
    on.fails(ADA)
    on.write(ADA, "a1")
    for number in range(DB_UPDATES_PAGE_SIZE):
        on.couch.tell(f"db-{number}", "updated")
    on.write(BOB, "b1")
    with pytest.raises(Unavailable):
        on.run()
    assert on.sent() == 1


def test_the_next_run_continues_where_a_run_ran_out_of_time() -> None:
    on = Polling()
    on.create(ADA, BOB)
    on.run()
    before = on.cursor
    on.write(ADA, "a1")
    on.write(BOB, "b1")
    on.window_s = 10.0

    class Slow(FakeSqs):
        def send_message_batch(self, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
            on.passed_s += 20.0
            return super().send_message_batch(QueueUrl, Entries)

    on.sqs = Slow()
    assert on.run().sent == 1
    assert on.cursor == before
    assert on.run().sent == 1


def test_the_cursor_is_saved_after_a_busy_database_has_caught_up() -> None:
    on = Polling()
    on.create(ADA, BOB)
    on.run()
    on.write(ADA, *(f"a{number}" for number in range(MAX_PAGES_IN_A_ROW * 2 + 1)))
    on.write(BOB, "b1")
    assert on.run().sent == MAX_PAGES_IN_A_ROW * 2 + 2
    assert on.cursor.db_updates_seq == on.updates_end()


# The first run scans all databases; each later run scans a page.


@pytest.mark.parametrize("db_updates_seq", ["", "12-of-another-server"])
def test_a_change_before_the_end_of_the_feed_is_followed_in_the_same_run(
    db_updates_seq: str,
) -> None:
    on = Polling(cursor=Cursor(db_updates_seq))

    def db_updates(asked: Asked) -> Answer:
        if asked.params["since"] == "now":
            on.write("control", "d1")
        return FakeCouch.answer(on.couch, asked)

    on.couch.instead[DB_UPDATES] = db_updates
    assert on.run().sent == 1


def test_the_first_run_scans_all_databases_from_the_end_of_db_updates() -> None:
    on = Polling()
    dbs = [owner(number) for number in range(MAX_DATABASES * 2 + 50)]
    on.create(*dbs)
    for db in dbs:
        on.write(db, "d1")
    assert on.run().sent == len(dbs)
    assert on.cursor == Cursor(on.updates_end(), "", is_fully_scanned=True)
    assert on.asked_for(ALL_DBS) == 3


def test_a_change_during_the_first_scan_is_sent_between_its_pages() -> None:
    on = Polling()
    dbs = [owner(number) for number in range(MAX_DATABASES * 3)]
    on.create(*dbs)
    for db in dbs:
        on.write(db, "d1")

    def all_dbs(asked: Asked) -> Answer:
        if on.asked_for(ALL_DBS) == 2:
            on.write(dbs[0], "early")
        return FakeCouch.answer(on.couch, asked)

    on.couch.instead[ALL_DBS] = all_dbs
    on.run()
    first_of_third_page = on.changes_asked().index(dbs[MAX_DATABASES * 2])
    assert on.changes_asked()[:first_of_third_page].count(dbs[0]) == 2


def test_a_first_scan_that_ran_out_of_time_continues_where_it_was() -> None:
    on = Polling(window_s=10.0)
    dbs = [owner(number) for number in range(MAX_DATABASES + 50)]
    on.create(*dbs)
    for db in dbs:
        on.write(db, "d1")

    def all_dbs(asked: Asked) -> Answer:
        on.passed_s += 6.0
        return FakeCouch.answer(on.couch, asked)

    on.couch.instead[ALL_DBS] = all_dbs
    on.run()
    assert on.cursor.scan_after == dbs[MAX_DATABASES - 1]
    assert not on.cursor.is_fully_scanned
    on.run()
    assert on.sent() == len(dbs)
    assert on.cursor.is_fully_scanned


def test_a_change_missing_from_db_updates_is_found_by_the_next_scan() -> None:
    on = Polling()
    dbs = [owner(number) for number in range(MAX_DATABASES * 3)]
    on.create(*dbs)
    on.run()
    on.couch.is_telling = False
    on.write(dbs[-1], "d1")
    assert [on.run().sent for _ in range(4)] == [0, 0, 1, 0]


def test_a_page_of_the_scan_costs_the_same_for_many_databases() -> None:
    on = Polling()
    on.create(*(owner(number) for number in range(MAX_DATABASES * 3)))
    on.run()
    on.run()
    assert (on.asked_for(ALL_DBS), on.asked_for(DBS_INFO), on.infos_asked()) == (
        1,
        1,
        [],
    )


def test_a_failing_database_does_not_stop_a_scan_and_is_read_later() -> None:
    on = Polling()
    dbs = [owner(number) for number in range(MAX_DATABASES + 5)]
    on.create(*dbs)
    for db in dbs:
        on.write(db, "d1")
    on.fails(dbs[3])
    with pytest.raises(Unavailable):
        on.run()
    assert on.sent() == len(dbs) - 1
    on.works_again()
    on.run()
    assert on.sent() == len(dbs)


def test_each_database_is_asked_for_its_update_seq_if_dbs_info_fails() -> None:
    on = Polling()
    on.couch.refuse(DBS_INFO)
    on.create(ADA, BOB)
    on.write(ADA, "a1")
    assert on.run().sent == 1
    on.write(BOB, "b1")
    assert on.run().sent == 1
    assert on.asked_for(DBS_INFO) == 2


def test_a_database_without_a_known_update_seq_is_read_each_time() -> None:
    on = Polling()
    on.couch.refuse(DBS_INFO, UNKNOWN)
    on.create(ADA, BOB)
    on.couch.refuse(f"GET /{ADA}")
    for number in range(3):
        on.write(ADA, f"a{number}")
        assert on.run().sent == 1


@pytest.mark.parametrize("told", [[{"key": ADA, "error": "not_found"}], []])
def test_a_database_that_dbs_info_does_not_find_is_read_all_the_same(told: list[JsonDict]) -> None:
    """CouchDB answers so also for a database that is busy."""
    on = Polling()
    on.create(ADA, BOB)
    on.write(ADA, "a1")

    def dbs_info(asked: Asked) -> Answer:
        rows = FakeCouch.answer(on.couch, asked).body
        return Answer(told + [row for row in rows if row["key"] != ADA])

    on.couch.instead[DBS_INFO] = dbs_info
    assert on.run().sent == 1


def test_a_database_may_be_deleted_while_it_is_scanned() -> None:
    on = Polling()
    on.create(ADA)
    on.write(ADA, "a1")
    on.run()

    def dbs_info(asked: Asked) -> Answer:
        on.couch.delete(ADA)
        return FakeCouch.answer(on.couch, asked)

    on.couch.instead[DBS_INFO] = dbs_info
    on.run()
    assert on.checkpoints.deleted == [ADA]


# Servers without `_db_updates`.


def test_global_changes_is_created_if_it_is_missing() -> None:
    on = Polling()
    del on.couch.databases["_global_changes"]
    on.run()
    assert "_global_changes" in on.couch.databases
    assert on.cursor.db_updates_seq


def no_right_to_create(couch: WatchedCouch) -> None:
    couch.delete("_global_changes")
    couch.refuse("PUT /_global_changes", Refusal(401, "unauthorized", "You are no server admin."))


def no_such_feed(couch: WatchedCouch) -> None:
    couch.refuse(DB_UPDATES, UNKNOWN)


def plain_express_pouchdb(couch: WatchedCouch) -> None:
    couch.refuse(DB_UPDATES, UNKNOWN)
    couch.refuse(DBS_INFO, MISSING)


def couchdb_1(couch: WatchedCouch) -> None:
    couch.instead[DB_UPDATES] = lambda asked: Answer({"ok": True})


def never_there(couch: WatchedCouch) -> None:
    couch.refuse(DB_UPDATES, MISSING)


WITHOUT_UPDATES = [
    no_right_to_create,
    no_such_feed,
    plain_express_pouchdb,
    couchdb_1,
    never_there,
]


@pytest.mark.parametrize("without", WITHOUT_UPDATES)
def test_without_db_updates_each_run_scans_all_databases(
    without: Callable[[WatchedCouch], None],
) -> None:
    on = Polling()
    dbs = [owner(number) for number in range(MAX_DATABASES + 10)]
    on.create(*dbs)
    without(on.couch)
    on.write(dbs[0], "d1")
    on.write(dbs[-1], "d1")
    assert on.run().sent == 2
    on.write(dbs[-2], "d1")
    on.write("control", "d1")
    assert on.run().sent == 2
    assert [db for db in on.changes_asked() if db != "control"] == [dbs[-2]]
    assert on.cursor.db_updates_seq == ""


@pytest.mark.parametrize("db", [ADA, "control"])
def test_without_db_updates_it_scans_repeatedly_within_its_window(db: str) -> None:
    on = Polling(window_s=10.0)
    no_such_feed(on.couch)
    on.create(db)
    on.on_wait = lambda: on.write(db, f"a{len(on.pauses)}")
    on.run()
    assert set(on.pauses) == {SCAN_PAUSE_S}
    assert on.sent() == len(on.pauses) - 1


def test_without_db_updates_it_pauses_between_scans_not_pages() -> None:
    on = Polling(window_s=10.0)
    no_such_feed(on.couch)
    on.create(*(owner(number) for number in range(MAX_DATABASES + 10)))
    on.run()
    assert on.pauses
    assert on.asked_for(ALL_DBS) >= 2 * len(on.pauses)


def test_without_db_updates_a_scan_goes_on_in_the_next_run() -> None:
    on = Polling()
    no_such_feed(on.couch)
    dbs = [owner(number) for number in range(MAX_DATABASES + 2)]
    on.create(*dbs)
    on.cursor = Cursor(scan_after=dbs[-3])
    on.run()
    assert on.changes_asked() == ["control", "control", *dbs[-2:]]


def test_a_server_without_dbs_info_is_asked_for_it_only_once() -> None:
    on = Polling()
    plain_express_pouchdb(on.couch)
    on.create(*(owner(number) for number in range(MAX_DATABASES + 10)))
    on.run()
    assert on.asked_for(DBS_INFO) == 1
    assert len(on.infos_asked()) == MAX_DATABASES + 10


def test_db_updates_that_appears_later_is_used_after_a_full_scan() -> None:
    on = Polling()
    no_such_feed(on.couch)
    on.create(ADA)
    on.run()
    on.works_again()
    on.write(ADA, "a1")
    assert on.run().sent == 1
    assert on.cursor.is_fully_scanned
    assert on.cursor.db_updates_seq


def test_a_run_goes_on_without_db_updates_if_it_disappears() -> None:
    on = Polling()
    on.create(ADA)
    on.run()
    no_such_feed(on.couch)
    on.write(ADA, "a1")
    assert on.run().sent == 1
    assert on.cursor.db_updates_seq == ""


def test_a_refused_db_updates_seq_restarts_with_a_full_scan() -> None:
    on = Polling()
    dbs = [owner(number) for number in range(MAX_DATABASES + 10)]
    on.create(*dbs)
    on.run()
    on.lease.cursors.append(Cursor("12-of-another-server", dbs[5], is_fully_scanned=True))
    on.cursor = on.lease.cursors[-1]
    on.couch.is_telling = False
    on.write(dbs[0], "first")
    on.write(dbs[-1], "last")
    assert on.run().sent == 2
    assert on.told == ["_db_updates restarted, and all databases are scanned"]
    assert on.cursor == Cursor(on.updates_end(), "", is_fully_scanned=True)


def test_a_db_updates_seq_refused_while_it_waits_scans_in_the_same_run() -> None:
    on = Polling(window_s=3 * LONGPOLL_S)
    on.create(ADA)
    seqs: list[str] = []

    def refused_once(asked: Asked) -> Answer:
        seqs.append(asked.params["since"])
        if seqs.count("now") == 1 and len(seqs) > 2:
            on.couch.is_telling = False
            on.write(ADA, "a1")
            on.couch.instead.clear()
            raise Refusal(400, "bad_request", "Malformed sequence")
        return FakeCouch.answer(on.couch, asked)

    on.lease.cursors.append(Cursor(on.updates_end(), is_fully_scanned=True))
    on.cursor = on.lease.cursors[-1]
    on.couch.instead[DB_UPDATES] = refused_once
    assert on.run().sent == 1


def test_a_server_that_refuses_its_own_seq_ends_the_run() -> None:
    on = Polling()

    def forgetful(asked: Asked) -> Answer:
        if asked.params["since"] != "now":
            raise Refusal(400, "bad_request", "Malformed sequence")
        return FakeCouch.answer(on.couch, asked)

    on.couch.instead[DB_UPDATES] = forgetful
    with pytest.raises(DbUpdatesRefused, match="Malformed sequence"):
        on.run()


def test_a_server_error_does_not_mean_that_db_updates_is_missing() -> None:
    on = Polling()
    on.create(ADA)
    on.couch.refuse(DB_UPDATES)
    on.write("control", "d1")
    with pytest.raises(CouchError):
        on.run()
    assert on.sent() == 1
    assert on.asked_for(ALL_DBS) == 0


# A login that CouchDB refuses.

WRONG_PASSWORD = Refusal(401, "unauthorized", "Name or password is incorrect.")
NOT_ALLOWED = Refusal(403, "forbidden", "You are not a server admin.")
LOCKED = Refusal(
    403, "forbidden", "Account is temporarily locked due to multiple authentication failures"
)


@pytest.mark.parametrize("refusal", [WRONG_PASSWORD, NOT_ALLOWED, LOCKED])
@pytest.mark.parametrize("request_name", [DB_UPDATES, ALL_DBS, DBS_INFO, "GET /control/_changes"])
def test_a_refused_login_ends_the_run_and_the_cursor_stays(
    refusal: Refusal, request_name: str
) -> None:
    if refusal is NOT_ALLOWED and request_name not in (DB_UPDATES, ALL_DBS):
        pytest.skip("a database may be forbidden, and others not")
    on = Polling()
    on.create(ADA, BOB)
    on.run()
    before = on.cursor
    on.write(ADA, "a1")
    on.couch.refuse(request_name, refusal)
    with pytest.raises(CouchError):
        on.run()
    assert on.cursor == before
    assert on.infos_asked() == []
    assert request_name == ALL_DBS or on.asked_for(ALL_DBS) == (request_name == DBS_INFO)
    on.works_again()
    assert on.run().sent == 1
    assert on.told == []


@pytest.mark.parametrize("refusal", [WRONG_PASSWORD, NOT_ALLOWED, LOCKED])
def test_a_refused_login_in_the_first_run_is_not_taken_for_a_missing_feed(
    refusal: Refusal,
) -> None:
    on = Polling()
    on.create(ADA)
    on.write(ADA, "a1")
    on.couch.refuse(DB_UPDATES, refusal)
    with pytest.raises(CouchError):
        on.run()
    assert on.asked_for(ALL_DBS) == 0
    on.works_again()
    assert on.run().sent == 1
    assert on.cursor.db_updates_seq == on.updates_end()


def test_a_login_that_is_locked_while_the_feed_is_created_ends_the_run() -> None:
    on = Polling()
    del on.couch.databases["_global_changes"]
    on.couch.refuse("PUT /_global_changes", LOCKED)
    with pytest.raises(CouchError):
        on.run()
    assert on.asked_for(ALL_DBS) == 0


# A CouchDB that was restored from a backup.


def test_a_kept_seq_past_the_end_of_db_updates_restarts_with_a_full_scan() -> None:
    on = Polling()
    dbs = [owner(number) for number in range(MAX_DATABASES + 10)]
    on.create(*dbs)
    on.run()
    ahead = seq_at(on.couch.databases["_global_changes"], 10_000)
    on.lease.cursors.append(replace(on.cursor, db_updates_seq=ahead))
    on.cursor = on.lease.cursors[-1]
    on.write(dbs[-1], "a1")  # the scan would come to it in the second run
    assert on.run().sent == 1
    assert on.told == ["_db_updates restarted, and all databases are scanned"]
    gap = on.cursor.gap
    assert on.cursor == Cursor(on.updates_end(), "", is_fully_scanned=True, gap=gap)
    assert 9_000 < gap < 10_000
    on.write(dbs[-2], "a1")
    assert on.run().sent == 1
    assert len(on.told) == 1


def test_a_gap_that_was_there_before_restarts_nothing() -> None:
    """In a cluster it may be there for ever."""
    on = Polling()
    on.create(ADA)
    on.run()
    ahead = seq_at(on.couch.databases["_global_changes"], 10_000)
    on.cursor = replace(on.cursor, db_updates_seq=ahead, gap=20_000)
    on.run()
    assert on.told == []
    database = on.couch.databases[ADA]
    on.checkpoints.known[ADA] = Checkpoint(seq_at(database, 500), gap=500)
    on.run()
    assert on.told == []
    assert on.checkpoints.known[ADA].gap == 500


def test_a_database_with_a_kept_seq_past_its_end_is_read_again() -> None:
    on = Polling()
    on.create(ADA)
    on.write(ADA, "a1", "a2")
    on.run()
    database = on.couch.databases[ADA]
    on.checkpoints.known[ADA] = Checkpoint(seq_at(database, 500))
    on.write(ADA, "a3")
    assert on.run().sent == 3
    assert on.told == ["a feed restarted from its beginning"]
    assert on.run().sent == 0


# Waiting.


def test_it_waits_for_changes_to_the_end_of_its_window() -> None:
    on = Polling(window_s=2 * LONGPOLL_S + 0.5)
    on.create(ADA)
    on.on_wait = lambda: on.write(ADA, "a1") if len(on.waits) == 1 else None
    assert on.run().sent == 1
    assert on.waits == [LONGPOLL_S, LONGPOLL_S, 0.5]
    assert on.asked_for(ALL_DBS) == 1


def test_a_run_that_waits_renews_its_lease_and_looks_for_the_end_once() -> None:
    on = Polling()
    on.run()
    on.window_s = 5 * LONGPOLL_S
    before = on.lease.renewed
    seqs: list[str] = []

    def noted(asked: Asked) -> Answer:
        seqs.append(asked.params["since"])
        return FakeCouch.answer(on.couch, asked)

    on.couch.instead[DB_UPDATES] = noted
    on.run()
    assert on.lease.renewed - before > len(on.waits) > 3
    assert seqs.count("now") == 1


def test_it_does_not_wait_while_a_database_is_lagging() -> None:
    on = Polling(window_s=40.0)
    on.create(ADA)
    sent_at_waits: list[int] = []

    def write_a_lot_once() -> None:
        sent_at_waits.append(on.sent())
        if len(sent_at_waits) == 1:
            on.write(ADA, *(f"a{number}" for number in range(MAX_PAGES_IN_A_ROW * 4 + 1)))

    on.on_wait = write_a_lot_once
    on.run()
    assert sent_at_waits[:2] == [0, MAX_PAGES_IN_A_ROW * 4 + 1]


def test_a_run_of_one_pass_does_not_wait() -> None:
    on = Polling()
    on.run()
    assert (on.waits, on.pauses) == ([], [])


def test_pauses_grow_while_only_other_databases_change() -> None:
    on = Polling(window_s=20.0)
    on.run()

    def busy(asked: Asked) -> Answer:
        on.couch.tell("db-chat", "updated")
        return FakeCouch.answer(on.couch, asked)

    on.couch.instead[DB_UPDATES] = busy
    on.run()
    assert on.pauses[:7] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, MAX_PAUSE_S]
    assert on.asked_for(DB_UPDATES) < 20


def test_pauses_are_short_again_after_a_request_without_rows() -> None:
    on = Polling(window_s=60.0)
    on.run()

    def busy_but_once(asked: Asked) -> Answer:
        if on.asked_for(DB_UPDATES) != 4:
            on.couch.tell("db-chat", "updated")
        return FakeCouch.answer(on.couch, asked)

    on.couch.instead[DB_UPDATES] = busy_but_once
    on.run()
    assert on.pauses[:5] == [0.0, 0.1, 0.2, 0.0, 0.1]


def test_after_a_database_failed_the_run_ends_without_a_wait() -> None:
    on = Polling(window_s=50.0)
    on.create(ADA)
    on.fails(ADA)
    with pytest.raises(Unavailable):
        on.run()
    assert (on.waits, on.pauses) == ([], [])


# Shards.


def test_two_shards_forward_every_database_once() -> None:
    couch, sqs = WatchedCouch(), FakeSqs()
    shards = [Polling(couch, shard=Shard("control", number, 2), sqs=sqs) for number in range(2)]
    dbs = ["control", *(owner(number) for number in range(30))]
    for db in dbs:
        shards[0].create(db)
        shards[0].write(db, "d1")
    for on in shards:
        on.run()
    assert shards[0].sent() == len(dbs)
    for db in dbs:
        shards[1].write(db, "d2")
    assert sum(on.run().sent for on in shards) == len(dbs)


def test_a_change_of_the_number_of_shards_sends_nothing_again() -> None:
    couch, checkpoints, sqs = WatchedCouch(), FakeCheckpoints(), FakeSqs()
    dbs = [owner(number) for number in range(10)]
    alone = Polling(couch, checkpoints, sqs=sqs)
    for db in dbs:
        alone.create(db)
        alone.write(db, "d1")
    alone.run()
    known = dict(checkpoints.known)
    for number in range(2):
        checkpoints.lease = FakeLease()
        assert Polling(couch, checkpoints, Shard("control", number, 2), sqs).run().sent == 0
    assert known.keys() == checkpoints.known.keys()
    assert all(isinstance(sent, Checkpoint) for sent in known.values())


# An owner with too many changes.


def test_what_an_owner_wrote_too_much_is_sent_run_by_run_and_none_is_lost() -> None:
    on = Polling(max_messages=10)
    on.create(ADA, BOB)
    on.run()
    on.write(ADA, *(f"a{number}" for number in range(25)))
    on.write(BOB, "b1")
    sent = [on.run().sent for _ in range(4)]
    assert sent == [11, 10, 5, 0]
    assert on.cursor.failing == ()
    assert on.cursor.db_updates_seq == on.updates_end()


def test_the_cursor_moves_on_and_keeps_the_name_of_an_owner_who_is_held() -> None:
    on = Polling(max_messages=10)
    on.create(ADA)
    on.run()
    on.write(ADA, *(f"a{number}" for number in range(25)))
    on.run()
    assert on.cursor.failing == (ADA,)
    assert on.cursor.db_updates_seq == on.updates_end()


def test_a_run_waits_for_changes_although_an_owner_is_held() -> None:
    on = Polling(max_messages=10, window_s=30.0)
    on.create(ADA, BOB)
    on.run()
    on.write(ADA, *(f"a{number}" for number in range(25)))
    on.waits.clear()
    on.on_wait = lambda: on.write(BOB, f"b{len(on.waits)}")
    on.run()
    assert on.waits
    assert all(wait_s > 0 for wait_s in on.waits)
    assert on.sent() == 10 + len(on.waits) - 1  # the window is over after the last wait
