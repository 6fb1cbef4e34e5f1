"""What may happen only so often: the rule alone, and the ledger over DynamoDB."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.aws.rate_limiter import Admission, Entry, Ledger, LedgerBusy, Limit, admit
from tests.fakes.aws import FakeAws

HOUR_S = 3600
NOW_S = 1_795_413_600

limits_of_any_kind = st.lists(
    st.builds(Limit, most=st.integers(0, 4), window_s=st.integers(1, 30)), min_size=1, max_size=3
)
members = st.sampled_from("abcdefgh")
# Who asks, and how many seconds after the one before.
asked = st.lists(st.tuples(members, st.integers(0, 20)), max_size=40)


# The rule


def test_an_empty_ledger_admits() -> None:
    assert admit([], "a", [Limit(1, HOUR_S)], NOW_S) == ([(NOW_S, "a")], None)


def test_a_full_window_refuses_until_its_oldest_has_left_it() -> None:
    entries = [(NOW_S - 100, "a"), (NOW_S - 50, "b")]
    assert admit(entries, "c", [Limit(2, HOUR_S)], NOW_S) == (entries, NOW_S - 100 + HOUR_S)


def test_one_who_was_admitted_is_admitted_again_and_counts_once() -> None:
    entries = [(NOW_S - 100, "a"), (NOW_S - 50, "b")]
    assert admit(entries, "a", [Limit(2, HOUR_S)], NOW_S) == (entries, None)


@pytest.mark.parametrize(("after_s", "is_admitted"), [(HOUR_S - 1, False), (HOUR_S, True)])
def test_a_place_is_free_when_the_window_has_passed(after_s: int, is_admitted: bool) -> None:
    _, retry_at_s = admit([(NOW_S, "a")], "b", [Limit(1, HOUR_S)], NOW_S + after_s)
    assert (retry_at_s is None) == is_admitted


def test_one_who_left_the_window_must_ask_anew() -> None:
    entries = [(NOW_S, "a"), (NOW_S + 1, "b")]
    limits = [Limit(1, HOUR_S)]
    kept, retry_at_s = admit(entries, "a", limits, NOW_S + HOUR_S)
    assert (kept, retry_at_s) == ([(NOW_S + 1, "b")], NOW_S + 1 + HOUR_S)


def test_every_limit_must_have_room() -> None:
    entries = [(NOW_S - 2 * HOUR_S + number, str(number)) for number in range(5)]
    limits = [Limit(5, HOUR_S), Limit(5, 24 * HOUR_S)]
    _, retry_at_s = admit(entries, "new", limits, NOW_S)
    assert retry_at_s == entries[0][0] + 24 * HOUR_S


def test_after_a_limit_was_lowered_enough_must_leave_the_window() -> None:
    entries = [(NOW_S - 30, "a"), (NOW_S - 20, "b"), (NOW_S - 10, "c")]
    assert admit(entries, "d", [Limit(1, HOUR_S)], NOW_S)[1] == NOW_S - 10 + HOUR_S
    assert admit(entries, "d", [Limit(2, HOUR_S)], NOW_S)[1] == NOW_S - 20 + HOUR_S


@pytest.mark.parametrize("entries", [[], [(NOW_S, "a")]])
def test_a_limit_of_none_admits_nobody(entries: list[Entry]) -> None:
    kept, retry_at_s = admit(entries, "b", [Limit(0, HOUR_S)], NOW_S)
    assert kept == entries
    assert retry_at_s is not None
    assert retry_at_s > NOW_S


@settings(max_examples=300)
@given(asked, limits_of_any_kind)
def test_no_window_ever_holds_more_than_its_limit(
    asks: list[tuple[str, int]], limits: list[Limit]
) -> None:
    admitted = replay(asks, limits)[1]
    for limit in limits:
        for start_s, _ in admitted:
            inside = {who for at, who in admitted if start_s <= at < start_s + limit.window_s}
            assert len(inside) <= limit.most


@settings(max_examples=300)
@given(asked, limits_of_any_kind)
def test_an_admitted_member_is_admitted_as_long_as_the_longest_window_holds_it(
    asks: list[tuple[str, int]], limits: list[Limit]
) -> None:
    entries, admitted, now_s = replay(asks, limits)
    longest_s = max(limit.window_s for limit in limits)
    for at, who in admitted:
        if at > now_s - longest_s:
            kept, retry_at_s = admit(entries, who, limits, now_s)
            assert retry_at_s is None
            assert [entry for entry in kept if entry[1] == who] == [(at, who)]


@settings(max_examples=300)
@given(asked, limits_of_any_kind)
def test_who_is_refused_is_told_the_earliest_second_at_which_there_is_room(
    asks: list[tuple[str, int]], limits: list[Limit]
) -> None:
    entries, _, now_s = replay(asks, limits)
    kept, retry_at_s = admit(entries, "newcomer", limits, now_s)
    if retry_at_s is None or min(limit.most for limit in limits) == 0:
        assert (retry_at_s is None) == ((now_s, "newcomer") in kept)
        return
    assert "newcomer" not in {who for _, who in kept}
    assert retry_at_s > now_s
    for second in range(now_s, retry_at_s):
        assert admit(entries, "newcomer", limits, second)[1] == retry_at_s
    assert admit(entries, "newcomer", limits, retry_at_s)[1] is None


@given(asked, limits_of_any_kind)
def test_nothing_is_kept_that_no_window_holds(
    asks: list[tuple[str, int]], limits: list[Limit]
) -> None:
    entries, _, now_s = replay(asks, limits)
    kept, _ = admit(entries, "newcomer", limits, now_s)
    assert all(at > now_s - max(limit.window_s for limit in limits) for at, _ in kept)


def replay(
    asks: list[tuple[str, int]], limits: list[Limit]
) -> tuple[list[Entry], list[Entry], int]:
    """The ledger's entries, everyone who was ever let in and when, and the time."""
    entries: list[Entry] = []
    admitted: list[Entry] = []
    now_s = NOW_S
    for member, after_s in asks:
        now_s += after_s
        before = entries
        entries, _ = admit(entries, member, limits, now_s)
        admitted += [entry for entry in entries if entry not in before]
    return entries, admitted, now_s


