"""The real nginx with the front's configuration: what it passes on to CouchDB, and what not.

What reaches CouchDB is seen by a server that stands in its place. Attacks are tried on CouchDB.
"""

import gzip
import json
import re
import uuid
from base64 import b64encode
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote, unquote_plus, urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.couch import Database, Server
from chalicelib.domain.names import owner_control_db
from ops.front import FEED_PARAMETERS
from tests.kit.basics import wait_for
from tests.kit.cloud.access import skip_on_embedded
from tests.kit.cloud.steps import Owner
from tests.kit.device.trap import Trap
from tests.kit.front import CONTROL, Front, running_front
from tests.kit.http_server import Answer, serving
from tests.kit.system.pouchdb import running
from tests.kit.system.registering import replicate_once

pytestmark = pytest.mark.io

APP = "https://app.example.com"
DEVICE = f"device-{'0123456789abcdef' * 2}"
DB, OWN = f"/db-{'0a' * 16}", f"/{CONTROL}-{'b1' * 16}"
FEED_S = 2


def basic(login: str) -> str:
    return f"Authorization: Basic {b64encode(login.encode()).decode()}"


LOGIN = basic(f"{DEVICE}:secret")


@dataclass
class Behind:
    """What has reached the server behind the front: method, target and headers."""

    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def take(self) -> list[tuple[str, str]]:
        """What has come since this was last called."""
        taken, self.requests[:] = [(method, target) for method, target, _ in self.requests], []
        return taken


@contextmanager
def a_front(folder: Path, *, tls: bool = False, **settings: str) -> Iterator[tuple[Front, Behind]]:
    """A front before a server that keeps what it is asked, and answers 200."""
    behind = Behind()

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        request.rfile.read(int(request.headers.get("Content-Length", 0)))
        behind.requests.append((request.command, request.path, dict(request.headers)))
        return 200, b"{}", {"Content-Type": "application/json", **behind.headers}

    with serving(answer) as url, running_front(folder, url, tls=tls, **settings) as front:
        yield front, behind


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Front, Behind]]:
    """One for all tests that need no settings of their own."""
    with a_front(
        tmp_path_factory.mktemp("front"),
        FRONT_FEED_SECONDS="55",
        FRONT_REQUESTS_PER_SECOND="10000",
        APP_ORIGINS=f"{APP} http://localhost:8080",
    ) as both:
        yield both


@pytest.fixture
def front(quick: tuple[Front, Behind]) -> Front:
    return quick[0]


@pytest.fixture
def behind(quick: tuple[Front, Behind]) -> Behind:
    quick[1].take()
    quick[1].headers.clear()
    return quick[1]


# What is passed on.

ANYBODY = [
    ("GET", "/"),
    ("GET", "/_up"),
    ("GET", "/_session"),
    ("GET", DB),
    ("GET", f"{DB}/"),
    ("GET", f"{DB}/_all_docs?limit=1&startkey=%22a%22"),
    ("POST", f"{DB}/_all_docs?include_docs=true"),
    ("POST", f"{DB}/_bulk_get?latest=true&revs=true&attachments=false"),
    ("GET", f"{DB}/_local/b97f8d65529bce7f53496829c8db848b"),
    ("GET", f"{DB}/_local/_Hr47kU.iX7c8ZokKqownw%3D%3D"),
    ("GET", f"{DB}/_design/list?revs=true&open_revs=%5B%221-76f3%22%5D&latest=true"),
    ("GET", f"{DB}/big%20photo?open_revs=all"),
    ("GET", f"{DB}/photo-1/ferry.jpg?rev=1-76f3"),
    ("GET", f"{DB}/photo-1/folder/%C3%A4%20ferry.jpg"),
    ("GET", f"{DB}/..."),
    ("GET", f"{DB}/a%2F_b"),
    ("GET", f"{DB}/a_b/c_d"),
]
DEVICES = [
    ("POST", f"{DB}/_revs_diff"),
    ("POST", f"{DB}/_bulk_docs"),
    ("POST", f"{DB}/_ensure_full_commit"),
    ("PUT", f"{DB}/_local/b97f8d65529bce7f53496829c8db848b"),
    ("PUT", f"{DB}/_local/_Hr47kU.iX7c8ZokKqownw%3D%3D"),
    ("PUT", f"{DB}/photo?new_edits=false"),
    ("PUT", f"{DB}/photo/ferry.jpg?rev=1-76f3"),
    ("DELETE", f"{DB}/photo?rev=1-76f3"),
    ("DELETE", f"{DB}/photo/ferry.jpg?rev=1-76f3"),
]


@pytest.mark.parametrize(("method", "target"), ANYBODY + DEVICES)
def test_what_devices_and_replicators_ask_for_is_passed_on(
    method: str, target: str, front: Front, behind: Behind
) -> None:
    own = target.replace(DB, OWN)
    for one in (target, own):
        assert front.ask(method, one, LOGIN)[0] == 200
    assert behind.take() == [(method, target), (method, own)]


