"""The real nginx with the front's configuration, before a CouchDB or a server of the test."""

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ops.front import FrontSettings, render
from tests.kit.basics import wait_for
from tests.kit.ops.self_signed import certificate_for_localhost

CONTROL = "control"
_MAIN = """
pid nginx.pid;
error_log error.log;
events { worker_connections 1024; }
http {
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include front.conf;
}
"""


@dataclass(frozen=True)
class Front:
    """A running front.

    Attributes
    ----------
    url : str
        Its URL, without a login.
    certificate : Path
        The file with its certificate, which nobody vouches for.
    """

    url: str
    certificate: Path
    folder: Path

    @property
    def port(self) -> int:
        """Its port."""
        return int(urlsplit(self.url).port or 0)

    def log(self) -> str:
        """What it has logged, of requests and of errors."""
        return "".join((self.folder / name).read_text() for name in ("access.log", "error.log"))

    def connect(self, *protocols: str, source: str = "127.0.0.1") -> socket.socket:
        """Open a connection, over TLS if the front has it."""
        address = ("127.0.0.1", self.port)
        plain = socket.create_connection(address, 30, source_address=(source, 0))
        if not self.url.startswith("https:"):
            return plain
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.set_alpn_protocols(protocols or ("http/1.1",))
        return context.wrap_socket(plain, server_hostname="localhost")

    def raw(self, request: bytes, *, source: str = "127.0.0.1") -> tuple[int, bytes]:
        """Send bytes; return the status and all of the answer. 0 if there is none."""
        with self.connect(source=source) as connection:
            connection.sendall(request)
            answer = b""
            with suppress(ConnectionError):
                while block := connection.recv(65536):
                    answer += block
        status = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
        return int(status[1]) if status else 0, answer

    def ask(
        self, method: str, target: str, *lines: str, body: bytes = b"", source: str = "127.0.0.1"
    ) -> tuple[int, bytes]:
        """Send a request with its target as it is written here, and with further header lines."""
        head = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *lines]
        if body or method in ("POST", "PUT"):
            head.append(f"Content-Length: {len(body)}")
        request = "\r\n".join([*head, "", ""]).encode("utf-8", "surrogateescape") + body
        return self.raw(request, source=source)


@contextmanager
def running_front(
    folder: Path, couch_url: str, *, tls: bool = False, **settings: str
) -> Iterator[Front]:
    """A front before a CouchDB; without nginx a test is skipped, but never in CI.

    Parameters
    ----------
    tls : bool
        False leaves TLS out, for clients that do not trust the test's certificate.
    settings : str
        Settings as an operator writes them.
    """
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        why = "no nginx on this machine"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    folder.mkdir(parents=True, exist_ok=True)
    certificate = certificate_for_localhost(folder)
    port = _free_port()
    there = urlsplit(couch_url)
    environment = {
        "COUCHDB_PUBLIC_URL": f"https://localhost:{port}",
        "CONTROL_DB": CONTROL,
        "FRONT_COUCHDB": f"127.0.0.1:{there.port}",
        "FRONT_CERTIFICATE": str(certificate),
        "FRONT_CERTIFICATE_KEY": str(certificate),
        **settings,
    }
    text = render(FrontSettings.read(environment))
    text = text.replace("/var/log/nginx/syncpoint.log", "access.log")
    text = text.replace("/var/log/nginx/syncpoint-errors.log", "error.log")
    text = re.sub(r"listen \[::\].*\n", "", text)
    text = text.replace(f"listen {port} ssl http2", f"listen 127.0.0.1:{port} ssl http2")
    if not tls:
        text = re.sub(r"^ +ssl_.*\n", "", text.replace(" ssl http2;", ";"), flags=re.MULTILINE)
    (folder / "front.conf").write_text(text)
    (folder / "nginx.conf").write_text(_MAIN)
    command = [nginx, "-p", f"{folder}/", "-c", "nginx.conf", "-e", "error.log"]
    process = subprocess.Popen([*command, "-g", "daemon off; master_process off;"])
    try:
        wait_for(lambda: process.poll() is not None or _answers(port), "nginx", limit_s=30)
        assert process.poll() is None, (folder / "error.log").read_text()
        yield Front(f"http{'s' if tls else ''}://localhost:{port}", certificate, folder)
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True
