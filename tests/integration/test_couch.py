"""The CouchDB adapter: against a real server, the one in memory, and servers that misbehave."""

import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.adapters import BaseAdapter

from chalicelib.couch import (
    FIRST_PAUSE_S,
    MAX_ANSWER_BYTES,
    MAX_ATTEMPTS,
    BadRequest,
    ChangesPage,
    Conflict,
    CouchError,
    Database,
    FileExists,
    Forbidden,
    InvalidName,
    NoDatabase,
    NotFound,
    Server,
    Unauthorized,
    Unavailable,
    Unreadable,
    make_error,
)
from chalicelib.domain.documents import JsonDict
from tests.kit.basics import an_address, wait_for
from tests.kit.cases.devices import json_values
from tests.kit.cloud.access import client_of, skip_on_embedded
from tests.kit.fakes.couch import ADMIN_URL, FakeCouch
from tests.kit.http_server import Answer, serving

pytestmark = pytest.mark.io

CONFIG_SECTION = "syncpoint_test"
ODD_IDS = ["a/b", "ü ?&#%", "_design/x", "_design/x/y", "+", "a+b c", "%2F", 'a"b', "😀", "a\\b"]

# What takes time, or is about the network: in memory there is neither.
only_real = pytest.mark.parametrize("server", ["real"], indirect=True)


@pytest.fixture(params=["real", "fake"])
def server(request: pytest.FixtureRequest, server: Server) -> Server:
    """The server in use, and the one in memory: what one of them does, the other does."""
    return server if request.param == "real" else FakeCouch().server()


def everything(database: Database) -> ChangesPage:
    return database.changes("0", limit=1000)


# Databases


def test_a_database_is_created_once(server: Server, control: Database) -> None:
    database = server.database(f"{control.name}-new")
    try:
        assert database.create() is True
        assert database.create() is False
        assert database.info()["db_name"] == database.name
    finally:
        database.delete()


def test_a_database_is_deleted_with_all_it_holds_and_may_be_gone_already(control: Database) -> None:
    control.put({"_id": "d"})
    control.delete()
    control.delete()
    with pytest.raises(NotFound):
        control.info()
    assert control.create() is True
    with pytest.raises(NotFound):
        control.get("d")


@only_real
def test_a_databases_url_is_without_credentials(couch_url: str, control: Database) -> None:
    host = couch_url.rpartition("@")[2]
    assert control.url == f"{couch_url.partition('://')[0]}://{host}/{control.name}"


@pytest.mark.parametrize("name", ["_users", "_replicator", "control", "db-0a", "a_b$(c)+-/d"])
def test_what_couchdb_takes_as_a_name_is_a_name(server: Server, name: str) -> None:
    assert server.database(name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Control",
        "1db",
        "_other",
        "a b",
        "ä",
        "a.b",
        "../x",
        "a?b",
        "a#b",
        "x" * 239,
        " control",
    ],
)
def test_an_invalid_name_of_a_database_is_refused(server: Server, name: str) -> None:
    with pytest.raises(InvalidName, match="no name of a CouchDB database"):
        server.database(name)


# Documents


def test_a_document_is_read_as_it_was_written(control: Database) -> None:
    doc = {"_id": "d", "text": 'ä "\\ \n 😀', "number": 1.5, "list": [None, True, {"a": []}]}
    rev = control.put(doc)
    assert rev.startswith("1-")
    assert control.get("d") == {**doc, "_rev": rev}


@pytest.mark.parametrize("doc_id", ODD_IDS)
def test_an_id_that_needs_quoting_is_written_read_and_removed(
    control: Database, doc_id: str
) -> None:
    rev = control.put({"_id": doc_id, "views": {}})
    read = control.get(doc_id)
    assert (read["_id"], read["_rev"]) == (doc_id, rev)
    assert [row["id"] for row in everything(control)["results"]] == [doc_id]
    newer = control.put({**read, "language": "javascript"})
    control.remove({"_id": doc_id, "_rev": newer})
    with pytest.raises(NotFound):
        control.get(doc_id)


def test_ids_that_look_alike_are_different_documents(control: Database) -> None:
    for doc_id in ("a/b", "a%2Fb", "a b", "a+b"):
        control.put({"_id": doc_id, "is": doc_id})
    for doc_id in ("a/b", "a%2Fb", "a b", "a+b"):
        assert control.get(doc_id)["is"] == doc_id


