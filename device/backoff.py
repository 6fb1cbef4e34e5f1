"""When to try again: at once, then after twice as long each time. No I/O."""

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace


class BackOff:
    """The time of the next try.

    Parameters
    ----------
    min_s, max_s : float
        How long to wait after the first failure, and at the most.
    now : callable
        Seconds on a clock that never goes back.
    """

    def __init__(
        self, min_s: float, max_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._min_s, self._max_s, self._now = min_s, max_s, now
        self._wait_s = self._due_s = 0.0

    @property
    def remaining_s(self) -> float:
        """How many seconds are left until it is time to try."""
        return max(0.0, self._due_s - self._now())

    def fail(self, max_s: float | None = None) -> float:
        """Wait longer than the last time; for how many seconds is returned."""
        longest_s = self._max_s if max_s is None else max_s
        self._wait_s = min(max(2 * self._wait_s, self._min_s), longest_s)
        self._due_s = self._now() + self._wait_s
        return self._wait_s

    def succeed(self, next_s: float = 0) -> None:
        """All is well: look again in so many seconds."""
        self._wait_s = 0.0
        self._due_s = self._now() + next_s

    def hasten(self) -> None:
        """Something happened: try now, and go on as before if it fails."""
        self._due_s = self._now()


# For so long, and for as long as the last wait, one must not stand to count as mended: a server
# that tries by itself shows one as running that will stand again in a moment.
CALM_S = 60.0


class Restarts:
    """What is known of the replications that stood lately.

    Parameters
    ----------
    min_s, max_s : float
        How long to wait after the first beginning, and at the most.
    now : callable
        Seconds on a clock that never goes back.
    """

    def __init__(
        self, min_s: float, max_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._min_s, self._max_s, self._now = min_s, max_s, now
        self._tries: dict[str, _Try] = {}

    def due(self, standing: Collection[str]) -> set[str]:
        """Of these, those to begin anew now; they count as begun."""
        now_s = self._now()
        self._tries = {
            name: last
            for name, last in self._tries.items()
            if name in standing or now_s - last.seen_s < max(CALM_S, last.wait_s)
        }
        found = set()
        for name in standing:
            last = self._tries.get(name, _Try(-math.inf, 0.0, now_s))
            if now_s - last.begun_s >= last.wait_s:
                found.add(name)
                wait_s = min(max(2 * last.wait_s, self._min_s), self._max_s)
                self._tries[name] = _Try(now_s, wait_s, now_s)
            else:
                self._tries[name] = replace(last, seen_s=now_s)
        return found


@dataclass(frozen=True)
class _Try:
    begun_s: float
    wait_s: float
    seen_s: float  # when it last stood
