"""The poller's lease, over a table in memory: taken, renewed, lost, released."""

from typing import Any

import pytest

from poller.lease import Cursor, Lease, LeaseHeld, LeaseLost
from tests.kit.poller.state import KEY, LEASE_S, START_S, TABLE, Pollers

CURSOR = Cursor("12-seq", "control-ab", is_fully_scanned=True, failing=("control-cd", "control-ef"))


# Taken


def test_the_first_poller_ever_begins_at_the_beginning() -> None:
    on = Pollers()
    lease = on.lease()
    assert lease.take() == Cursor("", "", is_fully_scanned=False)
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


# Renewed


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
def test_a_renewed_lease_holds_for_its_whole_time_again(sign: Any) -> None:
    on = Pollers()
    lease = on.taken()
    on.now_s += LEASE_S / 2
    sign(lease)
    on.now_s += LEASE_S
    assert not on.is_free()
    on.now_s += 0.001
    assert on.is_free()


def test_saving_the_cursor_renews_the_lease() -> None:
    on = Pollers()
    lease = on.taken()
    on.now_s += LEASE_S / 2
    lease.save(CURSOR)
    lease.renew()
    assert on.asked == ["dynamodb.UpdateItem"]


def test_every_write_says_when_the_poller_was_seen() -> None:
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


def test_a_poller_that_lost_its_lease_does_not_release_it() -> None:
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


# Released


def test_a_released_lease_is_free_at_once() -> None:
    on = Pollers()
    lease = on.taken()
    lease.release()
    assert on.asked == ["dynamodb.UpdateItem"]
    assert on.is_free()


def test_the_next_holder_gets_the_cursor_that_was_saved_last() -> None:
    on = Pollers()
    first = on.taken()
    first.save(Cursor("11-seq"))
    first.save(CURSOR)
    on.now_s += LEASE_S / 2
    first.renew()
    first.release()
    assert on.lease().take() == CURSOR


def test_lagging_holders_do_not_change_when_one_had_last_caught_up() -> None:
    on = Pollers()
    caught_up = on.taken()
    on.now_s += 10.5
    caught_up.release(is_caught_up=True)
    assert caught_up.caught_up_at_s == START_S + 10.5
    for _ in range(2):
        on.now_s += 3600
        lagging = on.taken()
        assert lagging.caught_up_at_s == START_S + 10.5
        lagging.release()
    on.now_s += LEASE_S
    assert on.taken().caught_up_at_s == START_S + 10.5
