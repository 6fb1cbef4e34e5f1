"""Run contestants in turn, and sum up their figures."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

# For each contestant, its figure of each round.
Rounds = dict[str, list[float]]


class Spread(NamedTuple):
    """The median of some figures between their quartiles."""

    low: float
    median: float
    high: float

    def shown(self, digits: int = 0) -> str:
        """Write the median and the quartiles: ``9,800 (9,500–10,100)``."""
        low, median, high = (f"{value:,.{digits}f}" for value in self)
        return f"{median} ({low}–{high})"


def interleave(
    contestants: Mapping[str, Callable[[], float]], rounds: int, say: Callable[[str], None]
) -> Rounds:
    """Run A, B, C, A, B, C, …, so that whatever slows the machine slows all of them."""
    figures: Rounds = {name: [] for name in contestants}
    for number in range(1, rounds + 1):
        for name, run in contestants.items():
            say(f"round {number} of {rounds}: {name}")
            figures[name].append(run())
    return figures


def spread(figures: Iterable[float]) -> Spread:
    """Compute the median and the quartiles."""
    held = list(figures)
    return Spread(*(quantile(held, share) for share in (0.25, 0.5, 0.75)))


def ratios(rounds: Rounds, of: str, to: str) -> Spread:
    """Compare one contestant with another in each round; compute the spread of these ratios.

    Two that ran one after the other met the same machine; two medians may come from different ones.
    """
    return spread(a / b for a, b in zip(rounds[of], rounds[to], strict=True))


def quantile(figures: Iterable[float], share: float) -> float:
    """Find the figure below which this share of all lies, interpolated between two of them."""
    held = sorted(figures)
    place = share * (len(held) - 1)
    below = math.floor(place)
    above = min(below + 1, len(held) - 1)
    return held[below] + (held[above] - held[below]) * (place - below)
