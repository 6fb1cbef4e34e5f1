"""What FakeCouch is asked and what it answers; the adapter that brings both to `requests`."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from chalicelib.domain.documents import JsonDict

Around = Callable[[str, Callable[[], Response]], Response]


class Refusal(Exception):
    """An answer that is an error, in CouchDB's words."""

    def __init__(self, status: int, error: str, reason: str) -> None:
        super().__init__(f"{status} {error}: {reason}")
        self.status = status
        self.body = {"error": error, "reason": reason}


@dataclass(frozen=True)
class Answer:
    """An answer: JSON, or bytes as they are."""

    body: Any
    status: int = 200


@dataclass(frozen=True)
class Asked:
    """A request, taken apart.

    Attributes
    ----------
    path : list of str
        The parts of the path, each percent-decoded; none for ``/``.
    """

    method: str
    path: list[str]
    params: dict[str, str]
    authorization: str
    content: bytes

    @classmethod
    def of(cls, request: PreparedRequest) -> "Asked":
        parts = urlsplit(str(request.url))
        content = request.body or b""
        return cls(
            str(request.method),
            [unquote(part) for part in parts.path.strip("/").split("/") if part],
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            str(request.headers.get("Authorization", "")),
            content.encode() if isinstance(content, str) else content,
        )

    def json(self) -> Any:
        try:
            return json.loads(self.content)
        except ValueError:
            raise Refusal(400, "bad_request", "invalid UTF-8 JSON") from None

    def object(self) -> JsonDict:
        body = self.json()
        if not isinstance(body, dict):
            raise Refusal(400, "bad_request", "Request body must be a JSON object")
        return body

    def param(self, name: str, default: Any = None) -> Any:
        """A parameter whose value is JSON."""
        try:
            return json.loads(self.params[name]) if name in self.params else default
        except ValueError:
            reason = f"Invalid value for {name}: {self.params[name]!r}"
            raise Refusal(400, "query_parse_error", reason) from None

    def allow_params(self, *names: str) -> None:
        """Fail the test that asks for more than is imitated here, instead of answering wrong."""
        unknown = self.params.keys() - set(names)
        if unknown:
            raise NotImplementedError(f"{self.method} {self.path} with {sorted(unknown)}")

    @property
    def wait_s(self) -> float:
        """How long the answer may be waited for."""
        if self.params.get("feed", "normal") == "normal":
            return 0.0
        if self.params["feed"] != "longpoll":
            raise NotImplementedError(f"feed={self.params['feed']}")
        return float(self.param("timeout", 60_000)) / 1000


class FakeAdapter(BaseAdapter):
    """Carries requests to `answer`.

    Parameters
    ----------
    around : callable
        Runs around each request, is told its name (``couchdb.GET /control/d1``) and calls it.
    """

    def __init__(self, answer: Callable[[Asked], Answer], around: Around) -> None:
        super().__init__()
        self._answer = answer
        self._around = around

    def send(self, request: PreparedRequest, *_: Any, **__: Any) -> Response:
        path = urlsplit(str(request.url)).path
        return self._around(f"couchdb.{request.method} {path}", lambda: self._response(request))

    def close(self) -> None:
        return

    def _response(self, request: PreparedRequest) -> Response:
        try:
            answer = self._answer(Asked.of(request))
        except Refusal as refusal:
            answer = Answer(refusal.body, refusal.status)
        return response_of(answer, request)


def response_of(answer: Answer, request: PreparedRequest | None = None) -> Response:
    """The answer as `requests` gives it; for whoever answers in FakeCouch's place, too."""
    response = Response()
    response.status_code = answer.status
    is_head = request is not None and request.method == "HEAD"
    body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
    response.raw = BytesIO(b"" if is_head else body)
    response.encoding = "utf-8"
    response.headers = CaseInsensitiveDict({"Content-Type": "application/json"})
    if request is not None:
        response.url = str(request.url)
        response.request = request
    return response
