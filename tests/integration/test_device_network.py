"""What a device asks itself: with private certificates, through a proxy, and by no `.netrc`."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from chalicelib.couch import Connection, Unavailable
from syncpoint_device import network
from syncpoint_device.cloud import Registrations
from syncpoint_device.databases import Device
from syncpoint_device.errors import DeviceError
from syncpoint_device.reasons import of_error
from tests.kit.basics import FakeClock
from tests.kit.device.impostor import running_impostor
from tests.kit.device.profiles import COUCH, a_profile
from tests.kit.device.tunnel import running_proxy
from tests.kit.http_server import Answer, serving
from tests.kit.ops.self_signed import certificate_for_localhost

pytestmark = pytest.mark.io

# Nothing listens there, and it is not called by a name of this machine.
ELSEWHERE = "http://127.0.0.2:9"
Ask = Callable[[str], object]


def device_of(couch: str = COUCH, cloud: str = "") -> Device:
    return Device.of(a_profile(couch=couch, cloud=cloud), lambda about, what: None, FakeClock())


def ask_registrations(url: str) -> object:
    return Registrations(f"{url}/registrations").state("device-1")


def ask_cloud(url: str) -> object:
    return device_of(cloud=url).in_cloud("db-1").info()


def ask_own_couchdb(url: str) -> object:
    return device_of(url.replace("://", "://admin:secret@")).server.info()


WHO_ASKS = [ask_registrations, ask_cloud, ask_own_couchdb]


@pytest.fixture(autouse=True)
def _without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the environment of whoever runs the tests counts."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NETRC"):
        monkeypatch.setenv(name, "")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return certificate_for_localhost(tmp_path)


@contextmanager
def serving_https(certificate: Path, *, speaks_tls: bool = True) -> Iterator[str]:
    """The https URL of a server with a certificate, which answers everything alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"state": "active"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    if speaks_tls:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def https_url(certificate: Path) -> Iterator[str]:
    """A server whose certificate nobody vouches for."""
    with serving_https(certificate) as url:
        yield url


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a proxy is asked, which the environment names."""
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        asked.append(f"{request.command} {request.path} {request.headers.get('Authorization')}")
        return 200, json.dumps({"state": "active"}).encode(), {}

    with serving(answer) as url:
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.setenv("HTTPS_PROXY", url)
        yield asked


# Certificates


@pytest.mark.parametrize("ask", WHO_ASKS)
def test_a_private_certificate_is_refused_unless_it_is_trusted(ask: Ask, https_url: str) -> None:
    with pytest.raises(Unavailable, match="UntrustedCertificate"):
        ask(https_url)


UNTRUSTED = (
    "the certificate of {} is not signed by an authority that is trusted here; if it is a private "
    "one, name its file with --ca-file FILE, else do not go on and ask whoever runs the server"
)
WRONG_NAME = (
    "the certificate of {} is for another name, so this may be another server; check the URL, and "
    "if it is right, do not go on and ask whoever runs the server"
)
EXPIRED = (
    "the certificate of {} has expired; check the date of this machine, and if it is right, ask "
    "whoever runs the server for a new one"
)
NOT_YET_VALID = "the certificate of {} is not valid yet; check the date of this machine"
NO_TLS = "{} does not speak https, or only in a form that is no longer secure; check the URL"


@pytest.mark.parametrize(
    ("made", "is_trusted", "expected"),
    [
        ({}, False, UNTRUSTED),
        ({"host": "other.example"}, True, WRONG_NAME),
        ({"valid_days": (-9, -2)}, True, EXPIRED),
        ({"valid_days": (2, 9)}, True, NOT_YET_VALID),
        (None, True, NO_TLS),
    ],
)
@pytest.mark.parametrize("ask", WHO_ASKS)
def test_what_is_wrong_with_a_certificate_is_told_with_what_to_do(
    ask: Ask,
    made: dict[str, Any] | None,
    is_trusted: bool,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certificate = certificate_for_localhost(tmp_path, **made or {})
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving_https(certificate, speaks_tls=made is not None) as url:
        with pytest.raises(Unavailable) as caught:
            ask(url)
        host = url.removeprefix("https://")
        assert of_error(caught.value, url) == expected.format(host)


def test_what_is_wrong_with_a_certificate_is_told_through_a_tunnel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_impostor(tmp_path) as impostor, running_proxy(impostor.url) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(Unavailable) as caught:
            ask_cloud("https://cloud.test")
    assert of_error(caught.value, "https://cloud.test") == UNTRUSTED.format("cloud.test")
    assert proxy.asked == ["cloud.test:443"] * len(proxy.asked) != []


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("ask", WHO_ASKS)
def test_the_environment_names_the_certificates_to_trust(
    ask: Ask, https_url: str, certificate: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(certificate))
    assert ask(https_url)


@pytest.mark.parametrize("ask", WHO_ASKS)
def test_a_file_that_is_given_counts_before_the_environment(
    ask: Ask, https_url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    network.use_ca_file(certificate)
    assert ask(https_url)


@pytest.mark.parametrize(
    ("text", "part"), [(None, "No such file or directory"), ("mine", "has no certificates in PEM")]
)
def test_a_file_without_certificates_is_told(tmp_path: Path, text: str | None, part: str) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DeviceError, match=part) as caught:
        network.use_ca_file(path)
    assert str(path) in str(caught.value)


# Proxies


@pytest.mark.parametrize("ask", [ask_registrations, ask_cloud])
def test_the_cloud_is_asked_through_the_proxy(ask: Ask, proxy: list[str]) -> None:
    assert ask("http://sync.example.com") == "active" or ask is ask_cloud
    assert proxy[0].startswith("GET http://sync.example.com/")


@pytest.mark.parametrize("ask", [ask_registrations, ask_cloud])
def test_a_cloud_with_https_is_asked_through_a_tunnel(ask: Ask, proxy: list[str]) -> None:
    with pytest.raises(Unavailable):
        ask("https://sync.example.com")
    assert {each.rpartition(" ")[0] for each in proxy} == {"CONNECT sync.example.com:443"}


@pytest.mark.parametrize("ask", [ask_registrations, ask_cloud])
def test_the_proxy_is_not_asked_for_what_no_proxy_names(
    ask: Ask, proxy: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.2")
    with pytest.raises(Unavailable):
        ask(ELSEWHERE)
    assert proxy == []


def test_the_devices_own_couchdb_is_asked_without_the_proxy(proxy: list[str]) -> None:
    """It would get the administrator's password."""
    with pytest.raises(Unavailable):
        ask_own_couchdb(ELSEWHERE)
    assert proxy == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_cloud_on_this_machine_is_asked_without_the_proxy(host: str, proxy: list[str]) -> None:
    with pytest.raises(Unavailable):
        ask_registrations(f"http://{host}:9")
    assert proxy == []


def test_the_cloud_itself_asks_through_no_proxy(proxy: list[str]) -> None:
    with pytest.raises(Unavailable):
        Connection(ELSEWHERE).request("GET", "/")
    assert proxy == []


@pytest.mark.parametrize(
    ("url", "no_proxy", "expected"),
    [
        ("https://couch.example/db-1", "", True),
        ("https://couch.example/db-1", "couch.example", False),
        ("https://couch.example/db-1", "*", False),
        ("https://localhost/db-1", "", False),
    ],
)
@pytest.mark.usefixtures("proxy")
def test_whether_the_agent_itself_needs_a_proxy_is_known(
    url: str, no_proxy: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert network.is_behind_proxy(url) is expected


# Passwords


def test_no_password_is_taken_from_a_netrc(
    proxy: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "netrc"
    path.write_text("machine sync.example.com login ada password secret\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    assert ask_registrations("http://sync.example.com") == "active"
    assert proxy == ["GET http://sync.example.com/registrations/device-1 None"]