@pytest.mark.parametrize(("method", "target"), ANYBODY)
def test_public_channels_are_read_without_a_login(
    method: str, target: str, front: Front, behind: Behind
) -> None:
    assert front.ask(method, target)[0] == 200
    assert behind.take() == [(method, target)]


# What is not.

ANSWERS = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found"}
SERVER = (
    "_replicate", "_config", "_node/_local/_config", "_node/nonode@nohost/_stats", "_all_dbs",
    "_dbs_info", "_users", "_users/_all_docs", f"_users/org.couchdb.user:{DEVICE}", "_replicator",
    "_global_changes", "_active_tasks", "_db_updates", "_utils", "_utils/", "_scheduler/jobs",
    "_scheduler/docs", "_membership", "_cluster_setup", "_reshard", "_uuids", "_stats", "_restart",
    "_log", "_search_analyze", "_nouveau_analyze", "_prometheus", "_metrics", "_dbs", "_nodes",
    "_proxy", "_oauth/request_token", "favicon.ico", "failed", CONTROL, "db", "other", "_UP",
    "_session/x", "_session/", "_up/",
)  # fmt: skip
IN_A_DATABASE = (
    "_security", "_local_docs", "_design_docs", "_compact", "_compact/list", "_view_cleanup",
    "_purge", "_purged_infos_limit", "_temp_view", "_find", "_explain", "_index",
    "_index/_design/x", "_revs_limit", "_missing_revs", "_shards", "_shards/x", "_sync_shards",
    "_partition/x", "_auto_purge", "_changes/x", "_all_docs/queries", "_bulk_docs/x", "_local",
    "_local/", "_local/a/b", "_local/.", "_local/%2e%2e", "_design", "_design/",
    "_design/x/_view/y", "_design/x/_show/y", "_design/x/_list/y/z", "_design/x/_update/y",
    "_design/x/_rewrite/", "_design/x/_info", "_design/x/file", "_design/x/_search/y",
    "_design/_x", "_unknown", "_", "x/_y", "x/", "x//y",
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "COPY", "PATCH", "PROPFIND", "MOVE", "PURGE")
REFUSED = [
    *((method, f"/{path}") for path in SERVER for method in ("GET", "POST", "PUT", "DELETE")),
    *((m, f"{DB}/{path}") for path in IN_A_DATABASE for m in ("GET", "POST", "PUT", "DELETE")),
    *((method, DB) for method in METHODS if method != "GET"),
    *((method, "/") for method in METHODS if method != "GET"),
    *((method, f"{DB}/photo") for method in METHODS if method not in ("GET", "PUT", "DELETE")),
    *((method, f"{DB}/_design/x") for method in METHODS if method != "GET"),
    *((method, f"{DB}/_local/x") for method in METHODS if method not in ("GET", "PUT")),
    *((method, f"{DB}/_bulk_docs") for method in METHODS if method != "POST"),
    ("GET", f"{DB}0"), ("GET", DB[:-1]), ("GET", DB.upper()), ("GET", f"/x{DB}"), ("GET", f"/{DB}"),
    ("GET", f"{DB}%2F_security"), ("GET", f"{DB}/%5fsecurity"), ("GET", f"{DB}/%5Fsecurity"),
    ("GET", f"{DB}//_security"), ("GET", f"{DB}/./_security"), ("GET", f"{DB}/../_all_dbs"),
    ("GET", f"{DB}/%2e%2e/_all_dbs"), ("GET", f"{DB}/%2E/_security"),
    ("GET", f"{DB}/.%2e/_all_dbs"),
    ("GET", f"{DB}/x/../../_all_dbs"), ("GET", f"{DB}/_SECURITY"), ("GET", f"{DB}/_security?x"),
    ("GET", f"{DB}/_up/../_security"), ("GET", f"/_up/..{DB}/_security"), ("GET", "//_all_dbs"),
    ("GET", "/_up;/../_all_dbs"), ("GET", "/%5Fall_dbs"), ("GET", "/./_all_dbs"), ("GET", "/_up/."),
    ("GET", f"{DB}/x;y"), ("GET", f"{DB}/x+y"), ("GET", f"{DB}/x\\..\\_security"),
    ("GET", "/_up%00"),
    ("GET", f"{DB}/x%zz"), ("GET", f"{DB}/x%2"), ("GET", "http://localhost/_all_dbs"),
    ("GET", "http://localhost:5984/_replicate"), ("GET", f"http://{DB}/_security"), ("GET", "*"),
    ("GET", f"{DB}/x?a=1;heartbeat=1"), ("GET", f"{DB}/x?a=|"), ("GET", f"{DB}/ä"), ("OPTIONS", DB),
    ("GET", f"{DB}/%EF%BC%BFsecurity/_x"), ("get", "/"), ("TRACE", "/"), ("CONNECT", "/"),
]  # fmt: skip


