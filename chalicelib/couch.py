"""CouchDB over `requests`: a server, its databases, and the errors they answer with.

Every public method sends one request, unless it says otherwise, and every request has a time limit.
"""

from urllib.parse import quote

from chalicelib.couch_database import Database, JsonDict
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
from chalicelib.couch_http import Connection

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

    def database(self, name: str) -> Database:
        """The database `name`, whether it exists or not. Sends no request.

        Raises
        ------
        InvalidName
            If CouchDB would not take it as the name of a database.
        """
        return Database(self.http, name)

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


def _quoted(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)
