"""What may happen only so often: the rule alone, and the rate limiter over DynamoDB."""

import itertools
import json
from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.aws.rate_limiter import (
    Decision,
    Entry,
    Quota,
    RateLimiter,
    RateLimiterBusy,
    check_quotas,
    key_hash,
)
from chalicelib.settings import MAX_QUOTA
from tests.kit.basics import at_once
from tests.kit.fakes.aws import FakeAws
from tests.kit.fakes.couch import noted

HOUR_S = 3600
NOW_S = 1_795_413_600

any_quotas = st.lists(
    st.builds(Quota, limit=st.integers(0, 4), window_s=st.integers(1, 30)), min_size=1, max_size=3
)
keys = st.sampled_from("abcdefgh")
# Who asks, and how many seconds after the one before.
asked = st.lists(st.tuples(keys, st.integers(0, 20)), max_size=40)


# The rule


def test_an_empty_bucket_allows() -> None:
    assert check_quotas([], "a", [Quota(1, HOUR_S)], NOW_S) == ([(NOW_S, "a")], None)


def test_a_full_window_refuses_until_its_oldest_has_left_it() -> None:
    entries = [(NOW_S - 100, "a"), (NOW_S - 50, "b")]
    assert check_quotas(entries, "c", [Quota(2, HOUR_S)], NOW_S) == (entries, NOW_S - 100 + HOUR_S)


def test_a_key_that_was_allowed_is_allowed_again_and_counts_once() -> None:
    entries = [(NOW_S - 100, "a"), (NOW_S - 50, "b")]
    assert check_quotas(entries, "a", [Quota(2, HOUR_S)], NOW_S) == (entries, None)


@pytest.mark.parametrize(("after_s", "is_allowed"), [(HOUR_S - 1, False), (HOUR_S, True)])
def test_a_place_is_free_when_the_window_has_passed(after_s: int, is_allowed: bool) -> None:
    _, retry_at_s = check_quotas([(NOW_S, "a")], "b", [Quota(1, HOUR_S)], NOW_S + after_s)
    assert (retry_at_s is None) == is_allowed


def test_one_who_left_the_window_must_ask_again() -> None:
    entries = [(NOW_S, "a"), (NOW_S + 1, "b")]
    quotas = [Quota(1, HOUR_S)]
    kept, retry_at_s = check_quotas(entries, "a", quotas, NOW_S + HOUR_S)
    assert (kept, retry_at_s) == ([(NOW_S + 1, "b")], NOW_S + 1 + HOUR_S)


def test_every_limit_must_have_room() -> None:
    entries = [(NOW_S - 2 * HOUR_S + number, str(number)) for number in range(5)]
    quotas = [Quota(5, HOUR_S), Quota(5, 24 * HOUR_S)]
    _, retry_at_s = check_quotas(entries, "new", quotas, NOW_S)
    assert retry_at_s == entries[0][0] + 24 * HOUR_S


def test_after_a_limit_was_lowered_enough_must_leave_the_window() -> None:
    entries = [(NOW_S - 30, "a"), (NOW_S - 20, "b"), (NOW_S - 10, "c")]
    assert check_quotas(entries, "d", [Quota(1, HOUR_S)], NOW_S)[1] == NOW_S - 10 + HOUR_S
    assert check_quotas(entries, "d", [Quota(2, HOUR_S)], NOW_S)[1] == NOW_S - 20 + HOUR_S


@pytest.mark.parametrize("entries", [[], [(NOW_S, "a")]])
def test_a_quota_of_none_allows_nothing(entries: list[Entry]) -> None:
    kept, retry_at_s = check_quotas(entries, "b", [Quota(0, HOUR_S)], NOW_S)
    assert kept == entries
    assert retry_at_s is not None
    assert retry_at_s > NOW_S


@settings(max_examples=300)
@given(asked, any_quotas)
def test_no_window_ever_holds_more_than_its_limit(
    asks: list[tuple[str, int]], quotas: list[Quota]
) -> None:
    allowed = replay(asks, quotas)[1]
    for quota in quotas:
        for start_s, _ in allowed:
            inside = {who for at, who in allowed if start_s <= at < start_s + quota.window_s}
            assert len(inside) <= quota.limit


@settings(max_examples=300)
@given(asked, any_quotas)
def test_an_allowed_key_stays_allowed_while_the_longest_window_holds_it(
    asks: list[tuple[str, int]], quotas: list[Quota]
) -> None:
    entries, allowed, now_s = replay(asks, quotas)
    longest_s = max(quota.window_s for quota in quotas)
    for at, who in allowed:
        if at > now_s - longest_s:
            kept, retry_at_s = check_quotas(entries, who, quotas, now_s)
            assert retry_at_s is None
            assert [entry for entry in kept if entry[1] == who] == [(at, who)]