@pytest.mark.parametrize("lines", [[], [LOGIN]], ids=["nobody", "device"])
def test_all_else_is_refused_and_does_not_reach_couchdb(
    lines: list[str], front: Front, behind: Behind
) -> None:
    passed = []
    for method, target in REFUSED:
        status, answer = front.ask(method, target, *lines)
        if status not in (400, 401, 403, 404, 405) or behind.take():
            passed.append((method, target, status))
        elif method not in ("HEAD", "get") and target != "*":
            assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"error", "reason"}
    assert passed == []
    assert len(REFUSED) > 350


def test_nobody_writes_without_a_login_nor_looks_at_an_owners_database(
    front: Front, behind: Behind
) -> None:
    statuses = [front.ask(method, target)[0] for method, target in DEVICES]
    assert statuses == [403] * len(DEVICES)
    # The same answer whether it exists or not.
    own = [
        front.ask(method, target.replace(DB, OWN))[0] for method, target in ANYBODY[3:] + DEVICES
    ]
    assert set(own) == {401}
    assert behind.take() == []


@pytest.mark.parametrize(
    "line",
    [
        basic("admin:password"),
        basic("Device-0:x"),
        basic("device-0:x"),
        basic(f"{DEVICE}0:x"),
        basic(f"x{DEVICE}:x"),
        basic(DEVICE),
        basic(f"{DEVICE}:"),
        basic("admin:x").replace("Basic", "basic"),
        LOGIN.replace("Basic", "basic"),
        LOGIN.replace("Basic ", "Basic  "),
        f"{LOGIN}, {basic('admin:x')[15:]}",
        f"{LOGIN} x",
        "Authorization: Bearer eyJhbGciOiJub25lIn0.e30.",
        "Authorization: Negotiate x",
        "Authorization: x",
        "Authorization: X-Couch-Test-Auth admin:admin",
    ],
)
def test_no_login_but_a_devices_gets_through(line: str, front: Front, behind: Behind) -> None:
    for target in ("/", DB, OWN, f"{DB}/_changes"):
        assert front.ask("GET", target, line)[0] == 401
    assert behind.take() == []


def test_of_two_logins_in_one_request_only_a_devices_counts(front: Front, behind: Behind) -> None:
    for lines in ((LOGIN, basic("admin:x")), (basic("admin:x"), LOGIN)):
        front.ask("GET", DB, *lines)
    assert {seen.get("Authorization") for _, _, seen in behind.requests} <= {LOGIN[15:]}


def test_nobody_logs_in_at_session_or_gets_or_sends_a_cookie(front: Front, behind: Behind) -> None:
    body = b"name=admin&password=password"
    assert front.ask("POST", "/_session", body=body)[0] == 404
    assert front.ask("POST", "/_session", basic("admin:password"), body=body)[0] == 404
    assert behind.take() == []
    behind.headers["Set-Cookie"] = "AuthSession=x"
    _, answer = front.ask("GET", DB, "Cookie: AuthSession=YWRtaW4")
    assert b"cookie" not in answer.lower()
    assert "Cookie" not in behind.requests[0][2]


HOSTILE = {
    "X-HTTP-Method-Override": "DELETE",
    "X_HTTP_Method_Override": "DELETE",
    "X-Auth-CouchDB-UserName": "admin",
    "X-Auth-CouchDB-Roles": "_admin",
    "X-Auth-CouchDB-Token": "x",
    "X-CouchDB-WWW-Authenticate": "x",
    "X-Couch-Full-Commit": "false",
    "X-Couch-Persist": "false",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Ssl": "on",
    "X-Real-IP": "10.0.0.1",
    "Forwarded": "for=10.0.0.1",
    "Destination": "_design/x",
    "Content-Encoding": "gzip",
    "Last-Event-ID": "0",
    "Upgrade": "websocket",
    "Origin": APP,
    "TE": "trailers",
    "Proxy": "x",
}


def test_of_the_headers_only_a_few_are_passed_on(front: Front, behind: Behind) -> None:
    kept = {
        "Accept": "multipart/mixed",
        "Accept-Encoding": "gzip",
        "Content-Type": "application/json",
        "If-Match": "1-x",
        "If-None-Match": "x",
        "Range": "bytes=0-1",
    }
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http", "Host": "evil.example"}
    lines = [f"{name}: {value}" for name, value in {**HOSTILE, **kept, **forged}.items()]
    assert front.raw(
        "\r\n".join(["POST " + DB + "/_all_docs HTTP/1.1", "Connection: close", LOGIN, *lines,
                     "Content-Length: 2", "", "{}"]).encode()
    )[0] == 200  # fmt: skip
    [(method, _, seen)] = behind.requests
    assert method == "POST"
    assert seen == {
        **kept,
        "Host": f"localhost:{front.port}",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "https",
        "Authorization": LOGIN[15:],
        "Content-Length": "2",
    }