def test_what_is_not_there_is_not_found(server: Server, control: Database) -> None:
    with pytest.raises(NotFound) as missing:
        control.get("missing")
    assert (missing.value.status, missing.value.error) == (404, "not_found")
    with pytest.raises(NotFound):
        server.database(f"{control.name}-missing").get("d")


def test_writing_over_a_revision_gives_the_next(control: Database) -> None:
    rev = control.put({"_id": "d", "v": 1})
    newer = control.put({"_id": "d", "_rev": rev, "v": 2})
    assert newer.startswith("2-")
    assert control.get("d") == {"_id": "d", "_rev": newer, "v": 2}


@pytest.mark.parametrize("known_rev", [None, "1-" + "a" * 32], ids=["none", "an unknown one"])
def test_writing_over_another_revision_conflicts(control: Database, known_rev: str | None) -> None:
    rev = control.put({"_id": "d", "v": 1})
    with pytest.raises(Conflict) as conflict:
        control.put({"_id": "d", "v": 2} | ({"_rev": known_rev} if known_rev else {}))
    assert (conflict.value.status, conflict.value.error) == (409, "conflict")
    assert control.get("d") == {"_id": "d", "_rev": rev, "v": 1}


def test_of_two_writers_at_once_one_wins(control: Database) -> None:
    rev = control.put({"_id": "d"})

    def write(number: int) -> bool:
        try:
            return bool(control.put({"_id": "d", "_rev": rev, "by": number}))
        except Conflict:
            return False

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert won.count(True) == 1
    assert control.get("d")["by"] == won.index(True)


def test_a_document_is_removed_in_its_own_revision_alone(control: Database) -> None:
    old = control.put({"_id": "d"})
    rev = control.put({"_id": "d", "_rev": old, "v": 2})
    with pytest.raises(Conflict):
        control.remove({"_id": "d", "_rev": old})
    assert control.get("d")["v"] == 2
    control.remove({"_id": "d", "_rev": rev})
    with pytest.raises(NotFound):
        control.get("d")


def test_a_removed_document_may_be_written_again(control: Database) -> None:
    control.remove({"_id": "d", "_rev": control.put({"_id": "d"})})
    control.put({"_id": "d", "again": True})
    assert control.get("d")["again"] is True


def test_a_missing_document_is_none_and_of_a_missing_database_nothing_is_said(
    server: Server, control: Database
) -> None:
    rev = control.put({"_id": "was"})
    control.remove({"_id": "was", "_rev": rev})
    assert control.find_one("was") is None
    assert control.find_one("never") is None
    with pytest.raises(NoDatabase):
        server.database(f"{control.name}-missing").find_one("never")


def test_a_malformed_revision_is_a_bad_request(control: Database) -> None:
    with pytest.raises(BadRequest):
        control.put({"_id": "d", "_rev": "nonsense"})


def test_security_is_written_whole(control: Database) -> None:
    first = {
        "admins": {"names": [], "roles": ["_admin"]},
        "members": {"names": ["ada"], "roles": ["owner-0a"]},
    }
    second = {
        "admins": {"names": [], "roles": ["_admin"]},
        "members": {"names": [], "roles": ["owner-0b"]},
    }
    for security in (first, second):
        control.put_security(security)
        assert control.security() == security


def test_those_who_write_security_at_once_have_no_conflict(control: Database) -> None:
    admins = {"names": [], "roles": ["_admin"]}
    written = [
        {"admins": admins, "members": {"names": [], "roles": [f"owner-{n}"]}} for n in range(24)
    ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(control.put_security, written))
    assert control.security() in written


def test_who_is_no_member_is_kept_out(server: Server, control: Database) -> None:
    control.put({"_id": "d"})
    control.put_security(
        {"admins": {"names": [], "roles": ["_admin"]}, "members": {"names": ["ada"], "roles": []}}
    )
    with pytest.raises((Unauthorized, Forbidden)):
        client_of(server).database(control.name).get("d")


# The changes feed