@settings(max_examples=300)
@given(asked, any_quotas)
def test_who_is_refused_is_told_the_earliest_second_at_which_there_is_room(
    asks: list[tuple[str, int]], quotas: list[Quota]
) -> None:
    entries, _, now_s = replay(asks, quotas)
    kept, retry_at_s = check_quotas(entries, "newcomer", quotas, now_s)
    if retry_at_s is None or min(quota.limit for quota in quotas) == 0:
        assert (retry_at_s is None) == ((now_s, "newcomer") in kept)
        return
    assert "newcomer" not in {who for _, who in kept}
    assert retry_at_s > now_s
    for second in range(now_s, retry_at_s):
        assert check_quotas(entries, "newcomer", quotas, second)[1] == retry_at_s
    assert check_quotas(entries, "newcomer", quotas, retry_at_s)[1] is None


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), min_size=10, max_size=40),
    st.tuples(st.builds(Quota, st.integers(1, 2), st.integers(1, 30)), st.just(Quota(4, 200))).map(
        list
    ),
)
def test_no_window_holds_more_requests_than_its_limit_if_keys_are_moved(
    asks: list[tuple[str, int]], quotas: list[Quota]
) -> None:
    """A request that is allowed may have its effect: also that of a key which was allowed before.

    Requests of one key in the same window are retries of one effect, and count once.
    """
    entries: list[Entry] = []
    allowed: list[Entry] = []
    now_s = NOW_S
    for key, after_s in asks:
        now_s += after_s
        entries, retry_at_s = check_quotas(entries, key, quotas, now_s, is_moved=True)
        allowed += [(now_s, key)] if retry_at_s is None else []
    for quota in quotas:
        for start_s, _ in allowed:
            # A key that was asked for again later had no effect before.
            last = {who: at for at, who in allowed if at < start_s + quota.window_s}
            assert sum(at >= start_s for at in last.values()) <= quota.limit


@given(asked, any_quotas)
def test_nothing_is_kept_that_no_window_holds(
    asks: list[tuple[str, int]], quotas: list[Quota]
) -> None:
    entries, _, now_s = replay(asks, quotas)
    kept, _ = check_quotas(entries, "newcomer", quotas, now_s)
    assert all(at > now_s - max(quota.window_s for quota in quotas) for at, _ in kept)


def replay(
    asks: list[tuple[str, int]], quotas: list[Quota]
) -> tuple[list[Entry], list[Entry], int]:
    """The rate_limiter's entries, everyone who was ever let in and when, and the time."""
    entries: list[Entry] = []
    allowed: list[Entry] = []
    now_s = NOW_S
    for key, after_s in asks:
        now_s += after_s
        before = entries
        entries, _ = check_quotas(entries, key, quotas, now_s)
        allowed += [entry for entry in entries if entry not in before]
    return entries, allowed, now_s


# The rate_limiter in DynamoDB


class WritesFirst(RateLimiter):
    """A rate_limiter that takes everybody for the first."""

    def allow(self, *args: Any, **kwargs: Any) -> Decision:
        return super().allow(*args, **kwargs | {"is_likely_first": True})


@pytest.fixture(params=[RateLimiter, WritesFirst])
def rate_limiter(dynamodb: Any, table_name: str, request: pytest.FixtureRequest) -> RateLimiter:
    made: RateLimiter = request.param(dynamodb, table_name)
    return made


@pytest.mark.parametrize(
    ("allowed", "key", "reads_first", "writes_first"),
    [("", "a", 2, 1), ("a", "b", 2, 2), ("a", "a", 1, 1), ("ab", "c", 1, 1)],
)
def test_writing_first_spares_a_request_only_where_the_bucket_is_empty(
    allowed: str, key: str, reads_first: int, writes_first: int
) -> None:
    counts = []
    for kind in (RateLimiter, WritesFirst):
        aws, asked = FakeAws(lambda: NOW_S), list[str]()
        aws.create_table("t")
        rate_limiter = kind(aws.client("dynamodb", partial(noted, asked)), "t")
        for who in allowed:
            rate_limiter.allow("k", who, [Quota(2, HOUR_S)], NOW_S)
        asked.clear()
        rate_limiter.allow("k", key, [Quota(2, HOUR_S)], NOW_S)
        counts.append(len(asked))
    assert counts == [reads_first, writes_first]