@pytest.mark.parametrize(
    "request_",
    [
        b"POST %s/_all_docs HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /_all_dbs HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST %s/_all_docs HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
        b"Content-Length: 40\r\n\r\n{}{}",
        b"POST %s/_all_docs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"GET %s HTTP/1.1\r\nHost: a\r\nX: a\r\n Y: b\r\nContent-Length : 3\r\n\r\n",
        b"GET %s HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n",
        b"GET %s HTTP/3.1\r\nHost: a\r\n\r\n",
        b"GET %s\x01 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET %s /_all_dbs HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET\t/_all_dbs HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /_all_dbs\r\n",
    ],
)
def test_no_request_hides_in_another(request_: bytes, front: Front, behind: Behind) -> None:
    front.raw(request_.replace(b"%s", DB.encode()))
    assert [target for _, target in behind.take() if target != DB] == []


def test_huge_and_endless_requests_end_at_the_front(tmp_path: Path) -> None:
    with a_front(tmp_path / "front", FRONT_BODY_MB="1") as (front, behind):
        status, answer = front.ask("GET", "/", "X: " + "x" * 20_000)
        says = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert (status, says["error"]) == (400, "bad_request")
        assert front.ask("GET", "/", *(f"X-{n}: {'x' * 9_000}" for n in range(9)))[0] == 400
        assert front.ask("GET", f"{DB}/{'x' * 20_000}")[0] == 414
        status, answer = front.ask("POST", f"{DB}/_bulk_docs", LOGIN, body=b"x" * 1_100_000)
        assert (status, json.loads(answer.partition(b"\r\n\r\n")[2])["error"]) == (413, "too_large")
        assert behind.take() == []
        assert front.ask("POST", f"{DB}/_bulk_docs", LOGIN, body=b"x" * 1_000_000)[0] == 200


def test_who_has_no_login_sends_small_requests_only(front: Front, behind: Behind) -> None:
    target = f"{DB}/_all_docs"
    large = b"x" * 1_000_000
    assert front.ask("POST", target, body=large)[0] == 413
    chunked = f"POST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    chunked += "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    assert front.raw(chunked.encode())[0] == 413
    assert behind.take() == []
    assert front.ask("POST", target, body=large[1:])[0] == 200
    assert front.ask("POST", target, LOGIN, body=large)[0] == 200
    with_login = chunked.replace("Host: a", f"Host: a\r\n{LOGIN}")
    assert front.raw(with_login.encode())[0] == 200


# Whatever is tried: a model of how CouchDB reads a path and a query.

SPECIAL = {"_all_docs", "_bulk_get", "_ensure_full_commit", "_revs_diff", "_bulk_docs", "_changes"}


def is_allowed(target: str) -> bool:
    """Whether CouchDB reads this as a path that devices need."""
    path = target.partition("?")[0]
    parts = [unquote_plus(part) for part in path.split("/") if part]
    if parts in ([], ["_up"], ["_session"]):
        return True
    if not re.fullmatch(rf"(db|{CONTROL})-[0-9a-f]{{32}}", parts[0]):
        return False
    if len(parts) == 1 or (len(parts) == 2 and parts[1] in SPECIAL):
        return True
    if parts[1] in ("_local", "_design"):
        return len(parts) == 3 and (parts[1] == "_local" or not parts[2].startswith("_"))
    return not any(part.startswith("_") or part in (".", "..") for part in parts[1:])


PIECES = st.sampled_from(
    ["/", "//", "/./", "/../", "%2F", "%2f", "%5F", "%5f", "%2e", "%2E%2e", ".", "_", "%25",
     "%255f", ";", "\\", "%5c", "%00", "%0a", "?", "&", "#", "+", "x", "_local", "_design",
     "_security",
     "_changes", "_all_docs", "_replicate", "_all_dbs", "_session", "_up", "_find", "_users",
     "http://a", "%E2%80%AE", "\x7f", "ü", DB, OWN, DB.upper(), "DB-", "%64b-"]
)  # fmt: skip


@given(
    method=st.sampled_from(("GET", "POST", "PUT", "DELETE")),
    start=st.sampled_from((DB, OWN, "", f"{DB}/x", f"{DB}/_local", f"{DB}/_design", "/_up")),
    pieces=st.lists(PIECES, max_size=6),
)
def test_whatever_passes_reaches_an_allowed_path(
    method: str, start: str, pieces: list[str], quick: tuple[Front, Behind]
) -> None:
    front, behind = quick
    behind.take()
    front.ask(method, (start + "".join(pieces)) or "/", LOGIN)
    for passed, target in behind.take():
        assert passed == method
        assert is_allowed(target)


FEED_NAMES = st.sampled_from(
    ["heartbeat", "Heartbeat", "heart%62eat", "HEARTBEAT", "timeout", "Timeout", "time%6Fut",
     "feed", "since", "limit", "filter", "view", "last-event-id", "include_docs", "x", "%26timeout"]
)  # fmt: skip
FEED_VALUES = st.sampled_from(
    ["", "1", "true", "0", "55000", "55001", "9999", "60000", "99999999999", "-1", "5e9", "%39%39",
     "1%26heartbeat=1", "1;heartbeat=1", "1=&", "longpoll", "continuous", "eventsource", "now",
     "1%3Bheartbeat%3D1", "_doc_ids", "d/f", "%5Fview", "12-g1AAAA", "1#", "1 heartbeat=1"]
)  # fmt: skip


