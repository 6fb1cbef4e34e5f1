"""docs/security.md says what there is: tests, defences, and how many bad inputs."""

import ast
import re
from pathlib import Path

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


def test_each_defence_and_each_test_of_a_threat_is_there() -> None:
    missing: list[str] = []
    for _, defence, test in ROWS:
        files = re.findall(r"`([\w/]+\.(?:py|js))`", defence)
        files += re.findall(r"\]\(\.\./(tests/security/[\w.]+)\)", test)
        missing += [file for file in files if not (ROOT / file).is_file()]
    tests = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)
    missing += [name for file, name in tests if name not in functions_of(TESTS / file)]
    assert missing == []


def test_each_file_of_attacks_is_named_in_the_table() -> None:
    files = {path.name for path in (TESTS / "security").glob("test_*.py")}
    named = set(re.findall(r"\]\(\.\./tests/security/(test_\w+\.py)\)", PAGE))
    assert named == files


def test_the_number_of_bad_inputs_is_that_of_the_inputs() -> None:
    [said] = re.findall(r"with ([\d,]+) bad inputs", PAGE)
    assert int(said.replace(",", "")) == sum(counts().values())
