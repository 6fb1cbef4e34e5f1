"""What is installed is pinned, with hashes, and the same everywhere."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from local.system import ROOT
from syncpoint_device import __version__

SOURCES = sorted(ROOT.glob("requirements*.in"))
LOCKS = sorted(ROOT.glob("requirements*.txt"))


def pins(lock: Path) -> dict[str, tuple[str, int]]:
    """The version of each package, and how many hashes it has."""
    logical_lines = lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    requirements = [line for line in logical_lines if line and not line.strip().startswith("#")]
    return dict(pin(line) for line in requirements)


def pin(requirement: str) -> tuple[str, tuple[str, int]]:
    pinned = re.match(r"([a-z0-9][a-z0-9-]*)==([^\s;]+)", requirement)
    assert pinned, requirement
    hashes = re.findall(r" --hash=sha256:[0-9a-f]{64}\b", requirement)
    return pinned[1], (pinned[2], len(hashes))


def named(source: Path) -> set[str]:
    """The packages that a source names itself."""
    text = source.read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z0-9][a-z0-9-]*)", text, re.MULTILINE))


def test_each_source_has_its_lock_and_make_lock_writes_them_all() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [written] = re.findall(r"^LOCKED := ((?:.*\\\n)*.*)$", makefile, re.MULTILINE)
    assert sorted(written.replace("\\", "").split()) == sorted(path.stem for path in SOURCES)
    assert [path.stem for path in SOURCES] == [path.stem for path in LOCKS]


def test_what_a_source_names_is_in_its_lock() -> None:
    assert all(named(source) for source in SOURCES)
    missing = {
        source.name: named(source) - set(pins(source.with_suffix(".txt"))) for source in SOURCES
    }
    assert {name: found for name, found in missing.items() if found} == {}


def test_all_that_a_lock_has_is_pinned_by_hash() -> None:
    assert [
        f"{lock.name}: {name}"
        for lock in LOCKS
        for name, (_, hashes) in pins(lock).items()
        if not hashes
    ] == []


def test_a_package_has_one_version_in_all_locks() -> None:
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, (version, _) in pins(lock).items():
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    ("part", "whole"),
    [("-poller", ""), ("", "-local"), ("-device", "-local"), ("-local", "-dev")],
)
def test_what_installs_more_has_all_that_installs_less(part: str, whole: str) -> None:
    less, more = (pins(ROOT / f"requirements{name}.txt") for name in (part, whole))
    assert less.items() <= more.items()


def test_the_agents_wheel_asks_for_what_a_device_is_tested_with() -> None:
    project = tomllib.loads((ROOT / "syncpoint_device/pyproject.toml").read_text(encoding="utf-8"))
    wanted = {each.name: each for each in map(Requirement, project["project"]["dependencies"])}
    assert wanted.keys() == named(ROOT / "requirements-device.in")
    locked = pins(ROOT / "requirements-device.txt")
    assert [name for name, each in wanted.items() if locked[name][0] not in each.specifier] == []


def test_the_agent_has_the_version_of_the_whole() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__


def test_nothing_is_installed_without_hashes() -> None:
    files = ("Makefile", ".ci/run", "local/install_node.py")
    texts = "\n".join((ROOT / path).read_text(encoding="utf-8") for path in files)
    commands = re.findall(r"^.*\bpip install\b.*$|^.*\"install\",.*$", texts, re.MULTILINE)
    assert [command for command in commands if "--require-hashes" not in command] == []
