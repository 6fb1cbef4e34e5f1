"""What each item of the bench is given: a server, documents, how thorough to be, where to speak."""

import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from chalicelib.couch import Database, Server
from device.registration import new_device
from local.couchdb_process import EmbeddedCouchDB
from local.system import checked_url

BULK_DOCS = 1000
MAX_DATABASES = 100_000


@dataclass(frozen=True)
class Bench:
    """One run of the bench.

    Attributes
    ----------
    is_quick : bool
        Whether to look for a few seconds only: enough to see that all of it works.
    couch_url : str
        The server that is measured, with its administrator's credentials.
    is_lent : bool
        Whether that is somebody's, and to be left as it was.
    folder : Path
        For what is needed while it runs.
    say : callable
        Told how far it is.
    """

    is_quick: bool
    couch_url: str
    is_lent: bool
    folder: Path
    say: Callable[[str], None]

    @contextmanager
    def database(self, docs: int = 0, **fields: object) -> Iterator[Database]:
        """A control database with so many registrations; the owners' go with it at the end."""
        server = Server(self.couch_url)
        database = server.database(f"bench-{uuid.uuid4().hex[:12]}")
        database.create()
        try:
            load(server, database, docs, **fields)
            yield database
        finally:
            if self.is_lent:  # one of our own goes with its folder
                for name in server.all_dbs(database.name, f"{database.name}-~", MAX_DATABASES):
                    server.database(name).delete()
            server.close()


@contextmanager
def opened(*, is_quick: bool, say: Callable[[str], None]) -> Iterator[Bench]:
    """A run on the server of COUCHDB_URL, or else on an embedded one of its own."""
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="syncpoint-bench-")))
        given = os.environ.get("COUCHDB_URL")
        is_lent = bool(given)
        if given:
            couch_url = checked_url(given)
        else:
            couchdb = EmbeddedCouchDB(folder / "couchdb", uuid.uuid4().hex)
            exits.callback(couchdb.stop)
            couch_url = couchdb.url
        yield Bench(is_quick, couch_url, is_lent, folder, say)


def load(server: Server, database: Database, count: int, **fields: object) -> None:
    """Write new registrations, as devices make them, a thousand at a time."""
    template = new_device("ada@example.com", "Bench", "2026-11-25T06:00:00Z", sha256=False).doc
    for start in range(0, count, BULK_DOCS):
        docs = [
            {**template, "_id": f"device-{uuid.uuid4().hex}", **fields}
            for _ in range(min(BULK_DOCS, count - start))
        ]
        server.http.request("POST", f"/{database.name}/_bulk_docs", body={"docs": docs})


def timed_s(act: Callable[[], object]) -> float:
    """How many seconds something takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
