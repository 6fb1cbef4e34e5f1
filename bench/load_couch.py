"""The CouchDB that a load is put on, each request to which is counted."""

import os
import secrets
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from local.cleanup import remove_all_of
from local.couchdb_process import EmbeddedCouchDB

# What runs around a request: told its name, it calls it.
Around = Callable[[str, Callable[[], Any]], Any]


class CheckFailed(Exception):
    """Something does not hold that must, whatever the load."""


@dataclass(frozen=True)
class Couch:
    """A CouchDB, and the control database of a load's own.

    Attributes
    ----------
    connect : callable
        Makes a `Server` of its URL; something runs around each of its requests.
    """

    url: str
    control_db: str
    connect: Callable[[str, Around], Server]

    def server(self) -> Server:
        """The server for what is done beside the load, and so is not counted."""
        return self.connect(self.url, lambda name, call: call())


@contextmanager
def opened() -> Iterator[Couch]:
    """The CouchDB of ``COUCHDB_URL``, that is left as it was; or an embedded one."""
    given = os.environ.get("COUCHDB_URL")
    name = f"syncpoint-load-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory() as folder:
        embedded = None if given else EmbeddedCouchDB(Path(folder), secrets.token_urlsafe(12))
        couch = Couch(given or (embedded.url if embedded else ""), name, connect)
        server = couch.server()
        try:
            server.database("_users").create()
            server.database(name).create()
            yield couch
        finally:
            if embedded:
                embedded.stop()
            else:
                remove_all_of(server, name)
            server.close()


def connect(url: str, around: Around) -> Server:
    """A server by HTTP; something runs around each request."""
    return Server(url, _CountedAdapter(around))


def write(server: Server, control: Database, docs: list[JsonDict]) -> None:
    """Write new documents. One request."""
    rows = server.http.request("POST", f"/{control.name}/_bulk_docs", body={"docs": docs})
    if len(rows) != len(docs) or any("rev" not in row for row in rows):
        raise CheckFailed("CouchDB did not take all documents")


def changed_devices(control: Database, since: str) -> tuple[dict[str, str], str]:
    """The states of the devices that changed, and the seq to go on from. A request a page."""
    states: dict[str, str] = {}
    while True:
        page = control.changes(since, limit=1000)
        since = str(page["last_seq"])
        docs = [row["doc"] for row in page["results"]]
        states |= {doc["_id"]: doc["state"] for doc in docs if doc.get("type") == "device"}
        if not docs:
            return states, since


class _CountedAdapter(HTTPAdapter):
    def __init__(self, around: Around) -> None:
        super().__init__(pool_connections=1, pool_maxsize=16)
        self._around = around

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        def send() -> Response:
            return super(_CountedAdapter, self).send(request, *args, **kwargs)

        answer: Response = self._around(f"couchdb.{request.method}", send)
        return answer
