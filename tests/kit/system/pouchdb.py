"""A real PouchDB on Node.js, as an app on a device has it (pouchdb_client.js)."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import IO, Any

import pytest

from chalicelib.domain.documents import JsonDict
from local.couchdb_process import SERVER, find_node

_SCRIPT = Path(__file__).with_name("pouchdb_client.js")
_LIMIT_S = 120


class PouchDB:
    """An app with its own database, and what its replication tells."""

    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        self._stdin = stdin
        self._told: Queue[JsonDict] = Queue()
        reader = threading.Thread(target=self._read, args=(stdout,), daemon=True)
        reader.start()

    def put(self, doc: JsonDict) -> str:
        """Write a document into the app's database, over the revision in its ``_rev``."""
        self._send({"put": doc})
        return str(self.wait_for("put")["rev"])

    def replicate(self, **options: Any) -> None:
        """Begin to replicate it to the URL, or from there with ``back=True``."""
        self._send({"replicate": options})

    def wait_for_doc(self, doc_id: str) -> JsonDict:
        """Wait until the app has a document, and return it."""
        self._send({"wait": doc_id})
        said: JsonDict = self.wait_for("doc")
        return said

    def wait_for(self, event: str) -> Any:
        """What the next event of that name says; those before it are passed over."""
        deadline, told = time.monotonic() + _LIMIT_S, list[JsonDict]()
        while not told or told[-1]["event"] != event:
            try:
                told.append(self._told.get(timeout=max(0, deadline - time.monotonic())))
            except Empty:
                raise AssertionError(f"no {event} within {_LIMIT_S} s, but {told[-9:]}") from None
        return told[-1]["says"]

    def _send(self, command: JsonDict) -> None:
        self._stdin.write(json.dumps(command) + "\n")
        self._stdin.flush()

    def _read(self, stdout: IO[str]) -> None:
        for line in stdout:
            self._told.put(json.loads(line))


@contextmanager
def running(folder: Path, url: str) -> Iterator[PouchDB]:
    """A PouchDB with a database in a folder, to replicate with a URL.

    Without its packages a test is skipped, but not in CI.
    """
    if not (SERVER.parent / "node_modules" / "pouchdb-core").exists():
        why = "no npm packages of PouchDB; `make setup` installs them"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    process = subprocess.Popen(
        [find_node(), str(_SCRIPT), str(SERVER.parent), str(folder), url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        try:
            yield PouchDB(process.stdin, process.stdout)
        finally:
            process.kill()
            process.wait()
