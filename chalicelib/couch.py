"""CouchDB over `requests`: a server, its databases, and the errors they answer with.

Every public method sends one request, unless it says otherwise, and every request has a time limit.
"""

import re
from typing import Any
from urllib.parse import quote

from chalicelib.couch_errors import (
    BadRequest,
    Conflict,
    CouchError,
    FileExists,
    Forbidden,
    InvalidName,
    NotFound,
    Unauthorized,
    Unavailable,
    Unreadable,
)
from chalicelib.couch_http import READ_TIMEOUT_S, Connection

__all__ = [
    "BadRequest",
    "Conflict",
    "CouchError",
    "Database",
    "FileExists",
    "Forbidden",
    "InvalidName",
    "JsonDict",
    "NotFound",
    "Server",
    "Unauthorized",
    "Unavailable",
    "Unreadable",
]

JsonDict = dict[str, Any]

_DATABASE_NAME = re.compile(r"_users|_replicator|_global_changes|[a-z][a-z0-9_$()+/-]{0,237}")


class Server:
    """A CouchDB server; keeps its connections open, and may be used by several threads.

    Parameters
    ----------
    url : str
        With credentials, if any: ``https://admin:password@couch.example.com``. They are taken out
        of the URL at once and appear in no error.
    """

    def __init__(self, url: str) -> None:
        self.http = Connection(url)
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

    def database(self, name: str) -> "Database":
        """The database `name`, whether it exists or not. Sends no request.

        Raises
        ------
        InvalidName
            If CouchDB would not take it as the name of a database.
        """
        return Database(self, name)

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

    def _config_path(self) -> str:
        # CouchDB 2 and later keep the configuration by node; 1.x and express-pouchdb do not.
        version = self.info()
        by_node = "couchdb" in version and not str(version.get("version", "")).startswith("1.")
        return "/_node/_local/_config" if by_node else "/_config"


class Database:
    """One database of a `Server`."""

    def __init__(self, server: Server, name: str) -> None:
        if not _DATABASE_NAME.fullmatch(name):
            raise InvalidName(f"{name[:80]!r} is no name of a CouchDB database")
        self.server = server
        self._http = server.http
        self.name = name
        self._path = f"/{quote(name, safe='')}"

    @property
    def url(self) -> str:
        """The database's URL, without credentials."""
        return self.server.url + self._path

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

    def get(self, doc_id: str) -> JsonDict:
        """The document, in its winning revision.

        Raises
        ------
        NotFound
            If it does not exist, or was deleted.
        """
        return self._http.request_object("GET", self._doc_path(doc_id))

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

    def remove(self, doc: JsonDict) -> None:
        """Delete the document, in the revision in its ``_rev``."""
        self._http.request_object("DELETE", self._doc_path(doc["_id"]), params={"rev": doc["_rev"]})

    def security(self) -> JsonDict:
        """The database's security object."""
        return self._http.request_object("GET", f"{self._path}/_security")

    def put_security(self, security: JsonDict) -> None:
        """Replace the security object whole: it has no revision, and so no conflicts."""
        self._http.request("PUT", f"{self._path}/_security", body=security)

    def changes(
        self, since: str, *, limit: int, wait_s: float = 0, include_docs: bool = True
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

        Returns
        -------
        dict
            ``{results: [{id, seq, doc?, deleted?}], last_seq}``.

        Raises
        ------
        BadRequest
            If CouchDB does not know what to make of `since`.
        Unreadable
            If a document of the page cannot be read.

        Source
        ------
        https://docs.couchdb.org/en/stable/api/database/changes.html
        """
        params = {"since": since, "limit": str(limit), "include_docs": str(include_docs).lower()}
        if wait_s >= 0.001:
            params |= {"feed": "longpoll", "timeout": str(int(wait_s * 1000))}
        path = f"{self._path}/_changes"
        limit_s = max(wait_s, 0) + READ_TIMEOUT_S
        return self._http.request_object("GET", path, params=params, read_timeout_s=limit_s)

    def _doc_path(self, doc_id: str) -> str:
        prefix, slash, rest = doc_id.partition("/")
        if slash and prefix in ("_design", "_local"):
            return f"{self._path}/{prefix}/{quote(rest, safe='')}"
        # An HTTP client would take these for the database itself, or for what is above it.
        if doc_id in ("", ".", "..") or doc_id.startswith("_"):
            raise InvalidName(f"{doc_id[:80]!r} is no id of a document")
        return f"{self._path}/{quote(doc_id, safe='')}"


def _quoted(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)
