"""A fake cloud for devices: its registrations endpoint and CouchDB answer what they are told."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from chalicelib.domain.documents import JsonDict
from tests.kit.http_server import Answer, serving

NOT_FOUND = (404, {"error": "not_found", "reason": "missing"})
UNAUTHORIZED = (401, {"error": "unauthorized", "reason": "Name or password is incorrect."})
UNAVAILABLE = (503, {"error": "service_unavailable", "reason": "later"})
TOO_MANY = (429, {"error": "too_many_requests", "reason": "later"})


@dataclass(frozen=True)
class CloudRequest:
    method: str
    path: str
    authorization: str | None
    body: Any
    client: str = ""

    @property
    def is_by_a_replicator(self) -> bool:
        """Whether a CouchDB asks, and not the device's own code: it may do so at any time."""
        return not self.client.startswith("python-requests")


@dataclass
class FakeCloud:
    """The server.

    Attributes
    ----------
    url : str
        Its registrations endpoint is at ``/registrations``, its CouchDB at ``/couch``.
    said : dict
        What the registrations endpoint says of itself in `syncpoint`.
    state : str or None
        The registration's state, None if the registrations endpoint has not heard of it.
    reason : object
        Why the state is ``error``, if the endpoint says that.
    registrations, couch, refusals : tuple
        A status and a body that all of it answers with instead; bytes are sent as they are.
    answers : dict
        The same for the last part of a path in its CouchDB, as ``_revs_diff``.
    asked : list of CloudRequest
        Every request.

    A device's document that is put into its CouchDB with state ``revoking`` is ``revoked`` at once.
    """

    url: str
    said: JsonDict = field(default_factory=dict)
    state: str | None = None
    reason: Any = None
    registrations: tuple[int, Any] | None = None
    couch: tuple[int, Any] | None = None
    refusals: tuple[int, Any] = (201, [])
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[CloudRequest] = field(default_factory=list)

    @property
    def registrations_url(self) -> str:
        return f"{self.url}/registrations"

    @property
    def couch_url(self) -> str:
        return f"{self.url}/couch"

    def answer(self, asked: CloudRequest) -> tuple[int, Any]:
        self.asked.append(asked)
        if asked.path.startswith("/couch/"):
            if asked.method == "PUT" and asked.body.get("state") == "revoking":
                self.state = "revoked"
                return 201, {"ok": True, "rev": "3-a"}
            return self.couch or self._in_couch(asked.path)
        if asked.path == "/registrations/_bulk_docs":
            return self.refusals
        if self.registrations is not None:
            return self.registrations
        if asked.path == "/registrations/":
            return 200, {"db_name": "registrations", "syncpoint": self.said}
        if asked.path.startswith("/registrations/device-") and self.state is not None:
            return 200, {"state": self.state, **({"reason": self.reason} if self.reason else {})}
        return NOT_FOUND

    def _in_couch(self, path: str) -> tuple[int, Any]:
        """An empty database; a device's document is in it whatever its id."""
        name = path.partition("?")[0].rpartition("/")[2]
        if name in self.answers:
            return self.answers[name]
        if name == "_changes":
            return 200, {"results": [], "last_seq": "0"}
        if name == "_revs_diff":
            return 200, {}
        if name.startswith("device-"):
            return 200, {"_id": name, "_rev": "2-a", "type": "device", "state": "active"}
        return 200, {"db_name": name}


@contextmanager
def running_cloud() -> Iterator[FakeCloud]:
    """A cloud that knows no device yet; its CouchDB lets everybody in."""

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        length = int(request.headers.get("Content-Length") or 0)
        body = json.loads(request.rfile.read(length)) if length else None
        authorization = request.headers.get("Authorization")
        client = str(request.headers.get("User-Agent"))
        asked = CloudRequest(request.command, request.path, authorization, body, client)
        status, said = cloud.answer(asked)
        return status, said if isinstance(said, bytes) else json.dumps(said).encode(), {}

    with serving(answer) as url:
        cloud = FakeCloud(url)
        cloud.said = {"couchdb": cloud.couch_url, "control_db": "control"}
        yield cloud
