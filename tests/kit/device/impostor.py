"""A server with https and a certificate that nobody vouches for; it keeps all that it hears."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.kit.ops.self_signed import certificate_for_localhost

HANDSHAKE_LIMIT_S = 10


@dataclass
class Impostor:
    """The server.

    Attributes
    ----------
    names : list of str or None
        The names of servers that clients asked for (SNI).
    refused : int
        How many clients did not like its certificate.
    """

    certificate: Path
    url: str = ""
    heard: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    refused: int = 0


@contextmanager
def running_impostor(folder: Path) -> Iterator[Impostor]:
    """Whoever does not check its certificate talks to it, and is answered with 404."""
    impostor = Impostor(certificate_for_localhost(folder))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(impostor.certificate)

    def keep_name(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        impostor.names.append(name)

    context.sni_callback = keep_name

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            impostor.heard.append(f"{self.requestline}\n{self.headers}{body.decode()}")
            self.send_response_only(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = do_HEAD = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    class TlsServer(ThreadingHTTPServer):
        def get_request(self) -> tuple[Any, Any]:
            sock, address = super().get_request()
            sock.settimeout(HANDSHAKE_LIMIT_S)
            try:
                return context.wrap_socket(sock, server_side=True), address
            except OSError:
                impostor.refused += 1
                raise

    server = TlsServer(("127.0.0.1", 0), Handler)
    impostor.url = f"https://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield impostor
    finally:
        server.shutdown()
        server.server_close()
        thread.join(HANDSHAKE_LIMIT_S)
