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
    "agent": {"running": True},
    "cloud": {"url": "https://couch.example", "reached_at": "2026-11-28T08:00:00Z"},
    "control": {"database": "control-1", "sync": "in_sync", "to_send": 0, "to_receive": 0},
    "devices": [],
    "channels": [],
    "invitations": [],
    "replications": [],
}
CHANNEL: JsonDict = {
    "channel": "channel-1",
    "name": "Photos",
    "state": "ready",
    "database": "db-1",
    "is_shared_with_me": False,
    "sync": "in_sync",
}


def lines(**changes: Any) -> list[str]:
    return texts.status({**STATUS, **changes}).splitlines()


def channel_lines(**changes: Any) -> list[str]:
    """The lines of a channel, without their labels."""
    said = lines(channels=[{**CHANNEL, **changes}])
    begin = next(number for number, line in enumerate(said) if line.startswith("channel"))
    end = next(number for number, line in enumerate(said) if line.startswith("note"))
    return [line[14:] for line in said[begin:end]]


# Commands


def test_after_register_the_device_code_is_shown_large_and_plain() -> None:
    said = texts.registered(
        {"device_code": CODE, "owner": "ada@example.com"}, "python -m syncpoint_device run"
    )
    large, _, plain = said.partition(f"The device code is {CODE}.")
    assert len([line for line in large.splitlines() if line.strip()]) >= 5
    assert "The cloud sends a mail to ada@example.com." in plain
    assert plain.endswith("\n\n  python -m syncpoint_device run")
    assert CODE not in large


def test_after_register_a_cloud_that_was_not_reached_is_told() -> None:
    problem = "nothing answers at sync.exmaple.com"
    result = {"device_code": CODE, "owner": "ada@example.com", "problem": problem}
    said = texts.registered(result, "run")
    assert f"Nothing was sent yet: {problem}." in said
    assert "If the URL is wrong, run `unlink --offline`, and then `register` again." in said


@given(st.from_regex(f"[{_CODE_LETTERS}]{{4}}-[{_CODE_LETTERS}]{{4}}", fullmatch=True))
def test_a_large_code_is_one_row_of_letters_on_a_screen_of_80_columns(code: str) -> None:
    said = texts.registered({"device_code": code, "owner": "ada@example.com"}, "run")
    large = said.partition("The device code")[0].strip("\n").splitlines()
    assert len(large) <= 7
    assert max(len(line.rstrip()) for line in large) <= 80
    assert said.isascii()


def test_after_resend_the_address_and_the_same_code_are_told() -> None:
    said = texts.resent({"owner": "ada@example.com", "device_code": CODE, "sent": True})
    assert said == (
        f"The cloud sends another mail to ada@example.com.\nThe device code is still {CODE}."
    )


def test_after_resend_without_a_network_it_is_told_when_the_mail_goes() -> None:
    said = texts.resent({"owner": "ada@example.com", "device_code": CODE, "sent": False})
    assert "as soon as this device reaches the cloud" in said


@pytest.mark.parametrize(
    ("confirmed", "when"),
    [
        (True, "this device reaches the cloud."),
        (False, "the registration of this device is confirmed."),
    ],
)
def test_after_channel_create_its_database_is_told_and_who_gets_it_when(
    confirmed: bool, when: str
) -> None:
    result = {"name": "Photos", "channel": "channel-1", "database": "db-1", "confirmed": confirmed}
    said = texts.created({**result, "running": True}).splitlines()
    without_agent = texts.created({**result, "running": False}).splitlines()
    assert without_agent[:-1] == said
    assert without_agent[-1].startswith("The agent does not run. Start it with `run`")
    assert said[0].startswith("Channel “Photos” is created.")
    assert said[1] == "  db-1"
    assert said[2] == f"Your other devices get it as soon as {when}"


def test_after_channel_invite_the_address_is_told() -> None:
    said = texts.invited({"email": "ben@example.com"})
    assert said.startswith("The cloud sends an invitation to ben@example.com by mail,")
    assert said.endswith("`status` shows the answer.")


def test_an_address_of_another_script_is_shown_in_both_forms() -> None:
    address = "ada@b\u00fccher.example"
    shown = f"{address} (ada@xn--bcher-kva.example)"
    result = {"owner": address, "email": address, "device_code": CODE, "sent": True}
    said = [texts.registered(result, "run"), texts.resent(result), texts.invited(result)]
    invitation = {"email": address, "name": "Photos", "state": "sent"}
    said += lines(owner=address)[1:2]
    said += [line for line in lines(invitations=[invitation]) if line.startswith("invitation")]
    assert len(said) == 5
    assert [text for text in said if shown not in text] == []


