"""When to try again: after a wait that doubles with each failure. No I/O."""

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

# A replication counts as recovered after so many seconds without a stall, and after its last wait.
# CouchDB retries by itself, and shows a replication as running shortly before it stalls again.
MIN_STABLE_S = 60.0

Clock = Callable[[], float]


class BackOff:
    """The time of the next try of one thing.

    Parameters
    ----------
    min_s, max_s : float
        The wait after the first failure, and the longest wait.
    now : callable
        Seconds on a clock that never goes back.
    """

    def __init__(self, min_s: float, max_s: float, now: Clock = time.monotonic) -> None:
        self._min_s, self._max_s, self._now = min_s, max_s, now
        self._wait_s = self._due_s = 0.0

    @property
    def remaining_s(self) -> float:
        """The seconds until the next try."""
        return max(0.0, self._due_s - self._now())

    def fail(self, max_s: float | None = None) -> float:
        """Double the wait, up to `max_s` if given, and return it in seconds."""
        longest_s = self._max_s if max_s is None else max_s
        self._wait_s = min(max(2 * self._wait_s, self._min_s), longest_s)
        self._due_s = self._now() + self._wait_s
        return self._wait_s

    def succeed(self, next_s: float = 0) -> None:
        """Forget the failures. The next try is in `next_s` seconds."""
        self._wait_s = 0.0
        self._due_s = self._now() + next_s

    def retry_now(self) -> None:
        """Make the next try due now. If it fails, the waits continue to double."""
        self._due_s = self._now()


class Restarts:
    """Which stalled replications to restart, each with a wait of its own.

    Parameters
    ----------
    min_s, max_s : float
        The wait after the first restart, and the longest wait.
    now : callable
        Seconds on a clock that never goes back.
    """

    def __init__(self, min_s: float, max_s: float, now: Clock = time.monotonic) -> None:
        self._min_s, self._max_s, self._now = min_s, max_s, now
        self._restarts: dict[str, _Restart] = {}

    def due(self, stalled: Collection[str]) -> set[str]:
        """Return the names of those to restart now, and count them as restarted."""
        now_s = self._now()
        self._restarts = {
            name: last
            for name, last in self._restarts.items()
            if name in stalled or now_s - last.stalled_s < max(MIN_STABLE_S, last.wait_s)
        }
        found = set()
        for name in stalled:
            last = self._restarts.get(name, _Restart(-math.inf, 0.0, now_s))
            if now_s - last.at_s >= last.wait_s:
                found.add(name)
                wait_s = min(max(2 * last.wait_s, self._min_s), self._max_s)
                self._restarts[name] = _Restart(now_s, wait_s, now_s)
            else:
                self._restarts[name] = replace(last, stalled_s=now_s)
        return found


@dataclass(frozen=True)
class _Restart:
    at_s: float
    wait_s: float
    stalled_s: float  # when the replication was last seen stalled
