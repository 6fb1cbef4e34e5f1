"""What is explored: in the gate, and by `python -m tests.model`, which takes minutes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.kit.fakes.executor import EagerExecutor
from tests.model.claim_notes import MARGIN_S
from tests.model.claim_world import ClaimWorld
from tests.model.explorer import Bounds, Explorer, World
from tests.model.poller_notes import PAGE_SIZE
from tests.model.poller_world import PollerWorld
from tests.model.rate_limiter_world import RateLimiterWorld
from tests.model.scheduler import Scheduler


@dataclass(frozen=True)
class Case:
    """A world, and how far it is explored."""

    name: str
    world: Callable[..., World]
    options: dict[str, Any]
    bounds: Bounds

    def explore(self) -> Explorer:
        """Visit every state. Raises `Violation`."""
        scheduler = Scheduler()
        return Explorer(self.world(scheduler, **self.options), scheduler, self.bounds).explore()


# One clock as far ahead of the other as is borne, to the second.
AHEAD = (MARGIN_S // 2, -MARGIN_S // 2)
BEHIND = (-MARGIN_S // 2, MARGIN_S // 2)


def claims(name: str, bounds: Bounds, **options: Any) -> Case:
    return Case(f"claim, {name}", ClaimWorld, options, bounds)


def rate_limiter(name: str, bounds: Bounds, **options: Any) -> Case:
    return Case(f"rate_limiter, {name}", RateLimiterWorld, options, bounds)


def poller(name: str, bounds: Bounds, **options: Any) -> Case:
    return Case(f"poller, {name}", PollerWorld, options, bounds)


TWICE = Bounds(rounds=2)
# Two pollers of databases that do not change.
TWO: dict[str, Any] = {"docs": 2, "stops_at_reads": False}
ONE: dict[str, Any] = {"skews": (0,), "jumps": 0}
READS_AHEAD: dict[str, Any] = {"executor": EagerExecutor()}

POLLERS = [
    poller("2, the lease stolen", Bounds(), **TWO),
    poller("2, one clock fast", Bounds(), **TWO, skews=(0, 120), jumps=0),
    poller("killed", Bounds(rounds=2, crashes=2), skews=(0,), jumps=2),
    poller("a fault", Bounds(rounds=2, faults=1), **ONE),
    *(
        poller(f"a change, {docs} documents", TWICE, **ONE, docs=docs, edits=1)
        for docs in (PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1)
    ),
    poller(
        "a change, reading ahead",
        TWICE,
        **ONE,
        docs=PAGE_SIZE + 1,
        edits=1,
        **READS_AHEAD,
    ),
    poller("a change in its window", Bounds(), **ONE, edits=1, window_s=20),
]

GATE = [
    claims("2 workers, a crash", Bounds(rounds=2, crashes=1)),
    claims("2 workers, a fault", Bounds(faults=1)),
    claims("2 workers, an edit", Bounds(), edits=1),
    claims("2 workers, first clock ahead", Bounds(crashes=1), skews=AHEAD),
    claims("2 workers, first clock behind", Bounds(crashes=1), skews=BEHIND),
    claims("2 workers that stall", Bounds(), may_stall=True, jumps=2),
    claims("3 workers", Bounds(), skews=(0, 0, 0)),
    rate_limiter("2 keys, 1 place", Bounds(rounds=2, crashes=1, faults=1), keys=2),
    rate_limiter("3 keys, 1 place", Bounds(rounds=2, faults=1), keys=3),
    rate_limiter("3 keys, 2 places", Bounds(crashes=1), keys=3, limit=2),
    rate_limiter("3 who write first", Bounds(crashes=1), keys=3, limit=2, is_likely_first=True),
]

FULL = [
    poller("2, the lease stolen, killed", Bounds(crashes=1), **TWO, jumps=2),
    poller("2, one clock fast, killed", Bounds(crashes=1), **TWO, skews=(0, 120)),
    poller("2 faults", Bounds(rounds=2, faults=2), **ONE),
    poller("killed, a fault", Bounds(rounds=2, crashes=1, faults=1), skews=(0,)),
    poller("2 changes", TWICE, **ONE, docs=2, edits=2),
    poller("2 changes, reading ahead", TWICE, **ONE, docs=3, edits=2, **READS_AHEAD),
    poller("a change and a fault", Bounds(rounds=2, faults=1), **ONE, edits=1),
    claims("2 workers", Bounds(rounds=2, crashes=2), jumps=2),
    claims("2 workers, faults", Bounds(rounds=2, crashes=1, faults=1)),
    claims("2 workers, 2 faults", Bounds(crashes=1, faults=2), jumps=2),
    claims("2 workers, edits", Bounds(crashes=1, faults=1), edits=1),
    claims("2 workers, first clock ahead", Bounds(rounds=2, crashes=1), skews=AHEAD, jumps=2),
    claims("2 workers, first clock behind", Bounds(rounds=2, crashes=1), skews=BEHIND, jumps=2),
    claims("2 workers that stall", Bounds(rounds=2, crashes=1), may_stall=True, jumps=2),
    claims("3 workers", Bounds(crashes=2), skews=(0, 0, 0), jumps=2),
    claims("3 workers, a fault", Bounds(faults=1), skews=(0, 0, 0)),
    claims("3 workers, twice", Bounds(rounds=2), skews=(0, 0, 0)),
    claims("3 workers, clocks apart", Bounds(crashes=1), skews=(*AHEAD, 0), jumps=2),
    rate_limiter("3 keys, 2 places", Bounds(rounds=2, crashes=1, faults=1), keys=3, limit=2),
    rate_limiter("4 keys, 2 places", Bounds(crashes=1), keys=4, limit=2),
]
