"""`syncpoint-device` as a person uses it: words, JSON, exit codes, signals."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from chalicelib.couch import Server
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_control_db, subscription_id
from local.couchdb_process import EmbeddedCouchDB
from local.system import ROOT
from syncpoint_device import export
from syncpoint_device.databases import OWNER_DOC
from tests.e2e.conftest import MakeGadget
from tests.kit.basics import an_address, wait_for
from tests.kit.device.gadget import is_gone
from tests.kit.device.profiles import PHOTOS
from tests.kit.device.shell import NOWHERE, Shell
from tests.kit.system.registering import Where, mails_about, post

pytestmark = pytest.mark.io

only_embedded = pytest.mark.skipif(
    bool(os.environ.get("COUCHDB_URL")),
    reason="COUCHDB_URL is set: this starts and ends a CouchDB",
)

COMMANDS = [
    ["register"],
    ["trust"],
    ["revoke"],
    ["resend"],
    ["run"],
    ["status"],
    ["channel"],
    ["channel", "create"],
    ["channel", "invite"],
    ["channel", "list"],
    ["channel", "rename"],
    ["channel", "close"],
    ["channel", "members"],
    ["channel", "remove"],
    ["invitation"],
    ["invitation", "list"],
    ["invitation", "withdraw"],
    ["invitation", "resend"],
    ["service"],
    ["completion"],
    ["subscription"],
    ["subscription", "pause"],
    ["subscription", "resume"],
    ["subscription", "stop"],
    ["undo"],
    ["couch"],
    ["export"],
    ["clean"],
    ["unlink"],
]
# Those that do something with the device that is registered.
OF_A_DEVICE = [
    ["resend"],
    ["status"],
    ["channel", "create", "Photos"],
    ["channel", "invite", "Photos", "ben@example.com"],
    ["channel", "list"],
    ["channel", "rename", "Photos", "Pictures"],
    ["channel", "close", "Photos", "--yes"],
    ["channel", "members", "Photos"],
    ["channel", "remove", "Photos", "ben@example.com"],
    ["invitation", "list"],
    ["invitation", "withdraw", "ben@example.com"],
    ["invitation", "resend", "ben@example.com"],
    ["subscription", "pause", "Photos"],
    ["subscription", "resume", "Photos"],
    ["subscription", "stop", "Photos", "--purge", "--force"],
    ["undo", "channel-1"],
    ["unlink", "--offline"],
]


# Help and usage


@pytest.mark.parametrize("command", [[], *COMMANDS], ids=" ".join)
def test_every_command_has_a_help(shell: Shell, command: list[str]) -> None:
    printed = shell.type(*command, "--help")
    assert printed.code == 0
    assert printed.out.startswith(" ".join(["usage: syncpoint-device", *command]))
    assert printed.err == ""
    _, sentence, *_ = printed.out.split("\n\n")
    assert re.fullmatch(r"[A-Z].*\.", " ".join(sentence.split()))


def test_the_help_names_every_command(shell: Shell) -> None:
    out = shell.type("--help").out
    assert all(command[0] in out for command in COMMANDS)
    assert "stop" in shell.type("subscription", "--help").out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["dance"],
        ["channel"],
        ["channel", "create"],
        ["channel", "invite", "Photos"],
        ["subscription", "dance", "Photos"],
        ["subscription", "pause", "Photos", "--purge"],
        ["register"],
        ["register", "--owner", "ada@example.com"],
        ["undo"],
        ["couch"],
        ["export"],
        ["export", "Photos"],
        ["export", "--all", "Photos", "FILE"],
        ["unlink", "--force"],
        ["unlink", "--offline", "--force"],
        ["subscription", "stop", "Photos", "--force"],
        ["clean", "--force"],
        ["clean", "db-1", "--yes"],
        ["run", "--every", "often"],
        ["run", "--every", "0"],
        ["run", "--every", "-1"],
        ["run", "--every", "nan"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_understood_is_told_with_the_usage(shell: Shell, words: list[str]) -> None:
    printed = shell.type(*words)
    assert printed.code == 2
    assert printed.out == ""
    assert "usage: syncpoint-device" in printed.err
    assert "error: " in printed.err
    assert not shell.folder.exists()


# Register


def test_register_shows_the_device_code_large_and_plain(shell: Shell) -> None:
    printed = shell.register()
    assert (printed.code, printed.err) == (0, "")
    code = shell.profile.doc["device_code"]
    assert f"The device code is {code}." in printed.out
    large = printed.out.partition("The device code")[0].strip("\n").splitlines()
    assert len(large) == 7
    assert set("".join(large)) == {"#", " "}
    assert "Nothing was sent yet: nothing answers at 127.0.0.1:9." in printed.out
    assert "the cloud sends a mail to ada@example.com" in printed.out


def test_register_ends_with_a_command_that_runs_as_it_stands(shell: Shell) -> None:
    shell.folder = shell.folder.parent / "Ada's home"
    command = shell.register().out.splitlines()[-1].removesuffix("run") + "status"
    ended = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert shell.profile.device_id in ended.stdout


def test_register_ends_with_a_command_that_runs_in_every_folder(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, shell.folder = shell.folder, Path("home")
    said = shell.register("--json").json
    assert said["home"] == str(tmp_path / "home") == str(folder)
    shell.folder = folder
    assert shell.home.is_registered


def test_register_names_the_python_that_runs_as_it_is_called_in_the_folder(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    monkeypatch.chdir(tmp_path)
    run = f"-m syncpoint_device --home {shell.folder} run"
    assert shell.register().out.splitlines()[-1] == f"  .venv/bin/python {run}"


def test_register_tells_programs_what_they_need(shell: Shell) -> None:
    said = shell.register("--json").json
    profile = shell.profile
    assert said.pop("home")
    assert said == {
        "device": profile.device_id,
        "device_code": profile.doc["device_code"],
        "owner": "ada@example.com",
        "name": "Ada's phone",
        "control": shell.prefix + owner_control_db("control", profile.owner_id),
        "problem": "nothing answers at 127.0.0.1:9",
    }


def test_register_needs_no_network_and_starts_a_replication(
    phone: Shell,
) -> None:
    (running,) = phone.device.replications.all()
    assert running.doc["target"]["url"] == NOWHERE
    doc = phone.device.outbox.get(phone.profile.device_id)
    assert doc["state"] == "new"
    assert "pbkdf2_prf" not in doc["credentials"]  # SHA-1, which every CouchDB can check


def test_a_device_is_registered_once(phone: Shell) -> None:
    before = phone.home.path.read_text()
    printed = phone.register()
    assert (printed.code, printed.out) == (1, "")
    assert printed.err == (
        "error: this device is already registered, as “Ada's phone” of ada@example.com; "
        "run `unlink` first\n"
    )
    assert phone.home.path.read_text() == before


def couch_with(shell: Shell, password: str | None) -> str:
    """The URL of the CouchDB with another login, or with none.

    It is not the administrator's: five wrong passwords would lock the administrator out.
    """
    scheme, _, rest = shell.couch.partition("://")
    host = rest.rpartition("@")[2]
    return f"{scheme}://{host}" if password is None else f"{scheme}://nobody:{password}@{host}"


def test_a_wrong_password_of_the_devices_own_couchdb_is_told(shell: Shell) -> None:
    printed = shell.register(couch=couch_with(shell, "not-the-password"))
    assert (printed.code, printed.out) == (1, "")
    assert "refuses the login: its name or password is wrong" in printed.err
    assert ".." not in printed.err
    assert "http://NAME:PASSWORD@HOST:PORT" in printed.err
    assert "not-the-password" not in printed.err
    assert not shell.home.is_registered


def test_a_couchdb_without_its_administrators_login_is_told(shell: Shell) -> None:
    printed = shell.register(couch=couch_with(shell, None))
    assert (printed.code, printed.out) == (1, "")
    assert "needs its administrator's name and password" in printed.err
    assert not shell.home.is_registered


def test_a_password_that_can_be_asked_of_nobody_is_told(shell: Shell) -> None:
    couch = couch_with(shell, "").replace(":@", "@")
    words = ["--owner", "ada@example.com", "--registrations", NOWHERE, "--name", "phone"]
    printed = shell.run("register", *words, "--couch", couch)
    assert (printed.code, printed.out) == (1, "")
    assert printed.err == (
        "error: the CouchDB's URL has no password, and there is no terminal to ask for it"
    )
    assert not shell.home.is_registered


def test_a_couchdb_that_is_not_there_is_told(shell: Shell) -> None:
    printed = shell.register(couch="http://admin:not-the-password@127.0.0.1:9")
    assert (printed.code, printed.out) == (1, "")
    assert "cannot be used: nothing answers at 127.0.0.1:9" in printed.err
    assert "Is it running" in printed.err
    assert "not-the-password" not in printed.err


def test_a_server_that_is_no_couchdb_is_told(shell: Shell, where: Where) -> None:
    printed = shell.register(couch=where.outbox)
    assert (printed.code, printed.out) == (1, "")
    assert printed.err.startswith("error: the CouchDB at ")


@pytest.mark.parametrize(
    ("option", "value", "part"),
    [
        ("owner", "ada", "owner must be an e-mail address"),
        ("name", "", "name must have 1 to 80 characters"),
        ("registrations", "http://sync.example.com/registrations", "--registrations must be https"),
        (
            "registrations",
            "sync.example.com",
            "--registrations must be the URL of the cloud's registrations endpoint",
        ),
        ("couch", "127.0.0.1:5984", "--couch must be your own CouchDB's URL"),
        ("prefix", "Ada's-", "--prefix must begin with a letter"),
    ],
)
def test_a_wrong_option_is_told_with_what_it_must_be(
    shell: Shell, option: str, value: str, part: str
) -> None:
    printed = shell.register(**{option: value})
    assert (printed.code, printed.out) == (1, "")
    assert printed.err.startswith("error: ")
    assert part in printed.err


# Nothing there to work with


@pytest.mark.parametrize("words", [*OF_A_DEVICE, ["run"], ["service"]], ids=" ".join)
def test_where_no_device_is_registered_that_is_told(shell: Shell, words: list[str]) -> None:
    printed = shell.run(*words)
    assert (printed.code, printed.out) == (1, "")
    assert printed.err == (
        f"error: no device is registered in {shell.folder}; run `register` first, or name another "
        "folder with --home"
    )
    assert not shell.folder.exists()


@pytest.mark.parametrize("words", OF_A_DEVICE, ids=" ".join)
def test_a_couchdb_that_has_gone_is_told(phone: Shell, words: list[str]) -> None:
    phone.set_couch("http://admin:not-the-password@127.0.0.1:9")
    printed = phone.type(*words)
    assert (printed.code, printed.out) == (1, "")
    assert printed.err.startswith("error: this device's CouchDB: ")
    assert printed.err.endswith(". Is it running?\n")
    assert "not-the-password" not in printed.err


@pytest.mark.parametrize("words", OF_A_DEVICE, ids=" ".join)
def test_a_couchdb_that_refuses_the_login_is_told_with_the_command_that_mends_it(
    phone: Shell, words: list[str]
) -> None:
    phone.set_couch(couch_with(phone, "not-the-password"))
    printed = phone.type(*words)
    assert (printed.code, printed.out) == (1, "")
    assert printed.err.startswith("error: this device's CouchDB refuses the agent's login. Run ")
    assert "`couch http://NAME@HOST:PORT`" in printed.err


@pytest.mark.parametrize("words", [*OF_A_DEVICE, ["run"], ["service"]], ids=" ".join)
def test_a_file_that_was_spoilt_is_named(phone: Shell, words: list[str]) -> None:
    phone.home.path.write_text(phone.home.path.read_text()[:-20])
    printed = phone.run(*words)
    assert (printed.code, printed.out) == (1, "")
    assert f"{phone.home.path} cannot be read" in printed.err


def test_a_home_that_is_no_folder_is_named(shell: Shell) -> None:
    shell.folder.write_text("mine")
    printed = shell.register()
    assert (printed.code, printed.out) == (1, "")
    assert str(shell.folder) in printed.err
    assert shell.folder.read_text() == "mine"
    assert shell.type("status").code == 1
    shell.folder.unlink()


# Channels and subscriptions


def test_a_channel_is_created_in_words(phone: Shell) -> None:
    printed = phone.type("channel", "create", "Photos")
    assert (printed.code, printed.err) == (0, "")
    lines = printed.out.splitlines()
    assert lines[0].startswith("Channel “Photos” is created.")
    assert lines[1].startswith(f"  {phone.prefix}db-")
    assert lines[2].endswith("as soon as the registration of this device is confirmed.")
    assert lines[3].startswith("The agent does not run. ")


def test_a_channel_is_created_in_json(phone: Shell) -> None:
    said = phone.type("--json", "channel", "create", "Fähre ⛴").json
    doc = phone.device.database.get(said["channel"])
    assert (doc["type"], doc["state"], doc["name"]) == ("channel", "new", "Fähre ⛴")
    assert said["database"] == phone.device.channel(said["channel"]).name
    assert phone.device.channel(said["channel"]).put({"_id": "note"})


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["channel", "create", ""], "name must have 1 to 80 characters"),
        (["channel", "create", "x" * 81], "name must have 1 to 80 characters"),
        (["channel", "create", "a\nb"], "name must not contain control characters"),
        (["channel", "invite", "Photos", "ben"], "email must be an e-mail address"),
        (["channel", "invite", "Photos", "ADA@example.com"], "that is your own address"),
        (
            ["channel", "invite", "Fotos", "ben@example.com"],
            "there is no channel “Fotos”; `status`",
        ),
        (["subscription", "pause", "Fotos"], "there is no channel “Fotos”; `status`"),
        (["subscription", "stop", ""], "there is no channel “”"),
        (["subscription", "pause", "Photos"], "“Photos” is not in sync yet; try again"),
        (
            ["subscription", "pause", "Twins"],
            "more than one channel is called “Twins”; use an id instead",
        ),
        (["channel", "invite", "Twins", "ben@example.com"], "more than one channel is called"),
        (["channel", "invite", "Shared", "ben@example.com"], "“Shared” is shared with you; only"),
    ],
)
def test_what_cannot_be_done_is_told_with_its_reason(
    phone: Shell, words: list[str], part: str
) -> None:
    for channel_id, name in (("channel-1", "Photos"), ("twin-1", "Twins"), ("twin-2", "Twins")):
        phone.put({**PHOTOS, "_id": channel_id, "name": name, "state": "new"})
    phone.put({**PHOTOS, "_id": "db-" + "0" * 32, "name": "Shared", "state": "shared"})
    printed = phone.type(*words)
    assert (printed.code, printed.out) == (1, "")
    assert printed.err.startswith("error: ")
    assert part in printed.err


def test_of_two_channels_of_one_name_the_id_says_which(phone: Shell) -> None:
    for channel_id in ("twin-1", "twin-2"):
        phone.put({**PHOTOS, "_id": channel_id, "name": "Twins"})
    assert "twin-1, twin-2" in phone.type("channel", "invite", "Twins", "ben@example.com").err
    said = phone.type("--json", "channel", "invite", "twin-2", "ben@example.com").json
    assert said["channel"] == "twin-2"
    assert phone.device.database.get(said["invitation"])["email"] == "ben@example.com"


def test_a_name_in_another_case_is_found_if_only_one_fits(phone: Shell) -> None:
    phone.put(PHOTOS)
    invite = ["--json", "channel", "invite", "photos ", "ben@example.com"]
    assert phone.type(*invite).json["channel"] == "channel-1"
    phone.put({**PHOTOS, "_id": "channel-2", "name": "PHOTOS"})
    assert phone.type(*invite).error["code"] == "unknown"
    phone.put({**PHOTOS, "_id": "channel-3", "name": "photos"})
    invite[3] = "photos"
    assert phone.type(*invite).json["channel"] == "channel-3"


def test_a_name_is_stored_without_the_spaces_around_it(phone: Shell) -> None:
    said = phone.type("--json", "channel", "create", "  Photos ").json
    assert said["name"] == "Photos"
    assert phone.type("channel", "rename", "Photos", " Pictures ").code == 0
    assert phone.device.database.get(said["channel"])["name"] == "Pictures"
    assert phone.type("channel", "create", "   ").code == 1


def test_an_invitation_is_told_in_words(phone: Shell) -> None:
    phone.put(PHOTOS)
    printed = phone.type("channel", "invite", "Photos", "ben@example.com")
    assert printed.out.startswith("The cloud sends an invitation to ben@example.com by mail,\n")


def test_what_became_of_an_invitation_is_in_the_status(phone: Shell) -> None:
    phone.put(PHOTOS)
    invited = phone.type("--json", "channel", "invite", "Photos", "ben@example.com").json
    doc_id = invited["invitation"]
    assert "invitation    ben@example.com to “Photos”: to be sent\n" in phone.type("status").out
    phone.put({"_id": doc_id, "state": "error", "error": {"reason": "the mail came back"}})
    said = phone.type("--json", "status").json["invitations"]
    assert said == [
        {
            "invitation": doc_id,
            "email": "ben@example.com",
            "channel": "channel-1",
            "name": "Photos",
            "state": "error",
            "error": "the mail came back",
        }
    ]
    assert ": failed: the mail came back\n" in phone.type("status").out


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ("Caf\u00e9", "Cafe\u0301"),
        ("Cafe\u0301", "Caf\u00e9"),
        ("\uc0ac\uc9c4", "\u1109\u1161\u110c\u1175\u11ab"),
    ],
)
def test_a_name_is_found_however_its_accents_are_typed(
    phone: Shell, stored: str, typed: str
) -> None:
    phone.put({**PHOTOS, "name": stored})
    assert phone.type("channel", "invite", typed, "ben@example.com").code == 0
    lost = {"_id": "device-lost", "type": "device", "state": "active", "name": stored}
    phone.put(lost)
    assert phone.type("revoke", typed).code == 0
    assert phone.device.database.get("device-lost")["state"] == "revoking"


@pytest.mark.parametrize("name", ["🇩🇪" * 40, "👨‍👩‍👧" * 16, "é" * 80])
def test_a_name_is_counted_in_characters_and_shown_as_it_is(phone: Shell, name: str) -> None:
    printed = phone.type("channel", "create", name)
    assert (printed.code, printed.err) == (0, "")
    assert f"Channel “{name}” is created" in printed.out
    assert f"“{name}”: " in phone.type("status").out
    assert phone.type("channel", "create", name + "x").code == 1


def test_no_document_can_steer_the_terminal(phone: Shell) -> None:
    evil = "\x1b[2J\r\nowner         eve@example.com\u202e\x9b"
    phone.put({**PHOTOS, "name": evil})
    phone.put({"_id": "invitation-1", "type": "invitation", "state": evil, "email": evil})
    printed = phone.type("status")
    assert "\\x1b[2J\\r\\nowner" in printed.out
    assert [line for line in printed.out.splitlines() if not line.isprintable()] == []
    assert len([line for line in printed.out.splitlines() if line.startswith("owner ")]) == 1
    printed = phone.type("undo", evil)
    assert (printed.code, printed.out) == (1, "")
    assert printed.err.rstrip("\n").isprintable()


@pytest.fixture
def subscribed(phone: Shell) -> Shell:
    """A device with a channel that the cloud has made."""
    phone.put(PHOTOS)
    phone.put(
        {
            "_id": subscription_id("channel-1", phone.profile.owner_id),
            "type": "subscription",
            "state": "active",
            "channel": "channel-1",
            "remote": "https://couch.example/db-1",
        }
    )
    return phone


@pytest.mark.parametrize(
    ("what", "state", "before"),
    [
        ("pause", "paused", "active"),
        ("resume", "active", "paused"),
        ("stop", "stopped", "active"),
    ],
)
def test_a_subscription_is_changed_once_and_the_second_time_is_an_error(
    subscribed: Shell, what: str, state: str, before: str
) -> None:
    doc_id = subscription_id("channel-1", subscribed.profile.owner_id)
    subscribed.put({"_id": doc_id, "state": before})
    said = subscribed.type("--json", "subscription", what, "Photos").json
    assert said == {
        "channel": "channel-1",
        "name": "Photos",
        "database": subscribed.device.channel("channel-1").name,
        "state": state,
        "changed": True,
        "purged": False,
    }
    doc = subscribed.device.database.get(doc_id)
    assert (doc["state"], doc["changed_by"]) == (state, subscribed.profile.device_id)
    printed = subscribed.type("subscription", what, "Photos")
    assert (printed.code, printed.out) == (1, "")
    assert printed.err == f"error: “Photos” is {state} already; nothing was changed\n"
    assert subscribed.device.database.get(doc_id)["_rev"] == doc["_rev"]


@pytest.mark.parametrize("what", ["pause", "resume"])
def test_what_the_cloud_has_stopped_is_not_started_again(subscribed: Shell, what: str) -> None:
    doc_id = subscription_id("channel-1", subscribed.profile.owner_id)
    subscribed.put({"_id": doc_id, "state": "stopped", "reason": "you are no longer a member"})
    printed = subscribed.type("subscription", what, "Photos")
    assert (printed.code, printed.out) == (1, "")
    assert (
        printed.err == "error: the cloud has stopped the subscription: you are no longer a member\n"
    )
    again = subscribed.type("subscription", "stop", "Photos")
    assert (again.code, again.err) == (
        1,
        "error: “Photos” is stopped already; nothing was changed\n",
    )


def test_a_copy_that_may_hold_what_the_cloud_does_not_is_purged_by_force_only(
    subscribed: Shell,
) -> None:
    subscribed.device.acquire(subscribed.device.channel("channel-1"))
    subscribed.device.channel("channel-1").put({"_id": "note"})
    printed = subscribed.type("subscription", "stop", "Photos", "--purge")
    assert (printed.code, printed.out) == (1, "")
    reason = "this device is not registered in the cloud yet"
    assert f"on this device only: “Photos”: 1 document ({reason})" in printed.err
    assert "`--force` deletes them" in printed.err
    assert subscribed.device.channel("channel-1").get("note")
    printed = subscribed.type("subscription", "stop", "Photos", "--purge", "--force")
    copy = subscribed.device.channel("channel-1")
    assert printed.out.endswith(f" The copy on this device, {copy.name}, is deleted.\n")
    assert not subscribed.device.is_own(copy)


def test_a_stopped_channel_is_purged_once_and_the_second_time_is_an_error(
    subscribed: Shell,
) -> None:
    copy = subscribed.device.channel("channel-1")
    subscribed.device.acquire(copy)
    assert subscribed.type("subscription", "stop", "Photos").code == 0
    printed = subscribed.type("subscription", "stop", "Photos", "--purge")
    assert printed.out == (
        f"Channel “Photos” was stopped already. The copy on this device, {copy.name}, is deleted.\n"
    )
    again = subscribed.type("--json", "subscription", "stop", "Photos", "--purge")
    assert (again.code, again.error["code"]) == (1, "nothing_to_do")


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["checked", "forced"])
@pytest.mark.parametrize(
    ("owner", "why"),
    [
        ({"device": "device-other"}, "does not belong to this device"),
        ({"device": None}, "belongs to an earlier registration"),
        (None, "does not belong to this device"),
    ],
    ids=["another", "earlier", "nobody"],
)
def test_a_purge_of_what_is_not_this_devices_fails_before_anything_is_stopped(
    subscribed: Shell, owner: JsonDict | None, why: str, force: list[str]
) -> None:
    copy = subscribed.device.channel("channel-1")
    copy.create()
    if owner is not None:
        copy.put({"_id": OWNER_DOC, **owner})
    doc_id = subscription_id("channel-1", subscribed.profile.owner_id)
    before = subscribed.device.database.get(doc_id)
    printed = subscribed.type("--json", "subscription", "stop", "Photos", "--purge", *force)
    assert (printed.code, printed.out, printed.error["code"]) == (1, "", "not_allowed")
    message = printed.error["message"]
    assert f"{copy.name} {why}, and would not be deleted" in message
    assert "Leave out --purge" in message
    assert (f"`clean {copy.name}`" in message) == (why == "belongs to an earlier registration")
    assert subscribed.device.database.get(doc_id) == before
    assert not is_gone(copy)


def test_what_an_unlink_left_is_saved_and_deleted_with_commands(
    subscribed: Shell, tmp_path: Path
) -> None:
    local = subscribed.device.channel("channel-1")
    subscribed.device.acquire(local)
    local.put({"_id": "note", "text": "a note"})
    empty = subscribed.device.channel("channel-empty")
    subscribed.device.acquire(empty)
    file = tmp_path / "photos.jsonl"
    printed = subscribed.type("export", "Photos", str(file))
    assert printed.out == f"{local.name}: 1 document, in {file}\n"
    assert json.loads(file.read_text())["text"] == "a note"
    for options in (["--couch", subscribed.couch], ["--prefix", "another-"]):
        refused = subscribed.type("--json", "clean", *options)
        assert (refused.code, refused.error["code"]) == (1, "not_allowed")
    assert subscribed.type("clean").out == "No earlier device left a database here.\n"
    assert subscribed.type("unlink", "--offline").code == 0
    assert "no device is registered here, so name the CouchDB" in subscribed.type("clean").err
    for couch, why in (
        ("nonsense", "error: --couch must be http://NAME:PASSWORD@HOST:PORT\n"),
        (
            "http://127.0.0.1:9",
            "error: the CouchDB at http://127.0.0.1:9 cannot be used: nothing answers at "
            "127.0.0.1:9. Is it running, and is http://NAME:PASSWORD@HOST:PORT right?\n",
        ),
    ):
        assert subscribed.type("clean", "--couch", couch).err == why
    wrong = couch_with(subscribed, "not-the-password")
    printed = subscribed.type("--json", "clean", "--couch", wrong)
    assert printed.error["code"] == "couch_login"
    assert "refuses the login: its name or password is wrong" in printed.error["message"]
    assert "`couch " not in printed.error["message"]
    place = ["--couch", subscribed.couch, "--prefix", subscribed.prefix]
    printed = subscribed.type("clean", *place)
    couch = f"--couch http://NAME@{subscribed.couch.rpartition('@')[2]}"
    typed = f"`clean {empty.name} {couch} --prefix {subscribed.prefix}` deletes it"
    assert f"{empty.name}: nothing would be lost; {typed}\n" in printed.out
    assert f"{local.name}: 1 document may be on this device only" in printed.out
    printed = subscribed.type("clean", *place, local.name)
    assert (printed.code, printed.out) == (1, "")
    folder = tmp_path / "all"
    said = subscribed.type("--json", "export", "--all", str(folder), *place).json
    assert {one["database"] for one in said["exported"]} >= {local.name}
    assert (folder / f"{local.name}.jsonl").read_bytes() == file.read_bytes()
    printed = subscribed.type("clean", *place, "--yes", "--force")
    assert f"{local.name}: deleted" in printed.out
    assert is_gone(Server(subscribed.couch).database(local.name))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_export_that_is_ended_leaves_no_file(
    phone: Shell, tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(export, "_write_all", end)
    before = [(each, signal.getsignal(each)) for each in (signal.SIGTERM, signal.SIGINT)]
    try:
        printed = phone.type("export", "--all", str(tmp_path / "all"))
    finally:
        for each, handler in before:
            signal.signal(each, handler)
    assert (printed.code, printed.out) == (130, "")
    assert list((tmp_path / "all").iterdir()) == []


def test_couch_takes_the_new_url_in_words_and_in_json(phone: Shell) -> None:
    login = f"syncpoint-{phone.profile.device_id}"
    url = phone.couch.rpartition("@")[2]
    printed = phone.type("couch", phone.couch)
    assert printed.out == (
        f"The agent uses http://{url} with the login {login}. "
        "This has changed the replications, too.\n"
    )
    said = phone.type("--json", "couch", phone.couch).json
    assert said == {"couch": f"http://{url}", "login": login, "running": False}
    printed = phone.type("couch", "http://127.0.0.1:9")
    assert (printed.code, printed.out) == (1, "")
    assert phone.type("status").code == 0


# Nothing would come of it

OWN: JsonDict = {"type": "device", "state": "active", "name": "Ada's phone"}
SHARED: JsonDict = {**PHOTOS, "_id": "db-" + "0" * 32, "state": "shared"}
INVITED: JsonDict = {
    "_id": "invitation-1",
    "type": "invitation",
    "channel": "channel-1",
    "email": "ben@example.com",
}
BEN = owner_id_of("ben@example.com")
CREATE, INVITE = ["channel", "create", "Photos"], ["channel", "invite", "Photos", "BEN@example.com"]


def in_state(doc: JsonDict, state: str, **more: object) -> JsonDict:
    return {**doc, "state": state, **more}


NOTHING = [
    (CREATE, [in_state(OWN, "revoked")], "this device was revoked"),
    (CREATE, [in_state(OWN, "revoking")], "this device was revoked"),
    (CREATE, [PHOTOS], "you have a channel “Photos” already"),
    (["channel", "create", "pHOTOS"], [PHOTOS], "you have a channel “Photos” already"),
    (["channel", "create", " photos "], [PHOTOS], "you have a channel “Photos” already"),
    (CREATE, [{**PHOTOS, "name": "Photos "}], "you have a channel “Photos ” already"),
    (
        ["channel", "rename", "Photos", " HOLIDAY"],
        [PHOTOS, {**PHOTOS, "_id": "channel-2", "name": "Holiday"}],
        "another channel is called “Holiday”; choose another name",
    ),
    (
        ["channel", "create", "Cafe\u0301"],
        [{**PHOTOS, "name": "CAF\u00c9"}],
        "you have a channel “CAF\u00c9” already",
    ),
    (INVITE, [PHOTOS, in_state(OWN, "revoked")], "this device was revoked"),
    (INVITE, [in_state(PHOTOS, "closing")], "“Photos” is being closed; nobody can be invited"),
    (INVITE, [in_state(PHOTOS, "closed")], "“Photos” is closed; nobody can be invited"),
    (
        INVITE,
        [in_state(PHOTOS, "error", error={"reason": "name is missing"})],
        "“Photos” cannot be used by the cloud: name is missing; nobody can be invited",
    ),
    (INVITE, [SHARED], "“Photos” is shared with you; only its owner can invite"),
    (INVITE, [in_state(SHARED, "closed")], "“Photos” is shared with you"),
    (INVITE, [{**PHOTOS, "members": [BEN]}], "BEN@example.com has “Photos” already"),
    *(
        (INVITE, [PHOTOS, in_state(INVITED, state)], "BEN@example.com is invited to “Photos” alr")
        for state in ("new", "sent", "accepting")
    ),
    (["revoke", "lost"], [in_state(OWN, "revoked", _id="device-l", name="lost")], "was revoked al"),
    (["revoke", "lost"], [in_state(OWN, "revoking", _id="device-l", name="lost")], "was revoked"),
    (["revoke", "lost"], [in_state(OWN, "revoked")], "this device was revoked"),
    (["resend"], [OWN], "this device is confirmed already, so it needs no other mail"),
    (["resend"], [in_state(OWN, "revoked")], "this device was revoked"),
    (["subscription", "pause", "Photos"], [PHOTOS, in_state(OWN, "revoked")], "device was revoked"),
    (["subscription", "resume", "Photos"], [PHOTOS], "“Photos” is not in sync yet"),
]


@pytest.mark.parametrize(("words", "docs", "reason"), NOTHING)
def test_a_command_that_nothing_would_come_of_fails_with_the_reason(
    phone: Shell, words: list[str], docs: list[JsonDict], reason: str
) -> None:
    for doc in docs:
        phone.put({"_id": phone.profile.device_id, **doc})
    before = phone.device.database.info()["update_seq"]
    printed = phone.type(*words)
    assert (printed.code, printed.out) == (3 if "device was revoked" in reason else 1, "")
    assert printed.err.startswith("error: ")
    assert reason in printed.err
    assert phone.device.database.info()["update_seq"] == before


@pytest.mark.parametrize("state", ["declined", "expired", "withdrawn", "error", "accepted"])
def test_who_does_not_have_the_channel_is_invited_again(phone: Shell, state: str) -> None:
    phone.put(PHOTOS)
    phone.put({**INVITED, "state": state})
    assert phone.type(*INVITE).code == 0


@pytest.mark.parametrize("state", ["closed", "closing", "error"])
def test_a_name_that_no_working_channel_has_may_be_given_again(phone: Shell, state: str) -> None:
    phone.put({**PHOTOS, "state": state})
    phone.put(SHARED)
    assert phone.type(*CREATE).code == 0


@pytest.mark.parametrize("words", [CREATE, INVITE])
def test_a_rejected_device_creates_and_shares_nothing(phone: Shell, words: list[str]) -> None:
    phone.put({**PHOTOS, "name": "Photos" if words == INVITE else "Letters"})
    phone.home.update(lambda kept: replace(kept, is_rejected=True))
    printed = phone.type(*words)
    assert (printed.code, printed.out) == (1, "")
    assert "the registration of this device was rejected; run `unlink`" in printed.err


# Status, resend, unlink without a cloud


def test_status_tells_what_is_known_while_the_cloud_is_not_there(phone: Shell) -> None:
    printed = phone.type("status")
    assert (printed.code, printed.err) == (0, "")
    lines = printed.out.splitlines()
    assert lines[0] == f"device        Ada's phone, {phone.profile.device_id}"
    assert lines[1] == "owner         ada@example.com"
    assert lines[2] == "registration  not known while the cloud cannot be reached"
    assert lines[3] == f"device code   {phone.profile.doc['device_code']}"
    assert lines[4] == "agent         does not run; start it with `run`"
    assert lines[5] == (
        "cloud         cannot be reached: nothing answers at 127.0.0.1:9; never reached yet"
    )
    assert "in sync" not in printed.out
    assert max(len(line) for line in lines[2:6]) <= 90
    said = phone.type("--json", "status").json
    assert said["device"] == phone.profile.device_id
    assert said["registration"] is None
    assert said["channels"] == []
    assert [one["of"] for one in said["replications"]] == ["outbox"]


def test_status_lists_the_other_devices_so_that_one_can_be_revoked(phone: Shell) -> None:
    own = {"type": "device", "state": "active", "name": "Ada's phone"}
    phone.put({**own, "_id": phone.profile.device_id})
    phone.put({**own, "_id": "device-lost", "name": "Ada's tablet"})
    said = phone.type("--json", "status").json["devices"]
    assert said == [{"device": "device-lost", "name": "Ada's tablet", "state": "active"}]
    assert "other device  Ada's tablet, device-lost, active\n" in phone.type("status").out
    assert phone.type("revoke", "Ada's tablet").code == 0
    assert "Ada's tablet, device-lost, revoking\n" in phone.type("status").out


def test_a_name_means_the_device_that_is_not_revoked(phone: Shell) -> None:
    lost = {"type": "device", "name": "Laptop"}
    phone.put({**lost, "_id": "device-1", "state": "revoked"})
    phone.put({**lost, "_id": "device-2", "state": "active"})
    assert phone.type("--json", "revoke", "Laptop").json["device"] == "device-2"
    assert "use an id instead: device-1, device-2" in phone.type("revoke", "Laptop").err


def test_resend_asks_again_with_the_same_device_code(phone: Shell) -> None:
    code = phone.profile.doc["device_code"]
    out = phone.type("resend").out
    assert out.startswith(
        "The cloud sends another mail to ada@example.com\nas soon as this device reaches the cloud."
    )
    assert f"The device code is still {code}." in out
    said = phone.type("--json", "resend").json
    assert said["device_code"] == code
    assert phone.device.outbox.get(phone.profile.device_id)["generation"] == 2


def test_resend_is_refused_when_the_device_was_confirmed(phone: Shell) -> None:
    phone.put({"_id": phone.profile.device_id, "type": "device", "state": "active"})
    printed = phone.type("resend")
    assert (printed.code, printed.out) == (1, "")
    assert "is confirmed already, so it needs no other mail" in printed.err


def test_unlink_without_a_cloud_says_offline_or_nothing(phone: Shell) -> None:
    printed = phone.type("unlink")
    assert (printed.code, printed.out) == (1, "")
    assert "the cloud cannot be reached" in printed.err
    assert "--offline" in printed.err
    device_id = phone.profile.device_id
    printed = phone.type("unlink", "--offline")
    assert printed.code == 0
    assert printed.out.startswith("This device is unlinked, but the cloud was not told")
    assert device_id in printed.out
    assert phone.type("status").code == 1
    assert phone.register().code == 0
    assert phone.type("--json", "unlink", "--offline", "--purge").json["purged"] is True


def test_unlink_tells_which_databases_of_earlier_registrations_stay(phone: Shell) -> None:
    earlier = phone.device.channel("channel-earlier")
    earlier.create()
    earlier.put({"_id": OWNER_DOC, "device": None})
    said = phone.type("unlink", "--offline", "--purge").out
    couch = f"--couch http://NAME@{phone.couch.rpartition('@')[2]} --prefix {phone.prefix}"
    assert said.endswith(
        f" 1 database of an earlier registration stays; `clean {couch}` lists them.\n"
    )
    assert not is_gone(Server(phone.couch).database(earlier.name))


# Run


def test_a_revoked_devices_agent_ends_with_a_code_of_its_own(phone: Shell) -> None:
    phone.put({"_id": phone.profile.device_id, "type": "device", "state": "revoked"})
    for _ in range(2):
        printed = phone.run("run")
        assert printed.code == 3
        assert printed.err.startswith("error: this device was revoked. Its data stays here")
        assert "run `unlink` and then `register`" in printed.err
    assert phone.type("--json", "status").json["registration"] == "revoked"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_agent_ends_cleanly_when_it_is_told_to(phone: Shell, number: signal.Signals) -> None:
    with phone.running("run") as talk:
        talk.wait_for("cannot be reached")
        talk.send(number)
        assert talk.end() == 0
    assert talk.err == []
    last = "INFO     agent          stopped; this device's CouchDB continues to replicate"
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d"
    assert re.fullmatch(f"{when}  {re.escape(last)}", talk.out[-1])
    assert len(phone.device.replications.all()) == 1


def test_the_agent_tells_programs_in_lines_of_json(phone: Shell) -> None:
    with phone.running("--json", "run") as talk:
        talk.wait_for("cannot be reached")
        talk.send(signal.SIGTERM)
        assert talk.end() == 0
    said = [json.loads(line) for line in talk.out]
    assert [set(one) for one in said] == [{"at", "level", "about", "what"}] * len(said)
    assert [one["about"] for one in said] == ["cloud", "agent"]
    assert [one["level"] for one in said] == ["warning", "info"]


def test_a_second_agent_is_refused_and_the_first_goes_on(phone: Shell) -> None:
    with phone.running("run") as first:
        first.wait_for("cannot be reached")
        second = phone.run("run")
        assert (second.code, second.out) == (1, "")
        runs = f"error: the agent of this device runs, as process {first.pid}. Stop it first: with "
        assert second.err.startswith(runs + "Ctrl-C")
        refused = phone.type("unlink", "--offline")
        assert (refused.code, refused.out) == (1, "")
        assert refused.err.startswith(
            runs + "Ctrl-C where it was started, or with `systemctl stop "
        )
        first.send(signal.SIGTERM)
        assert first.end() == 0


def test_a_killed_agent_is_started_again_and_nothing_is_there_twice(phone: Shell) -> None:
    with phone.running("run") as talk:
        talk.wait_for("cannot be reached")
        talk.send(signal.SIGKILL)
        assert talk.end() == -signal.SIGKILL
    with phone.running("run") as talk:
        talk.wait_for("cannot be reached")
        talk.send(signal.SIGTERM)
        assert talk.end() == 0
    assert len(phone.device.replications.all()) == 1


def test_commands_may_be_typed_while_the_agent_runs(phone: Shell) -> None:
    with phone.running("run") as talk:
        talk.wait_for("cannot be reached")
        assert phone.type("channel", "create", "Photos").code == 0
        assert "“Photos”: not replicated: the cloud has not created it" in phone.type("status").out
        assert "agent         runs since" in phone.type("status").out
        assert phone.type("resend").code == 0
        talk.send(signal.SIGTERM)
        assert talk.end() == 0


def a_port_to_come_back_to() -> int:
    """A free port that no connection of another test is given while nobody listens there."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, lowest)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@only_embedded