def test_a_bucket_remembers_which_keys_it_allowed(rate_limiter: RateLimiter) -> None:
    quotas = [Quota(2, HOUR_S)]
    assert rate_limiter.allow("k", "a", quotas, NOW_S) == decision("a", is_new=True)
    assert rate_limiter.allow("k", "b", quotas, NOW_S + 1) == decision("ab", is_new=True)
    refused = rate_limiter.allow("k", "c", quotas, NOW_S + 2)
    assert refused == decision("ab", NOW_S + HOUR_S)
    assert not refused.allowed
    assert rate_limiter.allow("k", "a", quotas, NOW_S + 3) == decision("ab")


def test_a_decision_counts_the_keys_that_are_others(rate_limiter: RateLimiter) -> None:
    rate_limiter.allow("k", "a", [Quota(2, HOUR_S)], NOW_S)
    both = rate_limiter.allow("k", "b", [Quota(2, HOUR_S)], NOW_S)
    assert [both.count_others(keys) for keys in ("", "a", "ab", "c")] == [2, 1, 0, 2]


def test_a_key_that_is_moved_counts_at_its_latest_request(rate_limiter: RateLimiter) -> None:
    quotas = [Quota(1, HOUR_S), Quota(2, 24 * HOUR_S)]
    rate_limiter.allow("k", "a", quotas, NOW_S, is_moved=True)
    moved = rate_limiter.allow("k", "a", quotas, NOW_S + 60, is_moved=True)
    assert moved == decision("a")
    refused = rate_limiter.allow("k", "b", quotas, NOW_S + HOUR_S + 1, is_moved=True)
    assert refused.retry_at_s == NOW_S + 60 + HOUR_S


def test_a_key_is_not_moved_to_where_others_have_taken_its_place(
    rate_limiter: RateLimiter, dynamodb: Any
) -> None:
    quotas = [Quota(1, HOUR_S), Quota(3, 24 * HOUR_S)]
    rate_limiter.allow("k", "a", quotas, NOW_S, is_moved=True)
    rate_limiter.allow("k", "b", quotas, NOW_S + HOUR_S, is_moved=True)
    before = dynamodb.scan(TableName=rate_limiter.table_name)["Items"]
    late = rate_limiter.allow("k", "a", quotas, NOW_S + HOUR_S + 1, is_moved=True)
    assert late == decision("ab", NOW_S + 2 * HOUR_S)
    assert dynamodb.scan(TableName=rate_limiter.table_name)["Items"] == before


def test_asking_for_room_says_what_would_be_decided_and_counts_nothing(
    rate_limiter: RateLimiter,
) -> None:
    quotas = [Quota(1, HOUR_S)]
    for _ in range(3):
        assert rate_limiter.retry_at_s("k", "a", quotas, NOW_S) is None
    rate_limiter.allow("k", "b", quotas, NOW_S)
    assert rate_limiter.retry_at_s("k", "a", quotas, NOW_S + 1) == NOW_S + HOUR_S
    assert rate_limiter.retry_at_s("k", "b", quotas, NOW_S + 1) is None


def test_the_largest_bucket_is_far_below_what_an_item_may_have() -> None:
    """However long the keys are; the fake refuses an item of more than 400 KB, as DynamoDB does."""
    aws = FakeAws(lambda: NOW_S)
    aws.create_table("t")
    limiter, quotas = RateLimiter(aws.client("dynamodb"), "t"), [Quota(MAX_QUOTA, HOUR_S)]
    entries = [[NOW_S, key_hash(f"{number}" * 500)] for number in range(MAX_QUOTA - 1)]
    item = {"entries": {"S": json.dumps(entries)}, "version": {"N": "1"}}
    aws.client("dynamodb").put_item(TableName="t", Item={"pk": {"S": "quota#k"}, **item})
    assert limiter.allow("k", "x" * 10_000, quotas, NOW_S).allowed
    assert not limiter.allow("k", "y" * 10_000, quotas, NOW_S).allowed
    [stored] = aws.items("t")
    assert len(stored["entries"]["S"]) < 250_000


def test_a_quota_that_an_item_has_no_room_for_is_refused() -> None:
    Quota(MAX_QUOTA, HOUR_S)
    with pytest.raises(ValueError, match="a quota is 5000 at most"):
        Quota(MAX_QUOTA + 1, HOUR_S)


def test_a_bucket_has_room_again_when_it_said_so(rate_limiter: RateLimiter) -> None:
    quotas = [Quota(1, HOUR_S)]
    rate_limiter.allow("k", "a", quotas, NOW_S)
    retry_at_s = rate_limiter.allow("k", "b", quotas, NOW_S + 0.9).retry_at_s
    assert retry_at_s == NOW_S + HOUR_S
    assert not rate_limiter.allow("k", "b", quotas, retry_at_s - 0.1).allowed
    assert rate_limiter.allow("k", "b", quotas, retry_at_s).allowed


