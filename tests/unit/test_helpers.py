"""The tests' helpers: none stands twice, and the name of one means one thing."""

import ast
from collections import defaultdict
from pathlib import Path

from local.system import ROOT

TESTS = ROOT / "tests"
Helper = ast.FunctionDef | ast.ClassDef


def helpers() -> list[tuple[Path, Helper]]:
    """All functions and classes of test modules that are no test, fixture or module's own."""
    return [
        (path.relative_to(TESTS), node)
        for path in sorted(TESTS.rglob("*.py"))
        if "node_modules" not in path.parts
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, Helper) and not is_other(node)
    ]


def is_other(node: Helper) -> bool:
    is_fixture = any("fixture" in ast.unparse(each) for each in node.decorator_list)
    return is_fixture or node.name == "main" or node.name.startswith(("test_", "pytest_", "_"))


def test_no_helper_stands_twice() -> None:
    places: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for path, node in helpers():
        what = "\n".join(ast.unparse(line) for line in node.body if not is_docstring(line))
        if what:
            places[what][str(path)] = node.name
    assert [same for same in places.values() if len(same) > 1] == [], "keep one, in tests/kit"


def is_docstring(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


def test_a_helper_of_the_kit_has_a_name_of_its_own() -> None:
    places: defaultdict[str, set[Path]] = defaultdict(set)
    for path, node in helpers():
        places[node.name].add(path)
    shared = {
        name: sorted(map(str, paths))
        for name, paths in places.items()
        if len(paths) > 1 and any(path.parts[0] == "kit" for path in paths)
    }
    assert shared == {}, "a name means one thing; rename the one that fewer modules use"
