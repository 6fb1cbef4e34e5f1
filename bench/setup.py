"""Provide what every benchmark needs: a CouchDB, documents in it, and a line about the machine."""

import os
import platform
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from chalicelib.couch import CouchError, Database, Server
from local.couchdb_process import EmbeddedCouchDB, find_node
from local.errors import LocalError, refusal
from local.system import ROOT, checked_url
from syncpoint_device.registration import new_device

BULK_DOCS = 1000
MAX_DATABASES = 100_000
COMMAND_LIMIT_S = 300
CREATED_AT = "2026-11-25T06:00:00Z"


@dataclass(frozen=True)
class Bench:
    """One run of `make bench`; a quick one takes seconds, to see that everything works."""

    is_quick: bool
    couch_url: str  # with the administrator's credentials
    folder: Path  # deleted after the run
    say: Callable[[str], None]

    @contextmanager
    def database(self, docs: int = 0, **fields: object) -> Iterator[Database]:
        """Create a control database with so many registrations; delete it and its owners' after."""
        server = Server(self.couch_url)
        database = server.database(f"bench-{uuid.uuid4().hex[:12]}")
        database.create()
        try:
            _fill(server, database, docs, fields)
            yield database
        finally:
            if is_lent():
                for name in server.all_dbs(database.name, f"{database.name}-~", MAX_DATABASES):
                    server.database(name).delete()
            server.close()


def is_lent() -> bool:
    """Tell whether COUCHDB_URL names the server, so that nothing may be left on it."""
    return bool(os.environ.get("COUCHDB_URL"))


@contextmanager
def couchdb() -> Iterator[tuple[str, Path]]:
    """Yield the URL of COUCHDB_URL's server, or of an embedded one, and a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="syncpoint-bench-") as name:
        folder = Path(name)
        if is_lent():
            yield checked_url(os.environ["COUCHDB_URL"]), folder
            return
        embedded = EmbeddedCouchDB(folder / "couchdb", uuid.uuid4().hex)
        try:
            yield embedded.url, folder
        finally:
            embedded.stop()


def timed_s(act: Callable[[], object]) -> float:
    """Call something and return how many seconds it took."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def output_of(*command: str) -> str:
    """Run a command in the project's folder and return what it prints; it must succeed."""
    output = subprocess.check_output(command, cwd=ROOT, text=True, timeout=COMMAND_LIMIT_S)  # noqa: S603
    return output.strip()


def memory_bytes(line: str) -> int | None:
    """Read this process's memory (``VmRSS:``) or its peak (``VmHWM:``); None without Linux."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    sizes = [int(text.split()[1]) * 1024 for text in lines if text.startswith(line)]
    return sizes[0] if sizes else None


def environment(couch_url: str) -> dict[str, str]:
    """Describe the machine, programs and commit; raise `LocalError` without CouchDB."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": output_of("git", "describe", "--always", "--dirty"),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "load at the start": f"{os.getloadavg()[0]:.1f}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Node.js": output_of(find_node(), "--version").lstrip("v"),
        "CouchDB": _couchdb_version(couch_url),
    }


def _fill(server: Server, database: Database, count: int, fields: dict[str, object]) -> None:
    template = new_device("ada@example.com", "Bench", CREATED_AT, sha256=False).doc
    for start in range(0, count, BULK_DOCS):
        docs = [
            {**template, "_id": f"device-{uuid.uuid4().hex}", **fields}
            for _ in range(min(BULK_DOCS, count - start))
        ]
        server.http.request("POST", f"/{database.name}/_bulk_docs", body={"docs": docs})


def _couchdb_version(couch_url: str) -> str:
    server = Server(couch_url)
    try:
        info = server.info()
    except CouchError as exc:
        raise LocalError(refusal(server.url, exc)) from exc
    finally:
        server.close()
    is_embedded = info.get("express-pouchdb")
    return f"embedded: express-pouchdb {info.get('version')}" if is_embedded else info["version"]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
