"""The file of a device: whole or not at all, for its user's eyes only, and one agent at a time."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from chalicelib.domain.addresses import owner_id_of
from local.system import ROOT
from syncpoint_device.errors import DeviceError
from syncpoint_device.home import Home, Profile
from tests.kit.device.profiles import ADMIN_PASSWORD, PASSWORD, a_profile

PROCESS_LIMIT_S = 60

# Ends as a power cut does: the new file is written, and not in the old one's place yet.
CRASH = """
import os, sys
from dataclasses import replace
from pathlib import Path
from syncpoint_device.home import Home
Path.replace = lambda *paths: os._exit(9)
Home(Path(sys.argv[1])).update(lambda kept: replace(kept, cloud="https://new.example.com"))
"""
COUNT = """
import sys
from dataclasses import replace
from pathlib import Path
from syncpoint_device.home import Home
home = Home(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    home.update(lambda kept: replace(kept, doc={**kept.doc, "count": kept.doc["count"] + 1}))
"""
BE_THE_AGENT = """
import sys
from pathlib import Path
from syncpoint_device.home import Home
with Home(Path(sys.argv[1])).only_agent():
    print("running", flush=True)
    sys.stdin.read()
"""


def python(script: str, *arguments: object) -> "subprocess.Popen[str]":
    """The script in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "device.json"


# What is kept


def test_a_profile_comes_back_as_it_was_saved(home: Home) -> None:
    profile = a_profile(name="Adas Gerät", prefix="p-", cloud="https://h", control_db="control")
    assert not home.is_registered
    home.save(profile)
    assert home.is_registered
    assert home.load() == profile


def test_a_profile_knows_its_devices_names() -> None:
    profile = a_profile(owner="  Ada@Example.com ")
    assert profile.device_id == profile.doc["_id"]
    assert profile.owner_address == "  Ada@Example.com "
    assert profile.owner_id == owner_id_of("ada@example.com")


def test_a_profile_that_is_shown_shows_no_secret() -> None:
    assert PASSWORD not in repr(a_profile())
    assert ADMIN_PASSWORD not in repr(a_profile())


def test_a_profile_of_an_earlier_version_is_read(home: Home, file: Path) -> None:
    """Fields that came later have a default."""
    home.save(a_profile())
    older = {
        name: asdict(a_profile())[name] for name in ("doc", "password", "registrations", "couch")
    }
    file.write_text(json.dumps(older))
    assert home.load().prefix == ""


def test_a_device_is_forgotten_with_its_password(home: Home, file: Path) -> None:
    home.save(a_profile())
    file.with_suffix(".new").write_text(PASSWORD)
    home.remove()
    assert not home.is_registered
    assert [path for path in file.parent.iterdir() if PASSWORD in path.read_text()] == []
    home.remove()


# Who may read it


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_its_user_may_read_the_file(home: Home, file: Path) -> None:
    before = os.umask(0)
    try:
        home.save(a_profile())
        home.update(lambda kept: kept)
    finally:
        os.umask(before)
    assert mode_of(file) == 0o600
    assert mode_of(file.parent) == 0o700


def test_a_new_file_does_not_take_the_mode_of_one_in_its_way(home: Home, file: Path) -> None:
    file.parent.mkdir()
    file.with_suffix(".new").touch(mode=0o666)
    file.with_suffix(".new").chmod(0o666)
    home.save(a_profile())
    assert mode_of(file) == 0o600


def test_a_link_that_lies_where_the_new_file_is_written_is_not_followed(
    home: Home, file: Path, tmp_path: Path
) -> None:
    file.parent.mkdir()
    (tmp_path / "theirs").touch()
    file.with_suffix(".new").symlink_to(tmp_path / "theirs")
    home.save(a_profile())
    assert (tmp_path / "theirs").read_text() == ""
    assert not file.is_symlink()


# Whole or not at all


def test_a_file_that_is_being_read_on_windows_is_replaced_a_moment_later(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced, refusals = Path.replace, iter([PermissionError(13, "used"), PermissionError(13, "")])

    def replace_late(self: Path, target: Path) -> Path:
        refusal = next(refusals, None)
        if refusal:
            raise refusal
        return replaced(self, target)

    monkeypatch.setattr(Path, "replace", replace_late)
    monkeypatch.setattr("syncpoint_device.home._REPLACE_PAUSE_S", 0)
    home.save(a_profile(name="phone"))
    assert home.load().doc["name"] == "phone"


def test_a_file_that_cannot_be_replaced_at_all_is_an_error(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "used", str(target))

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr("syncpoint_device.home._REPLACE_PAUSE_S", 0)
    with pytest.raises(PermissionError):
        home.save(a_profile())


@pytest.mark.io
def test_a_crash_between_writing_and_renaming_leaves_the_old_file(home: Home, file: Path) -> None:
    profile = a_profile(cloud="https://old.example.com")
    home.save(profile)
    crashed = python(CRASH, file.parent)
    assert crashed.wait(timeout=PROCESS_LIMIT_S) == 9
    assert home.load() == profile
    assert "new.example.com" in file.with_suffix(".new").read_text()
    assert home.update(lambda kept: replace(kept, is_revoked=True)).cloud == profile.cloud
    assert home.load() == replace(profile, is_revoked=True)


@pytest.mark.io
def test_of_processes_that_change_it_at_once_none_loses_the_others_change(
    home: Home, file: Path
) -> None:
    profile = a_profile()
    home.save(replace(profile, doc={**profile.doc, "count": 0}))
    counting = [python(COUNT, file.parent, 25) for _ in range(3)]
    assert [process.wait(timeout=PROCESS_LIMIT_S) for process in counting] == [0, 0, 0]
    assert home.load().doc["count"] == 75


def test_a_change_that_fails_changes_nothing_and_holds_up_nobody(home: Home) -> None:
    home.save(a_profile(name="phone"))

    def fail(kept: Profile) -> Profile:
        raise DeviceError("no")

    with pytest.raises(DeviceError, match="no"):
        home.update(fail)
    assert home.load().doc["name"] == "phone"
    assert home.update(lambda kept: kept).doc["name"] == "phone"


# One agent


def test_there_is_one_agent_of_a_device(home: Home, tmp_path: Path) -> None:
    with (
        home.only_agent(),
        pytest.raises(DeviceError, match="agent of this device runs"),
        Home(tmp_path / "home").only_agent(),
    ):
        pass
    with home.only_agent():
        pass


@pytest.mark.io
def test_an_agent_that_was_killed_holds_up_no_other(home: Home, file: Path) -> None:
    running = python(BE_THE_AGENT, file.parent)
    assert running.stdout is not None
    assert running.stdout.readline() == "running\n"
    with pytest.raises(DeviceError, match="agent of this device runs"), home.only_agent():
        pass
    running.kill()
    running.wait(timeout=PROCESS_LIMIT_S)
    with home.only_agent():
        pass


def test_the_file_may_be_changed_while_the_agent_runs(home: Home) -> None:
    home.save(a_profile())
    with home.only_agent():
        assert home.update(lambda kept: replace(kept, is_revoked=True)).is_revoked


def test_two_devices_have_an_agent_each(tmp_path: Path) -> None:
    with Home(tmp_path / "one").only_agent(), Home(tmp_path / "other").only_agent():
        pass


# What cannot be read


def test_where_no_device_is_registered_that_is_said_with_how_to_begin(home: Home) -> None:
    with pytest.raises(DeviceError, match=r"no device is registered in .*; run `register` first"):
        home.load()
    with pytest.raises(DeviceError, match="no device is registered"):
        home.update(lambda kept: kept)


KEPT: dict[str, Any] = asdict(a_profile())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("{", id="half of it"),
        pytest.param(f'{{"password": "{PASSWORD}"', id="half of it with the password"),
        pytest.param("null", id="null"),
        pytest.param("[]", id="a list"),
        pytest.param('"device"', id="a text"),
        pytest.param("{}", id="an empty object"),
        pytest.param(json.dumps({"cookies": PASSWORD}), id="another program's"),
        pytest.param(json.dumps({**KEPT, "colour": PASSWORD}), id="a field too many"),
        pytest.param(json.dumps({**KEPT, "doc": PASSWORD}), id="a document that is a text"),
        pytest.param(json.dumps({**KEPT, "doc": None}), id="no document"),
        pytest.param(json.dumps({**KEPT, "doc": {}}), id="an empty document"),
        pytest.param(json.dumps({**KEPT, "doc": {**KEPT["doc"], "owner": 5}}), id="an odd owner"),
        pytest.param(json.dumps({**KEPT, "couch": None}), id="no CouchDB"),
        pytest.param(json.dumps({**KEPT, "password": [PASSWORD]}), id="a password in a list"),
        pytest.param(json.dumps({**KEPT, "cloud": 5}), id="a cloud that is a number"),
        pytest.param(json.dumps({**KEPT, "is_revoked": "no"}), id="revoked or not, in words"),
        pytest.param("[" * 100_000, id="nested without an end"),
    ],
)
def test_a_file_that_is_not_the_devices_is_named_and_not_shown(
    home: Home, file: Path, text: str
) -> None:
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(DeviceError) as caught:
        home.load()
    assert str(file) in str(caught.value)
    assert "move it away" in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert ADMIN_PASSWORD not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_file_of_other_bytes_is_named(home: Home, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DeviceError, match=r"device\.json cannot be read: UnicodeDecodeError"):
        home.load()


def test_a_folder_in_the_files_place_is_named(home: Home, file: Path) -> None:
    file.mkdir(parents=True)
    with pytest.raises(DeviceError, match=r"device\.json cannot be read: IsADirectoryError"):
        home.load()
