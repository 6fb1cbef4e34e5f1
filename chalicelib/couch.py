"""A CouchDB client over `requests`: a server, its databases, and the errors of their answers.

Every public method sends one request, unless its docstring says otherwise. Every request has a
timeout.

    CouchError
    ├── BadRequest        400, for example a malformed seq
    ├── Unauthorized      401
    ├── Forbidden         403, for example by a validation function
    │   └── AccountLocked 403, our login, for some minutes after wrong passwords
    ├── NotFound          404, a document
    │   └── NoDatabase    404, a database
    ├── Conflict          409
    ├── FileExists        412
    ├── Unavailable       no answer, 429, 5xx, or a busy server: a retry may succeed
    └── Unreadable        a 2xx answer that cannot be parsed, or is too large
    InvalidName           (a ValueError) not a name of a database, or not an id of a document
"""

import json
import math
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypedDict
from urllib.parse import quote, unquote, urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import HTTPBasicAuth

from chalicelib.domain.documents import JsonDict
from chalicelib.json_rows import MAX_ROW_SIZE, BadRow, Rows, finite, never, read_rows

CONNECT_TIMEOUT_S = 3.05
READ_TIMEOUT_S = 10.0
POOL_CONNECTIONS = 16
_PART_BYTES = 65_536
# Python's objects take up to 35 times the bytes of their JSON, for example of `[{},{},{}…]`. So an
# answer takes at most some 40 MB of a Lambda's 256 MB.
MAX_ANSWER_BYTES = 1024 * 1024
# Names of databases, which only the cloud chooses, take three times the bytes of their JSON.
MAX_NAMES_BYTES = 16 * MAX_ANSWER_BYTES
# The largest answer to one revision that was written.
_MAX_ROW_BYTES = 100_000
# The largest page of changes, in characters of its rows. The poller has two pages in memory.
MAX_PAGE_SIZE = MAX_ROW_SIZE
_PAGE_ROWS = 1_000

# Addresses and keys in paths must not appear in errors, because errors are logged.
_UNLOGGED = re.compile(r"(?<=org\.couchdb\.user%3A)[^/?]+|(?<=_config/)oauth[^?]+")


# How often a write is tried that others make conflict, and how long the first pause may be.
MAX_ATTEMPTS = 5
FIRST_PAUSE_S = 0.04

# CouchDB answers a request line of more than 8,192 bytes with a bare 400.
MAX_DOC_PATH_LENGTH = 8_000

_DATABASE_NAME = re.compile(r"_users|_replicator|_global_changes|[a-z][a-z0-9_$()+/-]{0,237}")


# The reasons of CouchDB 3, and of CouchDB 1 and the embedded server.
_NO_DATABASE = {"Database does not exist.", "no_db_file"}
# The errors of a busy CouchDB; their status varies.
_BUSY_ERRORS = {"all_dbs_active", "timeout", "service_unavailable"}
# The reason for which CouchDB refuses even the right password.
LOCKED = "Account is temporarily locked"


class CouchError(Exception):
    """Raised when CouchDB refused a request, failed, or did not answer.

    Attributes
    ----------
    status : int
        The HTTP status; 0 if there was no answer.
    error, reason : str
        The two fields of CouchDB's answer. Without an answer, ``unreachable`` and the cause.
    """

    def __init__(self, status: int, error: str, reason: str, request: str = "") -> None:
        super().__init__(f"{request}: {status} {error}: {reason}" if request else reason)
        self.status = status
        self.error = error
        self.reason = reason


class BadRequest(CouchError):
    """400: the request is malformed, for example its seq."""


class Unauthorized(CouchError):
    """401: the login does not exist, or the request needs a login."""


class Forbidden(CouchError):
    """403: the login may not do this, or a validation function refused the document."""


class AccountLocked(Forbidden):
    """403: CouchDB refuses the login for some minutes, because of wrong passwords.

    The right password is refused as well. Whoever shares our address can cause it.

    Source
    ------
    https://docs.couchdb.org/en/stable/config/auth.html#chttpd_auth_lockout
    """


class NotFound(CouchError):
    """404: the document or the database does not exist, or was deleted."""


class NoDatabase(NotFound):
    """404: the database does not exist.

    It may be the wrong server, so this does not mean that a document is gone.
    """


