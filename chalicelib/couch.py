"""CouchDB over `requests`: a server, its databases, and the errors they answer with.

Every public method sends one request, unless it says otherwise, and every request has a time limit.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from chalicelib.couch_database import Database, JsonDict
from chalicelib.couch_errors import (
    BadRequest,
    Conflict,
    CouchError,
    FileExists,
    Forbidden,
    InvalidName,
    NoDatabase,
    NotFound,
    Unauthorized,
    Unavailable,
    Unreadable,
)
from chalicelib.couch_http import READ_TIMEOUT_S, Connection

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter

__all__ = [
    "BadRequest",
    "Conflict",
    "CouchError",
    "Database",
    "FileExists",
    "Forbidden",
    "InvalidName",
    "JsonDict",
    "NoDatabase",
    "NotFound",
    "Server",
    "Unauthorized",
    "Unavailable",
    "Unreadable",
]


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

    def __init__(self, url: str, adapter: "BaseAdapter | None" = None) -> None:
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
