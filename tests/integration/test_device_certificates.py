"""A device's password goes to no server whose certificate nobody vouches for."""

import base64
import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from chalicelib.couch import Server
from chalicelib.domain.documents import JsonDict
from syncpoint_device import databases, lifecycle, replications
from syncpoint_device.agent import Agent
from syncpoint_device.certificates import check_verifies, verify
from syncpoint_device.databases import CONTROL
from syncpoint_device.endpoints import endpoint
from syncpoint_device.errors import DeviceError, NothingToDo, Unverified
from syncpoint_device.trust import trust, trusted
from tests.kit.basics import FakeClock, an_address, wait_for
from tests.kit.device.by_hand import Kit, MakeKit
from tests.kit.device.gadget import QUICK
from tests.kit.device.impostor import Impostor, running_impostor
from tests.kit.device.profiles import PASSWORD, a_profile
from tests.kit.device.tunnel import running_proxy
from tests.kit.http_server import Answer, serving

CONFIG = "/_node/_local/_config/replicator"
KEYS = ("verify_ssl_certificates", "ssl_trusted_certificates_file")
BOTH = {"verify_ssl_certificates": "true", "ssl_trusted_certificates_file": "/ca.pem"}
ONLY_VERIFY = {"verify_ssl_certificates": "true"}
POUCHDB = {"express-pouchdb": "Welcome!", "version": "4.2.0"}


# A table, with a fake CouchDB


def couchdb(version: str) -> JsonDict:
    return {"couchdb": "Welcome", "version": version}


@dataclass
class SaidCouch:
    """What a device's CouchDB says of itself; what it is told is in `config`."""

    welcome: JsonDict
    config: JsonDict | int = field(default_factory=dict)
    erlang: str | int = "26.2.5"

    def answer(self, request: BaseHTTPRequestHandler) -> Answer:
        status, said = self._answer(request)
        return status, json.dumps(said).encode(), {}

    def _answer(self, request: BaseHTTPRequestHandler) -> tuple[int, Any]:
        if request.path == "/":
            return 200, self.welcome
        part = self.erlang if request.path.endswith("_versions") else self.config
        if isinstance(part, int):
            return part, {"error": "no", "reason": "not for you."}
        if isinstance(part, str):
            return 200, {"erlang": {"version": part}}
        if request.command == "PUT":
            body = request.rfile.read(int(request.headers["Content-Length"]))
            part[request.path.rpartition("/")[2]] = json.loads(body)
        return 200, part


@pytest.mark.io
@pytest.mark.parametrize(
    ("couch", "problem"),
    [
        (SaidCouch(POUCHDB), None),
        (SaidCouch(couchdb("3.5.2"), BOTH), None),
        (SaidCouch(couchdb("3.5.2"), ONLY_VERIFY), None),
        (SaidCouch(couchdb("3.5.1"), ONLY_VERIFY, erlang="25.3"), None),
        (SaidCouch(couchdb("3.4.3"), BOTH, erlang="24.0"), None),
        (SaidCouch(couchdb("3.4.3"), BOTH, erlang=404), None),
        (SaidCouch(couchdb("4.0"), BOTH, erlang="27"), None),
        (SaidCouch(couchdb("3.5.2")), "checks no certificates"),
        (SaidCouch(couchdb("3.5.2"), {**BOTH, KEYS[0]: "false"}), "checks no certificates"),
        (SaidCouch(couchdb("3.5.2"), {**BOTH, KEYS[0]: "True"}), "checks no certificates"),
        (SaidCouch(couchdb("3.5.2"), {**BOTH, KEYS[0]: "1"}), "checks no certificates"),
        (SaidCouch(couchdb("3.5.2"), {KEYS[1]: "/ca.pem"}), "checks no certificates"),
        (SaidCouch(couchdb("3.4.3"), ONLY_VERIFY), "has no `ssl_trusted_certificates_file`"),
        (SaidCouch(couchdb("3.4.3"), {**BOTH, KEYS[1]: ""}), "has no `ssl_trusted_cert"),
        (SaidCouch({"couchdb": "Welcome"}, ONLY_VERIFY), "has no `ssl_trusted_certificates_file`"),
        (SaidCouch(couchdb("3.5.2"), BOTH, erlang="25.2.3"), "because it runs on Erlang 25.2.3"),
        (SaidCouch(couchdb("3.5.2"), erlang="25.2.3"), "because it runs on Erlang 25.2.3"),
        (SaidCouch(couchdb("3.10"), BOTH, erlang="25"), "because it runs on Erlang 25"),
        (SaidCouch(couchdb("3.5.2"), BOTH, erlang="new"), "because it runs on Erlang new"),
        (SaidCouch(couchdb("3.5.2"), BOTH, erlang=404), "does not say whether it checks"),
        (SaidCouch(couchdb("3.5.2"), 401), r"does not say whether it checks .*\(.*not for you\)"),
        (SaidCouch(couchdb("3.5.2"), 403), "does not say whether it checks certificates"),
        (SaidCouch(couchdb("1.7.2"), 404), "does not say whether it checks certificates"),
    ],
    ids=str,
)
def test_a_couchdb_is_believed_only_if_it_checks_certificates(
    couch: SaidCouch, problem: str | None
) -> None:
    with serving(couch.answer) as url:
        server = Server(url)
        if problem is None:
            check_verifies(server)
            return
        with pytest.raises(Unverified, match=problem) as caught:
            check_verifies(server)
        assert url in str(caught.value)
        assert "nothing is replicated" in str(caught.value)


