"""The registry, and the rules of a step."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.domain.documents import JsonDict, Rejected, generation_of, rejection, timestamp
from chalicelib.engine.docstate import InvalidChanges, Registry, RegistryError, Transition
from tests.kit.cases.devices import json_values

own_fields = st.text(min_size=1).filter(lambda name: not name.startswith("_") and name != "type")


def nothing(doc: JsonDict, *_: object) -> None:
    return None


def a_registry() -> Registry:
    control = Registry()
    control.safe("channel", "new", to="ready closed")(nothing)
    control.unsafe("device", "new", to="confirming")(nothing)
    return control


def apply(doc: JsonDict, changes: JsonDict) -> JsonDict:
    """`changes` laid over a document of channel/new."""
    return a_registry().transition("channel", "new").apply(doc, changes)


def test_a_registered_transition_is_found_by_its_type_and_state() -> None:
    found = a_registry().transition("channel", "new")
    assert found == Transition("channel", "new", nothing, unsafe=False, to=("ready", "closed"))


def test_a_transition_knows_whether_it_is_unsafe() -> None:
    control = a_registry()
    assert not control.transition("channel", "new").unsafe
    unsafe = Transition("device", "new", nothing, unsafe=True, to=("confirming",))
    assert control.transition("device", "new") == unsafe


def test_registering_leaves_the_function_as_it_was() -> None:
    control = Registry()
    assert control.safe("channel", "new", to="ready")(nothing) is nothing
    assert control.unsafe("device", "new", to="confirming")(nothing) is nothing


@pytest.mark.parametrize("first", ["safe", "unsafe"])
@pytest.mark.parametrize("second", ["safe", "unsafe"])
def test_a_pair_that_is_registered_twice_is_refused_by_name(first: str, second: str) -> None:
    control = Registry()
    getattr(control, first)("device", "new", to="confirming")(nothing)
    with pytest.raises(RegistryError, match="device/new is registered twice"):
        getattr(control, second)("device", "new", to="confirming")(nothing)


def test_a_refused_registration_leaves_the_first_in_place() -> None:
    control = a_registry()
    with pytest.raises(RegistryError):
        control.safe("device", "new", to="stolen")(lambda doc, context: {"state": "stolen"})
    assert control.transition("device", "new").run is nothing


def test_the_same_state_of_another_type_is_another_pair() -> None:
    assert [t.doc_type for t in a_registry() if t.state == "new"] == ["channel", "device"]


@pytest.mark.parametrize(
    ("doc_type", "state"), [("device", "gone"), ("ghost", "new"), ("new", "device")]
)
def test_an_unknown_pair_is_refused_by_name(doc_type: str, state: str) -> None:
    with pytest.raises(RegistryError, match=f"{doc_type}/{state}"):
        a_registry().transition(doc_type, state)


def test_iteration_gives_all_transitions_in_the_order_of_registration() -> None:
    pairs = [("b", "two"), ("a", "one"), ("c", "three")]
    control = Registry()
    for doc_type, state in pairs:
        control.safe(doc_type, state, to="done")(nothing)
    assert [(t.doc_type, t.state) for t in control] == pairs


def test_two_registries_know_nothing_of_each_other() -> None:
    a_registry()
    assert list(Registry()) == []


@pytest.mark.parametrize(
    ("given_generation", "expected"),
    [
        pytest.param(0, 0, id="zero"),
        pytest.param(7, 7, id="a number"),
        pytest.param(-1, 0, id="negative"),
        pytest.param(True, 0, id="true"),
        pytest.param(5.0, 5, id="a whole number as JavaScript may write it"),
        pytest.param(1.5, 0, id="a fraction"),
        pytest.param("1", 0, id="a text"),
        pytest.param(None, 0, id="null"),
        pytest.param([1], 0, id="a list"),
        pytest.param({}, 0, id="an object"),
    ],
)
def test_a_generation_is_a_count_or_zero(given_generation: object, expected: int) -> None:
    found = generation_of({"generation": given_generation})
    assert found == expected
    assert type(found) is int


def test_a_document_without_a_generation_is_in_generation_zero() -> None:
    assert generation_of({}) == 0


@given(json_values)
def test_a_generation_is_never_negative_and_never_raises(value: Any) -> None:
    assert generation_of({"generation": value}) >= 0


def test_changes_are_laid_over_the_document() -> None:
    doc = {"_id": "c", "_rev": "1-a", "type": "channel", "state": "new", "name": "notes"}
    merged = apply(doc, {"state": "ready", "syncpoint": "https://couch.example.com/db-c"})
    assert merged == {**doc, "state": "ready", "syncpoint": "https://couch.example.com/db-c"}


def test_laying_changes_over_a_document_changes_neither() -> None:
    doc, changes = {"state": "new", "a": 1}, {"state": "ready", "a": 2}
    apply(doc, changes)
    assert (doc, changes) == ({"state": "new", "a": 1}, {"state": "ready", "a": 2})


@pytest.mark.parametrize("state", ["ready", "closed", "new", "error"])
def test_a_transition_leads_to_its_states_to_its_own_and_to_error(state: str) -> None:
    assert apply({"state": "new"}, {"state": state}) == {"state": state}


@pytest.mark.parametrize(
    "state", ["active", "", "ready closed", None, 1, ["ready"], {"ready": 1}], ids=repr
)
def test_a_transition_leads_nowhere_else(state: object) -> None:
    said = f"channel/new leads to ready, closed, not to {state!r}"
    with pytest.raises(InvalidChanges, match=re.escape(said)):
        apply({"state": "new"}, {"state": state})


@pytest.mark.parametrize("changes", [{}, {"name": "x"}], ids=["nothing", "a name"])
def test_changes_without_a_state_are_refused(changes: JsonDict) -> None:
    with pytest.raises(InvalidChanges, match="without a state"):
        apply({"state": "new"}, changes)


@pytest.mark.parametrize("name", ["_id", "_rev", "_deleted", "_attachments", "type"])
def test_changes_to_what_is_not_a_transitions_are_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidChanges, match=f"must not touch {name}"):
        apply({"state": "new"}, {"state": "ready", name: "x"})


def test_changes_that_change_nothing_leave_an_equal_document() -> None:
    doc = {"_id": "c", "_rev": "3-a", "type": "channel", "state": "ready", "public": True}
    assert apply(doc, {"state": "ready", "public": True}) == doc


def test_the_revisions_that_lost_are_said_of_a_document_and_not_saved_in_it() -> None:
    doc = {"_id": "c", "type": "channel", "state": "new", "_conflicts": ["1-a"]}
    applied = a_registry().transition("channel", "new").apply(doc, {"state": "ready"})
    assert applied == {"_id": "c", "type": "channel", "state": "ready"}


@example({"error": {"reason": "once"}, "name": "Photos"}, {}, "ready")
@given(
    st.dictionaries(st.text(), json_values, max_size=4),
    st.dictionaries(own_fields, json_values, max_size=4),
    st.sampled_from(["ready", "closed", "new", "error"]),
)
def test_applying_the_same_changes_twice_is_applying_them_once(
    doc: JsonDict, changes: JsonDict, state: str
) -> None:
    changes = {**changes, "state": state}
    expected = {**doc, **changes}
    if state != "error":
        expected.pop("error", None)  # the document has got over it
    once = apply(doc, changes)
    assert once == expected
    assert apply(once, changes) == once


@pytest.mark.parametrize(
    ("doc", "stands"),
    [
        ({"type": "device", "state": "new"}, True),
        ({"type": "device", "state": "confirming"}, False),
        ({"type": "channel", "state": "new"}, False),
        ({"type": "device"}, False),
        ({"type": ["device"], "state": {"new": 1}}, False),
        ({}, False),
        (None, False),
    ],
)
def test_a_document_stands_in_its_own_type_and_state_alone(
    doc: JsonDict | None, stands: bool
) -> None:
    assert a_registry().transition("device", "new").is_awaited_by(doc) is stands


@pytest.mark.parametrize(
    ("of_doc", "asked", "stands"),
    [(2, "2", True), (2, "1", False), (2, None, True), (None, "0", True), (None, "1", False)],
)
def test_a_document_stands_in_its_own_generation_alone(
    of_doc: int | None, asked: str | None, stands: bool
) -> None:
    doc = {"type": "device", "state": "new"} | ({} if of_doc is None else {"generation": of_doc})
    assert a_registry().transition("device", "new").is_awaited_by(doc, asked) is stands


def to_and_of(doc: JsonDict) -> list[object]:
    return [doc.get("to"), doc.get("of")]


def test_what_a_step_is_about_makes_it_another() -> None:
    control = Registry()
    control.unsafe("mail", "new", to="sent", key_of=to_and_of)(nothing)
    idempotency_key = control.transition("mail", "new").idempotency_key
    mail = {"to": "ben", "of": "photos", "generation": 1}
    assert idempotency_key(mail | {"note": "any"}) == idempotency_key(mail)
    others = [mail | {"to": "cem"}, mail | {"of": "notes"}, mail | {"generation": 2}, {}]
    others.append({"to": "photos", "of": "ben", "generation": 1})
    assert len({idempotency_key(each) for each in [mail, *others]}) == 6


def test_a_rejection_says_why_and_when() -> None:
    now = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
    assert rejection("owner is missing", now) == {
        "state": "error",
        "error": {"reason": "owner is missing", "at": "2026-11-23T06:00:00Z"},
    }
    rejected = Rejected("owner is missing")
    assert rejected.reason == str(rejected) == "owner is missing"


def test_a_timestamp_is_in_utc_to_the_second() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC)
    assert timestamp(moment) == "2026-01-02T03:04:05Z"


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))
def test_a_timestamp_reads_back_as_the_moment_it_was_made_of(moment: datetime) -> None:
    assert datetime.fromisoformat(timestamp(moment)) == moment.replace(microsecond=0)
