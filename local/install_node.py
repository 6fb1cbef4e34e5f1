"""The command `python -m local.install_node`, which installs Node.js and npm if missing."""

import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from local.couchdb_process import find_node
from local.errors import LocalError

# Node.js and npm as a Python package, for machines that have none.
REQUIREMENTS = Path(__file__).parent.parent / "requirements-node.txt"


def main() -> int:
    """Install Node.js into the virtual environment if the machine's own is missing or too old."""
    with suppress(LocalError):
        find_node()
        if shutil.which("npm"):
            return 0
    print("set-up: Node.js from PyPI (the machine's own is missing or too old)", file=sys.stderr)
    install = ["install", "-qq", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    command = [sys.executable, "-m", "pip", *install, "-r", str(REQUIREMENTS)]
    return subprocess.run(command, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
