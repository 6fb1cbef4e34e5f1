"""A network between devices and the cloud that can be cut and restored."""

import contextlib
import socket
import threading
from urllib.parse import urlsplit

_BLOCK = 65536


class Net:
    """Local ports that forward connections to servers, unless the network is cut."""

    def __init__(self) -> None:
        self._listening: list[socket.socket] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_cut = False
        self.connections = 0  # how many were tried

    def reserve(self) -> tuple[str, socket.socket]:
        """Open a port for a server that is started later. Return its URL and its socket."""
        listening = socket.create_server(("127.0.0.1", 0))
        self._listening.append(listening)
        return f"http://127.0.0.1:{listening.getsockname()[1]}", listening

    def forward(self, listening: socket.socket, server_url: str) -> None:
        """Forward the connections of a reserved port to a server."""
        threading.Thread(target=self._serve, args=(listening, server_url), daemon=True).start()

    def url_to(self, url: str) -> str:
        """Return a URL that leads through this network to another URL."""
        through, listening = self.reserve()
        self.forward(listening, url)
        return through + urlsplit(url).path

    def cut(self) -> None:
        """Close all connections, and refuse new ones."""
        with self._lock:
            self._is_cut = True
            for one in self._open:
                _close(one)
            self._open.clear()

    def restore(self) -> None:
        """Accept connections again."""
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        """Close all connections and all ports."""
        self.cut()
        for listening in self._listening:
            _close(listening)

    def _serve(self, listening: socket.socket, server_url: str) -> None:
        while True:
            try:
                client = listening.accept()[0]
            except OSError:
                return  # closed
            self.connections += 1
            with contextlib.suppress(OSError):
                self._join(client, server_url)

    def _join(self, client: socket.socket, server_url: str) -> None:
        parts = urlsplit(server_url)
        server = socket.create_connection((parts.hostname, parts.port or 80))
        with self._lock:
            if self._is_cut:
                _close(client)
                _close(server)
                return
            self._open |= {client, server}
        for one, other in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(_BLOCK):
                target.sendall(block)
        for one in (source, target):
            _close(one)
            with self._lock:
                self._open.discard(one)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