def test_a_page_has_the_documents_and_goes_on_where_the_last_ended(control: Database) -> None:
    for number in range(5):
        control.put({"_id": f"d{number}", "v": number})
    seen: list[JsonDict] = []
    since = "0"
    for expected in (2, 2, 1, 0):
        page = control.changes(since, limit=2)
        assert len(page["results"]) == expected
        seen += page["results"]
        since = str(page["last_seq"])
    assert sorted(row["id"] for row in seen) == [f"d{number}" for number in range(5)]
    assert all(row["doc"]["v"] == int(row["id"][1:]) for row in seen)


def test_a_change_is_seen_once_in_its_last_revision_and_a_removal_is_marked(
    control: Database,
) -> None:
    rev = control.put({"_id": "kept", "v": 1})
    control.put({"_id": "kept", "_rev": rev, "v": 2})
    control.remove({"_id": "gone", "_rev": control.put({"_id": "gone"})})
    rows = {row["id"]: row for row in everything(control)["results"]}
    assert rows["kept"]["doc"]["v"] == 2
    assert not rows["kept"].get("deleted")
    assert rows["gone"]["deleted"] is True


def test_a_quiet_longpoll_ends_after_its_wait_with_no_rows(control: Database) -> None:
    control.put({"_id": "d"})
    since = str(everything(control)["last_seq"])
    page = control.changes(since, limit=10, wait_s=0.3)
    assert page["results"] == []
    assert control.changes(str(page["last_seq"]), limit=10)["results"] == []


def test_a_longpoll_answers_at_once_where_there_are_changes(control: Database) -> None:
    control.put({"_id": "d"})
    page = control.changes("0", limit=10, wait_s=60)
    assert [row["id"] for row in page["results"]] == ["d"]


@only_real
def test_a_longpoll_sees_a_change_made_while_it_waits(control: Database) -> None:
    control.put({"_id": "before"})
    since = str(everything(control)["last_seq"])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(control.changes, since, limit=10, wait_s=60)
        wait_for(waiting.running, "the longpoll")
        control.put({"_id": "after", "v": 1})
        page = waiting.result(timeout=30)
    assert [row["id"] for row in page["results"]] == ["after"]
    # Whatever the server, what was seen is passed and what comes next is seen.
    control.put({"_id": "later"})
    rest = control.changes(str(page["last_seq"]), limit=10)
    assert [row["id"] for row in rest["results"]] == ["later"]


def test_a_wait_shorter_than_a_millisecond_is_none(control: Database) -> None:
    assert control.changes("0", limit=1, wait_s=0.0001)["results"] == []
    assert control.changes("0", limit=1, wait_s=-5)["results"] == []


@pytest.mark.parametrize("wait_s", [0, 30])
@pytest.mark.parametrize("since", ["nonsense", "1-nonsense"])
def test_a_malformed_seq_is_a_bad_request(
    server: Server, control: Database, since: str, wait_s: float
) -> None:
    skip_on_embedded(server, "it takes any seq, and answers with no rows")
    with pytest.raises(BadRequest):
        control.changes(since, limit=1, wait_s=wait_s)


# The configuration


@pytest.fixture
def config_key(server: Server) -> Iterator[str]:
    key = f"key_{uuid.uuid4().hex[:8]}"
    yield key
    server.config_delete(CONFIG_SECTION, key)


@pytest.mark.parametrize("value", ["value", "with spaces and = signs"])
def test_a_configured_value_is_read_back_and_removed(
    server: Server, config_key: str, value: str
) -> None:
    assert server.config_get(CONFIG_SECTION, config_key) is None
    server.config_set(CONFIG_SECTION, config_key, value)
    assert server.config_get(CONFIG_SECTION, config_key) == value
    server.config_set(CONFIG_SECTION, config_key, f"{value}2")
    assert server.config_get(CONFIG_SECTION, config_key) == f"{value}2"
    server.config_delete(CONFIG_SECTION, config_key)
    assert server.config_get(CONFIG_SECTION, config_key) is None
    server.config_delete(CONFIG_SECTION, config_key)


# Errors, and what they must not show


