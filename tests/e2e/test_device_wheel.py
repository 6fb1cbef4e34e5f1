"""The agent's wheel: built, installed into a clean environment, and used there."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from local.system import ROOT
from ops import device_wheel
from syncpoint_device import __version__
from tests.kit.device.shell import NOWHERE, Shell

pytestmark = [pytest.mark.io, pytest.mark.slow]

LIMIT_S = 600
IMPORT_ALL = """
import importlib, json, pkgutil, sys
import syncpoint_device
for module in pkgutil.walk_packages(syncpoint_device.__path__, "syncpoint_device."):
    importlib.import_module(module.name)
print(json.dumps(sorted(name for name in sys.modules if name.startswith(("syncpoint", "chalice")))))
"""


def run(*command: object, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A command without the environment of whoever runs the tests, but with pip's settings."""
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(cwd), **pip, **environment},
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    ended = run(*build, cwd=ROOT / "syncpoint_device")
    assert ended.returncode == 0, ended.stderr
    [path] = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment that has the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    locked = ["--require-hashes", "--no-deps", "-r", ROOT / "requirements-device.txt"]
    for what in (locked, ["--no-deps", "--no-index", wheel]):
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        ended = run(*pip, *what, cwd=folder)
        assert ended.returncode == 0, ended.stderr
    return python.parent


def test_the_wheel_has_one_top_level_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"syncpoint_device", f"syncpoint_device-{__version__}.dist-info"}
    assert [name for name in names if "hatch" in name or "test" in name] == []
    assert wheel.name == f"syncpoint_device-{__version__}-py3-none-any.whl"


def test_the_wheel_has_all_of_the_agent_and_what_it_uses_of_the_cloud(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    agent = {f"syncpoint_device/{path.name}" for path in (ROOT / "syncpoint_device").glob("*.py")}
    assert agent <= names, "a module that nothing imports"
    assert "syncpoint_device/_cloud/couch.py" in names
    assert not any("_cloud/handlers" in name or "_cloud/web" in name for name in names)


def test_no_module_of_the_wheel_imports_the_clouds_package() -> None:
    texts = device_wheel.sources()
    assert [name for name, text in texts.items() if "import chalicelib" in text] == []
    assert [name for name, text in texts.items() if "from chalicelib" in text] == []


def test_the_packages_fit_together_and_only_ours_is_new(installed: Path) -> None:
    checked = run(installed / "python", "-m", "pip", "check", cwd=installed)
    assert checked.returncode == 0, checked.stdout
    [packages] = installed.parent.glob("lib/python*/site-packages")
    ours = sorted(path.name for path in packages.glob("*") if "sync" in path.name)
    assert ours == ["syncpoint_device", f"syncpoint_device-{__version__}.dist-info"]
    assert not (packages / "chalicelib").exists()


def test_every_module_of_the_wheel_can_be_imported(installed: Path, tmp_path: Path) -> None:
    ended = run(installed / "python", "-c", IMPORT_ALL, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    names = json.loads(ended.stdout)
    assert "syncpoint_device._cloud.couch" in names
    assert [name for name in names if name.startswith("chalice")] == []


def test_the_installed_program_says_its_version_and_help(installed: Path, tmp_path: Path) -> None:
    program = installed / "syncpoint-device"
    said = run(program, "--version", cwd=tmp_path)
    assert (said.returncode, said.stdout) == (0, f"syncpoint-device {__version__}\n")
    said = run(program, "--help", cwd=tmp_path)
    assert said.returncode == 0
    assert said.stdout.startswith("usage: syncpoint-device ")


def test_the_installed_program_fails_in_words(installed: Path, tmp_path: Path) -> None:
    said = run(installed / "syncpoint-device", "status", cwd=tmp_path)
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr.startswith("error: no device is registered in ")


def test_the_installed_program_registers_and_starts_as_a_service(
    installed: Path, shell: Shell, tmp_path: Path
) -> None:
    program = installed / "syncpoint-device"
    words = ["--owner", "ada@example.com", "--registrations", NOWHERE, "--couch", shell.couch]
    words += ["--name", "PC", "--prefix", shell.prefix]
    said = run(program, "--home", shell.folder, "register", *words, cwd=tmp_path)
    assert (said.returncode, said.stderr) == (0, "")
    shell.devices.append(shell.device)
    assert said.stdout.splitlines()[-1].strip() == f"{program} --home {shell.folder} run"
    said = run(program, "--home", shell.folder, "service", cwd=tmp_path)
    assert f'ExecStart="{program}" "--home" "{shell.folder}" "run"\n' in said.stdout
    assert "WorkingDirectory" not in said.stdout
