"""A device's looks at the cloud: each answer of a cloud that is played."""

import re
from dataclasses import replace
from typing import Any

import pytest

from syncpoint_device import texts
from syncpoint_device.cloud import (
    CloudMonitor,
    CloudStatus,
    Registrations,
    fill_outbox,
    find_cloud,
    remove_outbox,
)
from syncpoint_device.errors import DeviceError, Revoked
from syncpoint_device.log import Problem
from syncpoint_device.status import status
from tests.kit.device.by_hand import Kit, MakeKit
from tests.kit.device.fake_cloud import NOT_FOUND, TOO_MANY, UNAUTHORIZED, UNAVAILABLE, FakeCloud
from tests.kit.device.gadget import is_gone
from tests.kit.device.profiles import PASSWORD, a_profile

HTML = (200, b"<html>Welcome to the hotel</html>")
OTHER_ANSWERS: list[tuple[int, Any]] = [
    UNAVAILABLE,
    TOO_MANY,
    NOT_FOUND,
    HTML,
    (500, b""),
    (200, b""),
    (302, b""),
    (302, {"error": "found", "reason": "elsewhere"}),
    (403, {"message": "Missing Authentication Token"}),
    (200, []),
    (200, "registrations"),
    (200, None),
    (200, {}),
    (200, {"syncpoint": None}),
    (200, {"syncpoint": "https://couch.example"}),
    (200, {"syncpoint": {"couchdb": "https://couch.example"}}),
    (200, b"[" * 100_000),
]


@pytest.fixture
def contact(kit: Kit) -> CloudMonitor:
    """What the agent of a device knows that is not active yet."""
    return CloudMonitor(kit.home, kit.say)


@pytest.fixture
def active(contact: CloudMonitor) -> CloudMonitor:
    """What the agent of an active device knows."""
    contact.is_active = True
    return contact


# Where the cloud is


def test_the_first_look_hears_where_the_cloud_is_and_keeps_it(
    make_kit: MakeKit, fake_cloud: FakeCloud
) -> None:
    kit = make_kit(registrations=fake_cloud.registrations_url)
    contact = CloudMonitor(kit.home, kit.say)
    assert contact.check(kit.device) is CloudStatus.CHANGED
    assert (kit.profile.cloud, kit.profile.control_db) == (fake_cloud.couch_url, "control")
    assert contact.check(kit.device) is CloudStatus.PENDING


def test_a_cloud_that_has_moved_is_followed(
    kit: Kit, active: CloudMonitor, fake_cloud: FakeCloud
) -> None:
    fake_cloud.couch = UNAVAILABLE
    moved = f"{fake_cloud.url}/moved"
    fake_cloud.said = {"couchdb": moved, "control_db": "other"}
    assert active.check(kit.device) is CloudStatus.CHANGED
    assert (kit.profile.cloud, kit.profile.control_db) == (moved, "other")
    assert PASSWORD not in kit.profile.cloud


def test_what_another_process_has_changed_in_the_file_stays(
    kit: Kit, active: CloudMonitor, fake_cloud: FakeCloud
) -> None:
    device = kit.device
    kit.home.update(lambda kept: replace(kept, doc={**kept.doc, "generation": 1}))
    fake_cloud.couch = UNAVAILABLE
    fake_cloud.said = {"couchdb": f"{fake_cloud.url}/moved", "control_db": "control"}
    active.check(device)
    assert kit.profile.doc["generation"] == 1


ODD_CLOUDS: list[Any] = [
    *("", "couch.example", "ftp://couch.example", "https://", "https://couch.example/"),
    *("https://ada@couch.example", "https://ada:pw@couch.example", "https://couch.example\\@x"),
    *("https://couch.example?x", "https://couch.example#x", "https://couch.example/a//b"),
    *("https://couch example", "https://couch.example\n", "https://ｃouch.example"),
    *("http://[.]", "http://couch.example:99999", None, 5, [], {}),
]


@pytest.mark.parametrize("odd", ODD_CLOUDS)
def test_a_cloud_at_no_plain_url_is_not_taken(
    kit: Kit, contact: CloudMonitor, fake_cloud: FakeCloud, odd: Any
) -> None:
    before = kit.profile
    fake_cloud.said = {"couchdb": odd, "control_db": "control"}
    contact.check(kit.device)
    contact.check(kit.device)
    [said] = [what for about, what in kit.said if about == "cloud"]
    assert "does not send its password there" in said
    assert kit.profile == before