@pytest.mark.parametrize("state", ["active", "paused", "stopped"])
def test_after_subscription_its_state_is_told_and_when_others_follow(state: str) -> None:
    said = texts.changed({"name": "Photos", "state": state, "changed": True, "purged": False})
    assert said == (
        f"Channel “Photos” is {state} here. "
        "Your other devices follow as soon as they and this one reach the cloud."
    )


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
    rows = [row, {**row, "documents": 0}, {**row, "deleted": True, "name": "Photos"}]
    assert texts.cleaned({"databases": rows}).splitlines() == [
        "db-1: 2 documents may be on this device only (no network)",
        "db-1: nothing would be lost; `clean db-1` deletes it",
        "db-1 (“Photos”): deleted",
    ]
    assert "`clean db-1 --couch URL`" in texts.cleaned({"databases": rows}, " --couch URL")


def test_a_purged_copy_is_told() -> None:
    result = {"name": "Photos", "database": "db-1", "state": "stopped", "purged": True}
    said = texts.changed({**result, "changed": True})
    assert said.endswith("reach the cloud. The copy on this device, db-1, is deleted.")
    assert texts.changed({**result, "changed": False}).startswith("Channel “Photos” was stopped al")


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
    assert texts.unlinked({**said, "left": []}, "--couch URL").endswith(expected)
    assert texts.unlinked({**said, "left": ["db-1", "db-2"]}, "--couch URL").endswith(
        f"{expected} 2 databases of an earlier registration stay; `clean --couch URL` lists them."
    )


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


def test_a_status_tells_device_owner_registration_agent_and_cloud() -> None:
    assert lines() == [
        "device        Ada's phone, device-1",
        "owner         ada@example.com",
        "registration  confirmed",
        "agent         runs",
        "cloud         https://couch.example, reached",
        "your lists    in sync",
        "              your devices, channels and invitations",
        "              database control-1",
        "channels      none yet; `channel create NAME` creates one",
    ]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, "not known while the cloud cannot be reached"),
        ("waiting to be sent", "not sent yet; this device's CouchDB sends it from outbox-1"),
        ("confirming", "open the link in the mail, and type the device code there"),
        ("revoked", "this device was revoked; run `unlink`, and then `register` again"),
        ("of another kind", "of another kind"),
    ],
)
def test_a_registration_is_told_in_words(state: str | None, expected: str) -> None:
    assert f"registration  {expected}" in lines(registration=state, outbox="outbox-1")


def test_the_device_code_is_there_while_it_is_needed() -> None:
    said = lines(registration="new", device_code=CODE, outbox="outbox-1")
    assert f"device code   {CODE}" in said
    assert "outbox-1" not in "".join(said)  # it was sent
    assert not [line for line in lines() if line.startswith("device code")]


def test_whether_the_agent_runs_is_told_and_since_when() -> None:
    assert "agent         does not run; start it with `run`" in lines(agent={"running": False})
    for state in ("revoking", "revoked", "rejected"):  # it would end at once
        said = lines(agent={"running": False}, registration=state)
        assert "agent         does not run" in said
    at = "2026-11-28T08:00:00Z"
    said = lines(agent={"running": True, "since": at})
    assert f"agent         runs since {texts.moment(at)}" in said
    assert texts.moment("when?") == "when?"


@pytest.mark.parametrize(
    ("cloud", "expected"),
    [
        ({}, "not reached yet"),
        ({"problem": "cannot be reached: later"}, "cannot be reached: later; never reached yet"),
        (
            {"problem": "cannot be reached: later", "reached_at": "2026-11-28T08:00:00Z"},
            f"cannot be reached: later; last reached {texts.moment('2026-11-28T08:00:00Z')}",
        ),
    ],
)
def test_a_cloud_is_told_with_when_it_was_reached(cloud: JsonDict, expected: str) -> None:
    assert f"cloud         {expected}" in lines(cloud=cloud)


