"""What a person reads after each command."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.documents import JsonDict
from syncpoint_device import texts
from syncpoint_device.registration import _CODE_LETTERS

CODE = "DK5Q-SHRD"
STATUS: JsonDict = {
    "device": "device-1",
    "name": "Ada's phone",
    "owner": "ada@example.com",
    "registration": "active",
    "cloud": {"url": "https://couch.example"},
    "devices": [],
    "channels": [],
    "invitations": [],
    "replications": [],
}
CHANNEL: JsonDict = {"channel": "channel-1", "name": "Photos", "state": "ready", "database": "db-1"}


def lines(**changes: Any) -> list[str]:
    return texts.status({**STATUS, **changes}).splitlines()


def channel_line(**changes: Any) -> str:
    (line,) = [text for text in lines(channels=[{**CHANNEL, **changes}]) if "“" in text]
    return line


# Commands


def test_after_register_the_device_code_is_shown_large_and_plain() -> None:
    said = texts.registered(
        {"device_code": CODE, "owner": "ada@example.com"}, "python -m syncpoint_device run"
    )
    large, _, plain = said.partition(f"The device code is {CODE}.")
    assert len([line for line in large.splitlines() if line.strip()]) >= 5
    assert "The cloud sends a mail to ada@example.com" in plain
    assert plain.endswith("\n\n  python -m syncpoint_device run")
    assert CODE not in large


@given(st.from_regex(f"[{_CODE_LETTERS}]{{4}}-[{_CODE_LETTERS}]{{4}}", fullmatch=True))
def test_a_large_code_is_one_row_of_letters_on_a_screen_of_80_columns(code: str) -> None:
    said = texts.registered({"device_code": code, "owner": "ada@example.com"}, "run")
    large = said.partition("The device code")[0].strip("\n").splitlines()
    assert len(large) <= 7
    assert max(len(line.rstrip()) for line in large) <= 80
    assert said.isascii()


def test_after_resend_the_address_and_the_same_code_are_told() -> None:
    said = texts.resent({"owner": "ada@example.com", "device_code": CODE, "sent": True})
    assert (
        said == f"The cloud sends another mail to ada@example.com. The device code is still {CODE}."
    )


def test_after_resend_without_a_network_it_is_told_when_the_mail_goes() -> None:
    said = texts.resent({"owner": "ada@example.com", "device_code": CODE, "sent": False})
    assert "as soon as this device has a network" in said


def test_after_channel_create_its_id_and_its_database_are_told() -> None:
    said = texts.created({"name": "Photos", "channel": "channel-1", "database": "db-1"})
    assert "“Photos” is created. Its id is channel-1." in said
    assert "db-1, accepts documents now" in said


def test_after_channel_invite_the_address_is_told() -> None:
    assert texts.invited({"email": "ben@example.com"}) == (
        "The cloud sends an invitation to ben@example.com by mail."
    )


def test_an_address_of_another_script_is_shown_in_both_forms() -> None:
    address = "ada@b\u00fccher.example"
    shown = f"{address} (ada@xn--bcher-kva.example)"
    result = {"owner": address, "email": address, "device_code": CODE, "sent": True}
    said = [texts.registered(result, "run"), texts.resent(result), texts.invited(result)]
    invitation = {"email": address, "name": "Photos", "state": "sent"}
    said += lines(owner=address)[1:2]
    said += lines(invitations=[invitation])[-2:-1]
    assert [text for text in said if shown not in text] == []


@pytest.mark.parametrize("state", ["active", "paused", "stopped"])
def test_after_subscription_its_state_is_told_and_that_it_is_everywhere(state: str) -> None:
    said = texts.changed({"name": "Photos", "state": state, "purged": False})
    assert said == f"Channel “Photos” is {state} on all devices of its owner."


def test_after_couch_it_is_told_where_and_by_whom_the_replications_change() -> None:
    said = {"couch": "http://127.0.0.1:5984", "login": "syncpoint-device-1", "running": True}
    assert texts.couch_changed(said) == (
        "The agent uses http://127.0.0.1:5984 with the login syncpoint-device-1. "
        "The running agent changes the replications, too."
    )
    alone = texts.couch_changed({**said, "login": None, "running": False})
    assert alone.startswith("The agent uses http://127.0.0.1:5984. This has changed")


def test_what_an_unlink_left_is_listed_with_what_would_be_lost() -> None:
    row = {"database": "db-1", "documents": 2, "reason": "no network", "deleted": False}
    assert texts.cleaned({"databases": []}) == "No earlier device left a database here."
    told = texts.cleaned({"databases": [row, {**row, "documents": 0}, {**row, "deleted": True}]})
    assert told.splitlines() == [
        "db-1: 2 documents may be on this device only (no network)",
        "db-1: nothing would be lost; `clean db-1` deletes it",
        "db-1: deleted",
    ]


def test_a_purged_copy_is_told() -> None:
    said = texts.changed({"name": "Photos", "state": "stopped", "purged": True})
    assert said.endswith("of its owner. The copy on this device is deleted.")


@pytest.mark.parametrize(
    ("revoked", "known", "purged", "expected"),
    [
        (True, True, False, "This device is unlinked and revoked. Its data stays here."),
        (True, True, True, "This device is unlinked and revoked. Its databases are deleted."),
        (False, False, False, "The cloud never received its registration. Its data stays here."),
        (False, True, False, "ignore the mail with its link. Its data stays here."),
        (False, None, True, "Run `revoke device-1` on another device. Its databases are deleted."),
    ],
)
def test_after_unlink_it_is_told_what_is_left(
    revoked: bool, known: bool | None, purged: bool, expected: str
) -> None:
    said = {"device": "device-1", "revoked": revoked, "known": known, "purged": purged}
    assert texts.unlinked(said).endswith(expected)


def test_after_revoke_it_is_told_whom_it_concerns() -> None:
    assert texts.revoked({"device": "device-1", "name": "Ada's phone"}).startswith(
        "“Ada's phone” is"
    )


UNDONE: JsonDict = {"document": "channel-1", "undone": True, "in_cloud": True, "kept": ["/h/a"]}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "“channel-1” is as in the cloud again. What was refused is kept in /h/a."),
        ({"kept": []}, "“channel-1” is as in the cloud again."),
        (
            {"in_cloud": False, "kept": ["/h/a", "/h/b"]},
            "“channel-1” is deleted on this device, because the cloud does not have it. "
            "What was refused is kept in /h/a and /h/b.",
        ),
        (
            {"undone": False, "kept": []},
            "The cloud has not refused “channel-1”, so there is nothing to undo.",
        ),
    ],
)
def test_after_undo_it_is_told_what_became_of_the_document(
    changes: JsonDict, expected: str
) -> None:
    assert texts.undone({**UNDONE, **changes}) == expected


@pytest.mark.parametrize(
    ("doc_id", "command"),
    [
        ("channel-1", "`undo channel-1`"),
        ("a b's", """`undo 'a b'"'"'s'`"""),
        ("-x", "`undo -- -x`"),
        ("x" * 2000, "`undo`"),
    ],
)
def test_a_refusal_ends_with_a_command_that_can_be_typed(doc_id: str, command: str) -> None:
    said = texts.refused(doc_id, "name is missing.")
    assert said.endswith(f": name is missing. Run {command} to bring the cloud's version back")
    assert len(said) < 1000


@given(st.text())
def test_what_is_printed_is_one_line_that_a_terminal_does_not_obey(text: str) -> None:
    said = texts.printable(text)
    assert len(said.splitlines()) <= 1
    assert not {unicodedata.category(c) for c in said} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(said) & set("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2069")
    assert texts.printable(said) == said


@pytest.mark.parametrize("name", ["Fähre ⛴", "🇩🇪", "👨‍👩‍👧", "می‌خواهم", "C:\\Users"])
def test_ordinary_names_are_printed_as_they_are(name: str) -> None:
    assert texts.printable(name) == name


# Status


def test_what_was_refused_is_listed_with_the_reason_and_the_command() -> None:
    said = lines(refused=[{"document": "channel-1", "reason": "name is missing"}])
    expected = "channel-1: name is missing. Run `undo channel-1` to bring the cloud's version back"
    assert f"refused       {expected}" in said


def test_a_status_tells_device_owner_registration_and_cloud() -> None:
    assert lines() == [
        "device        Ada's phone, device-1",
        "owner         ada@example.com",
        "registration  active",
        "cloud         https://couch.example",
        "replications  0 running, 0 stalled",
    ]


def test_a_registration_that_cannot_be_told_is_told_to_be_so() -> None:
    assert "registration  unknown while the cloud is unreachable" in lines(registration=None)


def test_the_device_code_is_there_while_it_is_needed() -> None:
    assert f"device code   {CODE}" in lines(registration="confirming", device_code=CODE)
    assert not [line for line in lines() if line.startswith("device code")]


def test_a_cloud_is_its_problem_or_its_url_or_not_heard_of() -> None:
    problem = {"url": "https://couch.example", "problem": "cannot be reached: later"}
    assert "cloud         cannot be reached: later" in lines(cloud=problem)
    assert "cloud         not reached yet" in lines(cloud={})


@pytest.mark.parametrize(
    ("comparison", "expected"),
    [
        ({"to_send": 0, "to_receive": 0}, "in sync with the cloud"),
        ({"to_send": 2, "to_receive": 0}, "2 to send"),
        ({"to_send": 0, "to_receive": 3}, "3 to receive"),
        ({"to_send": 2, "to_receive": 3}, "2 to send, 3 to receive"),
        ({"to_send": 1001, "to_receive": 0}, "1001 to send"),
        ({"problem": "later"}, "cannot be compared with the cloud: later"),
    ],
)
def test_what_is_behind_is_told_of_the_control_database_and_of_each_channel(
    comparison: JsonDict, expected: str
) -> None:
    control = next(line for line in lines(control=comparison) if line.startswith("control"))
    assert control.startswith(f"control       {expected}")
    assert f"(channel-1), ready, {expected}" in channel_line(**comparison)


def test_the_owners_other_devices_are_told_with_what_revoke_wants() -> None:
    said = lines(devices=[{"device": "device-2", "name": "Tablet", "state": "active"}])
    assert said[-2] == "other device  Tablet, device-2, active"


def test_a_channel_alone_is_its_name_and_its_state() -> None:
    assert channel_line() == "channel       “Photos” (channel-1), ready, local database db-1"


def test_a_channels_subscription_is_told_with_its_reason() -> None:
    assert channel_line(subscription="paused").endswith(
        "ready, subscription paused, local database db-1"
    )
    said = channel_line(subscription="stopped", reason="you are no longer a member")
    assert "subscription stopped (you are no longer a member)" in said


def test_a_channels_error_is_told_and_not_its_subscription() -> None:
    said = channel_line(state="error", error="name is missing", subscription="active")
    assert said == "channel       “Photos” (channel-1), error, name is missing, local database db-1"


def test_an_invitation_is_told_with_its_state_and_what_is_wrong_with_it() -> None:
    one = {"email": "ben@example.com", "name": "Photos", "state": "declined"}
    said = lines(invitations=[one, {**one, "state": "error", "error": "the mail came back"}])
    assert said[-3:-1] == [
        "invitation    ben@example.com to “Photos”, declined",
        "invitation    ben@example.com to “Photos”, error: the mail came back",
    ]


def test_replications_are_counted_and_stalled_ones_are_listed_with_reasons() -> None:
    running = {"of": "a", "from": "http://h/a", "to": "https://c/a", "state": "x", "stalled": False}
    one = {**running, "state": "error", "stalled": True}
    said = lines(replications=[running, running, one, {**one, "reason": "no such host"}])
    assert said[-3:] == [
        "replications  2 running, 2 stalled",
        "              http://h/a → https://c/a: error",
        "              http://h/a → https://c/a: error: no such host",
    ]


def test_every_channel_has_a_line_that_tells_it_from_others_of_its_name() -> None:
    said = lines(channels=[CHANNEL, {**CHANNEL, "channel": "channel-2"}])
    assert [line for line in said if "channel-2" in line] != []
    assert len({line for line in said if line.startswith("channel")}) == 2