@pytest.mark.io
@pytest.mark.parametrize("version", ["3.1.0", "3.4.3", "3.5.2"])
def test_a_couchdb_that_is_told_to_check_is_believed(version: str, tmp_path: Path) -> None:
    for ca_file in (None, tmp_path / "ca.pem"):
        couch = SaidCouch(couchdb(version))
        with serving(couch.answer) as url:
            file = verify(Server(url), ca_file)
        assert couch.config == {KEYS[0]: "true", KEYS[1]: file}
        assert ca_file is None or file == str(ca_file)
        assert Path(str(file)).is_absolute()


@pytest.mark.io
@pytest.mark.parametrize("erlang", ["25.2.3", 404])
def test_a_couchdb_that_cannot_check_is_not_changed(erlang: str | int) -> None:
    couch = SaidCouch(couchdb("3.5.2"), erlang=erlang)
    with serving(couch.answer) as url, pytest.raises(Unverified):
        verify(Server(url), None)
    assert couch.config == {}


@pytest.mark.parametrize("cloud", ["", "http://couch.example"])
def test_trust_is_not_needed_for_a_cloud_on_http(cloud: str) -> None:
    profile = a_profile(cloud=cloud, registrations="http://127.0.0.1:9/registrations")
    device = databases.Device.of(profile, lambda about, what: None, FakeClock())
    with pytest.raises(NothingToDo, match="`trust` is not needed, and nothing was changed"):
        trust(device, None)  # without I/O: nothing is asked


@pytest.mark.io
def test_a_configuration_that_cannot_be_changed_is_told_with_what_to_write() -> None:
    with (
        serving(SaidCouch(couchdb("3.5.2"), 403).answer) as url,
        pytest.raises(DeviceError, match=r"Write `verify_ssl_certificates = true` and") as caught,
    ):
        verify(Server(url), None)
    assert "[replicator]" in str(caught.value)


# The agent and `register`


@dataclass
class Replicator:
    """Whether the device's CouchDB checks certificates, and how often that was asked."""

    checks: bool = True
    asked: int = 0

    def check(self, server: Server) -> None:
        self.asked += 1
        if not self.checks:
            raise Unverified(server.url, "checks no certificates")


@pytest.fixture
def replicator(monkeypatch: pytest.MonkeyPatch) -> Replicator:
    replicator = Replicator()
    monkeypatch.setattr(databases, "check_verifies", replicator.check)
    monkeypatch.setattr(replications, "check_verifies", replicator.check)
    return replicator


def test_the_agent_replicates_only_while_certificates_are_checked(
    make_kit: MakeKit, replicator: Replicator
) -> None:
    cloud = "https://127.0.0.1:9"
    kit = make_kit(registrations=f"{cloud}/registrations", cloud=cloud, control_db="control")
    kit.put({**kit.profile.doc, "state": "active"})
    kit.device.replications.reconcile(CONTROL, kit.device.control_both_ways())
    replicator.checks = False
    ended = threading.Event()
    agent = Agent(kit.home, kit.say, FakeClock(), QUICK, ended.is_set)
    thread = threading.Thread(target=agent.run, daemon=True)
    thread.start()

    def told() -> list[str]:
        return [what for about, what in kit.said if about == "couchdb"]

    try:
        wait_for(told, "word of it")
        asked = replicator.asked
        wait_for(lambda: replicator.asked > asked + 3, "more attempts")
        assert kit.replications() == []
        assert len(told()) == 1
        assert "Run `trust`" in told()[0]
        replicator.checks = True
        wait_for(lambda: len(kit.replications()) == 2, "replication")
        replicator.checks = False
        wait_for(lambda: len(told()) == 2, "word of it again")
        wait_for(lambda: kit.replications() == [], "the end of replication")
    finally:
        ended.set()
        thread.join(timeout=120)


def test_nothing_with_https_is_written_for_a_server_that_does_not_check(
    kit: Kit, replicator: Replicator
) -> None:
    ours, here = kit.device.replications, kit.device.here(kit.device.database)
    there = endpoint("https://127.0.0.1:9/db")
    ways = [replications.Direction(here, there), replications.Direction(there, here)]
    for way in ways:
        ours.reconcile("checked", [way])
        replicator.checks = False
        with pytest.raises(Unverified):
            ours.reconcile("new", [way])
        with pytest.raises(Unverified):
            ours.restart(ours.all()[0])
        assert kit.replications() == []
        replicator.checks = True


def test_nothing_is_asked_of_a_server_that_replicates_without_https(
    kit: Kit, replicator: Replicator
) -> None:
    kit.device.replications.reconcile(CONTROL, kit.device.control_both_ways())
    kit.device.check_verifies()
    assert replicator.asked == 0