@pytest.mark.parametrize("odd", ["", "Control", "a/b", "../a", "a?b", "_users", "é", None, 5, []])
def test_a_control_database_with_no_plain_name_is_not_taken(
    kit: Kit, contact: CloudMonitor, fake_cloud: FakeCloud, odd: Any
) -> None:
    before = kit.profile
    fake_cloud.said = {"couchdb": fake_cloud.couch_url, "control_db": odd}
    contact.check(kit.device)
    contact.check(kit.device)
    [said] = [what for about, what in kit.said if about == "cloud"]
    assert "does not send its password there" in said
    assert kit.profile == before


@pytest.mark.io
def test_a_registrations_behind_https_leads_to_no_cloud_without(fake_cloud: FakeCloud) -> None:
    registrations = Registrations(fake_cloud.registrations_url)
    profile = a_profile(registrations="https://sync.example.com/registrations")
    with pytest.raises(DeviceError, match="does not send its password there"):
        find_cloud(profile, registrations)
    fake_cloud.said = {"couchdb": "https://couch.example", "control_db": "control"}
    heard = find_cloud(profile, registrations)
    assert heard == replace(profile, cloud="https://couch.example", control_db="control")


# A registration on its way


@pytest.mark.parametrize(
    ("state", "part"),
    [
        ("new", "the cloud has it, and sends a mail with a link to {owner}"),
        ("confirming", "open the link in the mail to {owner}, and type the device code {code}"),
        ("confirmed", "confirmed; the cloud creates a login for this device"),
        ("expired", "nobody confirmed it in time; run `resend`"),
        ("undeliverable", "the mail did not arrive; if {owner} is right, run `resend`"),
        ("error", "the cloud could not process it: it gives no reason; run `resend` to try again"),
    ],
)
def test_each_state_of_a_registration_is_told_once(
    kit: Kit, contact: CloudMonitor, fake_cloud: FakeCloud, state: str, part: str
) -> None:
    fake_cloud.state = state
    assert [contact.check(kit.device) for _ in range(3)] == [CloudStatus.PENDING] * 3
    ((about, what),) = kit.said
    assert about == "registration"
    assert isinstance(what, Problem) is (state in ("expired", "undeliverable", "error"))
    assert part.format(owner=kit.profile.owner_address, code=kit.profile.doc["device_code"]) in what


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        ("error", "too many mails to this address; ask again after 2026-12-01.", True),
        ("error", "name {owner} is missing", True),
        ("error", "x" * 9000, True),
        ("error", "", False),
        ("error", 5, False),
        ("error", [], False),
        ("confirming", "none of an error", False),
    ],
)
def test_the_reason_of_a_failed_registration_is_told(
    kit: Kit, contact: CloudMonitor, fake_cloud: FakeCloud, state: str, reason: Any, told: bool
) -> None:
    fake_cloud.state, fake_cloud.reason = state, reason
    contact.check(kit.device)
    [(_, what)] = kit.said
    said = status(kit.device, kit.home)
    shown = str(reason).rstrip(".")[:200] if told else None
    assert said.get("registration_error") == shown
    assert [f": {shown}; run `resend`" in text for text in (what, texts.status(said))] == [told] * 2
    assert len(what) < 300


def test_an_owners_address_in_another_script_is_told_in_both_forms(
    make_kit: MakeKit, fake_cloud: FakeCloud
) -> None:
    kit = make_kit(owner="ada@b\u00fccher.example", registrations=fake_cloud.registrations_url)
    fake_cloud.state, contact = "confirming", CloudMonitor(kit.home, kit.say)
    assert contact.check(kit.device) is CloudStatus.CHANGED
    assert contact.check(kit.device) is CloudStatus.PENDING
    [what] = [what for about, what in kit.said if about == "registration"]
    assert "ada@b\u00fccher.example (ada@xn--bcher-kva.example)" in what


def test_each_change_of_state_is_told(
    kit: Kit, contact: CloudMonitor, fake_cloud: FakeCloud
) -> None:
    for state in ("new", "new", "confirming", "expired", "new"):
        fake_cloud.state = state
        contact.check(kit.device)
    assert len(kit.said) == 4


@pytest.mark.parametrize("state", ["limbo", "{", "{0}", "{owner.x}", "\x1b[2J", "", "\ud800"])
def test_a_state_that_nobody_knows_is_shown_as_it_is_and_does_no_harm(
    kit: Kit, contact: CloudMonitor, fake_cloud: FakeCloud, state: str
) -> None:
    fake_cloud.state = state
    assert contact.check(kit.device) is CloudStatus.PENDING
    assert all(what.isprintable() and what.isascii() for _, what in kit.said)


