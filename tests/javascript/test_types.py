"""The type check finds what is wrong, in a small project of its own."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.javascript.__main__ import FOLDER, ROOT, TSC, main

pytestmark = [pytest.mark.io, pytest.mark.slow]

DESIGN = "chalicelib/design/rule.js"
SOUND = "// @ts-check\n'use strict';\n\nmodule.exports = { answer: 42 };\n"
RULE = "function (newDoc, oldDoc, userCtx, secObj) {{\n  {}\n}}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A script and a design document, both without a fault."""
    if not (ROOT / TSC).exists():
        why = "TypeScript is not installed; `make types` installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    shutil.copy(ROOT / "tsconfig.json", tmp_path)
    (tmp_path / FOLDER).parent.mkdir()
    (tmp_path / FOLDER).symlink_to(ROOT / FOLDER, target_is_directory=True)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    write(tmp_path, "local/script.js", SOUND)
    write(tmp_path, DESIGN, RULE.format("if (userCtx.roles.indexOf('_admin') !== -1) return;"))
    return tmp_path


def write(project: Path, name: str, text: str) -> None:
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text(text, encoding="utf-8")


def test_a_project_without_a_fault_passes(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(project) == 0
    assert capsys.readouterr().out == "JavaScript: no type errors in 2 files\n"


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("local/script.js", f"{SOUND}Math.max('1');\n", "local/script.js(5,10): error TS2345"),
        ("local/script.js", f"{SOUND}(x) => x;\n", "local/script.js(5,2): error TS7006"),
        ("local/script.js", SOUND.partition("\n")[2], "script.js: error: the first line must be"),
        ("local/script.js", f"{SOUND}// @ts-ignore\n", "script.js: error: @ts-ignore turns the"),
        (".hidden/script.js", SOUND, ".hidden/script.js: error: TypeScript did not read"),
        (DESIGN, RULE.format("userCtx.rolls;"), f"{DESIGN}(2,11): error TS2551"),
        (DESIGN, RULE.format("userCtx.roles.includes('a');"), f"{DESIGN}(2,17): error TS2550"),
        (DESIGN, RULE.format("console.log(1);"), f"{DESIGN}(2,3): error TS2584"),
        (DESIGN, RULE.format("newDoc._id = 1;"), f"{DESIGN}(2,3): error TS2322"),
    ],
    ids=[
        "a wrong argument",
        "a parameter without a type",
        "no ts-check",
        "ts-ignore",
        "a file that tsconfig.json leaves out",
        "a field of the user context that does not exist",
        "a method newer than ECMAScript 5",
        "a name that CouchDB does not have",
        "a wrong type in a document",
    ],
)
def test_a_fault_is_found_where_it_is(
    project: Path, name: str, text: str, found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project, name, text)
    assert main(project) == 1
    assert found in capsys.readouterr().out


def test_a_missing_typescript_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tmp_path) == 1
    assert "`make types` installs it" in capsys.readouterr().err
