"""`python -m local.install_node`: see to it that there is a Node.js with npm."""

import shutil
import subprocess
import sys
from pathlib import Path

from local.couchdb_process import find_node
from local.errors import LocalError

# Node.js and npm as a Python package, for machines that have none.
REQUIREMENTS = Path(__file__).parent.parent / "requirements-node.txt"


def main() -> int:
    """Install Node.js into the virtual environment if the machine's own is missing or too old."""
    try:
        find_node()
        is_there = shutil.which("npm") is not None
    except LocalError:
        is_there = False
    if is_there:
        return 0
    print("set-up: Node.js from PyPI (the machine has none that is recent enough)", file=sys.stderr)
    install = ["install", "-qq", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    command = [sys.executable, "-m", "pip", *install, "-r", str(REQUIREMENTS)]
    return subprocess.run(command, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
