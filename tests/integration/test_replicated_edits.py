"""Edits of a database with a validation function, most of them with their own history.

CouchDB does all this. Of the embedded server local/couchdb/validation.js and replicator.js make it
so.
"""

import uuid
from collections.abc import Callable, Iterator

import pytest

from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from tests.kit.cloud.access import put_multipart, refusal

Replicated = Callable[..., list[str]]

SAYS_WHAT_IT_SEES = """function (newDoc, oldDoc) {
  if (newDoc.ask) throw({ forbidden: oldDoc ? oldDoc._rev : 'nothing' });
}"""


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    database = server.database(f"syncpoint-test-{uuid.uuid4().hex[:12]}")
    database.create()
    database.put({"_id": "_design/v", "validate_doc_update": SAYS_WHAT_IT_SEES})
    yield database
    database.delete()


@pytest.fixture(params=["_bulk_docs", "PUT", "multipart"])
def replicated(request: pytest.FixtureRequest, database: Database) -> Replicated:
    """Writes a document so many revisions after `base`; the reasons of what is refused."""

    def write(base: str | None, edits: int, **fields: object) -> list[str]:
        doc = a_revision(base, edits, **fields)
        if request.param == "_bulk_docs":
            return in_bulk(database, doc)
        if request.param == "PUT":
            refused = refusal(put, database, doc)
        else:
            refused = refusal(put_multipart, database, doc, b"a file")
        return [refused.reason] if refused else []

    return write


def put(database: Database, doc: JsonDict) -> None:
    path = f"/{database.name}/{doc['_id']}"
    said = database._http.request("PUT", path, params={"new_edits": "false"}, body=doc)
    assert said == {"ok": True, "id": doc["_id"], "rev": doc["_rev"]}


def in_bulk(database: Database, doc: JsonDict) -> list[str]:
    body = {"docs": [doc], "new_edits": False}
    rows: list[JsonDict] = database._http.request("POST", f"/{database.name}/_bulk_docs", body=body)
    return [row["reason"] for row in rows]


def a_revision(base: str | None, edits: int, **fields: object) -> JsonDict:
    """A revision with its history, so many edits after `base`."""
    number, _, digest = (base or "0-").partition("-")
    start = int(number) + edits
    ids = [uuid.uuid4().hex for _ in range(edits)] + ([digest] if base else [])
    revisions = {"start": start, "ids": ids}
    return {"_id": "doc", "_rev": f"{start}-{ids[0]}", "_revisions": revisions, **fields}


def test_many_documents_are_answered_in_the_order_of_the_request(database: Database) -> None:
    docs = [{"_id": uuid.uuid4().hex, **({"ask": True} if n % 3 == 1 else {})} for n in range(30)]
    path = f"/{database.name}/_bulk_docs"
    rows: list[JsonDict] = database._http.request("POST", path, body={"docs": docs})
    assert [row["id"] for row in rows] == [doc["_id"] for doc in docs]
    assert ["error" in row for row in rows] == ["ask" in doc for doc in docs]


@pytest.mark.parametrize("edits", [1, 2, 5])
def test_an_edit_of_an_older_revision_is_kept_beside_the_newer_one(
    database: Database, replicated: Replicated, edits: int
) -> None:
    first = database.put({"_id": "doc", "by": "all"})
    database.put({"_id": "doc", "_rev": first, "by": "cloud"})
    assert replicated(first, edits, by="device") == []
    winner = database.get("doc", conflicts=True)
    [loser] = winner["_conflicts"]
    assert {winner["by"], database.get("doc", loser)["by"]} == {"cloud", "device"}


@pytest.mark.parametrize("edits", [1, 5])
def test_an_edit_is_measured_by_what_it_was_made_from(
    database: Database, replicated: Replicated, edits: int
) -> None:
    first = database.put({"_id": "doc"})
    database.put({"_id": "doc", "_rev": first, "by": "cloud"})
    assert replicated(first, edits, ask=True) == [first]


def test_one_without_a_known_ancestor_is_measured_as_a_new_document(
    database: Database, replicated: Replicated
) -> None:
    database.put({"_id": "doc"})
    assert replicated(None, 3, ask=True) == ["nothing"]