def test_a_wrong_password_is_unauthorized_and_not_shown(server: Server, control: Database) -> None:
    # Nobody's name: CouchDB 3.4 locks an account that too many wrong passwords were tried on.
    stranger = client_of(server, f"nobody-{uuid.uuid4().hex[:8]}:open-sesame")
    with pytest.raises(Unauthorized) as refused:
        stranger.database(control.name).get("d")
    assert "open-sesame" not in f"{refused.value} {refused.value!r} {refused.value.args}"


@only_real
def test_the_administrators_credentials_are_in_no_error(couch_url: str, control: Database) -> None:
    credentials = couch_url.rpartition("@")[0].partition("://")[2]
    with pytest.raises(NotFound) as missing:
        control.get("missing")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        unanswered = Server(f"http://{credentials}@127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(Unavailable) as failed:
            unanswered.http.request("GET", f"/{control.name}", read_timeout_s=0.1)
    for error in (missing.value, failed.value):
        assert control.name in str(error)
        assert f"{credentials}@" not in f"{error} {error!r} {error.args} {error.__cause__!r}"
    assert "@" not in unanswered.url


@pytest.mark.parametrize("spelling", ["{}", "{}?x=1", "{}/more"])
def test_an_address_in_an_id_is_in_no_error(server: Server, spelling: str) -> None:
    address = an_address()
    users = server.database("_users")
    doc_id = f"org.couchdb.user:{spelling.format(address)}"
    with pytest.raises(NotFound) as missing:
        users.get(doc_id)
    with pytest.raises(CouchError) as refused:
        users.put({"_id": doc_id, "name": "somebody else", "type": "user", "roles": []})
    name = address.partition("@")[0]
    for error in (missing.value, refused.value):
        assert name not in f"{error} {error!r} {error.args} {error.reason}"
        assert "org.couchdb.user" in str(error)


@pytest.mark.parametrize("section", ["oauth_consumer_secrets", "oauth_token_secrets"])
@pytest.mark.parametrize("prefix", ["/_config", "/_node/_local/_config"])
def test_a_key_in_the_configuration_is_in_no_error(section: str, prefix: str) -> None:
    with always(500, {}) as server, pytest.raises(Unavailable) as failed:
        server.http.request("GET", f"{prefix}/{section}/consumer-key-of-ada")
    assert "consumer-key-of-ada" not in f"{failed.value} {failed.value!r} {failed.value.args}"


# Servers that do not answer, or answer strangely


def test_a_closed_port_is_unavailable() -> None:
    with socket.socket() as closed:  # nobody else is given the port, and nobody listens
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable) as failed:
            Server(f"http://admin:secret-word@127.0.0.1:{closed.getsockname()[1]}").info()
    assert (failed.value.status, failed.value.error) == (0, "unreachable")
    assert "secret-word" not in f"{failed.value} {failed.value!r} {failed.value.__cause__!r}"


def test_a_server_that_never_answers_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = Server(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(Unavailable) as failed:
            server.http.request("GET", "/", read_timeout_s=0.2)
    assert (failed.value.status, failed.value.reason) == (0, "ReadTimeout")


@pytest.mark.parametrize(
    "sent",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"not HTTP at all\r\n\r\n"],
    ids=["nothing", "half an answer", "nonsense"],
)
def test_a_server_that_hangs_up_is_unavailable(sent: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            with suppress(OSError):
                while True:  # a request is sent again after a connection error
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(sent)

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(Unavailable) as failed:
            Server(f"http://127.0.0.1:{listener.getsockname()[1]}").info()
        listener.shutdown(socket.SHUT_RDWR)  # ends the wait of `accept`
        thread.join(10)
    assert failed.value.status == 0


def test_an_answer_that_is_too_large_is_not_read_to_its_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_without_end() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                connection.sendall(b" " * 200_000)
                with suppress(ConnectionError):
                    connection.recv(1)  # until the client hangs up

        thread = threading.Thread(target=answer_without_end)
        thread.start()
        with pytest.raises(Unreadable, match="more than 1,000 bytes"):
            Server(f"http://127.0.0.1:{listener.getsockname()[1]}").http.request(
                "GET", "/control/_changes", max_bytes=1_000
            )
        thread.join(10)


def test_the_largest_answer_that_is_wanted_is_read() -> None:
    with always(200, {"ok": True}) as server:
        assert server.http.request("GET", "/", max_bytes=12) == {"ok": True}
        with pytest.raises(Unreadable):
            server.http.request("GET", "/", max_bytes=11)


def test_an_error_that_is_too_large_is_not_read_either() -> None:
    with always(500, {"error": "x" * MAX_ANSWER_BYTES}) as server:
        with pytest.raises(Unreadable, match="more than 1,048,576 bytes"):
            server.database("control").info()
        with pytest.raises(Unreadable, match="more than 1,048,576 bytes"):
            server.database("control").changes("0", limit=1)


class Failing(BaseAdapter):
    """The CouchDB in memory, behind a network that fails at first."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self.failures = list(failures)
        self.sent = 0
        self._couch = FakeCouch().adapter()

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        self.sent += 1
        if self.failures:
            raise self.failures.pop(0)
        return self._couch.send(*args, **kwargs)

    def close(self) -> None:
        self._couch.close()


class Saying(BaseAdapter):
    """A server that says the same to every request."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._content = content

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response.raw = 200, BytesIO(self._content)
        return response

    def close(self) -> None:
        return


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "9" * 5_000])
def test_a_number_that_could_not_be_written_back_is_unreadable(number: str) -> None:
    database = Server(ADMIN_URL, Saying(f'{{"x":[{number}]}}'.encode())).database("db")
    with pytest.raises(Unreadable):
        database.get("d")


