"""What a person reads after each command."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.couch import JsonDict
from device import texts
from device.behind import MOST
from device.registration import _CODE_LETTERS

CODE = "DK5Q-SHRD"
STATUS: JsonDict = {
    "device": "device-1",
    "name": "Ada's phone",
    "owner": "ada@example.com",
    "registration": "active",
    "cloud": {"url": "https://couch.example"},
    "channels": [],
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
    said = texts.registered({"device_code": CODE, "owner": "ada@example.com"})
    large, _, plain = said.partition(f"The device code is {CODE}.")
    assert len([line for line in large.splitlines() if line.strip()]) >= 5
    assert "A mail goes to ada@example.com" in plain
    assert CODE not in large


@given(st.from_regex(f"[{_CODE_LETTERS}]{{4}}-[{_CODE_LETTERS}]{{4}}", fullmatch=True))
def test_a_large_code_is_one_row_of_letters_on_a_screen_of_80_columns(code: str) -> None:
    said = texts.registered({"device_code": code, "owner": "ada@example.com"})
    large = said.partition("The device code")[0].strip("\n").splitlines()
    assert len(large) <= 7
    assert max(len(line.rstrip()) for line in large) <= 80
    assert said.isascii()


def test_after_resend_the_address_and_the_same_code_are_told() -> None:
    said = texts.resent({"owner": "ada@example.com", "device_code": CODE})
    assert said == f"Another mail goes to ada@example.com; the device code is {CODE}."


def test_after_channel_create_its_id_and_its_database_are_told() -> None:
    said = texts.created({"name": "Photos", "channel": "channel-1", "database": "db-1"})
    assert "“Photos” is channel-1" in said
    assert "db-1, takes documents already" in said


def test_after_channel_invite_the_address_is_told() -> None:
    assert texts.invited({"email": "ben@example.com"}) == (
        "An invitation goes to ben@example.com, by mail."
    )


@pytest.mark.parametrize("state", ["active", "paused", "stopped"])
def test_after_subscription_its_state_is_told_and_that_it_is_everywhere(state: str) -> None:
    said = texts.changed({"name": "Photos", "state": state, "purged": False})
    assert said == f"Channel “Photos” is {state}, on all devices of its owner."


def test_a_purged_copy_is_told() -> None:
    said = texts.changed({"name": "Photos", "state": "stopped", "purged": True})
    assert said.endswith("of its owner; its copy here is deleted.")


@pytest.mark.parametrize(
    ("revoked", "purged", "expected"),
    [
        (True, False, "This device is revoked and forgotten. Its data stays here."),
        (True, True, "This device is revoked and forgotten. Its databases are deleted."),
        (False, False, "The cloud was not told: revoke device-1 elsewhere. Its data stays here."),
        (False, True, "revoke device-1 elsewhere. Its databases are deleted."),
    ],
)
def test_after_unlink_it_is_told_what_is_left(revoked: bool, purged: bool, expected: str) -> None:
    said = texts.unlinked({"device": "device-1", "revoked": revoked, "purged": purged})
    assert said.endswith(expected)


# Status


def test_a_status_tells_device_owner_registration_and_cloud() -> None:
    assert lines() == [
        "device        Ada's phone, device-1",
        "owner         ada@example.com",
        "registration  active",
        "cloud         https://couch.example",
    ]


def test_a_registration_that_cannot_be_told_is_told_to_be_so() -> None:
    assert "registration  cannot be told now" in lines(registration=None)


def test_the_device_code_is_there_while_it_is_needed() -> None:
    assert f"device code   {CODE}" in lines(registration="confirming", device_code=CODE)
    assert not [line for line in lines() if line.startswith("device code")]


def test_a_cloud_is_its_problem_or_its_url_or_not_heard_of() -> None:
    problem = {"url": "https://couch.example", "problem": "cannot be reached: later"}
    assert "cloud         cannot be reached: later" in lines(cloud=problem)
    assert "cloud         not heard of yet" in lines(cloud={})


@pytest.mark.parametrize(
    ("comparison", "expected"),
    [
        ({"to_send": 0, "to_receive": 0}, "in step with the cloud"),
        ({"to_send": 2, "to_receive": 0}, "2 to send"),
        ({"to_send": 0, "to_receive": 3}, "3 to receive"),
        ({"to_send": 2, "to_receive": 3}, "2 to send, 3 to receive"),
        ({"to_send": MOST - 1, "to_receive": MOST}, f"{MOST - 1} to send, {MOST} or more to rec"),
        ({"problem": "later"}, "cannot be compared: later"),
    ],
)
def test_what_is_behind_is_told_of_the_control_database_and_of_each_channel(
    comparison: JsonDict, expected: str
) -> None:
    control = next(line for line in lines(control=comparison) if line.startswith("control"))
    assert control.startswith(f"control       {expected}")
    assert channel_line(**comparison).startswith(f"channel       “Photos”, ready, {expected}")


def test_a_channel_alone_is_its_name_and_its_state() -> None:
    assert channel_line() == "channel       “Photos”, ready"


def test_a_channels_subscription_is_told_with_its_reason() -> None:
    assert channel_line(subscription="paused").endswith("ready, subscription paused")
    said = channel_line(subscription="stopped", reason="you are no longer a member")
    assert said.endswith("subscription stopped (you are no longer a member)")


def test_a_channels_error_is_told_and_not_its_subscription() -> None:
    said = channel_line(state="error", error="name is missing", subscription="active")
    assert said == "channel       “Photos”, error, name is missing"


def test_a_replication_is_told_with_why_it_stands() -> None:
    one = {"of": "a", "from": "http://h/a", "to": "https://c/a", "state": "error"}
    assert "replication   http://h/a → https://c/a: error" in lines(replications=[one])
    said = lines(replications=[{**one, "reason": "no such host"}])[-1]
    assert said == "replication   http://h/a → https://c/a: error: no such host"


def test_every_channel_and_every_replication_has_a_line() -> None:
    way = {"of": "a", "from": "http://h/a", "to": "https://c/a", "state": "triggered"}
    said = lines(channels=[CHANNEL, {**CHANNEL, "name": "Notes"}], replications=[way, way])
    assert [line.split()[0] for line in said[4:]] == ["channel"] * 2 + ["replication"] * 2
