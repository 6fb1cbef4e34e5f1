"""The connection to a CouchDB server: pool, credentials, time limits; JSON or an error."""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import HTTPBasicAuth

from chalicelib.couch_errors import CouchError, Unavailable, Unreadable, error_of

JsonDict = dict[str, Any]

CONNECT_TIMEOUT_S = 3.05
READ_TIMEOUT_S = 10.0
POOL_CONNECTIONS = 16
_PART_BYTES = 65_536

# Addresses and keys in paths stay out of errors, and so out of logs.
_UNLOGGED = re.compile(r"(?<=org\.couchdb\.user%3A)[^/?]+|(?<=_config/)oauth[^?]+")


class Connection:
    """A pool of connections to one server; may be used by several threads.

    Parameters
    ----------
    url : str
        With credentials, if any. They are taken out of the URL at once and appear in no error.
    adapter : requests.adapters.BaseAdapter, optional
        What requests go through, if not a pool of connections of its own.
    """

    def __init__(self, url: str, adapter: BaseAdapter | None = None) -> None:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        self.url = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        self._session = requests.Session()
        self._session.trust_env = False
        if parts.username is not None:
            self._session.auth = HTTPBasicAuth(
                unquote(parts.username).encode(), unquote(parts.password or "").encode()
            )
        adapter = adapter or HTTPAdapter(pool_connections=1, pool_maxsize=POOL_CONNECTIONS)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def close(self) -> None:
        """Close the pooled connections. Sends no request."""
        self._session.close()

    def request_object(self, method: str, path: str, **kwargs: Any) -> JsonDict:
        """As `request`, for an answer that must be a JSON object."""
        answer = self.request(method, path, **kwargs)
        if not isinstance(answer, dict):
            raise CouchError(200, "bad_answer", "expected a JSON object", f"{method} {path}")
        return answer

    def request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        body: Any = None,
        read_timeout_s: float = READ_TIMEOUT_S,
        most_bytes: int | None = None,
    ) -> Any:
        """Send one request.

        Parameters
        ----------
        path : str
            Percent-encoded, from the server's root.
        body : object, optional
            Sent as JSON.
        read_timeout_s : float
            The longest silence of the server.
        most_bytes : int, optional
            The largest answer that is read to its end. A larger one takes no more memory than that.

        Returns
        -------
        object
            The JSON of a 2xx answer.

        Raises
        ------
        CouchError
            For any other answer; `Unavailable` if none came, or none of CouchDB's; `Unreadable` if
            it is too large.
        """
        request = f"{method} {_UNLOGGED.sub('…', path)}"
        send = partial(
            self._session.request,
            method,
            self.url + path,
            params=params,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Accept": "application/json", "Content-Type": "application/json"},
            timeout=(CONNECT_TIMEOUT_S, read_timeout_s),
            allow_redirects=False,
            stream=True,
        )
        try:
            is_quick = method == "GET" and read_timeout_s <= READ_TIMEOUT_S
            response = _twice(send) if is_quick else send()
            content = _content(response, most_bytes, request)
        except requests.RequestException as exc:
            # Not `from exc`: its text has the whole path, and so perhaps an address.
            raise Unavailable(0, "unreachable", type(exc).__name__, request) from None
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError) as exc:
            if response.ok:
                raise Unreadable(
                    response.status_code, "unreadable", type(exc).__name__, request
                ) from None
            raise error_of(response.status_code, None, request) from None
        if not response.ok or response.is_redirect:
            raise error_of(response.status_code, answer, request)
        return answer


def _twice(send: Callable[[], requests.Response]) -> requests.Response:
    """Send once more where the connection failed, in case only a pooled one was dead.

    A load balancer closes what was idle while the Lambda was frozen; it notices when it thaws.
    """
    try:
        return send()
    except requests.Timeout:
        raise
    except requests.ConnectionError:
        return send()


def _content(response: requests.Response, most_bytes: int | None, request: str) -> bytearray:
    content = bytearray()
    for part in response.iter_content(_PART_BYTES):
        content += part
        if most_bytes is not None and len(content) > most_bytes:
            response.close()  # not back to the pool: the rest is still on its way
            raise Unreadable(
                response.status_code, "unreadable", f"more than {most_bytes:,} bytes", request
            )
    return content
