"""CouchDB's client over FakeCouch without `requests` between: a tenth of the time of a request."""

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from chalicelib.couch import READ_TIMEOUT_S, Connection, Server, make_error
from chalicelib.json_rows import Rows
from tests.kit.fakes.couch import ADMIN_URL, FakeCouch, no_pause
from tests.kit.fakes.couch_http import Answer, Asked, Refusal

# Given the request's name, the request, and what answers it or another.
Around = Callable[[str, Asked, Callable[[Asked], Answer]], Answer]

_ADMIN = f"Basic {b64encode(b'admin:secret').decode()}"


class DirectConnection(Connection):
    """What `Server` and `Database` ask; the answers are `FakeCouch`'s."""

    def __init__(self, couch: FakeCouch, around: Around) -> None:
        super().__init__(ADMIN_URL, pause=no_pause)
        self._couch = couch
        self._around = around

    def request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        body: Any = None,
        read_timeout_s: float = READ_TIMEOUT_S,
        max_bytes: int | None = None,
    ) -> Any:
        parts = [unquote(part) for part in path.split("/") if part]
        content = b"" if body is None else json.dumps(body).encode()
        asked = Asked(method, parts, params or {}, _ADMIN, content)
        answer = self._around(f"{method} {path}", asked, self._answer)
        if answer.status >= 400:
            raise make_error(answer.status, answer.body, f"{method} {path}")
        return answer.body

    def request_rows(
        self, method: str, path: str, *, params: dict[str, str] | None = None, **_: Any
    ) -> Rows:
        rest = self.request(method, path, params=params)
        [rows] = [value for value in rest.values() if isinstance(value, list)]
        return Rows(rows, [], rows[-1].get("seq", "") if rows else "", rest, is_whole=True)

    def _answer(self, asked: Asked) -> Answer:
        try:
            return self._couch.answer(asked)
        except Refusal as refusal:
            return Answer(refusal.body, refusal.status)


def direct_server(couch: FakeCouch, around: Around) -> Server:
    """The product's own client, as the administrator."""
    server = Server(ADMIN_URL)
    server.http = DirectConnection(couch, around)
    return server
