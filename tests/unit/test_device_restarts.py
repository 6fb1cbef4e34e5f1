"""When stalled replications are restarted."""

from syncpoint_device.backoff import MIN_STABLE_S, Restarts
from tests.kit.basics import Seconds


def test_a_stalled_replication_restarts_at_once_and_then_with_backoff() -> None:
    clock = Seconds()
    restarts = Restarts(1, 3600, clock)
    waits = []
    last = clock.now_s
    for _ in range(40_000):
        if restarts.due({"db"}):
            waits.append(clock.now_s - last)
            last = clock.now_s
        clock.now_s += 1
    assert waits[:8] == [0, 1, 2, 4, 8, 16, 32, 64]
    assert max(waits) == 3600


def test_each_replication_has_a_wait_of_its_own() -> None:
    clock = Seconds()
    restarts = Restarts(1, 3600, clock)
    for _ in range(10):
        restarts.due({"broken"})
        clock.now_s += 100
    assert restarts.due({"broken", "fresh"}) == {"fresh"}


def test_a_replication_that_retries_by_itself_is_rarely_restarted() -> None:
    """CouchDB tries by itself for some eight seconds, and only then calls it crashing."""
    clock = Seconds()
    restarts = Restarts(1, 3600, clock)
    restarted = 0
    for second in range(24 * 3600):
        if second % 5 == 0:
            stalled = {"db"} if second % 10 == 0 else set()
            restarted += len(restarts.due(stalled))
        clock.now_s += 1
    assert restarted < 40


def test_after_a_stable_time_the_waits_start_from_the_first() -> None:
    clock = Seconds()
    restarts = Restarts(1, 3600, clock)
    for _ in range(4):
        restarts.due({"db"})
        clock.now_s += 10
    clock.now_s += MIN_STABLE_S
    assert restarts.due(set()) == set()
    assert restarts.due({"db"}) == {"db"}
    clock.now_s += 1
    assert restarts.due({"db"}) == {"db"}
