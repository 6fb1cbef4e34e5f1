"""The Runtime API: what a Lambda's runtime asks for its next event, and tells of its answer.

Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import queue
import socket
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from chalicelib.domain.documents import JsonDict

_PREFIX = "/2018-06-01/runtime"


@dataclass
class Invocation:
    """One event, and what came of it.

    Attributes
    ----------
    answered : threading.Event
        Set when there is either.
    answer : object
        What the handler returned, if it returned.
    error : dict or None
        ``{errorType, errorMessage, stackTrace}``, if it raised.
    """

    event: Any
    arn: str
    time_out_s: int
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    answered: threading.Event = field(default_factory=threading.Event)
    answer: Any = None
    error: JsonDict | None = None

    def settle(self, answer: Any = None, error: JsonDict | None = None) -> None:
        """Say what came of it."""
        self.answer, self.error = answer, error
        self.answered.set()

    def headers(self) -> dict[str, str]:
        """What the runtime is told beside the event."""
        return {
            "Lambda-Runtime-Aws-Request-Id": self.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + self.time_out_s) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self.arn,
            "Lambda-Runtime-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0",
        }


class RuntimeApi:
    """The API of one function, on a port of its own; one event at a time.

    Attributes
    ----------
    address : str
        ``host:port``, for ``AWS_LAMBDA_RUNTIME_API``.
    asked : threading.Event
        Set once the runtime has asked for an event: its code is imported.
    init_error : dict or None
        Why it was not.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.init_error: JsonDict | None = None
        self._waiting: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._running: dict[str, Invocation] = {}
        self._server = _Server(self)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        # The longest that `stop` waits, for each function.
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def put(self, invocation: Invocation) -> None:
        """Give the runtime an event, as soon as it asks for one."""
        self._waiting.put(invocation)

    def next(self) -> Invocation | None:
        """The next event; waits for it. None if the API ends."""
        self.asked.set()
        invocation = self._waiting.get()
        if invocation is not None:
            self._running[invocation.request_id] = invocation
        return invocation

    def settle(self, request_id: str, **result: Any) -> None:
        """Take what came of an event."""
        self._running.pop(request_id).settle(**result)

    def fail(self, error: JsonDict) -> None:
        """Take it that the runtime could not begin."""
        self.init_error = error
        self.asked.set()

    def stop(self) -> None:
        """Answer no more."""
        self._waiting.put(None)
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: RuntimeApi) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api

    def handle_error(self, *about: Any) -> None:
        """A function that is ended takes its connection with it: nothing to tell."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*about)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        """Without this, each answer waits 40 ms for the runtime's acknowledgement."""
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        """``/invocation/next``."""
        invocation = self.server.api.next()
        if invocation is None:
            self.close_connection = True
        else:
            self._send(200, json.dumps(invocation.event).encode(), invocation.headers())

    def do_POST(self) -> None:
        """``/invocation/{id}/response``, ``/invocation/{id}/error``, ``/init/error``."""
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        said: Any = json.loads(body) if body else None
        _, what, *rest = self.path.removeprefix(_PREFIX).split("/")
        if what == "init":
            self.server.api.fail(said)
        elif rest[1] == "response":
            self.server.api.settle(rest[0], answer=said)
        else:
            self.server.api.settle(rest[0], error=said)
        self._send(202, b"{}", {})

    def log_message(self, *args: Any) -> None:
        """Write nothing."""

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
