"""`python -m tests.javascript`: check the types of the project's JavaScript with TypeScript.

tsconfig.json says how. The functions in chalicelib/design are checked apart, because each file is
an expression that CouchDB evaluates. A temporary copy assigns the function to a constant of the
type ValidateDocUpdate (couchdb.d.ts). There, only names of ECMAScript 5 are known, and parameters
of inner functions need no type: a comment in the file would be a new version of the document.

The check fails, too, if TypeScript did not read one of the project's files, or if a file turns the
check off.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from local.couchdb_process import find_node

ROOT = Path(__file__).parents[2]
FOLDER = Path("tests", "javascript")
DESIGNS = Path("chalicelib", "design")
TSC = FOLDER / "node_modules" / "typescript" / "bin" / "tsc"
FIRST_LINE = "// @ts-check"
_TURNED_OFF = re.compile(r"@ts-(?:nocheck|ignore|expect-error)")


def main(root: Path = ROOT) -> int:
    """Print what is wrong; return 0 if nothing is."""
    if not (root / TSC).exists():
        print("error: TypeScript is not installed; `make types` installs it", file=sys.stderr)
        return 1
    files = _files(root)
    designs = [file for file in files if file.is_relative_to(DESIGNS)]
    with tempfile.TemporaryDirectory() as folder:
        wrappers = Path(folder).resolve()
        _wrap(root, designs, wrappers)
        found, read = _check(root, root)
        found_in_designs, read_as_designs = _check(root, wrappers)
    problems = [*found, *found_in_designs]
    for file in files:
        problems += _habits(root, file, is_read=file in read | read_as_designs)
    print("\n".join(problems) or f"JavaScript: no type errors in {len(files)} files")
    return 1 if problems else 0


def _files(root: Path) -> list[Path]:
    """The JavaScript that git has or could add, relative to the root."""
    patterns = ["*.js", "*.mjs", "*.cjs", "*.jsx"]
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *patterns]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return [Path(name) for name in sorted(set(listed.split("\0"))) if (root / name).is_file()]


def _wrap(root: Path, designs: Iterable[Path], folder: Path) -> None:
    """Write a script for each function, under the same path and with the same lines."""
    for design in designs:
        text = (root / design).read_text(encoding="utf-8")
        script = f"/** @type {{ValidateDocUpdate}} */ export const validate = {text.rstrip()};\n"
        (folder / design).parent.mkdir(parents=True, exist_ok=True)
        (folder / design).write_text(script, encoding="utf-8")
    config = {
        "extends": str(root / "tsconfig.json"),
        "compilerOptions": {"lib": ["es5"], "types": [], "noImplicitAny": False},
        "files": [str(root / FOLDER / "couchdb.d.ts")],
        "include": ["**/*.js"],
        "exclude": [],
    }
    (folder / "tsconfig.json").write_text(json.dumps(config), encoding="utf-8")


def _check(root: Path, project: Path) -> tuple[list[str], set[Path]]:
    """What TypeScript finds in a folder with a tsconfig.json, and which of its files it read."""
    command = [find_node(), str(root / TSC), "--project", ".", "--pretty", "false", "--listFiles"]
    done = subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)
    lines = done.stdout.splitlines() + done.stderr.splitlines()
    paths = [Path(line) for line in lines if Path(line).is_absolute()]
    found = [line for line in lines if not Path(line).is_absolute()]
    if done.returncode and not found:
        found = [f"error: TypeScript ended with {done.returncode}"]
    return found, {path.relative_to(project) for path in paths if path.is_relative_to(project)}


def _habits(root: Path, file: Path, *, is_read: bool) -> list[str]:
    """What keeps a file from being checked, here or in an editor."""
    text = (root / file).read_text(encoding="utf-8")
    problems = []
    if not is_read:
        problems.append("TypeScript did not read this file; tsconfig.json must include it")
    if not file.is_relative_to(DESIGNS) and not text.startswith(FIRST_LINE):
        problems.append(f"the first line must be {FIRST_LINE}")
    if turned_off := _TURNED_OFF.search(text):
        problems.append(f"{turned_off[0]} turns the check off")
    return [f"{file.as_posix()}: error: {problem}" for problem in problems]


if __name__ == "__main__":
    sys.exit(main())
