"""What the faults, the races and the random worlds have found, each as a story of its own."""

import re

import pytest

from tests.world.faults import Kind
from tests.world.gate import Gate, Meets, Process
from tests.world.looks import leftovers
from tests.world.races import failures, requests
from tests.world.rules import broken
from tests.world.story import PHONE
from tests.world.world import World


def after(request: str, kind: Kind) -> Meets:
    """A fault for what a process asks next after a request."""
    is_next = False

    def meets(process: Process, name: str) -> Kind | None:
        nonlocal is_next
        found, is_next = is_next, name == request
        return kind if found else None

    return meets


@pytest.mark.parametrize("kind", [Kind.FAILED, Kind.THROTTLED, Kind.TIMED_OUT, Kind.RESET])
def test_a_mail_goes_out_once_though_its_claim_cannot_be_finished(kind: Kind) -> None:
    world = World.new()
    world.register(PHONE)
    world.gate = Gate(after("sesv2.SendEmail", kind))
    world.run_until_quiet()
    assert world.doc(PHONE.device_id)["state"] == "confirming"
    assert len(world.mails()) == 1
    assert [*broken(world), *leftovers(world)] == []


def wrong_after(race: str, stop: str, kind: Kind | None) -> list[str]:
    """What is wrong in the end if a worker stands still before a request, and is hit at it."""
    [number] = [n for n, name in enumerate(requests(race)) if re.fullmatch(stop, name)]
    return failures(race, number, number, kind)


LOGIN = r"couchdb.PUT /_users/.*"
SHOWN_DEVICE = r"couchdb.PUT /control-\w{32}/device-\w*"
DATABASE = r"couchdb.PUT /db-\w*"
RIGHTS = r"couchdb.PUT /db-\w*/_security"
RIGHTS_READ = r"couchdb.GET /db-\w*/_security"
GUESTS = r"couchdb.PUT /control-\w{32}"
SHARED = r"couchdb.PUT /control-\w{32}/db-\w{32}"


def test_a_login_that_a_killed_worker_made_for_a_revoked_device_goes() -> None:
    assert wrong_after("a device is revoked while it is activated", LOGIN, Kind.KILLED_AFTER) == []


def test_a_device_that_was_revoked_before_it_was_shown_is_not_shown_as_active() -> None:
    assert wrong_after("a device is revoked while it is activated", SHOWN_DEVICE, None) == []


@pytest.mark.parametrize("kind", [Kind.KILLED_AFTER, Kind.ANSWER_LOST])
def test_a_database_that_was_made_for_a_closed_channel_goes(kind: Kind) -> None:
    assert wrong_after("a channel is closed while it is made", DATABASE, kind) == []


def test_a_killed_worker_leaves_no_old_name_in_a_new_channel() -> None:
    race = "a channel is renamed while it is made"
    asked = requests(race)
    [stop] = [n for n, name in enumerate(asked) if re.fullmatch(DATABASE, name)]
    for hit in range(stop, len(asked) + 1):
        assert failures(race, stop, hit, Kind.KILLED_AFTER) == []


@pytest.mark.parametrize("kind", [Kind.KILLED_AFTER, Kind.ANSWER_LOST])
def test_a_guest_who_was_removed_keeps_no_rights_by_a_late_write(kind: Kind) -> None:
    assert wrong_after("a guest is removed while they accept", RIGHTS, kind) == []


def test_of_two_guests_who_accept_at_once_neither_loses_the_subscription() -> None:
    assert wrong_after("another guest accepts at the same time", RIGHTS_READ, None) == []


def test_a_guest_who_accepts_during_a_renaming_sees_the_new_name() -> None:
    assert wrong_after("a channel is renamed while a guest accepts", SHARED, None) == []


def test_a_guests_database_is_completed_when_the_channel_closes_meanwhile() -> None:
    race = "a channel is closed while a guest accepts"
    assert wrong_after(race, GUESTS, Kind.KILLED_AFTER) == []
