"""What the project says of itself: its version, its changelog, its licence, its git hooks."""

import re
import tomllib
from typing import Any

import yaml

from local.system import ROOT

VERSION = re.compile(r"\d+\.\d+\.\d+")
RELEASE = re.compile(r"(\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2})")
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return table


def headings(level: int) -> list[str]:
    return re.findall(rf"^{'#' * level} (.*)$", CHANGELOG, re.MULTILINE)


def releases() -> list[tuple[tuple[int, ...], str]]:
    """The version and the date of each release, as the changelog lists them."""
    found = [RELEASE.fullmatch(heading) for heading in headings(2) if heading != "Unreleased"]
    assert all(found), headings(2)
    return [(numbers(match[1]), match[2]) for match in found if match]


def numbers(version: str) -> tuple[int, ...]:
    assert VERSION.fullmatch(version)
    return tuple(int(number) for number in version.split("."))


def test_the_changelog_lists_releases_newest_first() -> None:
    assert releases() == sorted(set(releases()), reverse=True)
    assert [date for _, date in releases()] == sorted(
        (date for _, date in releases()), reverse=True
    )


def test_the_changelog_has_the_sections_of_keep_a_changelog() -> None:
    assert headings(2)[0] == "Unreleased"
    assert set(headings(3)) <= KINDS


def test_lines_of_the_changelog_have_at_most_100_characters() -> None:
    assert [line for line in CHANGELOG.splitlines() if len(line) > 100] == []


def test_the_version_is_the_newest_release_or_the_next() -> None:
    assert numbers(project()["version"]) >= releases()[0][0]


def test_the_licence_is_the_one_that_pyproject_names() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert project()["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "Copyright 2026 The Syncpoint authors" in text


def test_git_hooks_run_only_the_projects_own_tools() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    entries = {hook["id"]: hook["entry"] for hook in config["repos"][0]["hooks"]}
    assert list(entries) == ["ruff-format", "ruff-check", "mypy", "tsc"]
    assert all(entry.startswith(".venv/bin/") for entry in entries.values())
