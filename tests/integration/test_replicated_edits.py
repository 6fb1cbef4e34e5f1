"""An edit that comes with its own history, into a database with a validation function.

CouchDB does all this; of the embedded server local/couchdb/validation.js makes it so.
"""

import uuid
from collections.abc import Iterator

import pytest

from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict

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


def replicated(database: Database, base: str | None, edits: int, **fields: object) -> list[str]:
    """Write a document so many revisions after `base`; the reasons of the rows refused."""
    number, _, digest = (base or "0-").partition("-")
    start = int(number) + edits
    ids = [uuid.uuid4().hex for _ in range(edits)] + ([digest] if base else [])
    doc = {"_id": "doc", "_rev": f"{start}-{ids[0]}", **fields}
    doc["_revisions"] = {"start": start, "ids": ids}
    body = {"docs": [doc], "new_edits": False}
    rows: list[JsonDict] = database._http.request("POST", f"/{database.name}/_bulk_docs", body=body)
    return [row["reason"] for row in rows]


@pytest.mark.parametrize("edits", [1, 2, 5])
def test_an_edit_of_an_older_revision_is_kept_beside_the_newer_one(
    database: Database, edits: int
) -> None:
    first = database.put({"_id": "doc", "by": "all"})
    database.put({"_id": "doc", "_rev": first, "by": "cloud"})
    assert replicated(database, first, edits, by="device") == []
    winner = database.get("doc", conflicts=True)
    [loser] = winner["_conflicts"]
    assert {winner["by"], database.get("doc", loser)["by"]} == {"cloud", "device"}


@pytest.mark.parametrize("edits", [1, 5])
def test_an_edit_is_measured_by_what_it_was_made_from(database: Database, edits: int) -> None:
    first = database.put({"_id": "doc"})
    database.put({"_id": "doc", "_rev": first, "by": "cloud"})
    assert replicated(database, first, edits, ask=True) == [first]


def test_one_without_a_known_ancestor_is_measured_as_a_new_document(database: Database) -> None:
    database.put({"_id": "doc"})
    assert replicated(database, None, 3, ask=True) == ["nothing"]