def test_an_agent_whose_couchdb_is_down_begins_when_it_is_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = a_port_to_come_back_to()
    password = uuid.uuid4().hex
    couchdb = EmbeddedCouchDB(tmp_path / "couchdb", password, port)
    shell = Shell(tmp_path / "home", couchdb.url, capsys)
    try:
        assert shell.register().code == 0
        couchdb.stop()
        with shell.running("run", "--quiet") as talk:
            for nth in (1, 2):
                talk.wait_for("this device's CouchDB failed, trying again", nth)
                couchdb = EmbeddedCouchDB(tmp_path / "couchdb", password, port)
                talk.wait_for("this device's CouchDB can be used again", nth)
                assert len([line for line in talk.out if "CouchDB failed" in line]) == nth
                couchdb.stop()
            talk.send(signal.SIGTERM)
            assert talk.end() == 0
        assert talk.err == []
    finally:
        couchdb.stop()


# A screen that has no letters for it


def test_a_terminal_without_the_letters_ends_no_command(phone: Shell) -> None:
    printed = phone.run("channel", "create", "Fähre", PYTHONIOENCODING="ascii")
    assert (printed.code, printed.err) == (0, "")
    assert "F\\xe4hre" in printed.out
    printed = phone.run("--json", "status", PYTHONIOENCODING="ascii")
    assert printed.code == 0
    assert phone.run("channel", "invite", "Ö", "b@example.com", PYTHONIOENCODING="ascii").code == 1


