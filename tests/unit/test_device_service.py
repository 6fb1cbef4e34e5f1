"""The systemd unit that `syncpoint-device service` prints, and how the agent is started."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.system import ROOT
from syncpoint_device import service
from syncpoint_device.__main__ import main
from syncpoint_device.errors import DeviceError
from syncpoint_device.home import Home
from tests.kit.device.profiles import a_profile

FOLDERS = [
    "/home/ada/.syncpoint",
    "/home/ada/my devices/pho'ne",
    '/home/ada/100% "sure"',
    "/home/ada/$HOME/%h",
    "/home/ada/back\\slash",
    "/home/ada/Gerät ⛴",
]


def entries(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)


def read_back(value: str, expanded: str = "%$") -> list[str]:
    """The words of a value, as systemd.syntax(7) and systemd.unit(5) say."""
    words = shlex.split(value)
    for sign in expanded:
        assert not any(sign in word.replace(sign * 2, "") for word in words), "it is expanded"
        words = [word.replace(sign * 2, sign) for word in words]
    return words


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program as pip installs it."""
    path = tmp_path / "bin" / "syncpoint-device"
    path.parent.mkdir()
    path.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(path.with_name("python")))
    return path


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_unit_starts_the_agent_of_this_device(folder: str, script: Path) -> None:
    unit = service.unit(Path(folder), {})
    [command] = entries(unit, "ExecStart")
    assert read_back(command) == [str(script), "--home", folder, "run"]
    [writes] = entries(unit, "ReadWritePaths")
    assert read_back(writes, "%") == [folder]
    assert entries(unit, "WorkingDirectory") == []


def test_in_a_checkout_the_unit_starts_the_module_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    unit = service.unit(Path("home"), {})
    [command] = entries(unit, "ExecStart")
    python = str(tmp_path / "python")
    home = str(Path("home").absolute())
    assert read_back(command) == [python, "-m", "syncpoint_device", "--home", home, "run"]
    assert entries(unit, "WorkingDirectory") == [str(ROOT)]


def test_the_unit_restarts_after_a_failure_but_not_after_a_revocation(script: Path) -> None:
    unit = service.unit(Path("/home/ada"), {})
    assert entries(unit, "Restart") == ["on-failure"]
    assert str(service.EXIT_REVOKED) in entries(unit, "RestartPreventExitStatus")[0].split()
    assert "1" not in entries(unit, "RestartPreventExitStatus")[0].split()


def test_the_unit_has_the_settings_of_the_network_but_no_password(script: Path) -> None:
    settings = {
        "SSL_CERT_FILE": "/etc/my ca.pem",
        "HTTPS_PROXY": "http://ada:secret@proxy.example:3128",
        "NO_PROXY": "10.0.0.0/8,example.com",
    }
    unit = service.unit(Path("/home/ada"), settings)
    assert entries(unit, "Environment") == [
        '"SSL_CERT_FILE=/etc/my ca.pem"',
        '"NO_PROXY=10.0.0.0/8,example.com"',
    ]
    assert "secret" not in unit


@pytest.mark.parametrize("folder", ["/home/a\nExecStartPre=evil", "/home/\x1b[2J", "/a\u2028b"])
def test_a_folder_that_would_be_another_line_of_the_unit_is_refused(folder: str) -> None:
    with pytest.raises(DeviceError, match="a systemd unit cannot have"):
        service.unit(Path(folder), {})


@pytest.mark.io
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
@pytest.mark.parametrize("folder", FOLDERS)
def test_systemd_finds_nothing_wrong_with_the_unit(
    folder: str, script: Path, tmp_path: Path
) -> None:
    path = tmp_path / "syncpoint-device.service"
    path.write_text(service.unit(Path(folder), {"NO_PROXY": "100%, $x"}), encoding="utf-8")
    command = ["systemd-analyze", "verify", "--recursive-errors=no", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = [line for line in ended.stderr.splitlines() if path.name in line]
    assert (ended.returncode, found) == (0, [])


def test_the_command_prints_the_unit(
    script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Home(tmp_path).save(a_profile())
    assert main(["--home", str(tmp_path), "service"]) == 0
    assert capsys.readouterr().out == service.unit(tmp_path, service_environment())


def service_environment() -> dict[str, str]:
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "https_proxy", "NO_PROXY")
    return {name: os.environ[name] for name in (*names, "no_proxy") if os.environ.get(name)}


# As a person types it


def test_a_program_on_the_path_is_typed_by_its_name(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(script.parent))
    assert service.typed("--home", "a b", "run") == "syncpoint-device --home 'a b' run"
    monkeypatch.setenv("PATH", "/nowhere")
    assert service.typed("run") == f"{script} run"
    monkeypatch.chdir(script.parent.parent)
    assert service.typed("run") == "bin/syncpoint-device run"