def test_an_active_registration_is_a_change(
    kit: Kit, contact: CloudMonitor, fake_cloud: FakeCloud
) -> None:
    fake_cloud.state = "active"
    assert contact.check(kit.device) is CloudStatus.CHANGED
    assert contact.is_active
    assert kit.said == [("registration", "confirmed; this device is active")]
    assert contact.check(kit.device) is CloudStatus.REACHED


def test_a_rejected_registration_is_the_end_with_what_to_do(
    kit: Kit, contact: CloudMonitor, fake_cloud: FakeCloud
) -> None:
    fake_cloud.state = "rejected"
    with pytest.raises(DeviceError, match="was rejected; run `unlink`, and then `register` again"):
        contact.check(kit.device)


def test_a_registrations_that_has_not_heard_of_it_is_asked_why_after_a_while(
    kit: Kit, contact: CloudMonitor, fake_cloud: FakeCloud
) -> None:
    """The replicator tells nobody that a document was refused."""
    assert contact.check(kit.device) is CloudStatus.PENDING
    assert [one for one in fake_cloud.asked if one.method == "POST"] == []
    assert contact.check(kit.device) is CloudStatus.PENDING
    (posted,) = [one for one in fake_cloud.asked if one.path == "/registrations/_bulk_docs"]
    (doc,) = posted.body["docs"]
    assert posted.body["new_edits"] is False
    assert doc.items() >= kit.profile.doc.items()
    generation, _, digest = doc["_rev"].partition("-")
    assert doc["_revisions"] == {"start": int(generation), "ids": [digest]}
    assert PASSWORD not in str(posted)
    assert posted.authorization is None


def test_what_the_registrations_refuses_is_the_end_with_its_reason(
    kit: Kit, contact: CloudMonitor, fake_cloud: FakeCloud
) -> None:
    row = {"id": kit.profile.device_id, "error": "forbidden", "reason": "name is too long"}
    fake_cloud.refusals = (201, [row])
    contact.check(kit.device)
    with pytest.raises(DeviceError, match="refused the registration: name is too long"):
        contact.check(kit.device)


@pytest.mark.parametrize(
    "refusals", [TOO_MANY, UNAVAILABLE, HTML, (201, {}), (201, {"a": 1}), (201, "no"), (201, ["a"])]
)
def test_a_registrations_that_does_not_say_why_is_asked_again(
    kit: Kit, contact: CloudMonitor, fake_cloud: FakeCloud, refusals: tuple[int, Any]
) -> None:
    fake_cloud.refusals = refusals
    assert contact.check(kit.device) is CloudStatus.PENDING
    assert contact.check(kit.device) is CloudStatus.UNREACHABLE
    fake_cloud.refusals = (201, [])
    assert contact.check(kit.device) is CloudStatus.RECOVERED


# A cloud that lets it in, or does not


def test_only_the_cloud_gets_the_devices_login_not_the_registrations(
    kit: Kit, active: CloudMonitor, fake_cloud: FakeCloud
) -> None:
    assert active.check(kit.device) is CloudStatus.REACHED
    (asked,) = fake_cloud.asked
    assert asked.path == f"/couch/control-{kit.profile.owner_id}"
    assert (asked.authorization or "").startswith("Basic ")
    fake_cloud.couch = UNAUTHORIZED
    fake_cloud.state = "active"
    active.check(kit.device)
    registrations = [one for one in fake_cloud.asked if one.path.startswith("/registrations")]
    assert registrations
    assert {one.authorization for one in registrations} == {None}
    assert kit.said[0][0] == "cloud"


@pytest.mark.parametrize("state", ["revoking", "revoked"])
@pytest.mark.parametrize("is_active", [True, False])
def test_a_device_that_is_let_in_no_more_and_was_revoked_is_told_so(
    kit: Kit, contact: CloudMonitor, fake_cloud: FakeCloud, state: str, is_active: bool
) -> None:
    contact.is_active = is_active
    fake_cloud.couch = UNAUTHORIZED
    fake_cloud.state = state
    with pytest.raises(Revoked):
        contact.check(kit.device)


def test_a_device_that_is_let_in_is_not_revoked_whatever_the_registrations_says(
    kit: Kit, active: CloudMonitor, fake_cloud: FakeCloud
) -> None:
    fake_cloud.state = "revoked"
    assert active.check(kit.device) is CloudStatus.REACHED


