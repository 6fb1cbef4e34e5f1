"""CouchDB over `requests`: a server, its databases, and the errors they answer with.

Every public method sends one request, unless it says otherwise, and every request has a time limit.

    CouchError
    ├── BadRequest        400, a malformed seq among them
    ├── Unauthorized      401
    ├── Forbidden         403, a validation function's refusal among them
    ├── NotFound          404, a document
    │   └── NoDatabase    404, a database
    ├── Conflict          409
    ├── FileExists        412
    ├── Unavailable       no answer, 429, 5xx, or too busy: it may pass
    └── Unreadable        a good answer that cannot be parsed, or is too large
    InvalidName           (a ValueError) no name of a database, no id of a document
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import HTTPBasicAuth

from chalicelib.domain.documents import JsonDict

CONNECT_TIMEOUT_S = 3.05
READ_TIMEOUT_S = 10.0
POOL_CONNECTIONS = 16
_PART_BYTES = 65_536

# Addresses and keys in paths stay out of errors, and so out of logs.
_UNLOGGED = re.compile(r"(?<=org\.couchdb\.user%3A)[^/?]+|(?<=_config/)oauth[^?]+")


UPDATE_ATTEMPTS = 5

# CouchDB answers a request line of more than 8,192 bytes with a bare 400.
MAX_DOC_PATH_LENGTH = 8_000

_DATABASE_NAME = re.compile(r"_users|_replicator|_global_changes|[a-z][a-z0-9_$()+/-]{0,237}")


# In the words of CouchDB 3, and of CouchDB 1 and the embedded server.
_NO_DATABASE = {"Database does not exist.", "no_db_file"}
# What CouchDB says when it is too busy to look, with whatever status.
_BUSY_ERRORS = {"all_dbs_active", "timeout", "service_unavailable"}


class CouchError(Exception):
    """CouchDB refused, failed, or did not answer.

    Attributes
    ----------
    status : int
        The HTTP status; 0 if no answer came.
    error, reason : str
        CouchDB's own two fields, ``unreachable`` and why if no answer came.
    """

    def __init__(self, status: int, error: str, reason: str, request: str = "") -> None:
        super().__init__(f"{request}: {status} {error}: {reason}" if request else reason)
        self.status = status
        self.error = error
        self.reason = reason


class BadRequest(CouchError):
    """400: a malformed request, a malformed seq among them."""


class Unauthorized(CouchError):
    """401: no such login, or no rights without one."""


class Forbidden(CouchError):
    """403: the login has no right to this, or a validation function refused it."""


class NotFound(CouchError):
    """404: no such document or database, or it was deleted."""


class NoDatabase(NotFound):
    """404: no such database. It may be the wrong server, and says nothing of a document."""


class Conflict(CouchError):
    """409: the document has another revision by now."""


class FileExists(CouchError):
    """412: the database exists already."""


class Unavailable(CouchError):
    """No answer, 429, a 5xx, or a busy server: it may pass, and says nothing of the document."""


class InvalidName(ValueError):
    """What was given is no name of a database, or no id of a document."""


class Unreadable(CouchError):
    """A good answer that cannot be read: nested too deeply, too many digits, or bytes, in it."""


_BY_STATUS: dict[int, type[CouchError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: FileExists,
    429: Unavailable,
}


def error_of(status: int, answer: object, request: str) -> CouchError:
    """The error that an answer stands for.

    Parameters
    ----------
    status : int
        The HTTP status.
    answer : object
        The answer's JSON: ``{error, reason}``, or whatever else came.
    request : str
        The method and path, as they may appear in a log.
    """
    if not isinstance(answer, dict) or "error" not in answer:
        # Whoever says so is not CouchDB: a proxy's 404 does not mean that a document is gone.
        return Unavailable(status, "unknown", "the answer is not CouchDB's", request)
    error = str(answer["error"])
    reason = str(answer.get("reason", "no reason given"))
    kind = _BY_STATUS.get(status, Unavailable if status >= 500 else CouchError)
    if error in _BUSY_ERRORS:
        kind = Unavailable
    elif kind is NotFound and reason in _NO_DATABASE:
        kind = NoDatabase
    return kind(status, error, reason, request)


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
        max_bytes: int | None = None,
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
        max_bytes : int, optional
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
            content = _content(response, max_bytes, request)
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


def _content(response: requests.Response, max_bytes: int | None, request: str) -> bytearray:
    content = bytearray()
    for part in response.iter_content(_PART_BYTES):
        content += part
        if max_bytes is not None and len(content) > max_bytes:
            response.close()  # not back to the pool: the rest is still on its way
            raise Unreadable(
                response.status_code, "unreadable", f"more than {max_bytes:,} bytes", request
            )
    return content


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
        """The database's URL, without credentials."""
        return self._http.url + self._path

    def request(self, method: str, path: str, **kwargs: Any) -> JsonDict:
        """Any request below the database's path; as `Connection.request_object`."""
        return self._http.request_object(method, f"{self._path}/{path}", **kwargs)

    def create(self) -> bool:
        """Create the database with one shard (there are many databases, and they are small).

        Returns
        -------
        bool
            Whether it was created; False if it was there already.
        """
        try:
            self._http.request("PUT", self._path, params={"q": "1"})
        except FileExists:
            return False
        return True

    def delete(self) -> None:
        """Delete the database with all it holds, if it exists."""
        try:
            self._http.request("DELETE", self._path)
        except NotFound:
            return

    def info(self) -> JsonDict:
        """``{db_name, update_seq, doc_count, …}``."""
        return self._http.request_object("GET", self._path)

    def get(self, doc_id: str, rev: str | None = None, *, conflicts: bool = False) -> JsonDict:
        """The document, in its winning revision or the one asked for.

        Parameters
        ----------
        conflicts : bool
            Whether to name the revisions that lost against it, in ``_conflicts``.

        Raises
        ------
        NotFound
            If it does not exist, or was deleted.
        """
        params = {"rev": rev} if rev else {"conflicts": "true"} if conflicts else None
        return self._http.request_object("GET", self._doc_path(doc_id), params=params)

    def find_one(self, doc_id: str, *, conflicts: bool = False) -> JsonDict | None:
        """As `get`, but None if there is no such document (and `NoDatabase` if no database)."""
        try:
            return self.get(doc_id, conflicts=conflicts)
        except NoDatabase:
            raise
        except NotFound:
            return None

    def put(self, doc: JsonDict) -> str:
        """Write the document under its ``_id``, over the revision in its ``_rev``.

        Returns
        -------
        str
            The new revision.

        Raises
        ------
        Conflict
            If the document has another revision by now, or exists and `doc` has no ``_rev``.
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
    ) -> JsonDict:
        """Read a document, change it and write it; again if others write it at the same time.

        Two requests, one if nothing changes; more if others write it too. The first is spared
        where the document is `known`, or likely to be new.

        Parameters
        ----------
        change : callable
            Given the document, returns it as it should be; the same one where it may stay.
        default : dict, optional
            What `change` is given if there is no such document.
        known : dict, optional
            The document as it was just read. Should it be another by now, its revision tells: it
            is read, and changed anew.
        is_likely_new : bool
            Whether most calls find no such document: then `default` is tried first, and the
            document is read only if it is there.

        Returns
        -------
        dict
            The document as it is now; `known` itself, if nothing changes.

        Raises
        ------
        NotFound
            If it does not exist, and there is no default.
        Conflict
            If others wrote it each time.
        """
        doc = default if is_likely_new else known
        for _ in range(UPDATE_ATTEMPTS):
            if doc is None:
                doc = self.get(doc_id) if default is None else self.find_one(doc_id) or default
            changed = change(doc)
            if changed == doc:
                return doc
            try:
                return {**changed, "_rev": self.put(changed)}
            except Conflict:
                doc = None
        raise Conflict(409, "conflict", f"{self.name}: a document changed at each try")

    def remove(self, doc: JsonDict) -> None:
        """Delete the document, in the revision in its ``_rev``."""
        self._http.request_object("DELETE", self._doc_path(doc["_id"]), params={"rev": doc["_rev"]})

    def security(self) -> JsonDict:
        """The database's security object."""
        return self.request("GET", "_security")

    def put_security(self, security: JsonDict) -> None:
        """Replace the security object whole: it has no revision, and so no conflicts."""
        self._http.request("PUT", f"{self._path}/_security", body=security)

    def changes(
        self,
        since: str,
        *,
        limit: int,
        wait_s: float = 0,
        include_docs: bool = True,
        max_bytes: int | None = None,
    ) -> JsonDict:
        """A page of the changes feed, with the documents.

        Parameters
        ----------
        since : str
            A ``last_seq`` of an earlier page, as it came; "0" for the beginning. Opaque.
        limit : int
            The largest number of rows.
        wait_s : float
            How long to wait for a change if there is none yet (``feed=longpoll``); 0 is not at all.
        max_bytes : int, optional
            The largest page that is read.

        Returns
        -------
        dict
            ``{results: [{id, seq, doc?, deleted?}], last_seq}``.

        Raises
        ------
        BadRequest
            If CouchDB does not know what to make of `since`.
        Unreadable
            If a document of the page cannot be read, or the page is too large.

        Source
        ------
        https://docs.couchdb.org/en/stable/api/database/changes.html
        """
        params = {"since": since, "limit": str(limit), "include_docs": str(include_docs).lower()}
        if wait_s >= 0.001:
            params |= {"feed": "longpoll", "timeout": str(int(wait_s * 1000))}
        limit_s = max(wait_s, 0) + READ_TIMEOUT_S
        return self.request(
            "GET", "_changes", params=params, read_timeout_s=limit_s, max_bytes=max_bytes
        )

    def create_index(self, name: str, fields: Sequence[str]) -> None:
        """Make an index for `find`, if it is not there yet, of documents that have all `fields`."""
        body = {"index": {"fields": list(fields)}, "ddoc": name, "name": name, "type": "json"}
        self._http.request("POST", f"{self._path}/_index", body=body)

    def find(self, selector: JsonDict, *, index: str, limit: int, skip: int = 0) -> list[JsonDict]:
        """Documents by an index that `create_index` made, in its order, at most `limit` of them.

        Parameters
        ----------
        selector : dict
            In Mango's words, about the index's fields in their order.
        skip : int
            How many to leave out at the beginning.

        Source
        ------
        https://docs.couchdb.org/en/stable/api/database/find.html
        """
        body = {"selector": selector, "use_index": [index, index], "limit": limit, "skip": skip}
        docs: list[JsonDict] = self.request("POST", "_find", body=body)["docs"]
        return docs

    def _doc_path(self, doc_id: str) -> str:
        prefix, slash, rest = doc_id.partition("/")
        is_special = slash and prefix in ("_design", "_local")
        folder, name = (f"{prefix}/", rest) if is_special else ("", doc_id)
        # An HTTP client would take these for the database itself, or for what is above it.
        if name in ("", ".", "..") or (name.startswith("_") and not folder):
            raise InvalidName(f"{doc_id[:80]!r} is no id of a document")
        try:
            path = f"{self._path}/{folder}{quote(name, safe='')}"
        except UnicodeEncodeError:  # half a character has no place in a URL
            raise InvalidName(f"{doc_id[:80]!a} is no id of a document") from None
        if len(path) > MAX_DOC_PATH_LENGTH:
            raise InvalidName(f"{doc_id[:80]!r} is too long for an id of a document")
        return path