def test_a_device_is_registered_only_where_certificates_are_checked(
    kit: Kit, replicator: Replicator, server: Server, monkeypatch: Any
) -> None:
    def told_to_check(server: Server, ca_file: Path | None) -> None:
        replicator.checks = True

    monkeypatch.setattr(lifecycle, "verify", told_to_check)
    given = {"owner": an_address(), "registrations": "https://127.0.0.1:9/registrations"}
    prefix = kit.profile.prefix
    before = server.all_dbs(prefix, prefix + "~", 100)
    replicator.checks = False
    with pytest.raises(Unverified, match="register --trust"):
        kit.register_another(**given)
    assert not kit.others[0].is_registered
    assert server.all_dbs(prefix, prefix + "~", 100) == before
    another = kit.register_another(**given, trust=True)
    assert another.home.is_registered
    assert [one.group for one in another.device.replications.all()] == ["outbox"]


# A server in the cloud's place


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Impostor]:
    with running_impostor(tmp_path) as impostor:
        yield impostor


@pytest.fixture
def unset(server: Server) -> Iterator[None]:
    """A CouchDB as it comes: it has not been told to check certificates."""
    is_pouchdb = "express-pouchdb" in server.http.request_object("GET", "/")
    known = {} if is_pouchdb else server.http.request_object("GET", CONFIG)
    for key in KEYS:
        if key in known:
            server.http.request("DELETE", f"{CONFIG}/{key}")
    yield
    for key in () if is_pouchdb else KEYS:
        if key in known:
            server.http.request("PUT", f"{CONFIG}/{key}", body=known[key])
        elif key in server.http.request_object("GET", CONFIG):
            server.http.request("DELETE", f"{CONFIG}/{key}")


def has_heard_the_password(kit: Kit, impostor: Impostor) -> bool:
    login = base64.b64encode(f"{kit.profile.device_id}:{PASSWORD}".encode()).decode()
    return any(PASSWORD in heard or login in heard for heard in impostor.heard)


@pytest.mark.usefixtures("unset")
def test_no_impostor_gets_the_password_from_a_server_that_was_told_to_check(
    kit: Kit, impostor: Impostor
) -> None:
    kit.set_cloud(impostor.url)
    device = kit.device
    problem = ""
    try:
        assert trusted(trust(device, None))
    except Unverified as exc:
        problem = str(exc)
    if problem:  # it cannot check, so nothing is replicated
        assert "runs on Erlang" in problem
        with pytest.raises(Unverified, match="runs on Erlang"):
            device.replications.reconcile(CONTROL, device.control_both_ways())
        assert kit.replications() == []
    else:
        device.replications.reconcile(CONTROL, device.control_both_ways())
        wait_for(lambda: impostor.refused, "a refused certificate")
    assert impostor.heard == []


@pytest.mark.real
@pytest.mark.usefixtures("unset")
def test_without_being_told_to_check_couchdb_gives_the_password_to_an_impostor(
    kit: Kit, impostor: Impostor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why the agent looks at its configuration."""
    kit.set_cloud(impostor.url)
    device = kit.device
    with pytest.raises(Unverified, match="checks no certificates"):
        device.replications.reconcile(CONTROL, device.control_both_ways())
    assert impostor.heard == []
    monkeypatch.setattr(replications, "check_verifies", Replicator().check)
    device.replications.reconcile(CONTROL, device.control_both_ways())
    wait_for(lambda: has_heard_the_password(kit, impostor), "the password")


# Through a proxy


def test_no_replication_names_a_proxy(
    make_kit: MakeKit, replicator: Replicator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CouchDB would compare the cloud's certificate with the proxy's address."""
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:secret@proxy.test:3128")
    kit = make_kit(cloud="https://cloud.test", control_db="control")
    kit.device.replications.reconcile(CONTROL, kit.device.control_both_ways())
    assert len(kit.replications()) == 2
    for doc in kit.replications():
        assert "proxy" not in json.dumps(doc)


@pytest.mark.real
@pytest.mark.usefixtures("unset")
def test_through_a_proxy_couchdb_does_not_say_which_server_it_wants(
    kit: Kit, impostor: Impostor, server: Server
) -> None:
    """So it cannot compare the server's certificate with that name: why none is named."""
    device = kit.device
    here, there = device.here(device.database), endpoint("https://cloud.test/db")
    with running_proxy(impostor.url) as proxy:
        doc_id = f"test-{uuid.uuid4().hex}"
        login = proxy.url.replace("://", "://ada:se%40cret@")
        ends = {"source": here, "target": there, "target_proxy": login}
        server.database("_replicator").put({"_id": doc_id, **ends})
        try:
            wait_for(lambda: impostor.names, "a client in the tunnel")
        finally:
            server.database("_replicator").update(doc_id, lambda doc: {**doc, "_deleted": True})
    assert set(proxy.asked) == {"cloud.test:443"}
    assert set(impostor.names) == {None}
    encoded = base64.b64encode(b"ada:se%40cret").decode()
    assert set(proxy.logins) == {f"Basic {encoded}"}