@pytest.mark.parametrize("number", ["1e308", "-0.5", "9" * 4_000])
def test_any_other_number_is_read(number: str) -> None:
    database = Server(ADMIN_URL, Saying(f'{{"x":{number}}}'.encode())).database("db")
    assert database.get("d")["x"] == (int(number) if number.isdigit() else float(number))


def test_a_pooled_connection_that_has_died_meanwhile_is_not_noticed() -> None:
    network = Failing(requests.ConnectionError())
    assert Server(ADMIN_URL, network).http.request("GET", "/")["couchdb"] == "Welcome"
    assert network.sent == 2


@pytest.mark.parametrize(
    ("method", "failure", "sent"),
    [
        ("GET", requests.ConnectionError(), 2),
        ("GET", requests.ConnectTimeout(), 1),
        ("GET", requests.ReadTimeout(), 1),
        ("PUT", requests.ConnectionError(), 1),
        ("POST", requests.ConnectionError(), 1),
    ],
)
def test_nothing_but_a_get_is_sent_twice_and_never_after_a_time_out(
    method: str, failure: Exception, sent: int
) -> None:
    network = Failing(failure, failure)
    with pytest.raises(Unavailable, match=type(failure).__name__):
        Server(ADMIN_URL, network).http.request(method, "/db", body={})
    assert network.sent == sent


def test_a_long_poll_that_breaks_is_not_repeated() -> None:
    network = Failing(requests.ConnectionError())
    with pytest.raises(Unavailable, match="ConnectionError"):
        Server(ADMIN_URL, network).database("db").changes("0", limit=1, wait_s=5)
    assert network.sent == 1


@contextmanager
def always(
    status: int,
    body: JsonDict | list[Any] | str,
    seen: Callable[[BaseHTTPRequestHandler], None] = lambda _: None,
    **headers: str,
) -> Iterator[Server]:
    """A server that answers everything alike."""
    content = body if isinstance(body, str) else json.dumps(body)

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        seen(request)
        return status, content.encode(), headers

    with serving(answer) as url:
        server = Server(url.replace("://", "://admin:secret-word@"))
        yield server
        server.close()