@pytest.mark.parametrize(
    ("comparison", "expected"),
    [
        ({"sync": "in_sync", "to_send": 0, "to_receive": 0}, "in sync"),
        ({"sync": "waiting", "to_send": 1, "to_receive": 0}, "1 document to send"),
        (
            {"sync": "waiting", "to_send": 2, "bytes_to_send": 999, "to_receive": 3},
            "2 documents to send (about 999 bytes), 3 documents to receive",
        ),
        (
            {"sync": "waiting", "to_send": 12345, "bytes_to_send": 1234567, "is_estimate": True},
            "up to 12,345 documents to send (about 1.2 MB)",
        ),
        ({"sync": "unknown", "problem": "later"}, "cannot be compared with the cloud: later"),
        ({"sync": "unknown"}, "not known while the cloud cannot be reached"),
        (
            {"sync": "unknown", "to_send": 0, "to_receive": 3, "as_of": "2026-11-28T08:00:00Z"},
            f"3 documents to receive as of {texts.moment('2026-11-28T08:00:00Z')}",
        ),
        ({"sync": "off", "why": "paused", "to_send": 0, "to_receive": 0}, "not replicated: paused"),
        (
            {"sync": "off", "why": "paused", "to_send": 2, "to_receive": 0},
            "not replicated: paused; 2 documents to send",
        ),
    ],
)
def test_what_waits_is_told_of_the_lists_and_of_each_channel(
    comparison: JsonDict, expected: str
) -> None:
    assert f"your lists    {expected}" in lines(control={"database": "control-1", **comparison})
    assert channel_lines(**comparison)[0] == f"“Photos”: {expected}"


def test_what_was_refused_is_an_exception_from_in_sync() -> None:
    refused = [{"document": "note-1", "reason": "it is odd"}] * 2
    assert "your lists    in sync, except 2 refused" in lines(refused=refused)
    assert channel_lines(refused=refused)[0] == "“Photos”: in sync, except 2 refused"
    assert channel_lines(refused=[])[0] == "“Photos”: in sync"


@given(st.sampled_from(["waiting", "unknown", "off"]), st.integers(0, 3), st.integers(0, 3))
def test_only_what_is_in_sync_is_called_so(sync: str, to_send: int, to_receive: int) -> None:
    comparison = {"sync": sync, "to_send": to_send, "to_receive": to_receive, "why": "paused"}
    said = lines(control={"database": "control-1", **comparison}, channels=[CHANNEL | comparison])
    assert [line for line in said if "in sync" in line] == []


def test_the_owners_other_devices_are_told_with_what_revoke_wants() -> None:
    said = lines(devices=[{"device": "device-2", "name": "Tablet", "state": "active"}])
    assert "other device  Tablet, device-2, active" in said


def test_a_channel_is_told_with_who_shares_it_and_its_database() -> None:
    assert channel_lines() == ["“Photos”: in sync", "database db-1"]
    assert channel_lines(members=[]) == channel_lines()
    assert channel_lines(members=["ben@example.com", None])[1] == (
        "shared with ben@example.com, a guest"
    )
    assert channel_lines(is_shared_with_me=True)[1] == "shared with you by its owner"


def test_what_the_cloud_refused_of_a_channel_is_listed_with_the_reason() -> None:
    assert channel_lines(refused=[]) == channel_lines()
    said = channel_lines(refused=[{"document": "note-1", "reason": "it is odd."}])
    assert said[-1] == "the cloud refused note-1: it is odd. It stays on this device"
    said = channel_lines(refused=[{"document": "x" * 9000, "reason": "it is odd"}])
    assert len(said[-1]) < 700


def test_the_document_of_ours_in_a_channel_is_explained() -> None:
    said = "\n".join(lines(channels=[CHANNEL]))
    assert "The document “description” in each channel's database is Syncpoint's" in said
    assert "description" not in "\n".join(lines())


def test_an_invitation_is_told_with_its_state_and_what_is_wrong_with_it() -> None:
    one = {"email": "ben@example.com", "name": "Photos", "state": "declined"}
    said = lines(invitations=[one, {**one, "state": "error", "error": "the mail came back"}])
    assert [line for line in said if line.startswith("invitation")] == [
        "invitation    ben@example.com to “Photos”: declined",
        "invitation    ben@example.com to “Photos”: failed: the mail came back",
    ]


def test_channels_of_one_name_are_told_apart_by_their_ids() -> None:
    said = lines(channels=[CHANNEL, {**CHANNEL, "channel": "channel-2"}])
    assert [line for line in said if "id channel-" in line] == [
        "              id channel-1",
        "              id channel-2",
    ]
    assert [line for line in lines(channels=[CHANNEL]) if "channel-1" in line] == []


@given(st.integers(0, 10**12))
def test_a_size_is_told_in_few_characters(size: int) -> None:
    assert len(texts.progress({"to_send": 1, "bytes_to_send": size})) <= 40
