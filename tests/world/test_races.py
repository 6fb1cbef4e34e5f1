"""A worker that is slower than what comes after it, at each of its requests; and then is hit."""

import random

import pytest

from tests.world.faults import Kind
from tests.world.races import RACES, failures, moments, requests

pytestmark = pytest.mark.slow

# To be killed before a request is to be killed after the one before it.
SHARES = {Kind.KILLED_AFTER: 1.0, Kind.UNAVAILABLE: 0.25}


def chosen(race: str, kind: Kind) -> list[tuple[int, int]]:
    """The moments that the gate tries; the same ones each time."""
    found = list(moments(race))
    return random.Random(f"{kind} {race}").sample(found, round(len(found) * SHARES[kind]))


@pytest.mark.parametrize("race", RACES)
def test_wherever_a_worker_stands_still_all_ends_well(race: str) -> None:
    found = {stop: failures(race, stop) for stop in range(len(requests(race)))}
    assert {stop: wrong for stop, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("race", RACES)
@pytest.mark.parametrize("kind", SHARES, ids=lambda kind: kind.name.lower())
def test_wherever_it_is_hit_after_that_all_ends_well(race: str, kind: Kind) -> None:
    found = {(stop, hit): failures(race, stop, hit, kind) for stop, hit in chosen(race, kind)}
    assert {moment: wrong for moment, wrong in found.items() if wrong} == {}