HTML = "<html><body>Bad gateway</body></html>"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(500, {"error": "internal_server_error", "reason": "x"}, id="500"),
        pytest.param(500, [], id="500 with a list"),
        pytest.param(500, HTML, id="500 with HTML"),
        pytest.param(502, HTML, id="502 with HTML"),
        pytest.param(503, "", id="503 with nothing"),
        pytest.param(503, {"error": "service_unavailable", "reason": "x"}, id="503"),
        pytest.param(429, {"error": "too_many_requests", "reason": "x"}, id="429"),
        pytest.param(429, HTML, id="429 with HTML"),
        pytest.param(412, {"error": "all_dbs_active", "reason": "x"}, id="412 all_dbs_active"),
        pytest.param(400, {"error": "timeout", "reason": "x"}, id="400 timeout"),
        pytest.param(404, {"error": "timeout", "reason": "x"}, id="404 timeout"),
    ],
)
def test_a_busy_or_broken_server_is_unavailable(status: int, body: JsonDict | str) -> None:
    with always(status, body) as server:
        with pytest.raises(Unavailable) as failed:
            server.database("control").get("d")
        with pytest.raises(Unavailable):
            server.database("control").create()
        with pytest.raises(Unavailable):
            server.database("control").delete()
    assert failed.value.status == status


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (412, FileExists),
    ],
)
def test_a_refusal_has_couchdbs_own_words(status: int, kind: type[CouchError]) -> None:
    words = {"error": "its_error", "reason": "its reason"}
    with always(status, words) as server, pytest.raises(kind) as failed:
        server.database("control").get("d")
    error = failed.value
    assert type(error) is kind
    assert (error.status, error.error, error.reason) == (status, "its_error", "its reason")
    assert str(error) == f"GET /control/d: {status} its_error: its reason"


@pytest.mark.parametrize("body", ["", HTML, "[1, 2]", '"text"', "null", '{"half": '])
def test_an_answer_that_is_no_json_object_is_an_error_and_no_document(body: str) -> None:
    with always(200, body) as server, pytest.raises(CouchError) as failed:
        server.database("control").get("d")
    assert failed.value.status == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error_and_the_password_goes_nowhere_else(status: int) -> None:
    followed: list[str] = []
    with always(200, {"welcome": 1}, lambda request: followed.append(request.path)) as trap:
        elsewhere = always(status, {"ok": True}, Location=f"{trap.url}/elsewhere")
        with elsewhere as server, pytest.raises(CouchError) as failed:
            server.database("control").get("d")
    assert failed.value.status == status
    assert followed == []


def test_a_request_carries_its_credentials_and_no_netrcs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password eve\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    seen: list[str | None] = []
    with always(200, {}, seen=lambda r: seen.append(r.headers["Authorization"])) as server:
        server.info()
        anonymous = Server(server.url)
        anonymous.info()
        anonymous.close()
    assert seen == ["Basic YWRtaW46c2VjcmV0LXdvcmQ=", None]


def test_credentials_may_be_quoted_in_the_url() -> None:
    seen: list[str] = []
    with always(200, {}, seen=lambda r: seen.append(r.headers["Authorization"])) as server:
        host = server.url.partition("://")[2]
        quoted = Server(f"http://ad%40min:p%C3%A4ss%2F%3A%23@{host}/")
        quoted.info()
        quoted.close()
    assert seen == ["Basic YWRAbWluOnDDpHNzLzoj"]  # ad@min:päss/:#


def test_configuration_is_kept_by_node_since_couchdb_2() -> None:
    paths: list[str] = []
    for welcome in (
        {"couchdb": "Welcome", "version": "3.4.2"},
        {"couchdb": "W", "version": "1.7.2"},
    ):
        with always(200, welcome, seen=lambda request: paths.append(request.path)) as server:
            server.config_get("section", "a/b c")
    assert paths == [
        "/",
        "/_node/_local/_config/section/a%2Fb%20c",
        "/",
        "/_config/section/a%2Fb%20c",
    ]


def test_a_new_database_has_one_shard() -> None:
    paths: list[str] = []
    with always(201, {"ok": True}, seen=lambda request: paths.append(request.path)) as server:
        server.database("a/b").create()
    assert paths == ["/a%2Fb?q=1"]


@settings(deadline=None)
@given(st.integers(0, 999), json_values | st.fixed_dictionaries({"error": json_values}))
def test_every_answer_is_one_of_the_errors(status: int, answer: Any) -> None:
    error = make_error(status, answer, "GET /")
    assert isinstance(error, CouchError)
    assert error.status == status
    assert isinstance(error.error, str)
    assert isinstance(error.reason, str)
    if status >= 500:
        assert isinstance(error, Unavailable)


@settings(deadline=None, max_examples=300)
@given(st.text(st.characters(exclude_characters="\n")))
def test_any_name_of_a_database_is_quoted_or_refused(name: str) -> None:
    server = Server("http://127.0.0.1:1")
    try:
        url = server.database(name).url
    except InvalidName:
        return
    assert url.startswith("http://127.0.0.1:1/")
    assert not set(url.removeprefix("http://127.0.0.1:1/")) & set("/?# ")


