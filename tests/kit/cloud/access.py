"""What a device, or nobody, reads and writes at CouchDB with a login of its own."""

import json
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from chalicelib.couch import CouchError, Database, NotFound, Server
from chalicelib.domain.documents import JsonDict
from syncpoint_device.registration import NewDevice
from tests.kit.cloud.steps import Owner

# A way to write a document: returns the server's refusal, None where it took the document.
Write = Callable[[Server, Database, JsonDict], CouchError | None]


def logged_in(server: Server, device: NewDevice | None = None) -> Server:
    """The server as a device sees it, or nobody."""
    login = f"{device.device_id}:{device.password}" if device else ""
    return Server(_url(server, login))


def client_of(server: Server, login: str = "") -> Server:
    """Another client, also of a server in memory: one with ``name:password``, or nobody's."""
    return Server(_url(server, login), server.http._session.get_adapter(server.url))


def skip_on_embedded(server: Server, why: str) -> None:
    """Skip a test of what CouchDB does, and the stand-in too, but not the embedded server."""
    if "couchdb" not in server.info():
        pytest.skip(f"the embedded server: {why}")


def as_device(owner: Owner, device: NewDevice | None = None) -> Server:
    """The server as one of an owner's devices sees it."""
    return logged_in(owner.steps.context.server, device or owner.device)


def as_nobody(server: Server) -> Server:
    """The server without a login."""
    return logged_in(server)


def refusal(action: Callable[..., object], *args: Any, **kwargs: Any) -> CouchError | None:
    """The error that a request ends in, None if it does not."""
    try:
        action(*args, **kwargs)
    except CouchError as exc:
        return exc
    return None


def shut(database: Database) -> None:
    """Let administrators only enter a database; it stays marked as a channel's, to be removed."""
    nobody = {"names": [], "roles": ["_admin"]}
    database.put_security({**database.security(), "members": nobody, "admins": nobody})


def contents(database: Database) -> dict[str, JsonDict]:
    """All documents of a database, design documents among them."""
    return {doc["_id"]: doc for doc in database.documents()}


def put_text(database: Database, doc_id: str, text: str) -> None:
    """Write a document whose JSON Python could not make."""
    answer = database._http._session.put(
        f"{database.url}/{doc_id}",
        data=text.encode(),
        headers={"Content-Type": "application/json"},
        timeout=30,
    )
    answer.raise_for_status()


def exists(database: Database) -> bool:
    try:
        return bool(database.info())
    except NotFound:
        return False


def roles(database: Database) -> list[str]:
    """The roles of a database's members."""
    found: list[str] = database.security()["members"]["roles"]
    return found


def by_put(client: Server, database: Database, doc: JsonDict) -> CouchError | None:
    return refusal(client.database(database.name).put, doc)


def by_bulk_docs(client: Server, database: Database, doc: JsonDict) -> CouchError | None:
    return _by_bulk(client, database, {"docs": [doc]})


def by_replication(client: Server, database: Database, doc: JsonDict) -> CouchError | None:
    """With its own history: an edit that somebody made elsewhere of the revision that is here."""
    return by_steps_offline(client, database, doc, 1)


def by_steps_offline(
    client: Server, database: Database, doc: JsonDict, edits: int, digest: str = ""
) -> CouchError | None:
    """As the last of several edits that somebody made elsewhere of the revision in `doc`.

    Parameters
    ----------
    digest : str
        Of the new revision, where a test wants it to win over others, or to lose.
    """
    number, _, known = doc.get("_rev", "0-").partition("-")
    history = [uuid.uuid4().hex for _ in range(edits - 1)] + ([known] if known else [])
    return _by_bulk(client, database, _replicated(doc, int(number) + edits, history, digest))


def by_replicated_put(client: Server, database: Database, doc: JsonDict) -> CouchError | None:
    """As CouchDB's replicator brings a design document."""
    number, _, known = doc.get("_rev", "0-").partition("-")
    [revision] = _replicated(doc, int(number) + 1, [known] if known else [])["docs"]
    path = f"/{database.name}/{quote(doc['_id'], safe='')}"
    return refusal(client.http.request, "PUT", path, params={"new_edits": "false"}, body=revision)


def by_multipart(client: Server, database: Database, doc: JsonDict) -> CouchError | None:
    """As CouchDB's replicator brings a document with files."""
    number, _, known = doc.get("_rev", "0-").partition("-")
    [revision] = _replicated(doc, int(number) + 1, [known] if known else [])["docs"]
    return refusal(put_multipart, client.database(database.name), revision, b"a file")


def put_multipart(database: Database, doc: JsonDict, *files: bytes) -> JsonDict:
    """Bring a document with its history, and its files as parts of the request."""
    stubs = {
        f"file-{number}": {"content_type": "text/plain", "follows": True, "length": len(file)}
        for number, file in enumerate(files)
    }
    first = json.dumps({**doc, "_attachments": stubs}).encode()
    parts = [b"Content-Type: application/json\r\n\r\n" + first, *(b"\r\n" + file for file in files)]
    body = b"".join(b"--boundary\r\n" + part + b"\r\n" for part in parts) + b"--boundary--"
    return put_parts(database, doc["_id"], body)


def put_parts(database: Database, doc_id: str, body: bytes) -> JsonDict:
    """Send a body of parts, whatever is in it; the answer."""
    answer = database._http._session.put(
        f"{database.url}/{doc_id}?new_edits=false",
        data=body,
        headers={"Content-Type": 'multipart/related; boundary="boundary"'},
        timeout=30,
    )
    said: JsonDict = answer.json()
    if answer.ok:
        return said
    raise CouchError(answer.status_code, said["error"], said["reason"])


def by_a_forged_branch(client: Server, database: Database, doc: JsonDict) -> CouchError | None:
    """The same, with a history that nobody knows; it would win over whatever is there."""
    return _by_bulk(client, database, _replicated(doc, 900, [uuid.uuid4().hex]))


def _url(server: Server, login: str) -> str:
    scheme, _, host = server.url.partition("://")
    return f"{scheme}://{login}@{host}" if login else server.url


def _replicated(doc: JsonDict, number: int, history: list[str], digest: str = "") -> JsonDict:
    new = digest or uuid.uuid4().hex
    revisions = {"start": number, "ids": [new, *history]}
    return {
        "docs": [{**doc, "_rev": f"{number}-{new}", "_revisions": revisions}],
        "new_edits": False,
    }


def _by_bulk(client: Server, database: Database, body: JsonDict) -> CouchError | None:
    def send() -> None:
        for row in client.http.request("POST", f"/{database.name}/_bulk_docs", body=body):
            if "error" in row:
                status = {"forbidden": 403, "unauthorized": 401}.get(row["error"], 500)
                raise CouchError(status, row["error"], row["reason"])

    return refusal(send)


HONEST_WAYS = [by_put, by_bulk_docs, by_replication, by_replicated_put]
WAYS = [*HONEST_WAYS, by_a_forged_branch]
