"""What CouchDB's replicator sent to a CouchDB, sent again: each answer means what CouchDB's meant.

The recording is in tests/kit/replicator. Both servers pass; of the embedded one
local/couchdb/replicator.js makes it so.
"""

import json
import re
import uuid
from collections.abc import Iterator

import pytest
import requests

from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from tests.kit.cloud.access import put_multipart, put_parts, refusal
from tests.kit.replicator.answers import meaning
from tests.kit.replicator.content import FIRST, SECOND
from tests.kit.replicator.record import FILE, NAME, unpacked

RECORDED = json.loads(FILE.read_text())
BATCHES = (FIRST, SECOND)


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    database = server.database(f"syncpoint-test-{uuid.uuid4().hex[:12]}")
    database.create()
    yield database
    database.delete()


@pytest.fixture
def url(couch_url: str, database: Database) -> str:
    """The database's URL, with its administrator's login."""
    return f"{couch_url}/{database.name}"


def replay(url: str, exchanges: list[JsonDict], since: str) -> None:
    """Send the requests; each answer is as it was recorded. `since` is where the feed has come."""
    name = url.rpartition("/")[2]
    for one in exchanges:
        path = one["path"].removeprefix(f"/{NAME}")
        path = re.sub(r"since=\d+-seq", f"since={since}", path)
        got = requests.request(
            one["method"],
            url + path,
            data=unpacked(one["body"]),
            headers=one["headers"],
            timeout=30,
        )
        about = f"{one['method']} {path}"
        assert got.status_code == one["status"], f"{about}: {got.text[:500]}"
        content = got.content.replace(name.encode(), NAME.encode())
        says, files = meaning(got.headers["Content-Type"], content)
        said, needed = meaning(one["type"], unpacked(one["answer"]))
        assert says == said, about
        assert {name: files[name] for name in needed} == needed, about


def write(url: str, docs: list[JsonDict]) -> None:
    body = {"docs": docs, "new_edits": False}
    assert requests.post(f"{url}/_bulk_docs", json=body, timeout=30).json() == []


def test_a_source_answers_couchdbs_replicator_as_couchdb_does(url: str) -> None:
    since = "0"
    for docs, exchanges in zip(BATCHES, RECORDED["source"], strict=True):
        write(url, docs)
        replay(url, exchanges, since)
        since = requests.get(url, timeout=30).json()["update_seq"]


def test_what_couchdbs_replicator_brings_is_given_out_as_it_was(url: str) -> None:
    since = "0"
    for brought, fetched in zip(RECORDED["target"], RECORDED["source"], strict=True):
        replay(url, brought, since)
        replay(url, fetched, since)
        since = requests.get(url, timeout=30).json()["update_seq"]


# What the recording does not have.


def test_a_revision_that_is_missing_is_a_part_of_its_own(url: str) -> None:
    write(url, FIRST)
    [known] = [doc["_rev"] for doc in FIRST if doc["_id"] == "note"]
    unknown = f"7-{uuid.uuid4().hex}"
    got = requests.get(
        f"{url}/note",
        params={"open_revs": json.dumps([known, unknown])},
        headers={"Accept": "multipart/mixed"},
        timeout=30,
    )
    says, _ = meaning(got.headers["Content-Type"], got.content)
    found = [(part["error"], part["says"].get("missing") or part["says"]["_rev"]) for part in says]
    assert sorted(found, key=str) == [("true", unknown), (None, known)]


def test_bulk_get_says_of_each_revision_whether_it_is_there(url: str) -> None:
    write(url, FIRST)
    leaves = {doc["_rev"] for doc in FIRST if doc["_id"] == "conflict"}
    unknown = {"id": "note", "rev": f"7-{uuid.uuid4().hex}"}
    docs = [{"id": "conflict"}, unknown, {"id": "nothing", "rev": unknown["rev"]}]
    results = requests.post(f"{url}/_bulk_get", json={"docs": docs}, timeout=30).json()["results"]
    found = [leaf for row in results for leaf in row["docs"]]
    assert {leaf["ok"]["_rev"] for leaf in found if "ok" in leaf} == leaves
    missing = [leaf["error"] for leaf in found if "error" in leaf]
    why = {"error": "not_found", "reason": "missing"}
    assert missing == [{**unknown, **why}, {**docs[2], **why}]


def test_a_document_of_three_megabytes_comes_with_its_file(database: Database) -> None:
    doc = {**FIRST[0], "text": "x" * 3_000_000}
    assert put_multipart(database, doc, b"a file")["rev"] == doc["_rev"]
    path = f"{database.url}/note"
    got = database._http._session.get(f"{path}/file-0", timeout=30)
    assert got.content == b"a file"
    assert len(database._http._session.get(path, timeout=30).json()["text"]) == 3_000_000


HEAD = b"--boundary\r\nContent-Type: application/json\r\n\r\n"
FOLLOWS = json.dumps(
    {"_rev": FIRST[0]["_rev"], "_attachments": {"x": {"follows": True, "length": 3}}}
)


@pytest.mark.parametrize(
    "body",
    [
        HEAD + b"{\r\n--boundary--",
        HEAD + b"[]\r\n--boundary--",
        HEAD + b"{}\r\n--boundary--",
        HEAD + FOLLOWS.encode() + b"\r\n--boundary--",
        b"no parts",
        b"",
    ],
    ids=["no JSON", "a list", "no revision", "a file is missing", "no parts", "nothing"],
)
def test_parts_that_make_no_document_are_refused(database: Database, body: bytes) -> None:
    refused = refusal(put_parts, database, "note", body)
    assert refused is not None
    assert refused.status in (400, 500)  # CouchDB has both
    assert database.find_one("note") is None
    assert database.info()["doc_count"] == 0
