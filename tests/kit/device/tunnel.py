"""A proxy that is asked for tunnels (CONNECT), and leads all of them to one server."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_LIMIT_S = 30
_PART_BYTES = 65_536


@dataclass
class Proxy:
    """The proxy.

    Attributes
    ----------
    asked : list of str
        The hosts and ports to which it was asked for a tunnel.
    logins : list of str or None
        The logins that came with these.
    """

    url: str = ""
    asked: list[str] = field(default_factory=list)
    logins: list[str | None] = field(default_factory=list)


@contextmanager
def running_proxy(server_url: str) -> Iterator[Proxy]:
    """A proxy. Whatever host is asked for, its tunnels end at the server."""
    proxy = Proxy()
    parts = urlsplit(server_url)

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            proxy.asked.append(self.path)
            proxy.logins.append(self.headers.get("Proxy-Authorization"))
            with socket.create_connection((parts.hostname, parts.port), _LIMIT_S) as there:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=_pour, args=(there, self.connection), daemon=True)
                back.start()
                _pour(self.connection, there)
                back.join(_LIMIT_S)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    listening.block_on_close = False  # a client may keep its tunnel open
    proxy.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join(_LIMIT_S)


def _pour(source: socket.socket, target: socket.socket) -> None:
    """Hand on all that comes, until one of the two ends."""
    with suppress(OSError):
        while part := source.recv(_PART_BYTES):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)