class Server:
    """A CouchDB server; keeps its connections open, and may be used by several threads.

    Parameters
    ----------
    url : str
        With credentials, if any: ``https://admin:password@couch.example.com``. They are taken out
        of the URL at once and appear in no error.
    adapter : requests.adapters.BaseAdapter, optional
        What requests go through, if not a pool of connections of its own.
    """

    def __init__(self, url: str, adapter: BaseAdapter | None = None) -> None:
        self.http = Connection(url, adapter)
        self.url = self.http.url

    def close(self) -> None:
        """Close the pooled connections. Sends no request."""
        self.http.close()

    def info(self) -> JsonDict:
        """The welcome document: ``{couchdb, version, …}``, or ``{"express-pouchdb", …}``."""
        return self.http.request_object("GET", "/")

    def session(self) -> JsonDict:
        """Who we are to the server: ``{userCtx: {name, roles}, …}``.

        Raises
        ------
        Unauthorized
            If the credentials are wrong.
        """
        return self.http.request_object("GET", "/_session")

    def database(self, name: str) -> Database:
        """The database `name`, whether it exists or not. Sends no request.

        Raises
        ------
        InvalidName
            If CouchDB would not take it as the name of a database.
        """
        return Database(self.http, name)

    def all_dbs(self, start_key: str, end_key: str, limit: int) -> list[str]:
        """The names of up to `limit` databases from `start_key` to `end_key`, in order."""
        params = {
            "start_key": json.dumps(start_key),
            "end_key": json.dumps(end_key),
            "limit": str(limit),
        }
        names = self._request_list("GET", "/_all_dbs", params=params)
        # express-pouchdb gives all the names that it has, whatever it was asked.
        return sorted(name for name in names if start_key <= name <= end_key)[:limit]

    def dbs_info(self, names: Sequence[str]) -> list[JsonDict]:
        """What `Database.info` says of each of up to 100 databases.

        Returns
        -------
        list of dict
            ``{key, info: {db_name, update_seq, …}}``, or ``{key, error}``: ``not_found`` for one
            that is missing, and for one that fails.

        Raises
        ------
        CouchError
            If the server has nothing of the kind: CouchDB 2.2 was the first.

        Source
        ------
        https://docs.couchdb.org/en/stable/api/server/common.html#dbs-info
        """
        rows: list[JsonDict] = self._request_list("POST", "/_dbs_info", body={"keys": list(names)})
        return rows

    def db_updates(self, since: str, *, limit: int, wait_s: float = 0) -> JsonDict:
        """A page of the feed of databases that were created, updated or deleted.

        Parameters
        ----------
        since : str
            A ``last_seq`` of an earlier page, as it came; "0" for the beginning, "now" for the end.
        limit : int
            The largest number of rows; not every server heeds it.
        wait_s : float
            How long to wait for a row if there is none yet; 0 is not at all.

        Returns
        -------
        dict
            ``{results: [{db_name, type, seq}], last_seq}``.

        Raises
        ------
        NotFound
            If CouchDB keeps no such feed: it does while the database ``_global_changes`` exists.
        CouchError
            If the server has no such feed, or does not know what to make of `since`.

        Source
        ------
        https://docs.couchdb.org/en/stable/api/server/common.html#db-updates
        """
        # CouchDB 1.x always waits: for a minute if it is not told how long.
        params = {"since": since, "limit": str(limit), "timeout": "1000"}
        if wait_s >= 0.001:
            params |= {"feed": "longpoll", "timeout": str(int(wait_s * 1000))}
        limit_s = max(wait_s, 0) + READ_TIMEOUT_S
        return self.http.request_object(
            "GET", "/_db_updates", params=params, read_timeout_s=limit_s
        )

    def config_get(self, section: str, key: str) -> str | None:
        """A value of the server's configuration, None if it is not set. Two requests."""
        try:
            value: str = self.http.request("GET", f"{self._config_path()}/{_quoted(section, key)}")
        except NotFound:
            return None
        return value

    def config_set(self, section: str, key: str, value: str) -> None:
        """Set a value of the server's configuration. Two requests."""
        self.http.request("PUT", f"{self._config_path()}/{_quoted(section, key)}", body=value)

    def config_delete(self, section: str, key: str) -> None:
        """Remove a value of the server's configuration, if it is set. Two requests."""
        try:
            self.http.request("DELETE", f"{self._config_path()}/{_quoted(section, key)}")
        except NotFound:
            return

    def _request_list(self, method: str, path: str, **kwargs: Any) -> list[Any]:
        answer = self.http.request(method, path, **kwargs)
        if not isinstance(answer, list):
            raise CouchError(200, "bad_answer", "expected a JSON list", f"{method} {path}")
        return answer

    def _config_path(self) -> str:
        # CouchDB 2 and later keep the configuration by node; 1.x and express-pouchdb do not.
        version = self.info()
        by_node = "couchdb" in version and not str(version.get("version", "")).startswith("1.")
        return "/_node/_local/_config" if by_node else "/_config"


def _quoted(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)