@pytest.mark.parametrize("doc_id", ["", ".", "..", "_all_docs", "_security", "_changes"])
def test_an_id_that_would_lead_out_of_the_documents_is_refused(
    control: Database, doc_id: str
) -> None:
    for ask in (
        lambda: control.get(doc_id),
        lambda: control.put({"_id": doc_id}),
        lambda: control.remove({"_id": doc_id, "_rev": "1-a"}),
    ):
        with pytest.raises(InvalidName, match="no id of a document"):
            ask()
    assert control.info()["db_name"] == control.name


@pytest.mark.parametrize("doc_id", ["x" * 8_000, "\uffff" * 900, f"_local/{'x' * 8_000}"])
def test_an_id_that_is_too_long_for_a_request_is_refused(control: Database, doc_id: str) -> None:
    """CouchDB would answer what no CouchDB answers, and that would be tried again for ever."""
    with pytest.raises(InvalidName, match="too long for an id of a document"):
        control.find_one(doc_id)


@pytest.mark.parametrize("doc_id", ["x" * 7_900, "\uffff" * 512])
def test_a_long_id_that_fits_into_a_request_is_an_id(control: Database, doc_id: str) -> None:
    control.put({"_id": doc_id})
    assert control.get(doc_id, conflicts=True)["_id"] == doc_id


@pytest.mark.parametrize("status", [404, 409, 412])
@pytest.mark.parametrize("body", [None, {}, [], "gone", {"message": "no such page"}])
def test_what_a_proxy_says_is_not_couchdbs_word(status: int, body: object) -> None:
    assert type(make_error(status, body, "GET /")) is Unavailable


def test_of_many_updates_at_once_none_is_lost(control: Database) -> None:
    control.put({"_id": "d", "names": []})

    def add(number: int) -> None:
        while True:
            try:
                control.update("d", lambda doc: {**doc, "names": [*doc["names"], number]})
                return
            except Conflict:
                continue

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(12)))
    assert sorted(control.get("d")["names"]) == list(range(12))


def test_an_update_gives_the_document_as_it_was_written(control: Database) -> None:
    control.put({"_id": "d", "kept": 1})
    updated = control.update("d", lambda doc: {**doc, "new": 2})
    assert updated == control.get("d")
    assert (updated["kept"], updated["new"]) == (1, 2)


def test_an_update_that_changes_nothing_writes_nothing(control: Database) -> None:
    rev = control.put({"_id": "d"})
    assert control.update("d", lambda doc: doc)["_rev"] == rev
    assert control.get("d")["_rev"] == rev


def test_an_update_begins_with_the_default_where_there_is_no_document(control: Database) -> None:
    with pytest.raises(NotFound):
        control.update("d", lambda doc: {**doc, "a": 1})
    control.update("d", lambda doc: {**doc, "a": 1}, default={"_id": "d", "b": 2})
    assert {"a": 1, "b": 2}.items() <= control.get("d").items()


def test_an_update_that_loses_is_made_again_on_the_newer_revision(control: Database) -> None:
    control.put({"_id": "d", "theirs": 0})
    races = iter([True, True, False])

    def change(doc: JsonDict) -> JsonDict:
        if next(races):
            control.put({**doc, "theirs": doc["theirs"] + 1})
        return {**doc, "mine": True}

    updated = control.update("d", change)
    assert (updated["theirs"], updated["mine"]) == (2, True)


def test_an_update_that_loses_each_time_is_a_conflict(control: Database) -> None:
    paused: list[float] = []
    control._http.pause = paused.append
    control.put({"_id": "d", "n": 0})

    def race(doc: JsonDict) -> JsonDict:
        control.put({**doc, "n": doc["n"] + 1})
        return {**doc, "mine": True}

    with pytest.raises(Conflict, match=f"/{control.name}/d: 409 conflict"):
        control.update("d", race)
    assert "mine" not in control.get("d")
    assert len(paused) == MAX_ATTEMPTS - 1
    longest = [FIRST_PAUSE_S * 2**number for number in range(len(paused))]
    assert all(0 <= seconds <= most for seconds, most in zip(paused, longest, strict=True))
    assert len(set(paused)) > 1


