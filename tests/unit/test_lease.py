"""The poller's lease, over a table in memory: taken, kept, lost, given back."""

from typing import Any

import pytest

from poller.lease import Cursor, Lease, LeaseHeld, LeaseLost
from tests.kit.poller.state import KEY, LEASE_S, START_S, TABLE, Pollers

CURSOR = Cursor("12-seq", "control-ab", is_whole=True, failing=("control-cd", "control-ef"))


# Taken


def test_the_first_poller_ever_begins_at_the_beginning() -> None:
    on = Pollers()
    lease = on.lease()
    assert lease.take() == Cursor("", "", is_whole=False)
    assert lease.caught_up_at_s == START_S
    assert on.asked == ["dynamodb.UpdateItem"]


def test_a_lease_keeps_others_out_to_its_last_millisecond() -> None:
    on = Pollers()
    on.taken()
    on.now_s += LEASE_S
    with pytest.raises(LeaseHeld, match=KEY):
        on.lease().take()
    on.now_s += 0.001
    on.lease().take()


def test_a_lease_keeps_out_only_pollers_of_the_same_databases() -> None:
    on = Pollers()
    on.taken()
    on.lease("poller#control#1of2").take()


def test_each_take_raises_the_fence() -> None:
    on = Pollers()
    fences = []
    for _ in range(3):
        lease = on.taken()
        fences.append(lease.fence)
        lease.release()
    assert fences == [1, 2, 3]


def test_one_that_is_refused_leaves_the_lease_as_it_was() -> None:
    on = Pollers()
    holder = on.taken()
    before = on.aws.items(TABLE)
    on.now_s += 1
    assert not on.is_free()
    assert on.aws.items(TABLE) == before
    holder.save(CURSOR)


# Kept


def test_a_lease_is_renewed_once_a_third_of_it_is_over_and_not_before() -> None:
    on = Pollers()
    lease = on.taken()
    on.now_s = START_S + LEASE_S / 3 - 0.001
    lease.renew()
    assert on.asked == []
    on.now_s = START_S + LEASE_S / 3
    lease.renew()
    lease.renew()
    assert on.asked == ["dynamodb.UpdateItem"]


@pytest.mark.parametrize("sign", [Lease.renew, lambda lease: lease.save(CURSOR)])
def test_a_lease_that_was_kept_runs_as_long_again(sign: Any) -> None:
    on = Pollers()
    lease = on.taken()
    on.now_s += LEASE_S / 2
    sign(lease)
    on.now_s += LEASE_S
    assert not on.is_free()
    on.now_s += 0.001
    assert on.is_free()


def test_a_place_that_is_saved_keeps_the_lease_like_a_renewal() -> None:
    on = Pollers()
    lease = on.taken()
    on.now_s += LEASE_S / 2
    lease.save(CURSOR)
    lease.renew()
    assert on.asked == ["dynamodb.UpdateItem"]


def test_every_sign_of_life_is_seen() -> None:
    on = Pollers()
    lease = on.taken()
    assert on.seen_at_s() == on.now_s
    for sign in (lease.renew, lambda: lease.save(CURSOR), lease.release):
        on.now_s += LEASE_S / 2
        sign()
        assert on.seen_at_s() == on.now_s


# Lost


def test_a_poller_that_was_overtaken_can_neither_renew_nor_save() -> None:
    on = Pollers()
    stalled = on.taken()
    on.now_s += LEASE_S + 1
    later = on.taken()
    with pytest.raises(LeaseLost, match=KEY):
        stalled.renew()
    with pytest.raises(LeaseLost, match=KEY):
        stalled.save(CURSOR)
    later.release()
    assert on.lease().take() == Cursor()


def test_a_poller_that_was_overtaken_gives_nothing_back() -> None:
    on = Pollers()
    stalled = on.taken()
    on.now_s += LEASE_S + 1
    on.taken()
    before = on.aws.items(TABLE)
    stalled.release(is_caught_up=True)
    assert on.aws.items(TABLE) == before


def test_a_poller_that_stalled_goes_on_if_nobody_took_over() -> None:
    on = Pollers()
    stalled = on.taken()
    on.now_s += 100 * LEASE_S
    stalled.renew()
    assert not on.is_free()


# Given back


def test_a_lease_that_was_given_back_is_free_at_the_same_moment() -> None:
    on = Pollers()
    lease = on.taken()
    lease.release()
    assert on.asked == ["dynamodb.UpdateItem"]
    assert on.is_free()


def test_the_next_holder_goes_on_from_the_place_that_was_saved_last() -> None:
    on = Pollers()
    first = on.taken()
    first.save(Cursor("11-seq"))
    first.save(CURSOR)
    on.now_s += LEASE_S / 2
    first.renew()
    first.release()
    assert on.lease().take() == CURSOR


def test_what_is_known_of_the_last_settled_holder_outlives_those_that_were_not() -> None:
    on = Pollers()
    settled = on.taken()
    on.now_s += 10.5
    settled.release(is_caught_up=True)
    assert settled.caught_up_at_s == START_S + 10.5
    for _ in range(2):
        on.now_s += 3600
        lagging = on.taken()
        assert lagging.caught_up_at_s == START_S + 10.5
        lagging.release()
    on.now_s += LEASE_S
    assert on.taken().caught_up_at_s == START_S + 10.5
