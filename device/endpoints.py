"""Both ends of a replication: URLs, and the credentials that each may be given. No I/O."""

import base64
import re
from urllib.parse import unquote, urlsplit

from chalicelib.domain.documents import JsonDict

# What is handed to a replicator is parsed by other code than ours: nothing that two parsers could
# read differently (a user part, a backslash, white space) comes through.
_SERVER = r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
_PLAIN_URL = re.compile(_SERVER + r"(/[A-Za-z0-9._~%!$&'()+,=:-]+)*", re.ASCII)
_DATABASE = re.compile(r"[a-z][a-z0-9_-]*")


def endpoint(url: str, login: tuple[str, str] | None = None) -> JsonDict:
    """One end of a replication, as CouchDB and PouchDB Server both take it.

    The password goes into a header: URLs are logged.
    """
    headers = {}
    if login is not None:
        token = base64.b64encode(":".join(login).encode()).decode()
        headers["Authorization"] = f"Basic {token}"
    return {"url": url, "headers": headers}


def split_login(url: str) -> tuple[str, tuple[str, str] | None]:
    """A server's URL without its credentials, and these, None if it has none."""
    parts = urlsplit(url)
    bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
    if parts.username is None:
        return bare, None
    return bare, (unquote(parts.username), unquote(parts.password or ""))


def is_plain_url(url: object) -> bool:
    """Whether `url` is one of a server or a database that all who read it read alike."""
    return isinstance(url, str) and _PLAIN_URL.fullmatch(url) is not None and _has_address(url)


def is_in_cloud(url: str, cloud: str) -> bool:
    """Whether `url` is a database of the cloud's CouchDB: there alone the password may go.

    Parameters
    ----------
    cloud : str
        The URL of the cloud's CouchDB; empty while the registrations endpoint was not reached.
    """
    root = f"{cloud}/"
    return bool(cloud) and url.startswith(root) and _is_database(url.removeprefix(root))


def _has_address(url: str) -> bool:
    """Whether an IPv6 address in brackets is one, and the port's number small enough."""
    try:
        _ = urlsplit(url).port
    except ValueError:
        return False
    return True


def _is_database(name: str) -> bool:
    return _DATABASE.fullmatch(name) is not None
