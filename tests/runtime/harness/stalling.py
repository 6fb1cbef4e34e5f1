"""A CouchDB that never comes to the end of some answers."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import requests

# Well below the handlers' read time-out: they must be stopped, and not give up by themselves.
_DRIP_S = 0.5


class StallingCouchDB:
    """A server in front of CouchDB's; answers of some requests drip, header by header, for ever.

    Parameters
    ----------
    couch_url : str
        The real one.
    stalls : callable
        Given a method and a path, whether that is such a request.

    Attributes
    ----------
    url : str
        Where it is, with the credentials of the real one.
    stalled : threading.Event
        Set once it was asked such a request.
    """

    def __init__(self, couch_url: str, stalls: Callable[[str, str], bool]) -> None:
        parts = urlsplit(couch_url)
        credentials, _, host = parts.netloc.rpartition("@")
        self.real_url = f"{parts.scheme}://{host}"
        self.stalls, self.stalled, self.ended = stalls, threading.Event(), threading.Event()
        self._server = _Server(self)
        port = self._server.server_address[1]
        self.url = f"http://{credentials}@127.0.0.1:{port}{parts.path}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, owner: StallingCouchDB) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Hand it on, or never answer."""
        self._answer()

    def do_PUT(self) -> None:
        """Hand it on, or never answer."""
        self._answer()

    def log_message(self, *args: Any) -> None:
        """Write nothing."""

    def _answer(self) -> None:
        owner = self.server.owner
        if owner.stalls(self.command, self.path):
            owner.stalled.set()
            self._drip()
            return
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        kept = {name: self.headers[name] for name in ("Authorization", "Content-Type", "Accept")}
        answer = requests.request(
            self.command, owner.real_url + self.path, data=body, headers=kept, timeout=30
        )
        self.send_response(answer.status_code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def _drip(self) -> None:
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Patience: ")
            while not self.server.owner.ended.wait(_DRIP_S):
                self.wfile.write(b".")
        except ConnectionError:
            self.close_connection = True
