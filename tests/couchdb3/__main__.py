"""`python -m tests.couchdb3 COMMAND …`: run a command with COUCHDB_URL set to the stand-in."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from local.couchdb_process import find_node
from tests.kit.embedded import start_quietly

PROXY = Path(__file__).parent / "proxy.js"


def main(command: list[str]) -> int:
    """Run the command; return its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        # An ordinary word, as on many a server: no test may take it for a secret of its own.
        couchdb = start_quietly(Path(folder), "password")
        proxy = subprocess.Popen(
            [find_node(), str(PROXY), couchdb.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert proxy.stdout is not None
            port = json.loads(proxy.stdout.readline())["port"]
            url = f"{couchdb.url.rpartition(':')[0]}:{port}"
            return subprocess.run(command, env=os.environ | {"COUCHDB_URL": url}).returncode
        finally:
            proxy.kill()
            proxy.wait()
            couchdb.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
