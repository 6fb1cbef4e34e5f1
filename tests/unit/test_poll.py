"""One run of the poller: which databases it looks at, what it remembers, when it ends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from chalicelib.couch import BadRequest, CouchError, Unavailable
from poller.checkpoint import DATABASES_AT_ONCE, Sent
from poller.follow import TURN_PAGES, Follower, Summary
from poller.lease import Place
from poller.poll import LONGEST_PAUSE_S, LONGPOLL_S, ROUND_PAUSE_S, Poll
from poller.scan import Scan
from poller.shard import Shard
from poller.updates import ROWS_AT_ONCE, Updates, UpdatesRefused
from tests.fake_couch import MISSING, FakeCouch
from tests.fake_place import FakeCheckpoint, FakeLease
from tests.fake_sqs import ROUTES, FakeSqs, sender_to

BROKEN = Unavailable(500, "internal_server_error", "badmatch")


def owner(number: int) -> str:
    return f"control-{number:032x}"


ADA, BOB, EVE = owner(1), owner(2), owner(3)


@dataclass
class Polling:
    """Runs of one poller over fakes; time passes only by waiting."""

    couch: FakeCouch = field(default_factory=FakeCouch)
    checkpoint: FakeCheckpoint = field(default_factory=FakeCheckpoint)
    shard: Shard = field(default_factory=lambda: Shard("control"))
    sqs: FakeSqs = field(default_factory=FakeSqs)
    told: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    place: Place = field(default_factory=Place)
    window_s: float = 0.0
    passed_s: float = 0.0
    on_wait: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.couch.waited = self.wait
        if "control" not in self.couch.dbs:
            self.couch.database("control").create()

    @property
    def lease(self) -> FakeLease:
        return self.checkpoint.lease

    def wait(self, wait_s: float) -> None:
        if wait_s:
            self.waits.append(wait_s)
            self.passed_s += wait_s
            self.on_wait()

    def pause(self, pause_s: float) -> None:
        self.pauses.append(pause_s)
        self.passed_s += pause_s
        self.on_wait()

    def run(self) -> Summary:
        """One run from where the last one left off."""
        self.couch.asked.clear()
        self.passed_s = 0.0

        def left_s() -> float:
            return (self.window_s or 1000.0) - self.passed_s

        server = cast(Any, self.couch)
        checkpoint = cast(Any, self.checkpoint)
        follower = Follower(
            server=server,
            checkpoint=checkpoint,
            sender=sender_to(self.sqs),
            control_db="control",
            routes=ROUTES,
            page_size=2,
            left_s=left_s,
            warn=lambda what, why: self.told.append(what),
        )
        poll = Poll(
            updates=Updates(server, self.shard),
            scan=Scan(server, self.shard),
            follower=follower,
            lease=cast(Any, self.lease),
            place=self.place,
            is_one_pass=not self.window_s,
            left_s=left_s,
            pause=self.pause,
            warn=lambda what, why: self.told.append(what),
        )
        try:
            poll.run("control" if self.shard.holds("control") else None)
        finally:
            self.place = self.lease.places[-1] if self.lease.places else Place()
        return follower.summary

    def create(self, *dbs: str) -> None:
        for db in dbs:
            self.couch.database(db).create()

    def write(self, db: str, *doc_ids: str) -> None:
        for doc_id in doc_ids:
            self.couch.database(db).put({"_id": doc_id, "type": "device", "state": "new"})

    def asked_for(self, what: str) -> int:
        return len([asked for asked in self.couch.asked if asked.startswith(what)])

    def sent(self) -> int:
        return sum(len(bodies) for bodies in self.sqs.accepted.values())


# Changes that the server tells of.


def test_a_run_follows_the_databases_that_changed_and_no_others() -> None:
    on = Polling()
    on.create(*(owner(number) for number in range(50)))
    on.run()
    on.write(ADA, "a1")
    on.write(EVE, "e1")
    assert on.run() == Summary(databases=3, changes=2, sent=2)
    assert sorted(asked for asked in on.couch.asked if asked.startswith("changes")) == [
        "changes control",
        f"changes {ADA}",
        f"changes {EVE}",
    ]


def test_a_new_owners_database_is_followed_from_its_beginning() -> None:
    on = Polling()
    on.run()
    on.create(ADA)
    on.write(ADA, "a1", "a2", "a3")
    assert on.run().sent == 3


def test_other_peoples_databases_are_never_asked() -> None:
    on = Polling()
    others = ["_users", "control-dev", f"control-dev-{'a' * 32}", f"db-{'a' * 32}", "control-"]
    on.create(*others)
    on.run()
    for db in others:
        on.write(db, "x")
    on.run()
    assert {asked for asked in on.couch.asked if asked.startswith("changes")} == {"changes control"}


def test_control_db_is_read_whatever_the_server_tells() -> None:
    on = Polling()
    on.run()
    on.write("control", "d1")
    on.couch.updates = [("", "") for _ in on.couch.updates]
    assert on.run().sent == 1


def test_a_database_that_is_deleted_is_forgotten() -> None:
    on = Polling()
    on.create(ADA)
    on.write(ADA, "a1")
    on.run()
    on.couch.database(ADA).delete()
    on.run()
    assert (ADA in on.checkpoint.known, on.checkpoint.forgotten) == (False, [ADA])


def test_rows_of_one_database_in_any_order_are_one_look_at_what_there_is() -> None:
    on = Polling()
    on.create(ADA)
    on.run()
    on.write(ADA, "a1")
    for kind in ("created", "updated", "deleted"):
        on.couch.tell(ADA, kind)
    assert on.run().sent == 1
    assert on.checkpoint.forgotten == []


def test_all_pages_are_read_whether_or_not_the_server_heeds_the_limit() -> None:
    for limits in (True, False):
        on = Polling()
        on.couch.limits_updates = limits
        on.run()
        for number in range(ROWS_AT_ONCE + 5):
            on.couch.tell(f"db-{number}", "updated")
        on.create(ADA)
        on.write(ADA, "a1")
        assert on.run().sent == 1
        assert on.place.updates_seq == f"{len(on.couch.updates)}-seq"


def test_nothing_that_changed_costs_a_few_requests_and_saves_nothing() -> None:
    on = Polling()
    on.create(*(owner(number) for number in range(500)))
    on.run()
    for _ in range(3):
        saved = len(on.checkpoint.saved)
        on.run()
        assert on.couch.asked == [
            "changes control",
            "info control",
            "db_updates",
            "all_dbs",
            "dbs_info",
        ]
        assert len(on.checkpoint.saved) == saved


def test_what_was_followed_is_not_looked_at_again_by_the_scan() -> None:
    on = Polling()
    on.create(*(owner(number) for number in range(50)))
    on.run()
    on.write(ADA, "a1")
    on.run()
    on.run()
    assert on.asked_for("changes control-") == 0


# What is saved, and when.


def test_the_place_is_saved_only_when_every_database_was_followed() -> None:
    on = Polling()
    on.create(ADA, BOB)
    on.run()
    before = on.place.updates_seq
    on.write(ADA, "a1")
    on.write(BOB, "b1")
    on.couch.broken[ADA] = BROKEN
    with pytest.raises(Unavailable):
        on.run()
    assert on.sent() == 1
    assert on.place.updates_seq == before
    on.couch.broken.clear()
    assert on.run().sent == 1
    assert on.place.updates_seq != before


def test_behind_a_database_that_fails_all_pages_are_still_read() -> None:
    on = Polling()
    on.create(ADA, BOB)
    on.run()
    on.couch.broken[ADA] = BROKEN
    on.write(ADA, "a1")
    for number in range(ROWS_AT_ONCE):
        on.couch.tell(f"db-{number}", "updated")
    on.write(BOB, "b1")
    with pytest.raises(Unavailable):
        on.run()
    assert on.sent() == 1


def test_a_run_that_is_out_of_time_leaves_the_rest_to_the_next() -> None:
    on = Polling()
    on.create(ADA, BOB)
    on.run()
    before = on.place
    on.write(ADA, "a1")
    on.write(BOB, "b1")
    on.window_s = 10.0

    class Slow(FakeSqs):
        def send_message_batch(self, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
            on.passed_s += 20.0
            return super().send_message_batch(QueueUrl, Entries)

    on.sqs = Slow()
    assert on.run().sent == 1
    assert on.place == before
    assert on.run().sent == 1


def test_one_that_never_rests_is_brought_to_its_end_before_the_place_is_saved() -> None:
    on = Polling()
    on.create(ADA, BOB)
    on.run()
    on.write(ADA, *(f"a{number}" for number in range(TURN_PAGES * 2 + 1)))
    on.write(BOB, "b1")
    assert on.run().sent == TURN_PAGES * 2 + 2
    assert on.place.updates_seq == f"{len(on.couch.updates)}-seq"


# The first run looks at everything; the later ones at a page each.


def test_the_first_run_looks_at_every_database_and_begins_where_the_server_is() -> None:
    on = Polling()
    dbs = [owner(number) for number in range(DATABASES_AT_ONCE * 2 + 50)]
    on.create(*dbs)
    for db in dbs:
        on.write(db, "d1")
    assert on.run().sent == len(dbs)
    assert on.place == Place(f"{len(on.couch.updates)}-seq", "", is_whole=True)
    assert on.asked_for("all_dbs") == 3


def test_a_change_during_the_first_round_is_served_between_its_pages() -> None:
    on = Polling()
    dbs = [owner(number) for number in range(DATABASES_AT_ONCE * 3)]
    on.create(*dbs)
    for db in dbs:
        on.write(db, "d1")
    asked = on.couch.all_dbs

    def all_dbs(start_key: str, end_key: str, limit: int) -> list[str]:
        if on.asked_for("all_dbs") == 1:
            on.write(dbs[0], "early")
        return asked(start_key, end_key, limit)

    on.couch.all_dbs = all_dbs  # type: ignore[method-assign]
    on.run()
    first_of_third_page = on.couch.asked.index(f"changes {dbs[DATABASES_AT_ONCE * 2]}")
    assert on.couch.asked[:first_of_third_page].count(f"changes {dbs[0]}") == 2


def test_a_first_round_that_is_cut_short_goes_on_where_it_was() -> None:
    on = Polling(window_s=10.0)
    dbs = [owner(number) for number in range(DATABASES_AT_ONCE + 50)]
    on.create(*dbs)
    for db in dbs:
        on.write(db, "d1")
    asked = on.couch.all_dbs

    def all_dbs(start_key: str, end_key: str, limit: int) -> list[str]:
        on.passed_s += 6.0
        return asked(start_key, end_key, limit)

    on.couch.all_dbs = all_dbs  # type: ignore[method-assign]
    on.run()
    assert on.place.scan_after == dbs[DATABASES_AT_ONCE - 1]
    assert not on.place.is_whole
    on.run()
    assert on.sent() == len(dbs)
    assert on.place.is_whole


def test_what_the_server_forgot_to_tell_is_found_within_a_round() -> None:
    on = Polling()
    dbs = [owner(number) for number in range(DATABASES_AT_ONCE * 3)]
    on.create(*dbs)
    on.run()
    on.write(dbs[-1], "d1")
    on.couch.updates = [("", "") for _ in on.couch.updates]
    assert [on.run().sent for _ in range(4)] == [0, 0, 1, 0]


def test_a_look_at_a_page_costs_the_same_however_many_there_are() -> None:
    on = Polling()
    on.create(*(owner(number) for number in range(DATABASES_AT_ONCE * 3)))
    on.run()
    on.run()
    assert (on.asked_for("all_dbs"), on.asked_for("dbs_info"), on.asked_for("info owner")) == (
        1,
        1,
        0,
    )


def test_a_database_that_fails_in_a_scan_does_not_stop_the_round_and_is_found_again() -> None:
    on = Polling()
    dbs = [owner(number) for number in range(DATABASES_AT_ONCE + 5)]
    on.create(*dbs)
    for db in dbs:
        on.write(db, "d1")
    on.couch.broken[dbs[3]] = BROKEN
    with pytest.raises(Unavailable):
        on.run()
    assert on.sent() == len(dbs) - 1
    on.couch.broken.clear()
    on.run()
    assert on.sent() == len(dbs)


def test_where_the_update_seqs_of_many_cannot_be_told_each_is_asked_for_its_own() -> None:
    on = Polling()

    def dbs_info(names: Sequence[str]) -> Any:
        on.couch.asked.append("dbs_info")
        raise BROKEN

    on.couch.dbs_info = dbs_info  # type: ignore[method-assign]
    on.create(ADA, BOB)
    on.write(ADA, "a1")
    assert on.run().sent == 1
    on.write(BOB, "b1")
    assert on.run().sent == 1
    assert on.asked_for("dbs_info") == 2


# Where the server does not tell.


def test_where_couchdb_keeps_no_such_feed_it_is_begun() -> None:
    on = Polling()
    del on.couch.dbs["_global_changes"]
    on.run()
    assert "_global_changes" in on.couch.dbs
    assert on.place.updates_seq


def no_right_to_create(couch: FakeCouch) -> None:
    del couch.dbs["_global_changes"]
    couch.may_create = False


def no_such_feed(couch: FakeCouch) -> None:
    couch.has_updates = False


def plain_express_pouchdb(couch: FakeCouch) -> None:
    couch.has_updates = couch.has_dbs_info = False


def couchdb_1(couch: FakeCouch) -> None:
    couch.db_updates = lambda since, **options: {"ok": True}  # type: ignore[method-assign]


def never_there(couch: FakeCouch) -> None:
    def db_updates(since: str, **options: Any) -> Any:
        raise MISSING

    couch.db_updates = db_updates  # type: ignore[method-assign]


WITHOUT_UPDATES = [
    no_right_to_create,
    no_such_feed,
    plain_express_pouchdb,
    couchdb_1,
    never_there,
]


@pytest.mark.parametrize("without", WITHOUT_UPDATES)
def test_without_such_a_feed_each_run_looks_at_every_database(
    without: Callable[[FakeCouch], None],
) -> None:
    on = Polling()
    dbs = [owner(number) for number in range(DATABASES_AT_ONCE + 10)]
    on.create(*dbs)
    without(on.couch)
    on.write(dbs[0], "d1")
    on.write(dbs[-1], "d1")
    assert on.run().sent == 2
    on.write(dbs[-2], "d1")
    on.write("control", "d1")
    assert on.run().sent == 2
    assert on.asked_for("changes control-") == 1
    assert on.place.updates_seq == ""


def test_without_such_a_feed_it_looks_again_and_again_within_its_window() -> None:
    on = Polling(window_s=10.0)
    no_such_feed(on.couch)
    on.create(ADA)
    on.on_wait = lambda: on.write(ADA, f"a{len(on.pauses)}")
    on.run()
    assert set(on.pauses) == {ROUND_PAUSE_S}
    assert on.sent() == len(on.pauses) - 1


def test_where_there_is_no_dbs_info_the_server_is_not_asked_for_it_page_after_page() -> None:
    on = Polling()
    plain_express_pouchdb(on.couch)
    on.create(*(owner(number) for number in range(DATABASES_AT_ONCE + 10)))
    on.run()
    assert on.asked_for("dbs_info") == 1
    assert on.asked_for("info control-") == DATABASES_AT_ONCE + 10


def test_a_feed_that_appears_later_is_used_after_a_look_at_everything() -> None:
    on = Polling()
    no_such_feed(on.couch)
    on.create(ADA)
    on.run()
    on.couch.has_updates = True
    on.write(ADA, "a1")
    assert on.run().sent == 1
    assert on.place.is_whole
    assert on.place.updates_seq


def test_a_feed_that_disappears_is_done_without() -> None:
    on = Polling()
    on.create(ADA)
    on.run()
    no_such_feed(on.couch)
    on.write(ADA, "a1")
    assert on.run().sent == 1
    assert on.place.updates_seq == ""


def test_a_seq_that_the_server_refuses_begins_anew_with_a_look_at_everything() -> None:
    on = Polling()
    on.create(ADA)
    on.run()
    on.lease.places.append(Place("12-of-another-server", "", is_whole=True))
    on.place = on.lease.places[-1]
    on.write(ADA, "a1")
    on.couch.updates = [("", "") for _ in on.couch.updates]
    assert on.run().sent == 1
    assert on.told == ["the feed of databases begins anew"]
    assert on.place == Place(f"{len(on.couch.updates)}-seq", "", is_whole=True)


def test_a_server_that_refuses_its_own_seq_is_not_asked_for_ever() -> None:
    on = Polling()
    answer = on.couch.db_updates

    def db_updates(since: str, **options: Any) -> Any:
        if since != "now":
            raise BadRequest(400, "bad_request", "Malformed sequence")
        return answer(since, **options)

    on.couch.db_updates = db_updates  # type: ignore[method-assign]
    with pytest.raises(UpdatesRefused):
        on.run()


def test_a_server_that_fails_is_no_server_without_the_feed() -> None:
    on = Polling()
    on.create(ADA)

    def db_updates(since: str, **options: Any) -> Any:
        raise BROKEN

    on.couch.db_updates = db_updates  # type: ignore[method-assign]
    on.write("control", "d1")
    with pytest.raises(CouchError):
        on.run()
    assert on.sent() == 1
    assert on.asked_for("all_dbs") == 0


# Waiting.


def test_within_its_window_it_waits_for_changes_to_the_end() -> None:
    on = Polling(window_s=40.0)
    on.create(ADA)
    on.on_wait = lambda: on.write(ADA, "a1") if len(on.waits) == 1 else None
    assert on.run().sent == 1
    assert on.waits == [LONGPOLL_S, LONGPOLL_S, 40.0 - 2 * LONGPOLL_S]


def test_nothing_is_waited_for_while_a_database_is_not_at_its_end() -> None:
    on = Polling(window_s=40.0)
    on.create(ADA)
    sent_at_waits: list[int] = []

    def write_a_lot_once() -> None:
        sent_at_waits.append(on.sent())
        if len(sent_at_waits) == 1:
            on.write(ADA, *(f"a{number}" for number in range(TURN_PAGES * 4 + 1)))

    on.on_wait = write_a_lot_once
    on.run()
    assert sent_at_waits[:2] == [0, TURN_PAGES * 4 + 1]


def test_a_run_of_one_pass_waits_for_nothing() -> None:
    on = Polling()
    on.run()
    assert (on.waits, on.pauses) == ([], [])


def test_while_only_other_peoples_databases_change_it_pauses_longer_and_longer() -> None:
    on = Polling(window_s=20.0)
    on.run()

    def busy(since: str, *, limit: int, wait_s: float = 0) -> Any:
        on.couch.asked.append("db_updates")
        number = len(on.couch.asked)
        row = {"db_name": "db-chat", "type": "updated", "seq": f"{number}-seq"}
        return {"results": [row], "last_seq": f"{number}-seq"}

    on.couch.db_updates = busy  # type: ignore[method-assign]
    on.run()
    assert on.pauses[:7] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, LONGEST_PAUSE_S]
    assert on.asked_for("db_updates") < 20


def test_after_a_database_failed_the_run_ends_without_a_wait() -> None:
    on = Polling(window_s=50.0)
    on.create(ADA)
    on.couch.broken[ADA] = BROKEN
    with pytest.raises(Unavailable):
        on.run()
    assert (on.waits, on.pauses) == ([], [])


# Shards.


def test_two_shards_follow_every_database_once() -> None:
    couch, sqs = FakeCouch(), FakeSqs()
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
    couch, checkpoint, sqs = FakeCouch(), FakeCheckpoint(), FakeSqs()
    dbs = [owner(number) for number in range(10)]
    alone = Polling(couch, checkpoint, sqs=sqs)
    for db in dbs:
        alone.create(db)
        alone.write(db, "d1")
    alone.run()
    known = dict(checkpoint.known)
    for number in range(2):
        checkpoint.lease = FakeLease()
        assert Polling(couch, checkpoint, Shard("control", number, 2), sqs).run().sent == 0
    assert known.keys() == checkpoint.known.keys()
    assert all(isinstance(sent, Sent) for sent in known.values())
