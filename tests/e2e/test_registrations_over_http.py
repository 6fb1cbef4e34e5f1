"""Hostile input at the registrations endpoint: each is refused with a reason, nothing changes."""

import gzip
import http.client
import json
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import confirm_id
from chalicelib.handlers.all import registry
from syncpoint_device.registration import NewDevice
from tests.e2e.conftest import Register
from tests.kit.basics import a_device, an_address, wait_for
from tests.kit.cases.registrations import REFUSED
from tests.kit.system.registering import Registered, Where, all_mails
from tests.kit.tokens import MAC_LENGTH, put_together

FORM = "application/x-www-form-urlencoded"
WINS = f"99-{'f' * 32}"
RELATED = 'multipart/related; boundary="b"'
DEVICE_ID = f"device-{uuid.uuid4().hex}"

Snapshot = tuple[dict[str, str], int]


@dataclass(frozen=True)
class Sent:
    """One request, as it goes over the wire."""

    status: int
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def posted(status: int, path: str, body: Any, **headers: str) -> Sent:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Sent(status, "POST", path, raw, {"Content-Type": "application/json"} | named)


def bulk(docs: Any, **more: Any) -> JsonDict:
    return {"docs": docs, "new_edits": False, **more}


def related(doc: JsonDict) -> bytes:
    """A document with an attachment, as CouchDB's replicator puts it."""
    meta = {"a.txt": {"follows": True, "content_type": "text/plain", "length": 5}}
    part = json.dumps({**doc, "_rev": "1-a", "_attachments": meta})
    text = f"--b\r\ncontent-type: application/json\r\n\r\n{part}\r\n--b\r\n\r\nhello\r\n--b--"
    return text.encode()


GOOD = a_device(owner="nobody-asked@example.com").doc
ZIPPED = gzip.compress(json.dumps(bulk([GOOD])).encode())
CONFIRM = {"_id": confirm_id(DEVICE_ID, 0), "type": "confirm", "state": "clicked"}