# The ledger in DynamoDB


class WritesFirst(Ledger):
    """A ledger that takes everybody for the first."""

    def admit(self, *args: Any, **kwargs: Any) -> Admission:
        return super().admit(*args, **kwargs | {"is_likely_first": True})


@pytest.fixture(params=[Ledger, WritesFirst])
def ledger(dynamodb: Any, table_name: str, request: pytest.FixtureRequest) -> Ledger:
    made: Ledger = request.param(dynamodb, table_name)
    return made


@pytest.mark.parametrize(
    ("admitted", "member", "reads_first", "writes_first"),
    [("", "a", 2, 1), ("a", "b", 2, 2), ("a", "a", 1, 1), ("ab", "c", 1, 1)],
)
def test_writing_first_spares_a_request_where_nobody_was_admitted_and_costs_none_elsewhere(
    admitted: str, member: str, reads_first: int, writes_first: int
) -> None:
    counts = []
    for kind in (Ledger, WritesFirst):
        aws, asked = FakeAws(lambda: NOW_S), list[str]()
        aws.create_table("t")
        ledger = kind(aws.client("dynamodb", partial(noted, asked)), "t")
        for who in admitted:
            ledger.admit("k", who, [Limit(2, HOUR_S)], NOW_S)
        asked.clear()
        ledger.admit("k", member, [Limit(2, HOUR_S)], NOW_S)
        counts.append(len(asked))
    assert counts == [reads_first, writes_first]


def noted(asked: list[str], name: str, call: Callable[[], Any]) -> Any:
    asked.append(name)
    return call()


def test_a_ledger_remembers_whom_it_admitted(ledger: Ledger) -> None:
    limits = [Limit(2, HOUR_S)]
    assert ledger.admit("k", "a", limits, NOW_S) == Admission(frozenset("a"), None)
    assert ledger.admit("k", "b", limits, NOW_S + 1) == Admission(frozenset("ab"), None)
    refused = ledger.admit("k", "c", limits, NOW_S + 2)
    assert refused == Admission(frozenset("ab"), NOW_S + HOUR_S)
    assert not refused.admitted
    assert ledger.admit("k", "a", limits, NOW_S + 3).admitted


def test_a_ledger_has_room_again_when_it_said_so(ledger: Ledger) -> None:
    limits = [Limit(1, HOUR_S)]
    ledger.admit("k", "a", limits, NOW_S)
    retry_at_s = ledger.admit("k", "b", limits, NOW_S + 0.9).retry_at_s
    assert retry_at_s == NOW_S + HOUR_S
    assert not ledger.admit("k", "b", limits, retry_at_s - 0.1).admitted
    assert ledger.admit("k", "b", limits, retry_at_s).admitted


