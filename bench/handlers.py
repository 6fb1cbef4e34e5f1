"""The handlers that ship, in this process: over the bench's CouchDB, and an AWS in memory."""

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from requests.adapters import HTTPAdapter

from chalicelib.couch import Server
from chalicelib.domain.documents import JsonDict
from chalicelib.engine.dependencies import Dependencies
from chalicelib.engine.runner import Message, Outcome, handle
from chalicelib.handlers.all import registry
from tests.fakes.aws import FakeAws

_ENVIRONMENT = {
    "TABLE_NAME": "bench",
    "SECRET_ID": "bench",
    "PUBLIC_URL": "https://sync.example.com/api",
    "MAIL_FROM": "syncpoint@example.com",
}


# Runs around a request: its service's name and the request.
Around = Callable[[str, Callable[[], Any]], Any]


class WatchedAdapter(HTTPAdapter):
    """A pool of connections to CouchDB; `around` runs around each request."""

    def __init__(self, around: Around, connections: int = 1) -> None:
        super().__init__(pool_connections=1, pool_maxsize=connections)
        self._around = around

    def send(self, *arguments: Any, **keywords: Any) -> Any:
        """As requests' own."""
        send = super().send
        return self._around("couchdb", lambda: send(*arguments, **keywords))


class Handlers:
    """All transitions of one installation.

    Attributes
    ----------
    requests : Counter
        How many requests were sent so far, by service.
    """

    def __init__(self, couch_url: str, control_db: str, connections: int = 1) -> None:
        self._aws = FakeAws(time.time)
        self._aws.create_table("bench")
        secret = {"couchdb_url": couch_url, "link_keys": ["5a" * 32]}
        self._aws.put_secret("bench", json.dumps(secret))
        self.requests: Counter[str] = Counter()
        adapter = WatchedAdapter(self._around, connections)
        self.dependencies = Dependencies(
            _ENVIRONMENT | {"CONTROL_DB": control_db},
            client=lambda service: self._aws.client(service, self._around),
            server=lambda url: Server(url, adapter),
        )

    @property
    def mails(self) -> list[bytes]:
        """All mails as MIME, oldest first."""
        return self._aws.mails

    def handle(self, db: str, doc: JsonDict) -> None:
        """Hand a document's message to its transition.

        Raises
        ------
        RuntimeError
            If the document did not get into its next state.
        """
        message = Message(db, doc["_id"], doc["type"], doc["state"], doc)
        outcome = self.dependencies.use(
            lambda context: handle(message, registry, context, self.dependencies.claims)
        )
        if outcome is not Outcome.SAVED:
            raise RuntimeError(f"{doc['type']}/{doc['state']} of {doc['_id']}: {outcome}")

    def _around(self, name: str, call: Callable[[], Any]) -> Any:
        self.requests[name.partition(".")[0]] += 1
        return call()
