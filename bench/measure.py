"""Contestants run in turn, and what their figures say together. Only `interleave` runs anything."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

# For each contestant its figure of each round.
Rounds = dict[str, list[float]]


@dataclass(frozen=True)
class Spread:
    """The middle of some figures, and the quartiles around it."""

    low: float
    median: float
    high: float


def interleave(
    contestants: Mapping[str, Callable[[], float]], rounds: int, say: Callable[[str], None]
) -> Rounds:
    """Run A, B, C, A, B, C, …: what slows the machine for a while then slows all of them.

    Parameters
    ----------
    contestants : mapping
        Each runs once, and returns its figure.
    say : callable
        Told how far it is.
    """
    figures: Rounds = {name: [] for name in contestants}
    for number in range(1, rounds + 1):
        for name, run in contestants.items():
            say(f"round {number} of {rounds}: {name}")
            figures[name].append(run())
    return figures


def spread(figures: Iterable[float]) -> Spread:
    """The median and the quartiles."""
    held = list(figures)
    return Spread(quantile(held, 0.25), statistics.median(held), quantile(held, 0.75))


def ratios(rounds: Rounds, of: str, to: str) -> Spread:
    """How one contestant did against another: in each round, then the middle of that.

    Two that ran one after the other met the same machine; two medians may come of different ones.
    """
    return spread(a / b for a, b in zip(rounds[of], rounds[to], strict=True))


def quantile(figures: Sequence[float], share: float) -> float:
    """The figure below which this share of all lies; between two of them, in proportion."""
    held = sorted(figures)
    place = share * (len(held) - 1)
    below = math.floor(place)
    above = min(below + 1, len(held) - 1)
    return held[below] + (held[above] - held[below]) * (place - below)
