"""The build hook of the agent's wheel: the agent, and those modules of the cloud that it uses.

`chalicelib` must not become a top-level package in somebody's environment: every Chalice app has
one. So its modules are installed as `syncpoint_device._cloud`, and the imports of them are changed.
Which modules are needed follows from the imports.
"""

import ast
import re
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parents[1]
AGENT, CLOUD = "syncpoint_device", "chalicelib"
CLOUD_INSTALLED_AS = f"{AGENT}._cloud"
START = f"{AGENT}.__main__"
_IMPORT = re.compile(rf"^(\s*from ){CLOUD}\b", re.MULTILINE)


class AgentHook(BuildHookInterface):  # type: ignore[misc]  # mypy does not follow hatchling
    """Put the changed modules into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the modules into a folder, and name each file's place in the wheel."""
        if not (ROOT / CLOUD).is_dir():
            raise FileNotFoundError(f"no {CLOUD}/ in {ROOT}: build the wheel in the repository")
        self._folder = tempfile.TemporaryDirectory()
        for place, text in sources().items():
            path = Path(self._folder.name, place)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            build_data["force_include"][str(path)] = place
        build_data["force_include"][str(ROOT / "LICENSE")] = f"{AGENT}/LICENSE"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the folder."""
        self._folder.cleanup()


def sources() -> dict[str, str]:
    """Return the text of each module of the wheel, by its path there."""
    return {_place(name): _changed(name) for name in needed(START)}


def needed(start: str) -> list[str]:
    """Return the names of our modules that a module imports, directly or through others."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            parent = name.rpartition(".")[0]
            waiting += [*_imported(name), *([parent] if parent else [])]
    return sorted(found)


def _imported(name: str) -> list[str]:
    """Return our modules that a module imports, wherever in its text."""
    names: list[str] = []
    for node in ast.walk(ast.parse(_path(name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    ours = [each for each in names if each.split(".")[0] in (AGENT, CLOUD)]
    return [each for each in ours if _path(each).is_file()]


def _path(name: str) -> Path:
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _place(name: str) -> str:
    place = _path(name).relative_to(ROOT).as_posix()
    return place.replace(f"{CLOUD}/", CLOUD_INSTALLED_AS.replace(".", "/") + "/", 1)


def _changed(name: str) -> str:
    text = _IMPORT.sub(rf"\g<1>{CLOUD_INSTALLED_AS}", _path(name).read_text(encoding="utf-8"))
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        if any(each.split(".")[0] == CLOUD for each in names):
            raise ValueError(f"{name}, line {node.lineno}: write `from {CLOUD} import …`")  # type: ignore[attr-defined]
    return text