@given(
    method=st.sampled_from(("GET", "POST")),
    pairs=st.lists(st.tuples(FEED_NAMES, FEED_VALUES), max_size=6),
    separator=st.sampled_from(("&", ";", "&&", "?", "%26")),
)
def test_no_query_of_a_feed_has_a_heartbeat_or_a_late_end(
    method: str, pairs: list[tuple[str, str]], separator: str, quick: tuple[Front, Behind]
) -> None:
    front, behind = quick
    behind.take()
    query = separator.join(f"{name}={value}" for name, value in pairs)
    body = json.dumps({"heartbeat": 1, "timeout": 10**9}).encode()
    front.ask(method, f"{DB}/_changes?{query}", LOGIN, body=body if method == "POST" else b"")
    for _, target in behind.take():
        # CouchDB divides at both, and does not mind the case of a name.
        read = [one.partition("=") for one in re.split("[&;]", target.partition("?")[2])]
        names = [unquote(name).lower() for name, _, _ in read]
        assert len(set(names)) == len(names)
        assert set(names) <= {*FEED_PARAMETERS, "timeout", "feed", "filter"}
        timeout = dict(zip(names, (value for _, _, value in read), strict=True))["timeout"]
        assert re.fullmatch("[0-9]+", timeout)
        assert int(timeout) <= 55_000


def test_a_replicators_feed_is_passed_on_with_its_own_end(front: Front, behind: Behind) -> None:
    front.ask(
        "GET", f"{DB}/_changes?feed=continuous&style=all_docs&since=11-seq&timeout=10000", LOGIN
    )
    front.ask(
        "POST", f"{DB}/_changes?filter=_doc_ids&feed=longpoll&heartbeat=10000&limit=25", LOGIN
    )
    wanted = [
        "timeout=10000&feed=continuous&since=11-seq&style=all_docs",
        "timeout=55000&feed=longpoll&filter=_doc_ids&limit=25",
    ]
    assert [target.partition("?")[2] for _, target in behind.take()] == wanted
    for asked, passed in (("55000", "55000"), ("55001", "55000"), ("0", "0"), ("-1", "55000")):
        front.ask("GET", f"{DB}/_changes?timeout={asked}", LOGIN)
        assert behind.take() == [("GET", f"{DB}/_changes?timeout={passed}")]
    assert front.ask("GET", f"{DB}/_changes?filter=design/name", LOGIN)[0] == 403
    assert behind.take() == []


# Web apps.


def headers_of(answer: bytes) -> list[tuple[str, str]]:
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return [(line.partition(": ")[0].lower(), line.partition(": ")[2]) for line in lines]


def cors_of(answer: bytes) -> dict[str, str]:
    return {name: value for name, value in headers_of(answer) if "access-control" in name}


def test_a_preflight_of_an_app_is_answered_without_couchdb(front: Front, behind: Behind) -> None:
    asks = ("Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization")
    for origin in (APP, "http://localhost:8080"):
        status, answer = front.ask("OPTIONS", f"{OWN}/x", f"Origin: {origin}", *asks)
        assert status == 204
        cors = cors_of(answer)
        assert cors["access-control-allow-origin"] == origin
        assert cors["access-control-allow-credentials"] == "true"
        assert cors["access-control-allow-methods"] == "GET, POST, PUT, DELETE"
        assert "authorization" in cors["access-control-allow-headers"].lower()
        assert ("vary", "Origin") in headers_of(answer)
    assert behind.take() == []