# The whole way, with the cloud


@pytest.fixture
def active(gadget: MakeGadget, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Where the commands of an active device are typed, whose agent does not run."""
    phone = gadget("shell").become_active()
    phone.stop()
    return Shell(phone.folder, phone.couch, capsys, phone.prefix)


def test_a_refused_change_is_told_and_undone_with_commands_alone(active: Shell) -> None:
    active.put({"_id": "channel-1", "type": "channel", "state": "new", "name": ""})
    with active.running("run", "--every", "0.5") as agent:
        line = agent.wait_for("refused channel-1")
        why = "cloud          refused channel-1: name must be a text of 1 to 80 characters. "
        assert why + "Run `undo channel-1` to bring the cloud's version back" in line
        printed = active.type("status")
        assert (printed.code, printed.err) == (0, "")
        assert "refused       channel-1: name must be a text of 1 to 80" in printed.out
        assert len(active.type("--json", "status").json["refused"]) == 1
        printed = active.type("undo", "channel-1")
        assert (printed.code, printed.err) == (0, "")
        assert printed.out.startswith(
            "“channel-1” is deleted on this device, because the cloud does not have it. "
            f"What was refused is kept in {active.folder}/refused-"
        )
        printed = active.type("undo", "channel-1")
        assert (printed.code, printed.out) == (1, "")
        assert printed.err == (
            "error: The cloud has not refused “channel-1”, so there is nothing to undo.\n"
        )
        assert "refused" not in active.type("status").out
        printed = active.type("undo", "channel-2")
        assert (printed.code, printed.out) == (1, "")
        assert printed.err == (
            "error: there is no document “channel-2”; `status` lists the documents that the cloud "
            "refused\n"
        )
        agent.send(signal.SIGTERM)
        assert agent.end() == 0
    assert len([line for line in agent.out if "refused" in line]) == 1


def test_a_person_registers_shares_and_unlinks_with_commands_alone(
    shell: Shell, where: Where
) -> None:
    owner = an_address()
    shell.register(owner=owner, registrations=f"{where.api}/registrations")
    device_id, code = shell.profile.device_id, shell.profile.doc["device_code"]

    def link() -> str | None:
        mails = mails_about(where, owner, device_id)
        return str(mails[-1]["links"][0]) if mails else None

    found = wait_for(link, "the mail with the link")
    with shell.running("run", "--every", "0.5") as agent:
        agent.wait_for(f"type the device code {code}")
        assert f"device code   {code}" in shell.type("status").out
        assert post(found, device_code=code).status_code == 303
        agent.wait_for(f"looks after the channels of {owner}")
        assert shell.type("channel", "create", "Photos").code == 0
        agent.wait_for("is being replicated; its database here is")
        agent.wait_for("in sync; its database here is")

        def is_in_step() -> bool:
            said = shell.type("--json", "status").json
            return [one["sync"] for one in said["channels"]] == ["in_sync"]

        wait_for(is_in_step, "a channel in sync with the cloud")
        printed = shell.type("status")
        assert "registration  confirmed" in printed.out
        assert "device code" not in printed.out
        assert "channel       “Photos”: in sync\n" in printed.out
        assert "agent         runs since" in printed.out
        assert shell.type("subscription", "pause", "Photos").code == 0
        said = shell.type("--json", "status").json
        assert [channel["subscription"] for channel in said["channels"]] == ["paused"]

        def is_still() -> bool:
            said = shell.type("--json", "status").json
            return {one["of"] for one in said["replications"]} == {"control"}

        wait_for(is_still, "the agent, which ends the replication of the channel")
        assert shell.type("subscription", "resume", "Photos").code == 0
        wait_for(lambda: len([x for x in agent.out if "in sync" in x]) >= 2, "sync again")
        wait_for(is_in_step, "a channel in step again")
        assert shell.type("subscription", "stop", "Photos", "--purge").code == 0
        said = shell.type("--json", "status").json
        assert [channel["subscription"] for channel in said["channels"]] == ["stopped"]
        assert {one["of"] for one in said["replications"]} == {"control"}
        agent.send(signal.SIGTERM)
        assert agent.end() == 0
    said = shell.type("--json", "unlink", "--purge").json
    assert said == {"device": device_id, "revoked": True, "known": True, "purged": True, "left": []}
    assert shell.type("status").code == 1