class Conflict(CouchError):
    """409: the document has another revision."""


class FileExists(CouchError):
    """412: the database exists already."""


class Unavailable(CouchError):
    """No answer, 429, 5xx, or a busy server: a retry may succeed.

    This does not mean that a document is gone.
    """


class InvalidName(ValueError):
    """Raised when a text is not a name of a database, or not an id of a document."""


class Unreadable(CouchError):
    """A 2xx answer that cannot be read: nested too deeply, a number too long, or too large.

    A number that is not finite (1e400) is too large: it could not be written back.
    """


# CouchDB refuses our login. It is no matter of the database or the document.
LOGIN_REFUSED = (Unauthorized, AccountLocked)


def is_outage(exc: BaseException) -> bool:
    """Return whether CouchDB did not answer, or refused our login: no document is at fault."""
    is_silent = isinstance(exc, Unavailable) and exc.error in (_UNREACHABLE, _NOT_COUCHDB)
    return is_silent or isinstance(exc, LOGIN_REFUSED)


# The errors without an answer of CouchDB: no answer, and an answer of something before it.
_UNREACHABLE, _NOT_COUCHDB = "unreachable", "unknown"

_BY_STATUS: dict[int, type[CouchError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: FileExists,
    429: Unavailable,
}


def make_error(status: int, answer: object, request: str) -> CouchError:
    """Return the error for an answer of the server.

    Parameters
    ----------
    status : int
        The HTTP status.
    answer : object
        The answer's JSON: ``{error, reason}``, or any other value.
    request : str
        The method and the path, in a form that may be logged.
    """
    if not isinstance(answer, dict) or "error" not in answer:
        # The answer is not from CouchDB. A proxy's 404 does not mean that a document is gone.
        return Unavailable(status, _NOT_COUCHDB, "the answer is not CouchDB's", request)
    error = str(answer["error"])
    reason = str(answer.get("reason", "no reason given"))
    kind = _BY_STATUS.get(status, Unavailable if status >= 500 else CouchError)
    if error in _BUSY_ERRORS:
        kind = Unavailable
    elif kind is NotFound and reason in _NO_DATABASE:
        kind = NoDatabase
    elif kind is Forbidden and reason.startswith(LOCKED):
        kind = AccountLocked
    return kind(status, error, reason, request)


class Connection:
    """A pool of connections to one server. Several threads may use it.

    Parameters
    ----------
    url : str
        The server's URL, with credentials, if any. They are removed from the URL at once and appear
        in no error.
    adapter : requests.adapters.BaseAdapter, optional
        Sends the requests. The default is an adapter with a pool of connections.
    pause : callable
        Waits for some seconds, between attempts at a write that conflicts.
    """

    def __init__(
        self,
        url: str,
        adapter: BaseAdapter | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.pause = pause
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
        """Do the same as `request`, for an answer that must be a JSON object."""
        answer = self.request(method, path, **kwargs)
        if not isinstance(answer, dict):
            raise _bad_answer("a JSON object", method, path)
        return answer

    def request_list(self, method: str, path: str, **kwargs: Any) -> list[Any]:
        """Do the same as `request`, for an answer that must be a JSON list."""
        answer = self.request(method, path, **kwargs)
        if not isinstance(answer, list):
            raise _bad_answer("a JSON list", method, path)
        return answer

    def request_objects(self, method: str, path: str, **kwargs: Any) -> list[JsonDict]:
        """Do the same as `request`, for an answer that must be a list of JSON objects."""
        answer = self.request_list(method, path, **kwargs)
        if not all(isinstance(row, dict) for row in answer):
            raise _bad_answer("a list of JSON objects", method, path)
        return answer

    def request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        body: Any = None,
        read_timeout_s: float = READ_TIMEOUT_S,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Any:
        """Send one request.

        Parameters
        ----------
        path : str
            The percent-encoded path, from the server's root.
        body : object, optional
            Sent as JSON.
        read_timeout_s : float
            How long the server may send nothing, in seconds.
        max_bytes : int
            The largest answer that is read completely. A larger one uses no more memory than that.

        Returns
        -------
        object
            The JSON of a 2xx answer.

        Raises
        ------
        CouchError
            For any other answer. `Unavailable` if there was no answer, or none from CouchDB.
            `Unreadable` if the answer is too large or cannot be parsed.
        """
        request = _loggable(method, path)
        try:
            response = self._send(method, path, params, body, read_timeout_s)
            content = _content(response, max_bytes, request)
        except requests.RequestException as exc:
            raise _no_answer(exc, request) from None
        return _answer(response, content, request)

    def request_rows(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        body: Any = None,
        read_timeout_s: float = READ_TIMEOUT_S,
        max_size: float = math.inf,
        is_over: Callable[[], bool] = never,
    ) -> Rows:
        """Send a request whose answer is an object with one list of rows; read row by row.

        A row that cannot be read does not hide the others. At most `max_size` characters of rows
        are in memory, and one row more.

        Parameters
        ----------
        max_size, is_over
            When to stop before the end of the answer; see `read_rows`.

        Raises
        ------
        CouchError
            As `request`. `Unreadable` if the answer is not such an object.
        """
        request = _loggable(method, path)
        try:
            response = self._send(method, path, params, body, read_timeout_s)
            if not response.ok or response.is_redirect:
                _answer(response, _content(response, MAX_ANSWER_BYTES, request), request)
            return _read_rows(response, max_size, is_over, request)
        except requests.RequestException as exc:
            raise _no_answer(exc, request) from None

    def parts(
        self, method: str, path: str, *, params: dict[str, str] | None = None
    ) -> Iterator[bytes]:
        """Send one request and yield the answer's bytes in parts, so that it may have any size.

        Raises
        ------
        CouchError
            As `request`, also in the middle of the answer.
        """
        request = _loggable(method, path)
        try:
            response = self._send(method, path, params, None, READ_TIMEOUT_S)
            with response:
                if not response.ok or response.is_redirect:
                    _answer(response, _content(response, MAX_ANSWER_BYTES, request), request)
                yield from response.iter_content(_PART_BYTES)
        except requests.RequestException as exc:
            raise _no_answer(exc, request) from None

    def _send(
        self,
        method: str,
        path: str,
        params: dict[str, str] | None,
        body: Any,
        read_timeout_s: float,
    ) -> requests.Response:
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
        is_quick = method == "GET" and read_timeout_s <= READ_TIMEOUT_S
        return _retry_once(send) if is_quick else send()


def _bad_answer(expected: str, method: str, path: str) -> CouchError:
    return CouchError(200, "bad_answer", f"expected {expected}", _loggable(method, path))


def _loggable(method: str, path: str) -> str:
    return f"{method} {_UNLOGGED.sub('…', path)}"


def _no_answer(exc: requests.RequestException, request: str) -> Unavailable:
    # Raised without its cause: the text of that has the whole path, which may contain an address.
    return Unavailable(0, _UNREACHABLE, type(exc).__name__, request)


def _answer(response: requests.Response, content: bytearray, request: str) -> Any:
    """Return the JSON of a 2xx answer; raise the error of another one."""
    try:
        answer = json.loads(content, parse_float=finite, parse_constant=finite)
    except (ValueError, RecursionError) as exc:
        if response.ok:
            raise Unreadable(
                response.status_code, "unreadable", type(exc).__name__, request
            ) from None
        raise make_error(response.status_code, None, request) from None
    if not response.ok or response.is_redirect:
        raise make_error(response.status_code, answer, request)
    return answer


def _retry_once(send: Callable[[], requests.Response]) -> requests.Response:
    """Send a request, and send it again after a connection error, but not after a timeout.

    A load balancer closes idle connections while the Lambda is frozen. The Lambda notices that only
    when it uses a pooled connection again.
    """
    try:
        return send()
    except requests.Timeout:
        raise
    except requests.ConnectionError:
        return send()


def _content(response: requests.Response, max_bytes: int, request: str) -> bytearray:
    content = bytearray()
    for part in response.iter_content(_PART_BYTES):
        content += part
        if len(content) > max_bytes:
            response.close()  # not back to the pool: the server is still sending the rest
            raise Unreadable(
                response.status_code, "unreadable", f"more than {max_bytes:,} bytes", request
            )
    return content


def _read_rows(
    response: requests.Response,
    max_size: float,
    is_over: Callable[[], bool],
    request: str,
) -> Rows:
    is_read = False
    parts = response.iter_content(_PART_BYTES)
    try:
        rows = read_rows(parts, max_size=max_size, is_over=is_over)
        is_read = rows.is_whole
    except ValueError as exc:
        raise Unreadable(response.status_code, "unreadable", str(exc), request) from None
    finally:
        if not is_read:
            response.close()  # not back to the pool: the server is still sending the rest
    return rows


class ChangesPage(TypedDict):
    """A page of a changes feed.

    Attributes
    ----------
    results : list of dict
        The rows that can be read: ``{id, seq, changes, doc?, deleted?}``.
    bad : list of BadRow
        The rows that cannot be read.
    last_seq : str
        The seq after the page.
    is_last : bool
        Whether the feed had no more rows at the time of the request.
    """

    results: list[JsonDict]
    bad: list[BadRow]
    last_seq: str
    is_last: bool


class Database:
    """One database of a `Server`."""

    def __init__(self, http: Connection, name: str) -> None:
        if not _DATABASE_NAME.fullmatch(name):
            raise InvalidName(f"{name[:80]!r} is no name of a CouchDB database")
        self._http = http
        self.name = name
        self._path = f"/{quote(name, safe='')}"

    @property
    def url(self) -> str:
        """Return the database's URL, without credentials."""
        return self._http.url + self._path

    def request(self, method: str, path: str, **kwargs: Any) -> JsonDict:
        """Send any request below the database's path; see `Connection.request_object`."""
        return self._http.request_object(method, f"{self._path}/{path}", **kwargs)

    def create(self) -> bool:
        """Create the database with one shard, because there are many databases and they are small.

        Returns
        -------
        bool
            Whether it was created; False if it existed already.
        """
        try:
            self._http.request("PUT", self._path, params={"q": "1"})
        except FileExists:
            return False
        return True

    def delete(self) -> None:
        """Delete the database and all its documents, if it exists."""
        try:
            self._http.request("DELETE", self._path)
        except NotFound:
            return

    def info(self) -> JsonDict:
        """Return ``{db_name, update_seq, doc_count, …}``."""
        return self._http.request_object("GET", self._path)

    def get(self, doc_id: str, rev: str | None = None, *, conflicts: bool = False) -> JsonDict:
        """Read a document, in its winning revision or in the revision `rev`.

        Parameters
        ----------
        conflicts : bool
            Whether to return the ids of the conflicting leaf revisions, in ``_conflicts``.

        Raises
        ------
        NotFound
            If the document does not exist, or was deleted.
        """
        params = {"rev": rev} if rev else {"conflicts": "true"} if conflicts else None
        return self._http.request_object("GET", self._doc_path(doc_id), params=params)

    def find_one(self, doc_id: str, *, conflicts: bool = False) -> JsonDict | None:
        """Do the same as `get`, but return None if there is no such document.

        Raises
        ------
        NoDatabase
            If the database does not exist.
        """
        try:
            return self.get(doc_id, conflicts=conflicts)
        except NoDatabase:
            raise
        except NotFound:
            return None

    def find_all(self, doc_ids: Sequence[str]) -> dict[str, JsonDict | None]:
        """Read documents by their ids, in their winning revisions.

        Returns
        -------
        dict
            By id; None for a document that does not exist or was deleted. Empty if one of them
            cannot be read, or they are too large together: then each has to be read by itself.

        Source
        ------
        https://docs.couchdb.org/en/stable/api/database/bulk-api.html#post--db-_all_docs
        """
        keys, params = {"keys": list(doc_ids)}, {"include_docs": "true"}
        try:
            rows = self.request("POST", "_all_docs", params=params, body=keys)["rows"]
        except Unreadable:
            return {}
        return {row["key"]: row.get("doc") for row in rows}

    def stub(self, doc_id: str) -> JsonDict:
        """Return a document's ``_id`` and ``_rev`` alone, however large or unreadable it is.

        With them a document can be overwritten that nobody can read. HEAD would tell the revision
        too, but as an ETag, whose form differs between servers.

        Raises
        ------
        NotFound
            If the document does not exist, or was deleted.
        """
        row = self.request("POST", "_all_docs", body={"keys": [doc_id]})["rows"][0]
        value = row.get("value") or {}  # PouchDB has none where there is no such document
        if "rev" not in value or value.get("deleted"):
            raise NotFound(404, "not_found", "missing", f"POST {self._path}/_all_docs")
        return {"_id": doc_id, "_rev": value["rev"]}

    def attempts(self) -> Iterator[int]:
        """Yield the numbers of the attempts at a write that may conflict. Sends no request.

        There is a pause before each attempt but the first. It is longer each time, and random, so
        that two writers who conflicted do not meet again.
        """
        for number in range(MAX_ATTEMPTS):
            if number:
                longest_s = FIRST_PAUSE_S * 2 ** (number - 1)
                self._http.pause(random.uniform(0, longest_s))  # noqa: S311 - no secret
            yield number

    def leaf(self, doc_id: str, rev: str) -> JsonDict:
        """Read a leaf revision. Of one that cannot be read, return ``_id`` and ``_rev`` alone."""
        try:
            return self.get(doc_id, rev)
        except Unreadable:
            return {"_id": doc_id, "_rev": rev}

    def revision_parts(self, doc_id: str, rev: str) -> Iterator[bytes]:
        """Yield the JSON of a revision in parts, with its history and its attachments.

        It is in the form that `put_revision` writes. It may be too large, or nested too deeply, to
        be parsed.

        Raises
        ------
        NotFound
            If the database does not have the revision.
        InvalidName
            If the id cannot be in a path.
        """
        params = {"rev": rev, "revs": "true", "attachments": "true"}
        return self._http.parts("GET", self._doc_path(doc_id), params=params)

    def leaves(self, doc_id: str, *, max_bytes: int = MAX_ANSWER_BYTES) -> list[JsonDict]:
        """Return all leaf revisions of a document: the winner, conflicting and deleted ones.

        Each has its history in ``_revisions``.

        Parameters
        ----------
        max_bytes : int
            The largest answer that is read.

        Raises
        ------
        NotFound
            If the database has never had such a document.
        Unreadable
            If the revisions are larger together, or cannot be parsed.

        Source
        ------
        https://docs.couchdb.org/en/stable/api/document/common.html#get--db-docid
        """
        params = {"open_revs": "all", "revs": "true"}
        path = self._doc_path(doc_id)
        rows = self._http.request_objects("GET", path, params=params, max_bytes=max_bytes)
        return [row["ok"] for row in rows if isinstance(row.get("ok"), dict)]

    def put(self, doc: JsonDict) -> str:
        """Write a document under its ``_id``, over the revision in its ``_rev``.

        Returns
        -------
        str
            The new revision.

        Raises
        ------
        Conflict
            If the document has another revision now, or exists and `doc` has no ``_rev``.
        """
        answer = self._http.request_object("PUT", self._doc_path(doc["_id"]), body=doc)
        return str(answer["rev"])

    def update(
        self,
        doc_id: str,
        change: Callable[[JsonDict], JsonDict],
        default: JsonDict | None = None,
        known: JsonDict | None = None,
        *,
        is_likely_new: bool = False,
        overwrites_unreadable: bool = False,
    ) -> JsonDict:
        """Read a document, change it and write it; start over if others write it at the same time.

        Two requests, one if nothing changes, more after a conflict. There is no first read if the
        document is `known` or likely to be new. There is a pause before each new start.

        Parameters
        ----------
        change : callable
            Takes the document and returns the changed one, or an equal one to change nothing.
        default : dict, optional
            Passed to `change` if there is no such document.
        known : dict, optional
            The document as the caller has just read it. If others have written it since, the write
            conflicts. Then the document is read and changed again.
        is_likely_new : bool
            Whether the document is missing in most calls. Then `default` is written first, and the
            document is read only after a conflict.
        overwrites_unreadable : bool
            Whether `change` gets an unreadable document as a `stub`, to overwrite it. Set it for
            documents that others may write, and that the cloud can write again. One request more.

        Returns
        -------
        dict
            The current document; `known` itself if nothing changes.

        Raises
        ------
        NotFound
            If the document does not exist, and there is no default.
        Conflict
            If others wrote the document at every attempt.
        Unreadable
            If it cannot be read, unless it is to be overwritten.
        """
        doc = default if is_likely_new else known
        for _ in self.attempts():
            if doc is None:
                doc = self._current(doc_id, default, overwrites_unreadable)
            changed = change(doc)
            if changed == doc:
                return doc
            try:
                return {**changed, "_rev": self.put(changed)}
            except Conflict:
                doc = None
        path = _UNLOGGED.sub("…", self._doc_path(doc_id))
        raise Conflict(409, "conflict", "the document changed at each try", f"PUT {path}")

    def _current(self, doc_id: str, default: JsonDict | None, overwrites: bool) -> JsonDict:
        try:
            return self.get(doc_id) if default is None else self.find_one(doc_id) or default
        except Unreadable:
            if not overwrites:
                raise
            return self.stub(doc_id)

    def remove(self, doc: JsonDict) -> None:
        """Delete a document, in the revision in its ``_rev``."""
        self._http.request_object("DELETE", self._doc_path(doc["_id"]), params={"rev": doc["_rev"]})

    def remove_leaves(self, doc: JsonDict) -> None:
        """Delete a document in all its leaf revisions, in one request.

        Otherwise the next of them would take the place of the one that was deleted.

        Parameters
        ----------
        doc : dict
            The document as `find_one` returns it with `conflicts`.

        Raises
        ------
        Conflict
            If others have written one of the leaf revisions since. The others are deleted.
        """
        revs = [doc["_rev"], *doc.get("_conflicts", [])]
        docs = [{"_id": doc["_id"], "_rev": rev, "_deleted": True} for rev in revs]
        path = f"{self._path}/_bulk_docs"
        for row in self._http.request_objects("POST", path, body={"docs": docs}):
            if "error" in row:
                status = 409 if row["error"] == "conflict" else 500
                raise make_error(status, row, f"POST {path}")

    def put_revision(self, doc: JsonDict) -> JsonDict | None:
        """Write a revision as a replicator does: as it is, with its history in ``_revisions``.

        Returns
        -------
        dict or None
            ``{id, error, reason}`` if a validation function refused it.

        Source
        ------
        https://docs.couchdb.org/en/stable/api/database/bulk-api.html (``new_edits``)
        """
        body, path = {"docs": [doc], "new_edits": False}, f"{self._path}/_bulk_docs"
        rows = self._http.request_objects("POST", path, body=body, max_bytes=_MAX_ROW_BYTES)
        return next((row for row in rows if "error" in row), None)

    def security(self) -> JsonDict:
        """Return the database's security object."""
        return self.request("GET", "_security")

    def put_security(self, security: JsonDict) -> None:
        """Replace the whole security object. It has no revision, so there are no conflicts."""
        self._http.request("PUT", f"{self._path}/_security", body=security)

    def changes(
        self,
        since: str,
        *,
        limit: int,
        wait_s: float = 0,
        include_docs: bool = True,
        is_over: Callable[[], bool] = never,
    ) -> ChangesPage:
        """Return a page of the changes feed, with the documents.

        A page ends after `limit` rows, or earlier: after `MAX_PAGE_SIZE` characters of rows that
        can be read, or when the time is over. It has at least one row, if there is one.

        Parameters
        ----------
        since : str
            The ``last_seq`` of an earlier page, unchanged; "0" for the beginning. It is opaque.
        limit : int
            The largest number of rows.
        wait_s : float
            How many seconds to wait for a change if there is none yet (``feed=longpoll``); 0 for no
            wait.
        is_over : callable
            Whether the time is over.

        Raises
        ------
        BadRequest
            If CouchDB does not understand `since`.
        Unreadable
            If the answer as a whole is not a page of changes.

        Source
        ------
        https://docs.couchdb.org/en/stable/api/database/changes.html
        """
        params = {"since": since, "limit": str(limit), "include_docs": str(include_docs).lower()}
        if wait_s >= 0.001:
            params |= {"feed": "longpoll", "timeout": str(int(wait_s * 1000))}
        rows = self._http.request_rows(
            "GET",
            f"{self._path}/_changes",
            params=params,
            read_timeout_s=max(wait_s, 0) + READ_TIMEOUT_S,
            max_size=MAX_PAGE_SIZE,
            is_over=is_over,
        )
        if rows.is_whole and "last_seq" not in rows.rest:
            raise CouchError(200, "bad_answer", f"{self.url} does not answer as a CouchDB")
        count = len(rows.good) + len(rows.bad)
        return {
            "results": rows.good,
            "bad": rows.bad,
            "last_seq": str(rows.rest["last_seq"]) if rows.is_whole else rows.last_seq,
            "is_last": rows.is_whole and count < limit,
        }

    def pages(self, limit: int = _PAGE_ROWS) -> Iterator[ChangesPage]:
        """Yield all changes, in pages of at most `limit` rows. One request for each page."""
        since, is_last = "0", False
        while not is_last:
            page = self.changes(since, limit=limit)
            since, is_last = page["last_seq"], page["is_last"]
            yield page

    def documents(self) -> Iterator[JsonDict]:
        """Yield all documents that can be read. As many requests as `pages`."""
        for page in self.pages():
            yield from (row["doc"] for row in page["results"] if not row.get("deleted"))

    def between(self, first: str, last: str, *, limit: int) -> Rows:
        """Return the documents whose ids are from `first` to `last`, in the order of their ids.

        Returns
        -------
        Rows
            The rows that can be read, with ``{id, doc}``, and those that cannot.

        Source
        ------
        https://docs.couchdb.org/en/stable/api/database/bulk-api.html#db-all-docs
        """
        params = {
            "include_docs": "true",
            "start_key": json.dumps(first),
            "end_key": json.dumps(last),
            "limit": str(limit),
        }
        return self._http.request_rows("GET", f"{self._path}/_all_docs", params=params)

    def create_index(self, name: str, fields: Sequence[str]) -> None:
        """Create an index for `find`, if it is missing, of the documents that have all `fields`."""
        body = {"index": {"fields": list(fields)}, "ddoc": name, "name": name, "type": "json"}
        self._http.request("POST", f"{self._path}/_index", body=body)

    def find(self, selector: JsonDict, *, index: str, limit: int, skip: int = 0) -> Rows:
        """Return at most `limit` documents by an index from `create_index`, in the index's order.

        The rows are the documents.

        Parameters
        ----------
        selector : dict
            A Mango selector on the index's fields, in the order of the index.
        skip : int
            How many documents to skip at the beginning.

        Source
        ------
        https://docs.couchdb.org/en/stable/api/database/find.html
        """
        body = {"selector": selector, "use_index": [index, index], "limit": limit, "skip": skip}
        return self._http.request_rows("POST", f"{self._path}/_find", body=body)

    def find_fields(self, doc_id: str, fields: Sequence[str]) -> JsonDict | None:
        """Return some fields of a document, however unreadable the others are; None if it is gone.

        It asks for no index, because CouchDB has one of the ids.
        """
        body = {"selector": {"_id": doc_id}, "fields": list(fields), "limit": 1}
        docs: list[JsonDict] = self.request("POST", "_find", body=body)["docs"]
        return docs[0] if docs else None

    def _doc_path(self, doc_id: str) -> str:
        prefix, slash, rest = doc_id.partition("/")
        is_special = slash and prefix in ("_design", "_local")
        folder, name = (f"{prefix}/", rest) if is_special else ("", doc_id)
        # An HTTP client would change these paths into those of the database, or of the server.
        if name in ("", ".", "..") or (name.startswith("_") and not folder):
            raise InvalidName(f"{doc_id[:80]!r} is no id of a document")
        try:
            path = f"{self._path}/{folder}{quote(name, safe='')}"
        except UnicodeEncodeError:  # half of a surrogate pair cannot be in a URL
            raise InvalidName(f"{doc_id[:80]!a} is no id of a document") from None
        if len(path) > MAX_DOC_PATH_LENGTH:
            raise InvalidName(f"{doc_id[:80]!r} is too long for an id of a document")
        return path


class Server:
    """A CouchDB server. It keeps its connections open, and several threads may use it.

    Parameters
    ----------
    url : str
        The server's URL, with credentials, if any: ``https://admin:password@couch.example.com``.
        They are removed from the URL at once and appear in no error.
    adapter : requests.adapters.BaseAdapter, optional
        Sends the requests. The default is an adapter with a pool of connections.
    pause : callable
        Waits for some seconds, between attempts at a write that conflicts.
    """

    def __init__(
        self,
        url: str,
        adapter: BaseAdapter | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.http = Connection(url, adapter, pause)
        self.url = self.http.url

    def close(self) -> None:
        """Close the pooled connections. Sends no request."""
        self.http.close()

    def info(self) -> JsonDict:
        """Return the welcome document: ``{couchdb, version, …}``, or ``{"express-pouchdb", …}``."""
        return self.http.request_object("GET", "/")

    def session(self) -> JsonDict:
        """Return the session of our login: ``{userCtx: {name, roles}, …}``.

        Raises
        ------
        Unauthorized
            If the credentials are wrong.
        """
        return self.http.request_object("GET", "/_session")

    def database(self, name: str) -> Database:
        """Return the database `name`, whether it exists or not. Sends no request.

        Raises
        ------
        InvalidName
            If CouchDB would not accept the name for a database.
        """
        return Database(self.http, name)

    def all_dbs(self, start_key: str, end_key: str, limit: int) -> list[str]:
        """Return the names of up to `limit` databases from `start_key` to `end_key`, in order."""
        params = {
            "start_key": json.dumps(start_key),
            "end_key": json.dumps(end_key),
            "limit": str(limit),
        }
        names = self.http.request_list("GET", "/_all_dbs", params=params, max_bytes=MAX_NAMES_BYTES)
        # express-pouchdb ignores the parameters and returns all names.
        return sorted(name for name in names if start_key <= name <= end_key)[:limit]

    def dbs_info(self, names: Sequence[str]) -> list[JsonDict]:
        """Return the information that `Database.info` returns, for up to 100 databases.

        Returns
        -------
        list of dict
            ``{key, info: {db_name, update_seq, …}}``, or ``{key, error}``. The error ``not_found``
            means that a database is missing or that it fails.

        Raises
        ------
        CouchError
            If the server does not have this request; it came with CouchDB 2.2.

        Source
        ------
        https://docs.couchdb.org/en/stable/api/server/common.html#dbs-info
        """
        return self.http.request_objects("POST", "/_dbs_info", body={"keys": list(names)})

    def db_updates(self, since: str, *, limit: int, wait_s: float = 0) -> JsonDict:
        """Return a page of the feed of databases that were created, updated or deleted.

        Parameters
        ----------
        since : str
            The ``last_seq`` of an earlier page, unchanged; "0" is the beginning, "now" the end.
        limit : int
            The largest number of rows; some servers ignore it.
        wait_s : float
            How many seconds to wait for a row if there is none yet; 0 for no wait.

        Returns
        -------
        dict
            ``{results: [{db_name, type, seq}], last_seq}``.

        Raises
        ------
        NotFound
            If CouchDB does not keep this feed. It needs the database ``_global_changes``.
        CouchError
            If the server has no such feed, or does not understand `since`.

        Source
        ------
        https://docs.couchdb.org/en/stable/api/server/common.html#db-updates
        """
        # CouchDB 1.x always waits: for a minute, unless the request has a timeout.
        params = {"since": since, "limit": str(limit), "timeout": "1000"}
        if wait_s >= 0.001:
            params |= {"feed": "longpoll", "timeout": str(int(wait_s * 1000))}
        limit_s = max(wait_s, 0) + READ_TIMEOUT_S
        return self.http.request_object(
            "GET",
            "/_db_updates",
            params=params,
            read_timeout_s=limit_s,
            max_bytes=MAX_NAMES_BYTES,
        )

    def config_get(self, section: str, key: str) -> str | None:
        """Return a value of the server's configuration, None if it is not set. Two requests."""
        try:
            value: str = self.http.request("GET", f"{self._config_path()}/{_quoted(section, key)}")
        except NotFound:
            return None
        return value

    def config_section(self, section: str) -> JsonDict:
        """Return all values of a section of the server's configuration. Two requests."""
        return self.http.request_object("GET", f"{self._config_path()}/{_quoted(section)}")

    def config_set(self, section: str, key: str, value: str) -> None:
        """Set a value of the server's configuration. Two requests."""
        self.http.request("PUT", f"{self._config_path()}/{_quoted(section, key)}", body=value)

    def config_delete(self, section: str, key: str) -> None:
        """Delete a value of the server's configuration, if it is set. Two requests."""
        try:
            self.http.request("DELETE", f"{self._config_path()}/{_quoted(section, key)}")
        except NotFound:
            return

    def _config_path(self) -> str:
        # CouchDB 2 and later have a configuration for each node; 1.x and express-pouchdb do not.
        version = self.info()
        by_node = "couchdb" in version and not str(version.get("version", "")).startswith("1.")
        return "/_node/_local/_config" if by_node else "/_config"


def _quoted(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)
