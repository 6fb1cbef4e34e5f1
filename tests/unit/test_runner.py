"""One message: freshness, claim, transition, save."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.aws.claims import Claim, Claims, Done, RunningElsewhere, claim_key
from chalicelib.couch import Database, Unavailable
from chalicelib.domain.documents import JsonDict, Rejected
from chalicelib.engine.docstate import InvalidChanges, Registry, RegistryError
from chalicelib.engine.runner import InvalidMessage, Message, Outcome, handle
from chalicelib.errors import NoEffect, StillConflicting
from tests.kit.basics import START, FakeClock, FakeDatabase
from tests.kit.fakes.aws import FakeAws

Edit = Callable[[FakeDatabase], None]


class RacingDatabase(FakeDatabase):
    """Somebody else writes just before each of our first saves."""

    def __init__(self, edits: list[Edit]) -> None:
        super().__init__()
        self.edits = edits

    def put(self, doc: JsonDict) -> str:
        if self.edits:
            self.edits.pop(0)(self)
        return super().put(doc)


@dataclass(frozen=True)
class FakeTools:
    database: Database
    clock: FakeClock
    asked_for: list[str] = field(default_factory=list)

    def at(self, db: str) -> Self:
        self.asked_for.append(db)
        return replace(self)


@dataclass
class Bench:
    """A registry with one transition of each kind, over one document in state new."""

    claims: Claims
    database: FakeDatabase
    clock: FakeClock
    registry: Registry = field(default_factory=Registry)
    runs: list[JsonDict] = field(default_factory=list)
    claimed: list[Claim] = field(default_factory=list)
    tools: list[FakeTools] = field(default_factory=list)
    result: Callable[[JsonDict], JsonDict | None] = lambda doc: {"state": "next"}

    def __post_init__(self) -> None:
        self.registry.safe("thing", "new", to="next")(self._run_safe)
        self.registry.unsafe("mail", "new", to="next")(self._run_unsafe)
        self.registry.unsafe("letter", "new", to="next", key_fields=["to"])(self._run_unsafe)

    def _run_safe(self, doc: JsonDict, tools: FakeTools) -> JsonDict | None:
        self.runs.append(doc)
        self.tools.append(tools)
        return self.result(doc)

    def _run_unsafe(self, doc: JsonDict, tools: FakeTools, claim: Claim) -> JsonDict | None:
        self.runs.append(doc)
        self.tools.append(tools)
        self.claimed.append(claim)
        return self.result(doc)

    def add(self, doc_type: str, **fields: Any) -> Message:
        """Write the document x in state new; the message that the poller sends for it."""
        self.database.put({"_id": "x", "type": doc_type, "state": "new", **fields})
        return Message("control", "x", doc_type, "new", self.database.get("x"))

    def handle(self, message: Message) -> Outcome:
        tools = FakeTools(cast(Database, self.database), self.clock)
        return handle(message, self.registry, tools, self.claims)

    @property
    def doc(self) -> JsonDict:
        return self.database.get("x")


@pytest.fixture
def claims() -> Claims:
    aws = FakeAws(START.timestamp)
    aws.create_table("table")
    return Claims(aws.client("dynamodb"), "table", lease_s=90)


@pytest.fixture
def bench(claims: Claims, clock: FakeClock) -> Bench:
    return Bench(claims, FakeDatabase(), clock)


def edit(**fields: Any) -> Edit:
    def apply(database: FakeDatabase) -> None:
        FakeDatabase.put(database, {**database.get("x"), **fields})

    return apply


KINDS = pytest.mark.parametrize("kind", ["thing", "mail"], ids=["safe", "unsafe"])


@KINDS
def test_a_document_is_moved_to_its_next_state(bench: Bench, kind: str) -> None:
    assert bench.handle(bench.add(kind, note="kept")) is Outcome.SAVED
    assert (bench.doc["state"], bench.doc["note"]) == ("next", "kept")


@KINDS
def test_a_replayed_message_runs_nothing(bench: Bench, kind: str) -> None:
    message = bench.add(kind)
    bench.handle(message)
    written = bench.database.writes
    assert bench.handle(message) is Outcome.STALE
    assert (len(bench.runs), bench.database.writes) == (1, written)


@KINDS
def test_a_message_for_a_document_that_has_moved_on_runs_nothing(bench: Bench, kind: str) -> None:
    message = bench.add(kind)
    edit(state="elsewhere")(bench.database)
    assert bench.handle(message) is Outcome.STALE
    assert bench.runs == []


@KINDS
@pytest.mark.parametrize("has_doc", [True, False])
def test_a_message_for_a_deleted_document_runs_nothing(
    bench: Bench, kind: str, has_doc: bool
) -> None:
    message = bench.add(kind)
    bench.database.remove(bench.doc)
    message = message if has_doc else replace(message, doc=None)
    assert bench.handle(message) is Outcome.STALE
    assert bench.runs == []


@KINDS
def test_the_newest_revision_is_handled_not_the_one_in_the_message(bench: Bench, kind: str) -> None:
    message = bench.add(kind)
    edit(note="newer")(bench.database)
    bench.handle(message)
    assert bench.runs[0]["note"] == "newer"


@KINDS
def test_a_message_without_its_document_is_handled_all_the_same(bench: Bench, kind: str) -> None:
    assert bench.handle(replace(bench.add(kind), doc=None)) is Outcome.SAVED


@KINDS
def test_none_leaves_the_document_alone(bench: Bench, kind: str) -> None:
    bench.result = lambda doc: None
    assert bench.handle(bench.add(kind)) is Outcome.UNCHANGED
    assert bench.database.writes == 1


@KINDS
def test_changes_that_change_nothing_are_not_written(bench: Bench, kind: str) -> None:
    bench.result = lambda doc: {"state": "new"}
    assert bench.handle(bench.add(kind)) is Outcome.UNCHANGED
    assert bench.database.writes == 1


@KINDS
def test_a_rejected_document_says_why_and_when(bench: Bench, kind: str) -> None:
    def refuse(doc: JsonDict) -> JsonDict | None:
        raise Rejected("owner is missing")

    bench.result = refuse
    assert bench.handle(bench.add(kind)) is Outcome.REJECTED
    assert bench.doc["state"] == "error"
    assert bench.doc["error"] == {"reason": "owner is missing", "at": "2026-11-23T06:00:00Z"}


@KINDS
def test_a_rejected_document_that_was_mended_is_run_again(bench: Bench, kind: str) -> None:
    def refuse(doc: JsonDict) -> JsonDict | None:
        raise Rejected("owner is missing")

    bench.result = refuse
    message = bench.add(kind)
    bench.handle(message)
    edit(state="new", owner="ada@example.com")(bench.database)
    bench.result = lambda doc: {"state": "next"}
    assert bench.handle(message) is Outcome.SAVED


@KINDS
def test_changes_without_a_state_are_the_transitions_fault(bench: Bench, kind: str) -> None:
    bench.result = lambda doc: {"note": "no state"}
    with pytest.raises(InvalidChanges, match="state"):
        bench.handle(bench.add(kind))
    assert bench.doc["state"] == "new"


def test_an_unknown_type_and_state_is_named(bench: Bench) -> None:
    with pytest.raises(RegistryError, match="kettle/hot"):
        bench.handle(Message("control", "x", "kettle", "hot", None))


def test_an_unsafe_transition_without_claims_does_not_run(
    bench: Bench,
) -> None:
    tools = FakeTools(cast(Database, bench.database), bench.clock)
    with pytest.raises(RegistryError, match="mail/new"):
        handle(bench.add("mail"), bench.registry, tools)
    assert bench.runs == []


@KINDS
def test_the_tools_stand_in_the_messages_database(bench: Bench, kind: str) -> None:
    tools = FakeTools(cast(Database, bench.database), bench.clock)
    handle(replace(bench.add(kind), db="other"), bench.registry, tools, bench.claims)
    assert tools.asked_for == ["other"]
    assert bench.tools == [tools]


class ConflictedDatabase(RacingDatabase):
    """Its document has a revision that lost, for whoever asks."""

    def find_one(self, doc_id: str, *, conflicts: bool = False) -> JsonDict | None:
        doc = super().find_one(doc_id)
        return doc | {"_conflicts": ["1-lost"]} if doc and conflicts else doc


@pytest.mark.parametrize("conflicts", [True, False])
def test_a_transition_that_asks_for_conflicts_sees_them_in_each_run(
    bench: Bench, conflicts: bool
) -> None:
    seen: list[bool] = []

    def look(doc: JsonDict, tools: FakeTools) -> JsonDict:
        seen.append("_conflicts" in doc)
        return {"state": "next"}

    bench.registry = Registry()
    bench.registry.safe("thing", "new", to="next", conflicts=conflicts)(look)
    message = bench.add("thing")
    racing = ConflictedDatabase([edit(count=1)])
    racing.docs = bench.database.docs
    bench.database = racing
    assert bench.handle(message) is Outcome.SAVED
    assert seen == [conflicts, conflicts]


# Saving: somebody else writes between the run and the save.


def test_a_safe_transition_runs_again_on_the_newer_revision(
    claims: Claims, clock: FakeClock
) -> None:
    bench = Bench(claims, FakeDatabase(), clock)
    message = bench.add("thing", count=1)
    racing = RacingDatabase([edit(count=2), edit(count=3)])
    racing.docs = bench.database.docs
    bench.database = racing
    bench.result = lambda doc: {"state": "next", "seen": doc["count"]}
    assert bench.handle(message) is Outcome.SAVED
    assert [doc["count"] for doc in bench.runs] == [1, 2, 3]
    assert (bench.doc["seen"], bench.doc["state"]) == (3, "next")


def test_an_unsafe_transition_has_its_changes_merged_without_another_run(
    claims: Claims, clock: FakeClock
) -> None:
    bench = Bench(claims, FakeDatabase(), clock)
    message = bench.add("mail")
    racing = RacingDatabase([edit(name="edited"), edit(name="edited again")])
    racing.docs = bench.database.docs
    bench.database = racing
    assert bench.handle(message) is Outcome.SAVED
    assert len(bench.runs) == 1
    assert (bench.doc["name"], bench.doc["state"]) == ("edited again", "next")


@KINDS
@pytest.mark.parametrize("moved", [{"state": "elsewhere"}, {"type": "other"}, {"generation": 1}])
def test_changes_to_a_document_that_moved_on_meanwhile_are_dropped(
    claims: Claims, clock: FakeClock, kind: str, moved: JsonDict
) -> None:
    bench = Bench(claims, FakeDatabase(), clock)
    message = bench.add(kind)
    racing = RacingDatabase([edit(**moved)])
    racing.docs = bench.database.docs
    bench.database = racing
    assert bench.handle(message) is Outcome.STALE
    assert bench.doc["state"] == moved.get("state", "new")
    assert len(bench.runs) == 1


@KINDS
def test_a_save_that_loses_each_time_is_handed_back(
    claims: Claims, clock: FakeClock, kind: str
) -> None:
    bench = Bench(claims, FakeDatabase(), clock)
    message = bench.add(kind)
    racing = RacingDatabase([edit(count=number) for number in range(50)])
    racing.docs = bench.database.docs
    bench.database = racing
    with pytest.raises(StillConflicting, match=r"^control/x "):
        bench.handle(message)


# Unsafe mode.


def fail_with(exc: Exception) -> Callable[[JsonDict], JsonDict | None]:
    def fail(doc: JsonDict) -> JsonDict | None:
        raise exc

    return fail


def test_while_one_worker_runs_the_step_another_is_sent_away(bench: Bench) -> None:
    message = bench.add("mail")
    refused: list[RunningElsewhere] = []

    def run(doc: JsonDict) -> JsonDict | None:
        with pytest.raises(RunningElsewhere) as exc:
            bench.handle(message)
        refused.append(exc.value)
        return {"state": "next"}

    bench.result = run
    assert bench.handle(message) is Outcome.SAVED
    assert len(bench.runs) == 1
    assert refused[0].retry_after_s > 0


def test_after_an_error_without_effect_the_step_may_run_again_at_once(bench: Bench) -> None:
    message = bench.add("mail")
    bench.result = fail_with(NoEffect("SES said 429"))
    with pytest.raises(NoEffect):
        bench.handle(message)
    bench.result = lambda doc: {"state": "next"}
    assert bench.handle(message) is Outcome.SAVED


def test_after_an_error_of_unknown_effect_the_step_waits_for_its_lease(bench: Bench) -> None:
    message = bench.add("mail")
    bench.result = fail_with(TimeoutError("SES did not answer"))
    with pytest.raises(TimeoutError):
        bench.handle(message)
    bench.result = lambda doc: {"state": "next"}
    with pytest.raises(RunningElsewhere):
        bench.handle(message)
    bench.clock.move(bench.claims.lease_s + 1)
    assert bench.handle(message) is Outcome.SAVED
    assert [claim.attempt for claim in bench.claimed] == [1, 2]
    assert bench.claimed[0].token == bench.claimed[1].token


def test_a_step_that_was_finished_but_not_saved_is_saved_without_another_run(bench: Bench) -> None:
    message = bench.add("mail")

    def lose_couchdb(database: FakeDatabase) -> None:
        raise Unavailable(503, "unreachable", "gone")

    racing = RacingDatabase([lose_couchdb])
    racing.docs = bench.database.docs
    bench.database = racing
    bench.result = lambda doc: {"state": "next", "expires": "tomorrow"}
    with pytest.raises(Unavailable):
        bench.handle(message)
    assert bench.doc["state"] == "new"
    assert bench.handle(message) is Outcome.SAVED
    assert len(bench.runs) == 1
    assert (bench.doc["state"], bench.doc["expires"]) == ("next", "tomorrow")


def test_a_worker_that_was_overtaken_while_it_ran_saves_nothing(bench: Bench) -> None:
    message = bench.add("mail")

    def stall(doc: JsonDict) -> JsonDict | None:
        bench.clock.move(bench.claims.lease_s + 1)
        bench.result = lambda doc: {"state": "next", "by": "second"}
        assert bench.handle(message) is Outcome.SAVED
        return {"state": "next", "by": "first"}

    bench.result = stall
    with pytest.raises(Exception, match="claim#"):
        bench.handle(message)
    assert bench.doc["by"] == "second"


def test_a_document_that_left_its_state_before_the_claim_frees_the_claim(bench: Bench) -> None:
    message = bench.add("mail")
    edit(state="elsewhere")(bench.database)
    assert bench.handle(message) is Outcome.STALE
    taken = bench.claims.take(claim_key("control", "x", "new", "0"), bench.clock().timestamp())
    assert isinstance(taken, Claim)


def test_a_message_of_an_older_generation_does_not_run_the_newer_one(bench: Bench) -> None:
    message = bench.add("mail")
    edit(generation=1)(bench.database)
    assert bench.handle(message) is Outcome.STALE
    assert bench.runs == []


def test_a_newer_generation_runs_the_step_again(bench: Bench) -> None:
    bench.handle(bench.add("mail"))
    edit(state="new", generation=1)(bench.database)
    message = Message("control", "x", "mail", "new", bench.doc)
    assert bench.handle(message) is Outcome.SAVED
    assert len(bench.runs) == 2
    assert bench.claimed[0].token != bench.claimed[1].token


def test_a_step_set_back_without_a_newer_generation_is_not_run_again(bench: Bench) -> None:
    message = bench.add("mail")
    bench.handle(message)
    edit(state="new")(bench.database)
    assert bench.handle(message) is Outcome.SAVED
    assert len(bench.runs) == 1


def test_an_effect_is_saved_for_what_it_was_about_alone(bench: Bench) -> None:
    def is_edited_meanwhile(doc: JsonDict) -> JsonDict:
        edit(to="cem")(bench.database)
        return {"state": "next"}

    message = bench.add("letter", to="ben")
    bench.result = is_edited_meanwhile
    assert bench.handle(message) is Outcome.STALE  # the edit brings its own message
    assert bench.doc["state"] == "new"
    bench.result = lambda doc: {"state": "next"}
    assert bench.handle(Message("control", "x", "letter", "new", bench.doc)) is Outcome.SAVED
    assert [run["to"] for run in bench.runs] == ["ben", "cem"]


def test_when_couchdb_fails_after_the_take_the_claim_is_released(bench: Bench) -> None:
    class Failing(FakeDatabase):
        def get(self, doc_id: str) -> JsonDict:
            raise Unavailable(503, "unreachable", "gone")

    message = bench.add("mail")
    bench.database = Failing()
    with pytest.raises(Unavailable):
        bench.handle(message)
    taken = bench.claims.take(claim_key("control", "x", "new", "0"), bench.clock().timestamp())
    assert isinstance(taken, Claim)


def test_a_rejection_keeps_the_claim_until_it_is_saved(bench: Bench) -> None:
    # Else another worker could send the mail of a document that is about to say `error`.
    message = bench.add("mail")
    bench.result = fail_with(Rejected("too many mails"))
    refused: list[RunningElsewhere] = []

    def look(database: FakeDatabase) -> None:
        with pytest.raises(RunningElsewhere) as exc:
            bench.handle(message)
        refused.append(exc.value)

    racing = RacingDatabase([look])
    racing.docs = bench.database.docs
    bench.database = racing
    assert bench.handle(message) is Outcome.REJECTED
    assert len(refused) == 1
    key = claim_key("control", "x", "new", "0")
    assert isinstance(bench.claims.take(key, bench.clock().timestamp()), Claim)


def test_a_rejection_that_cannot_be_saved_frees_the_claim(bench: Bench) -> None:
    message = bench.add("mail")
    bench.result = fail_with(Rejected("too many mails"))

    def lose_couchdb(database: FakeDatabase) -> None:
        raise Unavailable(503, "unreachable", "gone")

    racing = RacingDatabase([lose_couchdb])
    racing.docs = bench.database.docs
    bench.database = racing
    with pytest.raises(Unavailable):
        bench.handle(message)
    assert bench.handle(message) is Outcome.REJECTED


def test_a_rejection_does_not_hit_a_document_that_was_corrected_meanwhile(
    bench: Bench,
) -> None:
    message = bench.add("mail")
    bench.result = fail_with(Rejected("owner is missing"))
    racing = RacingDatabase([edit(owner="ada@example.com")])
    racing.docs = bench.database.docs
    bench.database = racing
    assert bench.handle(message) is Outcome.STALE
    assert bench.doc["state"] == "new"
    bench.result = lambda doc: {"state": "next"}
    assert bench.handle(message) is Outcome.SAVED


def test_none_from_an_unsafe_transition_frees_the_claim(bench: Bench) -> None:
    bench.result = lambda doc: None
    message = bench.add("mail")
    bench.handle(message)
    bench.handle(message)
    assert len(bench.runs) == 2


def test_the_changes_are_kept_before_the_document_is_saved(bench: Bench) -> None:
    message = bench.add("mail")
    seen: list[Claim | Done] = []

    def look(database: FakeDatabase) -> None:
        key = claim_key("control", "x", "new", "0")
        seen.append(bench.claims.take(key, bench.clock().timestamp()))

    racing = RacingDatabase([look])
    racing.docs = bench.database.docs
    bench.database = racing
    bench.handle(message)
    assert seen == [Done({"state": "next"})]


# Messages.


def test_a_message_is_read_as_the_poller_writes_it() -> None:
    body = {
        "db": "control",
        "id": "x",
        "rev": "1-a",
        "type": "t",
        "state": "s",
        "doc": {"_id": "x"},
    }
    assert Message.parse(json.dumps(body)) == Message("control", "x", "t", "s", {"_id": "x"})
    del body["doc"]
    assert Message.parse(json.dumps(body)).doc is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
ODD_FIELDS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("db", "id", "type", "state", "doc"), JSON)
)


@given((JSON | ODD_FIELDS).map(json.dumps) | st.text())
def test_any_other_body_is_an_invalid_message_and_nothing_else(body: str) -> None:
    try:
        message = Message.parse(body)
    except InvalidMessage:
        return
    assert isinstance(message.doc, dict | None)
    assert all(isinstance(text, str) for text in (message.db, message.doc_id, message.state))


def test_a_late_message_reconciles_what_a_killed_run_left(
    bench: Bench,
) -> None:
    seen: list[JsonDict] = []

    def put_right(doc: JsonDict, tools: FakeTools) -> None:
        assert tools.database is cast(Database, bench.database)
        seen.append(doc)

    bench.registry = Registry()
    late = bench.registry.safe("thing", "new", to="next", on_stale=put_right)
    late(lambda doc, tools: {"state": "next"})
    message = bench.add("thing")
    assert bench.handle(message) is Outcome.SAVED
    assert seen == []
    assert bench.handle(message) is Outcome.STALE
    assert [doc["state"] for doc in seen] == ["next"]
    bench.database.remove(bench.doc)
    assert bench.handle(message) is Outcome.STALE
    assert len(seen) == 1


def test_a_run_that_was_overtaken_puts_right_what_it_did_itself(bench: Bench) -> None:
    seen: list[JsonDict] = []
    bench.registry = Registry()
    late = bench.registry.safe(
        "thing", "new", to="next", on_stale=lambda doc, tools: seen.append(doc)
    )
    late(lambda doc, tools: {"state": "next"})
    bench.database = RacingDatabase([])
    message = bench.add("thing")
    bench.database.edits.append(edit(state="gone"))
    assert bench.handle(message) is Outcome.STALE
    assert [doc["state"] for doc in seen] == ["gone"]


def test_a_late_message_writes_no_error_into_a_document_that_moved_on(
    bench: Bench,
) -> None:
    def refuse(doc: JsonDict, tools: FakeTools) -> None:
        raise Rejected("of another state")

    bench.registry = Registry()
    bench.registry.safe("thing", "new", to="next", on_stale=refuse)(lambda doc, tools: None)
    message = bench.add("thing")
    edit(state="next")(bench.database)
    assert bench.handle(message) is Outcome.STALE
    assert bench.doc["state"] == "next"
