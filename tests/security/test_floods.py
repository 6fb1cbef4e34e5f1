"""One owner's flood: it neither delays the others, nor costs without bound."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from bench import fair
from chalicelib.domain.names import channel_db
from chalicelib.handlers.channel_quota import count_channel
from tests.kit.basics import FakeClock
from tests.kit.cloud.access import exists
from tests.kit.cloud.site import with_settings
from tests.kit.cloud.steps import Owner, Steps
from tests.world.busy import SHIPPED_POLLER, BusyCloud, limits
from tests.world.region import SCHEDULE_S
from tests.world.world import World

HOUR_S, DAY_S = 3600, 24 * 3600
NEW = {"type": "channel", "state": "new", "name": "Photos"}


# The others, in virtual time.


@pytest.fixture(scope="module")
def town() -> Iterator[tuple[World, list[str]]]:
    """A world with a hostile owner and some quiet ones."""
    with contextlib.redirect_stdout(io.StringIO()):  # metrics
        yield fair.town(4)


@pytest.mark.parametrize("what", fair.CASES)
def test_others_wait_at_most_twice_as_long_beside_a_flood(
    town: tuple[World, list[str]], what: str
) -> None:
    (world, owners), case = town, fair.CASES[what]
    idle = fair.waits_s(world.copy(), owners, case, is_flooded=False)
    beside = fair.waits_s(world.copy(), owners, case, is_flooded=True)
    assert len(beside) == len(owners)
    assert max(beside) <= fair.GOAL * max(idle)


def test_a_batch_is_one_message_so_that_nobody_waits_for_nine_of_another_owner() -> None:
    assert {batch for batch, _ in limits().values()} == {1}


@pytest.mark.slow
def test_ten_thousand_documents_of_one_owner_cause_so_many_runs_a_minute(
    town: tuple[World, list[str]],
) -> None:
    world, minutes, most = town[0].copy(), 2, 100
    cloud = BusyCloud(world, poller=replace(SHIPPED_POLLER, max_messages=most))
    cloud.timeline.start(partial(fair.Flood(channels=10_000).pour, world), 1.0)
    cloud.run(partial(cloud.timeline.sleep, minutes * SCHEDULE_S))
    assert (minutes - 1) * most < len(world.received) <= minutes * most


# New channels, each of which is a database.


@pytest.fixture
def few(steps: Steps) -> Steps:
    """A cloud that makes three channels of an owner an hour, and five a day."""
    with_settings(steps, channels_per_owner_hour=3, channels_per_owner_day=5)
    return steps


def states(ada: Owner, *numbers: int) -> list[str]:
    """Ask for channels, one after another; what became of them."""
    return [ada.channel(f"channel-{number}")["state"] for number in numbers]


def test_an_owner_makes_so_many_channels_an_hour_and_so_many_a_day(
    few: Steps, ada: Owner, clock: FakeClock
) -> None:  # the fixture has made one
    assert states(ada, 1, 2, 3, 4) == ["ready", "ready", "error", "error"]
    clock.move(HOUR_S)
    assert states(ada, 5, 6, 7) == ["ready", "ready", "error"]
    clock.move(DAY_S)
    assert states(ada, 8) == ["ready"]


def test_a_refused_channel_has_no_database_says_when_and_is_made_then(
    few: Steps, ada: Owner, clock: FakeClock
) -> None:
    ada.channel("channel-1")
    ada.channel("channel-2")
    refused = ada.channel("channel-3")
    assert refused["error"]["reason"] == (
        "too many new channels for this owner; set the state to new again after"
        " 2026-11-23T07:00:00Z"
    )
    assert "syncpoint" not in refused
    clock.move(HOUR_S)
    ada.edit("channel-3", state="new")
    assert ada.after("channel-3")["state"] == "ready"


def test_a_refused_channel_has_no_database(few: Steps, ada: Owner) -> None:
    states(ada, 1, 2, 3)
    assert exists(few.context.server.database(channel_db(ada.id, "channel-2")))
    assert not exists(few.context.server.database(channel_db(ada.id, "channel-3")))


def test_a_refused_channel_can_be_closed(few: Steps, ada: Owner) -> None:
    states(ada, 1, 2, 3)
    ada.edit("channel-3", state="closing")
    assert ada.after("channel-3")["state"] == "closed"


def test_a_channel_that_is_closed_and_made_again_counts_each_time(few: Steps, ada: Owner) -> None:
    made = []
    for _ in range(5):
        made.append(ada.channel("channel-1")["state"])
        ada.edit("channel-1", state="closing")
        closed = ada.after("channel-1")
        ada.control.remove(closed)
    assert made == ["ready", "ready", "error", "error", "error"]


def test_a_run_that_is_repeated_counts_once(few: Steps, ada: Owner) -> None:
    doc = ada.put({"_id": "channel-1", **NEW})
    for _ in range(5):
        count_channel(few.context.at(ada.control.name), doc)
    assert states(ada, 2) == ["ready"]


def test_another_owner_has_channels_of_their_own(few: Steps, ada: Owner, ben: Owner) -> None:
    states(ada, 1, 2, 3)
    assert states(ben, 4) == ["ready"]
