"""What import-linter cannot see of the layers (pyproject.toml has the contracts)."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.system import ROOT

SHIPPED = ("app.py", "chalicelib", "poller", "syncpoint_device", "local")
OURS = {"app", "chalicelib", "poller", "syncpoint_device", "local"}


def sources(*tops: str) -> Iterator[Path]:
    for top in tops:
        found = [ROOT / top] if top.endswith(".py") else sorted((ROOT / top).rglob("*.py"))
        yield from (path for path in found if "node_modules" not in path.parts)


def packages_of(path: Path) -> set[str]:
    """The top-level packages that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def test_nothing_imports_app() -> None:
    assert [path for path in sources(*SHIPPED) if "app" in packages_of(path)] == []


def test_the_rules_open_no_file() -> None:
    rules = sources("chalicelib/domain", "chalicelib/engine/docstate.py")
    assert [path for path in rules if "open(" in path.read_text(encoding="utf-8")] == []


def test_the_environment_is_read_at_the_edges_only() -> None:
    edges = {
        *("app.py", "chalicelib/engine/dependencies.py", "poller/app.py"),
        "syncpoint_device/network.py",
    }
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in sources(*SHIPPED)
        if "os.environ" in path.read_text(encoding="utf-8")
    }
    assert {name for name in readers if not name.startswith("local/")} == edges


def test_a_device_needs_nothing_but_what_its_requirements_pin() -> None:
    lines = (ROOT / "requirements-device.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0].replace("-", "_").lower() for line in lines}
    used = set().union(*(packages_of(path) for path in sources("syncpoint_device")))
    assert used - set(sys.stdlib_module_names) - {"chalicelib", "syncpoint_device"} <= pinned


@pytest.mark.io
def test_a_device_brings_none_of_the_clouds_packages_along() -> None:
    """In a process of its own: in this one the tests have imported everything."""
    script = "import syncpoint_device.__main__, json, sys; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-c", script]
    answer = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    imported = {name.split(".")[0] for name in json.loads(answer.stdout)}
    assert {"syncpoint_device", "chalicelib", "requests"} <= imported
    assert not imported & {"boto3", "botocore", "chalice", "jinja2", "aws_lambda_powertools"}
    assert not imported & {"app", "poller", "local", "tests", "pyfiglet", "email_validator"}