REQUESTS = {
    # too much
    "10,000 documents": posted(413, "/_bulk_docs", bulk([{}] * 10_000)),
    "10,000 registrations": posted(413, "/_bulk_docs", bulk([GOOD] * 10_000)),
    "101 registrations": posted(413, "/_bulk_docs", bulk([GOOD] * 101)),
    "10,000 ids": posted(413, "/_revs_diff", {str(number): [] for number in range(10_000)}),
    "10,000 ids of devices": posted(
        413, "/_revs_diff", {f"device-{number:032x}": ["1-a"] for number in range(10_000)}
    ),
    "10,000 revisions": posted(413, "/_revs_diff", {"a": ["1-a"] * 10_000}),
    "a large document": posted(413, "/_bulk_docs", bulk([{**GOOD, "name": "x" * 300_000}])),
    # not JSON, or not of ours
    "deep JSON": posted(400, "/_bulk_docs", b"[" * 100_000),
    "deep JSON in a document": posted(
        400, "/_bulk_docs", b'{"docs":[{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}]}"
    ),
    "deep JSON among ids": posted(400, "/_revs_diff", b'{"a":' * 50_000),
    "NaN": posted(400, "/_bulk_docs", bulk([{**GOOD, "generation": float("nan")}])),
    "infinity": posted(400, "/_bulk_docs", bulk([{**GOOD, "generation": float("inf")}])),
    "a number of 10,000 digits": posted(400, "/_bulk_docs", b'{"docs":[' + b"9" * 10_000 + b"]}"),
    "nothing": posted(400, "/_bulk_docs", b""),
    "half of it": posted(400, "/_bulk_docs", json.dumps(bulk([GOOD])).encode()[:-5]),
    "no UTF-8": posted(400, "/_bulk_docs", b'{"docs":["\xff"],"new_edits":false}'),
    "a list of documents": posted(400, "/_bulk_docs", [GOOD]),
    "one document": posted(400, "/_bulk_docs", GOOD),
    "documents by name": posted(400, "/_bulk_docs", bulk({"a": GOOD})),
    "an edit": posted(400, "/_bulk_docs", {"docs": [GOOD]}),
    "a new edit": posted(400, "/_bulk_docs", bulk([GOOD], new_edits=True)),
    "a list of ids": posted(400, "/_revs_diff", ["a"]),
    "a revision that is no list": posted(400, "/_revs_diff", {"a": "1-a"}),
    "revisions that are no texts": posted(400, "/_revs_diff", {"a": [None]}),
    "gzip that says so": posted(
        415,
        "/_bulk_docs",
        gzip.compress(json.dumps(bulk([GOOD])).encode()),
        Content_Encoding="gzip",
    ),
    "gzip that does not": posted(
        400, "/_bulk_docs", gzip.compress(json.dumps(bulk([GOOD])).encode())
    ),
    "plain text": posted(415, "/_bulk_docs", bulk([GOOD]), Content_Type="text/plain"),
    "a form": posted(415, "/_bulk_docs", b"docs=1", Content_Type=FORM),
    "ids as plain text": posted(415, "/_revs_diff", {"a": []}, Content_Type="text/plain"),
    "documents in parts": posted(415, "/_bulk_docs", related(GOOD), Content_Type=RELATED),
    "bytes": posted(415, "/_bulk_docs", bulk([GOOD]), Content_Type="application/octet-stream"),
    # other ways in
    "a document with an attachment": Sent(
        403,
        "PUT",
        f"/{GOOD['_id']}?new_edits=false",
        related(GOOD),
        {"Content-Type": RELATED},
    ),
    "a document": Sent(403, "PUT", f"/{GOOD['_id']}", json.dumps(GOOD).encode()),
    "a confirm document": Sent(403, "PUT", f"/{CONFIRM['_id']}", json.dumps(CONFIRM).encode()),
    "a posted document": posted(403, "", GOOD),
    "an attachment": Sent(403, "PUT", f"/{GOOD['_id']}/a.txt", b"hello"),
    "a design document": Sent(403, "PUT", "/_design/x", b"{}"),
    "security": Sent(403, "PUT", "/_security", b"{}"),
    "a database": Sent(403, "PUT", ""),
    "the end of the database": Sent(403, "DELETE", ""),
    "the end of a document": Sent(403, "DELETE", f"/{GOOD['_id']}?rev=1-a"),
    "a purge": posted(403, "/_purge", {GOOD["_id"]: ["1-a"]}),
    "an index": posted(403, "/_index", {"index": {"fields": ["owner"]}}),
    # ways out
    "changes": Sent(403, "GET", "/_changes?include_docs=true"),
    "changes by selector": posted(403, "/_changes?filter=_selector", {"selector": {}}),
    "all documents": Sent(403, "GET", "/_all_docs?include_docs=true"),
    "all documents by key": posted(403, "/_all_docs", {"keys": [GOOD["_id"]]}),
    "a search": posted(403, "/_find", {"selector": {}}),
    "documents by id": posted(403, "/_bulk_get", {"docs": [{"id": GOOD["_id"]}]}),
    "a view": Sent(403, "GET", "/_design/x"),
    "a view, encoded": Sent(403, "GET", "/_design%2Fx"),
    "the rules": Sent(403, "GET", "/_security"),
    "a local document": Sent(404, "GET", "/_local/x"),
    "a device that is not there": Sent(404, "GET", f"/{DEVICE_ID}"),
    "a confirmation": Sent(403, "GET", f"/{confirm_id(DEVICE_ID, 0)}"),
    "an expiry": Sent(403, "GET", "/expiry-x"),
    "a path above": Sent(403, "GET", "/.."),
    "a path above, encoded": Sent(403, "GET", "/%2e%2e"),
    "a path above and down": Sent(403, "GET", "/../_all_docs"),
    "a path in an id": Sent(403, "GET", f"/{DEVICE_ID}%2F..%2F_all_docs"),
    "a path after an id": Sent(403, "GET", f"/{DEVICE_ID}/.."),
    "an id and a NUL": Sent(403, "GET", f"/{DEVICE_ID}%00"),
    "an id and a newline": Sent(403, "GET", f"/{DEVICE_ID}%0a"),
    "an id and a query": Sent(403, "GET", f"/{DEVICE_ID}%3Fattachments=true"),
    "an id in capitals": Sent(403, "GET", f"/{DEVICE_ID.upper()}"),
    "half of an id": Sent(403, "GET", f"/{DEVICE_ID[:20]}"),
    "a very long id": Sent(403, "GET", "/" + "x" * 8000),
    "a script": Sent(403, "GET", "/<script>alert(1)</script>"),
}