def test_ledgers_of_different_keys_know_nothing_of_each_other(ledger: Ledger) -> None:
    limits = [Limit(1, HOUR_S)]
    assert ledger.admit("k1", "a", limits, NOW_S).admitted
    assert ledger.admit("k2", "b", limits, NOW_S).admitted


def test_a_ledger_may_be_forgotten_when_its_longest_window_has_passed(
    ledger: Ledger, dynamodb: Any
) -> None:
    limits = [Limit(5, HOUR_S), Limit(20, 24 * HOUR_S)]
    ledger.admit("k", "a", limits, NOW_S)
    ledger.admit("k", "b", limits, NOW_S + 60)
    (item,) = dynamodb.scan(TableName=ledger.table_name)["Items"]
    assert item["pk"] == {"S": "ledger#k"}
    assert item["expires_at"] == {"N": str(NOW_S + 60 + 24 * HOUR_S)}


def test_what_the_table_has_not_forgotten_yet_does_not_count(ledger: Ledger) -> None:
    limits = [Limit(1, HOUR_S)]
    ledger.admit("k", "a", limits, NOW_S)
    late = ledger.admit("k", "b", limits, NOW_S + 10 * HOUR_S)
    assert late == Admission(frozenset("b"), None)


def test_a_refusal_and_a_repetition_write_nothing(ledger: Ledger, dynamodb: Any) -> None:
    limits = [Limit(1, HOUR_S)]
    ledger.admit("k", "a", limits, NOW_S)
    before = dynamodb.scan(TableName=ledger.table_name)["Items"]
    ledger.admit("k", "a", limits, NOW_S + 1)
    ledger.admit("k", "b", limits, NOW_S + 1)
    assert dynamodb.scan(TableName=ledger.table_name)["Items"] == before


def test_racing_strangers_are_never_admitted_beyond_the_limit(ledger: Ledger) -> None:
    limits = [Limit(5, HOUR_S)]
    names = [f"m{number}" for number in range(24)]
    answers = at_once([partial(ask, ledger, name, limits) for name in names])
    admitted = [
        name for name, answer in zip(names, answers, strict=True) if answer and answer.admitted
    ]
    assert len(admitted) == 5
    for answer in answers:
        assert answer is None or len(answer.members) <= 5
    assert ledger.admit("k", "late", limits, NOW_S).members == frozenset(admitted)


def test_one_who_races_against_itself_counts_once(ledger: Ledger) -> None:
    limits = [Limit(2, HOUR_S)]
    answers = at_once([partial(ask, ledger, "a", limits)] * 16)
    assert all(answer is None or answer.admitted for answer in answers)
    assert ledger.admit("k", "b", limits, NOW_S) == Admission(frozenset("ab"), None)


def test_a_ledger_that_others_write_each_time_gives_up_without_counting(
    ledger: Ledger, dynamodb: Any
) -> None:
    others: Any = OthersWriteFirst(dynamodb, ledger)
    busy = type(ledger)(others, ledger.table_name)
    with pytest.raises(LedgerBusy):
        busy.admit("k", "mine", [Limit(100, HOUR_S)], NOW_S)
    members = ledger.admit("k", "late", [Limit(100, HOUR_S)], NOW_S).members
    assert "mine" not in members


class OthersWriteFirst:
    """A DynamoDB client before each of whose writes somebody else writes the ledger."""

    def __init__(self, dynamodb: Any, ledger: Ledger) -> None:
        self._dynamodb, self._ledger = dynamodb, ledger
        self._others = (f"other{number}" for number in itertools.count())

    def put_item(self, **kwargs: Any) -> Any:
        self._ledger.admit("k", next(self._others), [Limit(100, HOUR_S)], NOW_S)
        return self._dynamodb.put_item(**kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dynamodb, name)


def ask(ledger: Ledger, member: str, limits: list[Limit]) -> Admission | None:
    """The ledger's answer, asked again as long as it is busy, as a message or a page would be."""
    for _ in range(20):
        try:
            return ledger.admit("k", member, limits, NOW_S)
        except LedgerBusy:
            continue
    return None


def at_once(calls: list[Callable[[], Admission | None]]) -> list[Admission | None]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]
