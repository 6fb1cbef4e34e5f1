"""Who may import whom (docs/design.md)."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.system import ROOT

OURS = {"app", "chalicelib", "poller", "device", "local"}
CORE = {
    "channel",
    "credentials",
    "docstate",
    "fields",
    "identity",
    "invitation",
    "link",
    "mailbox",
    "mailbox_request",
    "registration",
    "settings_secret",
    "settings_variables",
}
ADAPTERS = {
    "couch",
    "couch_database",
    "couch_errors",
    "couch_http",
    "claims",
    "ledger",
    "mail",
    "suppressions",
}
SOURCES = sorted(
    path
    for top in ("app.py", "chalicelib", "poller", "device", "local")
    for path in ([ROOT / top] if top.endswith(".py") else (ROOT / top).rglob("*.py"))
    if "node_modules" not in path.parts
)


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[str]:
    """Every module of ours that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in OURS)


def outside_modules(path: Path) -> set[str]:
    """The packages that a file imports, whosever they are."""
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    nodes = [node for node in tree if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    froms = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.split(".")[0] for name in [*names, *froms]}


def library_modules(path: Path) -> set[str]:
    """The second part of what is imported from chalicelib: {"couch", "settings", …}."""
    parts = [name.split(".") for name in imports_of(path)]
    return {part[1] for part in parts if part[0] == "chalicelib" and len(part) > 1}


def files(*modules: str) -> list[Path]:
    return [ROOT / "chalicelib" / f"{module}.py" for module in modules]


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_nothing_imports_app(path: Path) -> None:
    assert "app" not in {name.split(".")[0] for name in imports_of(path)}


@pytest.mark.parametrize("path", sorted((ROOT / "poller").glob("*.py")), ids=module_of)
def test_the_poller_takes_couch_and_settings_from_the_library_and_no_more(path: Path) -> None:
    assert library_modules(path) <= {"couch", "settings"}
    assert {name.split(".")[0] for name in imports_of(path)} <= {"chalicelib", "poller"}


@pytest.mark.parametrize("path", sorted((ROOT / "device").glob("*.py")), ids=module_of)
def test_a_device_takes_the_core_the_runner_and_couch_from_the_library_and_no_more(
    path: Path,
) -> None:
    assert library_modules(path) <= CORE | {"couch", "couch_http", "runner"}
    assert {name.split(".")[0] for name in imports_of(path)} <= {"chalicelib", "device"}


def test_a_device_needs_nothing_but_what_its_requirements_pin() -> None:
    lines = (ROOT / "requirements-device.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0].replace("-", "_").lower() for line in lines}
    used = set().union(*(outside_modules(path) for path in (ROOT / "device").glob("*.py")))
    assert used - set(sys.stdlib_module_names) - {"chalicelib", "device"} <= pinned


def test_a_device_brings_none_of_the_clouds_packages_along() -> None:
    """In a process of its own: in this one the tests have imported everything."""
    script = "import device.__main__, json, sys; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-c", script]
    answer = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    imported = {name.split(".")[0] for name in json.loads(answer.stdout)}
    assert {"device", "chalicelib", "requests"} <= imported
    assert not imported & {"boto3", "botocore", "chalice", "jinja2", "aws_lambda_powertools"}
    assert not imported & {"app", "poller", "local", "tests", "pyfiglet", "email_validator"}


@pytest.mark.parametrize("path", files(*sorted(ADAPTERS)), ids=module_of)
def test_adapters_know_settings_and_errors_only(path: Path) -> None:
    assert library_modules(path) <= {
        "settings",
        "errors",
        "couch_database",
        "couch_errors",
        "couch_http",
    }


@pytest.mark.parametrize("path", files(*sorted(CORE), "settings"), ids=module_of)
def test_the_core_knows_no_adapter_and_does_no_io(path: Path) -> None:
    assert library_modules(path) <= CORE
    assert not outside_modules(path) & {"requests", "boto3", "botocore", "chalice", "socket"}
    assert "open(" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.parent.name == "chalicelib"], ids=module_of
)
def test_the_library_knows_neither_the_poller_nor_the_local_system(path: Path) -> None:
    assert {name.split(".")[0] for name in imports_of(path)} <= {"chalicelib"}


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_the_environment_is_read_at_the_edges_only(path: Path) -> None:
    if "os.environ" in path.read_text(encoding="utf-8"):
        module = module_of(path)
        assert module in {"app", "chalicelib.wiring", "poller.app"} or module.startswith("local.")


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_no_module_is_more_than_one_thing(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250


HANDLERS = sorted((ROOT / "chalicelib" / "handlers").glob("*.py"))


@pytest.mark.parametrize("path", HANDLERS, ids=module_of)
def test_the_handlers_do_not_know_what_runs_them(path: Path) -> None:
    assert not library_modules(path) & {"runner", "batch", "wiring", "telemetry"}