@pytest.mark.parametrize("target", [DB, "/_all_dbs", f"{OWN}/_changes"])
def test_an_app_may_read_every_answer_and_another_page_none(
    target: str, front: Front, behind: Behind
) -> None:
    behind.headers.update(
        {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true"}
    )
    _, answer = front.ask("GET", target, f"Origin: {APP}", LOGIN)
    assert cors_of(answer)["access-control-allow-origin"] == APP
    others = ["https://evil.example", "null", f"{APP}.evil.example", APP.replace(".", "x"), "*",
              APP.upper(), f"{APP}:444", "http://app.example.com", f"x{APP}",
              f"{APP}/"]  # fmt: skip
    for origin in others:
        _, answer = front.ask("GET", target, f"Origin: {origin}", LOGIN)
        assert cors_of(answer) == {}, origin
        status, answer = front.ask("OPTIONS", target, f"Origin: {origin}")
        assert (status in (401, 403), cors_of(answer)) == (True, {}), origin


def test_without_apps_there_is_no_cors(tmp_path: Path) -> None:
    with a_front(tmp_path / "front") as (front, behind):
        assert front.ask("OPTIONS", DB, "Origin: https://app.example.com")[0] == 403
        assert cors_of(front.ask("GET", DB, "Origin: ")[1]) == {}
        assert behind.take() == [("GET", DB)]


# Limits.


def test_a_flood_of_one_address_is_stopped_and_not_that_of_another(tmp_path: Path) -> None:
    with a_front(tmp_path / "front", FRONT_REQUESTS_PER_SECOND="1") as (front, behind):
        statuses = [front.ask("GET", "/_up")[0] for _ in range(60)]
        status, answer = front.ask("GET", "/_up")
        assert status == 429
        says = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert says["error"] == "too_many_requests"
        assert 11 <= statuses.count(200) == len(behind.take()) < 60
        assert front.ask("GET", "/_up", source="127.0.0.2")[0] == 200


def test_a_flood_of_one_login_is_stopped_from_whatever_addresses(tmp_path: Path) -> None:
    with a_front(tmp_path / "front", FRONT_REQUESTS_PER_SECOND="1") as (front, _):
        for n in range(2, 32):
            status = front.ask("GET", DB, basic(f"{DEVICE}:{n}"), source=f"127.0.0.{n}")[0]
        assert status == 429
        other = basic(f"device-{'f' * 32}:x")
        assert front.ask("GET", DB, other, source="127.0.0.2")[0] == 200


def test_open_requests_of_one_address_are_counted(tmp_path: Path) -> None:
    with a_front(tmp_path / "front", FRONT_CONNECTIONS="3") as (front, _), ExitStack() as open_:
        for _ in range(3):
            connection = open_.enter_context(front.connect())
            connection.sendall(
                f"POST {DB}/_all_docs HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n".encode()
            )
        wait_for(lambda: front.ask("GET", "/_up")[0] == 429, "the limit")
        assert front.ask("GET", "/_up", source="127.0.0.2")[0] == 200


# TLS, and what is logged.


def test_the_front_speaks_modern_tls_and_http2(tmp_path: Path) -> None:
    with a_front(tmp_path / "front", tls=True) as (front, _):
        with front.connect("h2") as connection:
            assert connection.selected_alpn_protocol() == "h2"  # type: ignore[attr-defined]
            assert connection.version() in ("TLSv1.2", "TLSv1.3")  # type: ignore[attr-defined]
        got = requests.get(f"{front.url}{DB}", verify=str(front.certificate), timeout=30)
        assert got.status_code == 200
        assert got.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert got.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        text = (front.folder / "front.conf").read_text()
        assert re.findall(r"ssl_protocols (.*);", text) == ["TLSv1.2 TLSv1.3"]
        plain = requests.get(f"http://localhost:{front.port}/", timeout=30)
        assert plain.status_code == 400


def test_the_log_has_neither_logins_nor_queries(front: Front, behind: Behind) -> None:
    front.ask("GET", f"{DB}/photo?password=hunter2", LOGIN)
    front.ask("GET", "/_all_dbs?password=hunter2", basic("admin:hunter2"))
    assert len(behind.take()) == 1
    log = front.log()
    assert f'device "GET {DB}/photo" 200' in log
    for secret in ("hunter2", LOGIN[21:], "secret", "Authorization"):
        assert secret not in log
    front.ask("GET", DB, LOGIN, LOGIN)  # nginx tells of doubled headers, with their values
    assert LOGIN[21:] not in front.log()


# Attacks on CouchDB, with and without the front.


def a_front_of(
    control: Database, couch_url: str, folder: Path, *, tls: bool = False
) -> AbstractContextManager[Front]:
    return running_front(
        folder, couch_url, tls=tls, CONTROL_DB=control.name, FRONT_FEED_SECONDS=str(FEED_S)
    )


@pytest.fixture
def cloud(tmp_path: Path, couch_url: str, control: Database) -> Iterator[Front]:
    """A front before the CouchDB of the tests. A quiet feed ends soon."""
    with a_front_of(control, couch_url, tmp_path / "cloud") as front:
        yield front


@pytest.fixture
def channel(ada: Owner) -> Database:
    """A public channel of Ada's, as its administrator sees it."""
    ada.channel(public=True)
    return ada.channel_database()


def login_of(owner: Owner) -> tuple[str, str]:
    return owner.device.device_id, owner.device.password


def with_login(url: str, owner: Owner) -> str:
    return url.replace("//", "//" + ":".join(login_of(owner)) + "@")


def direct(database: Database) -> str:
    """CouchDB's URL without a login."""
    parts = urlsplit(database.url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port}"


def test_nobody_rewrites_a_checkpoint_in_a_public_channel(
    cloud: Front, channel: Database, ada: Owner
) -> None:
    path = f"/{channel.name}/_local/checkpoint"
    mine = requests.put(cloud.url + path, json={"seq": 1}, auth=login_of(ada), timeout=30)
    assert mine.status_code == 201
    forged = {"_id": "_local/checkpoint", "_rev": mine.json()["rev"], "seq": 10**9}
    refused = requests.put(cloud.url + path, json=forged, timeout=30)
    assert (refused.status_code, refused.json()["error"]) == (403, "forbidden")
    bulk = {"docs": [forged]}
    assert (
        requests.post(f"{cloud.url}/{channel.name}/_bulk_docs", json=bulk, timeout=30).status_code
        == 403
    )
    assert requests.get(cloud.url + path, timeout=30).json()["seq"] == 1
    # CouchDB itself lets everybody.
    assert requests.put(direct(channel) + path, json=forged, timeout=30).status_code == 201


def test_no_device_makes_couchdb_ask_another_server(
    cloud: Front, channel: Database, ada: Owner
) -> None:
    trap = Trap()
    try:
        body = {"source": f"{trap.url}/secret", "target": f"{direct(channel)}/{channel.name}"}
        got = requests.post(f"{cloud.url}/_replicate", json=body, auth=login_of(ada), timeout=30)
        assert (got.status_code, trap.heard) == (403, [])
    finally:
        trap.close()


@pytest.mark.real
def test_couchdb_itself_asks_whatever_server_a_device_names(channel: Database, ada: Owner) -> None:
    trap = Trap()
    try:
        body = {"source": f"{trap.url}/secret", "target": f"{direct(channel)}/{channel.name}"}
        requests.post(f"{direct(channel)}/_replicate", json=body, auth=login_of(ada), timeout=60)
        assert any("/secret" in request for request in trap.heard)
    finally:
        trap.close()


# Only CouchDB's own continuous feed ends after its timeout.
@pytest.mark.parametrize("feed", ["longpoll", pytest.param("continuous", marks=pytest.mark.real)])
def test_a_quiet_feed_ends_whatever_heartbeat_is_asked_for(
    feed: str, cloud: Front, channel: Database, ada: Owner
) -> None:
    query = f"feed={feed}&heartbeat=100&heart%62eat=100&Heartbeat=100&since=now&timeout=99999999"
    url = f"{cloud.url}/{channel.name}/_changes?{query}"
    with requests.get(url, auth=login_of(ada), stream=True, timeout=60) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert b'"last_seq"' in lines[-1]


@pytest.mark.real
def test_an_open_feed_tells_of_a_change_at_once(
    tmp_path: Path, channel: Database, ada: Owner, couch_url: str, control: Database
) -> None:
    with running_front(
        tmp_path / "front", couch_url, CONTROL_DB=control.name, FRONT_FEED_SECONDS="60"
    ) as front:
        url = f"{front.url}/{channel.name}/_changes?feed=continuous&since=now"
        # It would end after a minute, and nothing comes for 30 s only if nginx holds it back.
        with requests.get(url, auth=login_of(ada), stream=True, timeout=30) as feed:
            channel.put({"_id": "news"})
            assert b'"news"' in next(line for line in feed.iter_lines() if line)


@pytest.mark.couchdb
def test_wrong_passwords_lock_one_client_only(
    cloud: Front, channel: Database, ada: Owner, server: Server
) -> None:
    skip_on_embedded(server, "it locks nobody out")
    url, (name, password) = f"/{channel.name}", login_of(ada)
    wrong, right = basic(f"{name}:wrong"), basic(f"{name}:{password}")
    forged = "X-Forwarded-For: 127.0.0.1"
    attacks = [cloud.ask("GET", url, wrong, forged, source="127.0.0.2")[0] for _ in range(7)]
    assert attacks == [401] * 5 + [403] * 2
    assert cloud.ask("GET", url, right, forged, source="127.0.0.2")[0] == 403
    assert cloud.ask("GET", url, right)[0] == 200


PACKED = gzip.compress(b'{"keys": []' + b" " * 5_000_000 + b"}")
IS_PACKED = {"Content-Encoding": "gzip", "Content-Type": "application/json"}


def test_nothing_that_a_stranger_sends_is_unpacked(cloud: Front, channel: Database) -> None:
    url = f"{cloud.url}/{channel.name}/_all_docs"
    got = requests.post(url, data=PACKED, headers=IS_PACKED, timeout=30)
    assert (got.status_code, got.json()["error"]) == (400, "bad_request")


@pytest.mark.real
def test_couchdb_itself_unpacks_a_thousand_times_what_a_stranger_sends(channel: Database) -> None:
    url = f"{direct(channel)}/{channel.name}/_all_docs"
    assert len(PACKED) < 5_000
    assert requests.post(url, data=PACKED, headers=IS_PACKED, timeout=30).status_code == 200


def test_an_administrators_password_is_worth_nothing_outside(
    cloud: Front, channel: Database, couch_url: str
) -> None:
    login = (str(urlsplit(couch_url).username), str(urlsplit(couch_url).password))
    got = requests.get(f"{cloud.url}/{channel.name}", auth=login, timeout=30)
    assert got.status_code == 401


def test_whether_an_address_has_an_account_is_not_told(
    cloud: Front, control: Database, ada: Owner
) -> None:
    names = (ada.control.name, owner_control_db(control.name, "0" * 32))
    answers = {requests.get(f"{cloud.url}/{name}", timeout=30).text for name in names}
    assert len(answers) == 1


# The stories of PouchDB and CouchDB's replicator. That of the agent is in e2e/test_front.py.

PHOTO = {"content_type": "image/jpeg", "data": "/9j/4AAQSkZJRg=="}


@pytest.fixture
def private(ada: Owner) -> Database:
    """A channel of Ada's, as its administrator sees it."""
    ada.channel()
    return ada.channel_database()


@pytest.fixture
def other(server: Server) -> Iterator[Database]:
    """A database of the administrator's, to replicate with."""
    database = server.database(f"syncpoint-test-{uuid.uuid4().hex[:12]}")
    database.create()
    yield database
    database.delete()


def test_a_couchdb_replicates_both_ways(
    cloud: Front, private: Database, other: Database, ada: Owner, couch_url: str
) -> None:
    there = with_login(f"{cloud.url}/{private.name}", ada)
    here = f"{couch_url}/{other.name}"
    other.put({"_id": "from here", "_attachments": {"a/b c.jpg": PHOTO}})
    private.put({"_id": "from there", "_attachments": {"x.jpg": PHOTO}})
    replicate_once(couch_url, here, there)
    replicate_once(couch_url, there, here)
    for database in (other, private):
        assert set(database.get("from here")["_attachments"]) == {"a/b c.jpg"}
        assert set(database.get("from there")["_attachments"]) == {"x.jpg"}
    log = cloud.log()
    assert "/_local/" in log
    assert " 403 " not in log


@pytest.mark.real
def test_a_continuous_replication_lives_on_when_it_was_idle(
    tmp_path: Path,
    private: Database,
    other: Database,
    ada: Owner,
    couch_url: str,
    control: Database,
) -> None:
    with a_front_of(control, couch_url, tmp_path / "tls", tls=True) as front:
        there = with_login(f"{front.url}/{private.name}", ada)
        here = f"{couch_url}/{other.name}"
        jobs = Server(couch_url).database("_replicator")
        jobs.create()
        doc_id = f"syncpoint-test-{uuid.uuid4().hex[:12]}"
        job = {"_id": doc_id, "source": there, "target": here, "continuous": True}
        jobs.put(job)
        try:
            private.put({"_id": "first"})
            wait_for(lambda: other.find_one("first"), "the first document")

            def feeds() -> int:
                return len(re.findall(r'"GET \S+/_changes" 200', front.log()))

            wait_for(lambda: feeds() >= 4, "feeds that ended without a change")
            private.put({"_id": "second", "_attachments": {"x.jpg": PHOTO}})
            wait_for(lambda: other.find_one("second"), "the second document")
            row = requests.get(
                f"{couch_url}/_scheduler/docs/_replicator/{doc_id}", timeout=30
            ).json()
            assert (row["state"], row["error_count"]) == ("running", 0)
        finally:
            jobs.remove(jobs.get(doc_id))


def test_pouchdb_replicates_both_ways_and_hears_of_changes(
    cloud: Front, private: Database, ada: Owner, tmp_path: Path
) -> None:
    there = with_login(f"{cloud.url}/{private.name}", ada)
    with running(tmp_path / "pouchdb", there) as app:
        app.put({"_id": "from the app", "_attachments": {"x.jpg": PHOTO}})
        app.replicate(live=True, retry=True)
        wait_for(lambda: private.find_one("from the app"), "the app's document")
        app.replicate(live=True, retry=True, back=True)
        private.put({"_id": "from the cloud", "_attachments": {"y.jpg": PHOTO}})
        got = app.wait_for_doc("from the cloud")
        assert set(got["_attachments"]) == {"y.jpg"}
    assert " 403 " not in cloud.log()


def test_pouchdb_reads_a_public_channel_without_a_login(
    cloud: Front, channel: Database, tmp_path: Path
) -> None:
    channel.put({"_id": "for all", "_attachments": {"y.jpg": PHOTO}})
    with running(tmp_path / "pouchdb", f"{cloud.url}/{channel.name}") as app:
        app.replicate(back=True)
        assert app.wait_for_doc("for all")["_id"] == "for all"


@pytest.mark.real
def test_a_couchdb_reads_a_public_channel_without_a_login(
    cloud: Front, channel: Database, other: Database, couch_url: str
) -> None:
    channel.put({"_id": "for all", "_attachments": {"y.jpg": PHOTO}})
    here = f"{couch_url}/{other.name}"
    body = {"source": f"{cloud.url}/{channel.name}", "target": here, "use_checkpoints": False}
    got = requests.post(f"{couch_url}/_replicate", json=body, timeout=60)
    assert got.status_code == 200
    assert set(other.get("for all")["_attachments"]) == {"y.jpg"}
