"""docs/security.md says what there is: tests, defences, and how many bad inputs."""

import ast
import re
from pathlib import Path

import pytest

from local.system import ROOT
from tests.kit.cases.attacks import counts

PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
TESTS = ROOT / "tests"
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| threat"))
]


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_threat_has_a_defence_and_a_test() -> None:
    assert len(ROWS) > 15
    for row in ROWS:
        threat, defence, test = row
        assert threat
        assert re.search(r"`[\w/]+\.(?:py|js)`", defence), threat
        assert "test_" in test, threat


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_each_defence_and_each_test_of_a_threat_is_there(row: list[str]) -> None:
    _, defence, test = row
    for file in re.findall(r"`([\w/]+\.(?:py|js))`", defence):
        assert (ROOT / file).is_file(), file
    for file in re.findall(r"\]\(\.\./(tests/security/[\w.]+)\)", test):
        assert (ROOT / file).is_file(), file
    for file, name in re.findall(r"`([\w/]+\.py)::(\w+)`", test):
        assert name in functions_of(TESTS / file), name


def test_each_file_of_attacks_is_named_in_the_table() -> None:
    files = {path.name for path in (TESTS / "security").glob("test_*.py")}
    named = set(re.findall(r"\]\(\.\./tests/security/(test_\w+\.py)\)", PAGE))
    assert named == files


def test_the_number_of_bad_inputs_is_that_of_the_inputs() -> None:
    [said] = re.findall(r"with ([\d,]+) bad inputs", PAGE)
    assert int(said.replace(",", "")) == sum(counts().values())