@pytest.mark.parametrize("doc_id", ["d", "a/b", "_design/x", "ü ?&#%"])
def test_a_stub_is_the_revision_without_the_content(control: Database, doc_id: str) -> None:
    with pytest.raises(NotFound):
        control.stub(doc_id)
    control.put({"_id": doc_id, "views": {}})
    rev = control.put({**control.get(doc_id), "language": "javascript"})
    assert control.stub(doc_id) == {"_id": doc_id, "_rev": rev}
    control.remove({"_id": doc_id, "_rev": rev})
    with pytest.raises(NotFound):
        control.stub(doc_id)


def test_a_stub_of_a_missing_database_is_not_found(server: Server, control: Database) -> None:
    with pytest.raises(NotFound):
        server.database(f"{control.name}-missing").stub("d")


# What Python cannot read, or must not; not all servers store it.
UNREADABLE = {
    "deep": "[" * 1_500 + "]" * 1_500,
    "long": "9" * 5_000,
    "infinite": "1e400",
    "negative": "-1e400",
    "large": f'"{"x" * MAX_ANSWER_BYTES}"',
}


@only_real
@pytest.mark.parametrize("what", UNREADABLE)
def test_an_unreadable_document_is_overwritten_where_that_is_wanted(
    control: Database, what: str
) -> None:
    rev = control.put({"_id": "d", "mine": 1})
    body = f'{{"_id":"d","_rev":"{rev}","x":{UNREADABLE[what]}}}'
    answer = requests.put(
        f"{control.url}/d",
        body,
        headers={"Content-Type": "application/json"},
        auth=control._http._session.auth,
        timeout=30,
    )
    if not answer.ok or _is_readable(control):
        pytest.skip("this server stores something else")
    seen: list[JsonDict] = []

    def change(doc: JsonDict) -> JsonDict:
        seen.append(doc)
        return {**doc, "mine": 2}

    with pytest.raises(Unreadable):
        control.update("d", change)
    assert seen == []
    updated = control.update("d", change, overwrites_unreadable=True)
    assert seen == [{"_id": "d", "_rev": answer.json()["rev"]}]
    assert control.get("d") == updated == {"_id": "d", "_rev": updated["_rev"], "mine": 2}


def _is_readable(control: Database) -> bool:
    with suppress(Unreadable):
        return bool(control.get("d"))
    return False


@only_real
def test_an_answer_has_a_largest_size_unless_somebody_asks_for_more(control: Database) -> None:
    control.put({"_id": "d", "x": "x" * MAX_ANSWER_BYTES})
    with pytest.raises(Unreadable, match="more than 1,048,576 bytes"):
        control.get("d")
    assert control.request("GET", "d", max_bytes=10_000_000)["_id"] == "d"


def test_a_document_goes_with_all_its_leaves(control: Database) -> None:
    """Otherwise another leaf takes its place."""
    revs = [f"{number}-{number:032x}" for number in (2, 5, 9)]
    docs = [{"_id": "d", "_rev": rev, "is": rev} for rev in revs]
    body = {"docs": docs, "new_edits": False}
    control._http.request("POST", f"/{control.name}/_bulk_docs", body=body)
    doc = control.get("d", conflicts=True)
    assert (doc["_rev"], len(doc["_conflicts"])) == (revs[-1], 2)
    control.remove_leaves(doc)
    assert control.find_one("d") is None


def test_leaves_that_changed_meanwhile_are_a_conflict(control: Database) -> None:
    control.put({"_id": "d"})
    doc = control.get("d", conflicts=True)
    control.put({**doc, "newer": True})
    with pytest.raises(Conflict):
        control.remove_leaves(doc)
    assert control.get("d")["newer"]


def test_documents_are_found_by_their_ids_in_one_request(control: Database) -> None:
    control.put({"_id": "one", "n": 1})
    control.put({"_id": "gone"})
    control.remove(control.get("gone"))
    found = control.find_all(["one", "missing", "gone"])
    assert found == {"one": control.get("one"), "missing": None, "gone": None}
    control.put({"_id": "large", "x": "x" * MAX_ANSWER_BYTES})
    assert control.find_all(["one", "large"]) == {}