def test_buckets_know_nothing_of_each_other(rate_limiter: RateLimiter) -> None:
    quotas = [Quota(1, HOUR_S)]
    assert rate_limiter.allow("k1", "a", quotas, NOW_S).allowed
    assert rate_limiter.allow("k2", "b", quotas, NOW_S).allowed


def test_a_bucket_may_be_forgotten_when_its_longest_window_has_passed(
    rate_limiter: RateLimiter, dynamodb: Any
) -> None:
    quotas = [Quota(5, HOUR_S), Quota(20, 24 * HOUR_S)]
    rate_limiter.allow("k", "a", quotas, NOW_S)
    rate_limiter.allow("k", "b", quotas, NOW_S + 60)
    (item,) = dynamodb.scan(TableName=rate_limiter.table_name)["Items"]
    assert item["pk"] == {"S": "quota#k"}
    assert item["expires_at"] == {"N": str(NOW_S + 60 + 24 * HOUR_S)}


def test_what_the_table_has_not_forgotten_yet_does_not_count(rate_limiter: RateLimiter) -> None:
    quotas = [Quota(1, HOUR_S)]
    rate_limiter.allow("k", "a", quotas, NOW_S)
    late = rate_limiter.allow("k", "b", quotas, NOW_S + 10 * HOUR_S)
    assert late == decision("b", is_new=True)


def test_a_refusal_and_a_repetition_write_nothing(rate_limiter: RateLimiter, dynamodb: Any) -> None:
    quotas = [Quota(1, HOUR_S)]
    rate_limiter.allow("k", "a", quotas, NOW_S)
    before = dynamodb.scan(TableName=rate_limiter.table_name)["Items"]
    rate_limiter.allow("k", "a", quotas, NOW_S + 1)
    rate_limiter.allow("k", "b", quotas, NOW_S + 1)
    assert dynamodb.scan(TableName=rate_limiter.table_name)["Items"] == before


def test_racing_strangers_are_never_allowed_beyond_the_limit(rate_limiter: RateLimiter) -> None:
    quotas = [Quota(5, HOUR_S)]
    names = [f"m{number}" for number in range(24)]
    answers = at_once(*[partial(ask, rate_limiter, name, quotas) for name in names])
    allowed = [
        name for name, answer in zip(names, answers, strict=True) if answer and answer.allowed
    ]
    assert len(allowed) == 5
    for answer in answers:
        assert answer is None or len(answer.keys) <= 5
    assert rate_limiter.allow("k", "late", quotas, NOW_S) == decision(allowed, NOW_S + HOUR_S)


def test_one_who_races_against_itself_counts_once(rate_limiter: RateLimiter) -> None:
    quotas = [Quota(2, HOUR_S)]
    answers = at_once(*[partial(ask, rate_limiter, "a", quotas)] * 16)
    assert all(answer is None or answer.allowed for answer in answers)
    assert rate_limiter.allow("k", "b", quotas, NOW_S) == decision("ab", is_new=True)


def test_a_bucket_that_others_write_each_time_gives_up_without_counting(
    rate_limiter: RateLimiter, dynamodb: Any
) -> None:
    others: Any = OthersWriteFirst(dynamodb, rate_limiter)
    busy = type(rate_limiter)(others, rate_limiter.table_name)
    with pytest.raises(RateLimiterBusy):
        busy.allow("k", "mine", [Quota(100, HOUR_S)], NOW_S)
    late = rate_limiter.allow("k", "late", [Quota(100, HOUR_S)], NOW_S)
    assert late.count_others(["mine"]) == len(late.keys)


def decision(
    keys: Iterable[str], retry_at_s: int | None = None, *, is_new: bool = False
) -> Decision:
    return Decision(frozenset(map(key_hash, keys)), retry_at_s, is_new)


class OthersWriteFirst:
    """A DynamoDB client before each of whose writes somebody else writes the rate_limiter."""

    def __init__(self, dynamodb: Any, rate_limiter: RateLimiter) -> None:
        self._dynamodb, self._rate_limiter = dynamodb, rate_limiter
        self._others = (f"other{number}" for number in itertools.count())

    def put_item(self, **kwargs: Any) -> Any:
        self._rate_limiter.allow("k", next(self._others), [Quota(100, HOUR_S)], NOW_S)
        return self._dynamodb.put_item(**kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dynamodb, name)


def ask(rate_limiter: RateLimiter, key: str, quotas: list[Quota]) -> Decision | None:
    """The answer, asked again while the limiter is busy, as a message or a page would."""
    for _ in range(20):
        try:
            return rate_limiter.allow("k", key, quotas, NOW_S)
        except RateLimiterBusy:
            continue
    return None