def test_a_device_that_is_not_let_in_and_not_revoked_goes_on_trying(
    kit: Kit, active: CloudMonitor, fake_cloud: FakeCloud
) -> None:
    """As a CouchDB does while it has not heard of a new login."""
    fake_cloud.couch = UNAUTHORIZED
    fake_cloud.state = "active"
    assert [active.check(kit.device) for _ in range(2)] == [CloudStatus.UNREACHABLE] * 2
    ((about, what),) = kit.said
    assert about == "cloud"
    assert "refuses this device's login" in what
    fake_cloud.couch = None
    assert [active.check(kit.device) for _ in range(2)] == [
        CloudStatus.RECOVERED,
        CloudStatus.REACHED,
    ]
    assert kit.said[1:] == [("cloud", "reached again")]


@pytest.mark.parametrize("answer", OTHER_ANSWERS)
def test_a_registrations_that_answers_anything_else_cannot_be_reached_for_now(
    kit: Kit, contact: CloudMonitor, fake_cloud: FakeCloud, answer: tuple[int, Any]
) -> None:
    before = kit.profile
    fake_cloud.registrations = answer
    assert [contact.check(kit.device) for _ in range(3)] == [CloudStatus.UNREACHABLE] * 3
    assert len(kit.said) == 1
    assert "trying again" in kit.said[0][1]
    assert kit.profile == before
    fake_cloud.registrations, fake_cloud.state = None, "new"
    assert contact.check(kit.device) is CloudStatus.RECOVERED


@pytest.mark.parametrize("answer", OTHER_ANSWERS)
def test_a_cloud_with_no_useful_answer_cannot_be_reached(
    kit: Kit, active: CloudMonitor, fake_cloud: FakeCloud, answer: tuple[int, Any]
) -> None:
    fake_cloud.registrations, fake_cloud.couch = answer, UNAVAILABLE
    assert active.check(kit.device) is CloudStatus.UNREACHABLE
    assert active.is_active
    [(about, what)] = kit.said
    assert about == "cloud"
    assert re.fullmatch(r"cannot be reached \(127\.0\.0\.1:\d+ .*\), trying again", what)


@pytest.mark.parametrize("answer", [(200, {}), (200, {"state": None}), (200, {"state": {}})])
def test_a_registrations_that_tells_no_state_cannot_be_reached_for_now(
    kit: Kit, contact: CloudMonitor, fake_cloud: FakeCloud, answer: tuple[int, Any]
) -> None:
    said = {"syncpoint": fake_cloud.said}
    fake_cloud.registrations = (answer[0], {**answer[1], **said})
    assert contact.check(kit.device) is CloudStatus.UNREACHABLE


def test_a_registrations_where_nobody_answers_cannot_be_reached(make_kit: MakeKit) -> None:
    kit = make_kit(registrations="http://127.0.0.1:9/registrations")
    assert CloudMonitor(kit.home, kit.say).check(kit.device) is CloudStatus.UNREACHABLE
    why = "nothing answers at 127.0.0.1:9"
    assert kit.said == [("cloud", f"cannot be reached ({why}), trying again")]


def test_an_outage_while_a_registration_waits_is_told_once_each_time(
    kit: Kit, contact: CloudMonitor, fake_cloud: FakeCloud
) -> None:
    fake_cloud.state = "confirming"
    for answer in (None, UNAVAILABLE, UNAVAILABLE, None, UNAVAILABLE):
        fake_cloud.registrations = answer
        contact.check(kit.device)
    assert [about for about, _ in kit.said] == ["registration", "cloud", "cloud", "cloud"]
    assert kit.said[2] == ("cloud", "reached again")


# The outbox


def test_the_registration_waits_in_the_outbox_once(kit: Kit) -> None:
    first = fill_outbox(kit.device)
    assert first.items() >= kit.profile.doc.items()
    assert fill_outbox(kit.device) == first
    assert kit.device.outbox.get(kit.profile.device_id) == first
    (doc,) = kit.replications()
    assert doc["target"] == {"url": kit.profile.registrations, "headers": {}}


def test_a_registration_that_is_asked_for_again_takes_the_place_of_the_first(kit: Kit) -> None:
    fill_outbox(kit.device)
    devices = []
    for generation in (1, 2):
        doc = {**kit.profile.doc, "generation": generation}
        kit.home.update(lambda kept, doc=doc: replace(kept, doc=doc))  # type: ignore[misc]
        devices.append(kit.device)
        assert fill_outbox(kit.device)["generation"] == generation
    assert fill_outbox(devices[0])["generation"] == 2
    assert len(kit.replications()) == 1


def test_nothing_is_left_of_the_outbox_when_the_registration_has_arrived(kit: Kit) -> None:
    fill_outbox(kit.device)
    remove_outbox(kit.device)
    assert kit.replications() == []
    assert is_gone(kit.device.outbox)
    remove_outbox(kit.device)