@pytest.fixture(scope="module")
def control(where: Where, registered: Registered) -> Database:
    """The control database, in which nothing moves any more."""
    control = Server(where.couch).database(where.control_db)
    moving = {(t.doc_type, t.state) for t in registry if t.state not in t.to}

    def is_quiet() -> bool:
        docs = control.documents()
        return not moving & {(str(doc.get("type")), str(doc.get("state"))) for doc in docs}

    wait_for(is_quiet, "the end of what other tests began")
    return control


@pytest.fixture(scope="module")
def registered(register: Register) -> Registered:
    """A device whose owner has the mail; it is what hostile documents are after."""
    return register()


def snapshot(where: Where, control: Database) -> Snapshot:
    """All documents of the control database with their revisions, and how many mails there are."""
    rows = control.changes("0", limit=100_000, include_docs=False)["results"]
    return {row["id"]: str(row["changes"]) for row in rows}, len(all_mails(where))


def ask(where: Where, asked: Sent) -> tuple[int, JsonDict, http.client.HTTPMessage]:
    """Send a request just as it is: no client mends its path."""
    connection = http.client.HTTPConnection(str(urlsplit(where.api).netloc), timeout=30)
    try:
        connection.request(asked.method, f"/registrations{asked.path}", asked.body, asked.headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers
    finally:
        connection.close()


def bring(where: Where, *docs: Any) -> list[JsonDict]:
    """Bring documents as a replicator does; the rows that were refused."""
    status, rows, headers = ask(where, posted(201, "/_bulk_docs", bulk(list(docs))))
    assert (status, headers["Cache-Control"]) == (201, "no-store")
    assert isinstance(rows, list)
    return rows


def test_a_request_that_is_no_replicators_is_refused_with_a_reason(
    where: Where, control: Database
) -> None:
    before = snapshot(where, control)
    for name, request in REQUESTS.items():
        status, answer, headers = ask(where, request)
        assert (status, set(answer)) == (request.status, {"error", "reason"}), name
        assert answer["reason"], name
        assert headers["Cache-Control"] == "no-store", name
        assert "Traceback" not in answer["reason"], name
    assert snapshot(where, control) == before


def over_an_existing_one(device: NewDevice) -> dict[str, Any]:
    """What would take over a device that is registered; all of them with a revision that wins."""
    doc = {**device.doc, "_rev": WINS, "_revisions": {"start": 99, "ids": ["f" * 32]}}
    eve = a_device(owner=an_address()).doc
    return {
        "its id and another's address": {**doc, "owner": eve["owner"]},
        "its id and another's credentials": {**doc, "credentials": eve["credentials"]},
        "its id and another's code": {**doc, "device_code": eve["device_code"]},
        "its id and another name": {**doc, "name": "Eve's phone"},
        "all of another's, by its id": {**eve, "_id": device.device_id, "_rev": WINS},
        "another's, as a resend": {**eve, "_id": device.device_id, "generation": 99},
        "itself, confirmed": {**doc, "state": "confirmed"},
        "itself, active": {**doc, "state": "active"},
        "itself, revoked": {**doc, "state": "revoked"},
        "its end": {"_id": device.device_id, "_rev": WINS, "_deleted": True},
        "itself with an attachment": {**doc, "_attachments": {"a": {"data": "eA=="}}},
        "its click": {
            "_id": confirm_id(device.device_id, 0),
            "type": "confirm",
            "state": "clicked",
            "confirm_code": put_together(device.device_id, 0, "x" * MAC_LENGTH),
            "device_code": device.device_code,
        },
    }


def test_a_document_that_is_no_new_registration_is_refused_with_a_reason(
    where: Where, registered: Registered, control: Database
) -> None:
    refused = {
        name: (change(a_device(owner=an_address()).doc), begins)
        for name, (change, begins) in REFUSED.items()
    }
    over = over_an_existing_one(registered.device)
    before = snapshot(where, control)
    for name, (doc, begins) in {**refused, **{name: (over[name], "") for name in over}}.items():
        [row] = bring(where, doc)
        assert row["error"] == "forbidden", name
        assert row["reason"].startswith(begins), name
        assert " " in row["reason"], name
        given = doc.get("_id") if isinstance(doc, dict) else None
        assert row["id"] == (given if isinstance(given, str) else ""), name
    assert snapshot(where, control) == before


def test_all_of_them_at_once_spoil_nothing_of_what_comes_with_them(
    where: Where, registered: Registered
) -> None:
    device = a_device(owner=an_address())
    docs = [change(a_device().doc) for change, _ in REFUSED.values()]
    over = over_an_existing_one(registered.device).values()
    assert len(bring(where, *docs, device.doc, *over)) == len(docs) + len(over)
    assert requests.get(f"{where.api}/registrations/{device.device_id}", timeout=30).ok


@pytest.mark.parametrize(
    "query", ["", "?rev=1-a", "?attachments=true", "?conflicts=true", "?revs=true&open_revs=all"]
)
def test_of_a_registration_its_state_is_shown_and_no_more(
    where: Where, registered: Registered, query: str
) -> None:
    url = f"{where.api}/registrations/{registered.device.device_id}"
    for address in (url + query, f"{url}/{query}"):
        answer = requests.get(address, timeout=30)
        assert (answer.status_code, answer.json()) == (200, {"state": "confirming"})
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["", "/", "?_nonce=1", "/?_nonce=1"])
def test_it_says_what_a_replicator_asks_for_and_where_the_cloud_is(where: Where, path: str) -> None:
    answer = requests.get(f"{where.api}/registrations{path}", timeout=30)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    said = answer.json()
    couchdb = said["syncpoint"]["couchdb"]
    assert said == {
        "db_name": "registrations",
        "update_seq": "0",
        "instance_start_time": "0",
        "doc_count": 0,
        "doc_del_count": 0,
        "syncpoint": {"couchdb": couchdb, "control_db": where.control_db},
    }
    welcomes = [requests.get(url, timeout=30).json() for url in (couchdb, Server(where.couch).url)]
    assert welcomes[0] == welcomes[1]
    assert "@" not in couchdb
    assert not couchdb.endswith("/")


