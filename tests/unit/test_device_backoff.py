"""When a device tries again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncpoint_device.backoff import BackOff
from tests.kit.basics import Seconds

waits = st.floats(0.01, 10_000)


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def back_off(seconds: Seconds) -> BackOff:
    return BackOff(1, 60, seconds)


def test_the_first_try_is_at_once(back_off: BackOff) -> None:
    assert back_off.remaining_s == 0


def test_each_failure_doubles_the_wait_up_to_the_longest(back_off: BackOff) -> None:
    assert [back_off.fail() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_what_is_left_of_a_wait_goes_down_with_the_time_and_never_below_nothing(
    back_off: BackOff, seconds: Seconds
) -> None:
    back_off.fail()
    back_off.fail()
    assert back_off.remaining_s == 2
    seconds.now_s += 1.5
    assert back_off.remaining_s == 0.5
    seconds.now_s += 100
    assert back_off.remaining_s == 0


def test_after_a_success_the_waits_start_from_the_first(back_off: BackOff) -> None:
    for _ in range(5):
        back_off.fail()
    back_off.succeed()
    assert back_off.remaining_s == 0
    assert back_off.fail() == 1


def test_a_success_may_say_when_to_look_again(back_off: BackOff, seconds: Seconds) -> None:
    back_off.succeed(30)
    assert back_off.remaining_s == 30
    seconds.now_s += 30
    assert back_off.remaining_s == 0


def test_retry_now_is_due_at_once_and_the_waits_go_on_doubling(back_off: BackOff) -> None:
    for _ in range(3):
        back_off.fail()
    back_off.retry_now()
    assert back_off.remaining_s == 0
    assert back_off.fail() == 8


def test_retry_now_ends_the_pause_after_a_success(back_off: BackOff) -> None:
    back_off.succeed(60)
    back_off.retry_now()
    assert back_off.remaining_s == 0


def test_a_failure_may_be_bounded_more_tightly_than_others(back_off: BackOff) -> None:
    assert [back_off.fail(3) for _ in range(4)] == [1, 2, 3, 3]
    assert back_off.fail() == 6


def test_a_bound_below_the_first_wait_holds(back_off: BackOff) -> None:
    assert back_off.fail(0.25) == 0.25


@given(waits, waits, st.lists(st.sampled_from(["fail", "retry_now", "succeed"]), max_size=40))
def test_no_wait_is_ever_longer_than_the_longest(
    min_s: float, max_s: float, steps: list[str]
) -> None:
    back_off = BackOff(min_s, max_s, Seconds())
    for step in steps:
        getattr(back_off, step)()
        assert 0 <= back_off.remaining_s <= max_s * 1.000001