def test_a_replicator_may_ask_by_head_whether_it_is_there(where: Where) -> None:
    with requests.Session() as session:  # one connection, that an odd answer would spoil
        for _ in range(2):
            answer = session.head(f"{where.api}/registrations/", timeout=30)
            assert (answer.status_code, answer.content) == (200, b"")
            assert (
                session.get(f"{where.api}/registrations/", timeout=30).json()["db_name"]
                == "registrations"
            )


def test_a_checkpoint_is_taken_and_forgotten(where: Where) -> None:
    url = f"{where.api}/registrations/_local/a%2Fb%3D%3D"
    for _ in range(2):
        assert requests.get(url, timeout=30).json() == {"error": "not_found", "reason": "missing"}
        answer = requests.put(url, json={"_id": "_local/a/b=="}, timeout=30)
        assert answer.status_code == 201
        assert answer.json() == {"ok": True, "id": "_local/a/b==", "rev": "0-1"}


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_what_couchdbs_replicator_asks_at_a_checkpoint_is_answered(
    where: Where, body: bytes
) -> None:
    url, headers = (
        f"{where.api}/registrations/_ensure_full_commit",
        {"Content-Type": "application/json"},
    )
    answer = requests.post(url, data=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()) == (201, {"ok": True, "instance_start_time": "0"})


def test_who_asks_for_revisions_learns_nothing_of_what_is_here(
    where: Where, registered: Registered
) -> None:
    doc = registered.doc()
    asked = {doc["_id"]: [doc["_rev"]], DEVICE_ID: ["1-a", "2-b"], "_design/x": []}
    answer = requests.post(f"{where.api}/registrations/_revs_diff", json=asked, timeout=30)
    assert answer.status_code == 200
    assert answer.json() == {doc_id: {"missing": revs} for doc_id, revs in asked.items()}


def test_what_a_client_says_of_its_own_address_is_not_believed(
    where: Where, control: Database
) -> None:
    device = a_device(owner=an_address())
    claims = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP")
    headers = dict.fromkeys(claims, "203.0.113.9")
    url = f"{where.api}/registrations/_bulk_docs"
    answer = requests.post(url, json=bulk([device.doc]), headers=headers, timeout=30)
    assert answer.json() == []
    assert control.get(device.device_id)["network"] == "127.0.0.0/24"
