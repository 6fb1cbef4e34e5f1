"""The two ends of a replication: their URLs, and which of them get a password. No I/O."""

import base64
import re
from urllib.parse import quote, unquote, urlsplit

from chalicelib.domain.documents import JsonDict

# Replicators have URL parsers of their own. So a URL is refused if two parsers could read it
# differently: with a user part, a backslash or white space.
_SERVER = r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
_PLAIN_URL = re.compile(_SERVER + r"(/[A-Za-z0-9._~%!$&'()+,=:-]+)*", re.ASCII)
_DATABASE = re.compile(r"[a-z][a-z0-9_-]*")
_SHARED_ID = re.compile(r"db-[0-9a-f]{32}", re.ASCII)


def endpoint(url: str, login: tuple[str, str] | None = None) -> JsonDict:
    """Return one end of a replication, in the form that CouchDB and PouchDB Server accept.

    The password is in a header, because URLs are logged.
    """
    headers = {}
    if login is not None:
        token = base64.b64encode(":".join(login).encode()).decode()
        headers["Authorization"] = f"Basic {token}"
    return {"url": url, "headers": headers}


def split_login(url: str) -> tuple[str, tuple[str, str] | None]:
    """Split a server's URL into the URL without credentials, and the credentials if any."""
    parts = urlsplit(url)
    bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
    if parts.username is None:
        return bare, None
    return bare, (unquote(parts.username), unquote(parts.password or ""))


def with_login(url: str, name: str, password: str) -> str:
    """Return a server's URL, which has no credentials, with these."""
    scheme, _, host = url.partition("://")
    return f"{scheme}://{quote(name, safe='')}:{quote(password, safe='')}@{host}"


def is_server(url: str) -> bool:
    """Tell whether a text is the URL of a server, with or without a login."""
    try:
        return is_plain_url(split_login(url)[0]) and not set(url) & set("?#")
    except ValueError:
        return False


def is_plain_url(url: object) -> bool:
    """Tell whether `url` is the URL of a server or database that all parsers read alike."""
    return isinstance(url, str) and _PLAIN_URL.fullmatch(url) is not None and _has_valid_host(url)


def is_in_cloud(url: str, cloud: str) -> bool:
    """Tell whether `url` is a database in the cloud's CouchDB, so that it may get the password.

    Parameters
    ----------
    cloud : str
        The URL of the cloud's CouchDB; empty until the registrations endpoint was reached.
    """
    root = f"{cloud}/"
    is_database = _DATABASE.fullmatch(url.removeprefix(root)) is not None
    return bool(cloud) and url.startswith(root) and is_database


def is_shared_id(channel_id: str) -> bool:
    """Tell whether a channel's id is that of a channel that somebody shares with the owner."""
    return _SHARED_ID.fullmatch(channel_id) is not None


def _has_valid_host(url: str) -> bool:
    """Tell whether the port is in range, and an address in brackets is an IPv6 address."""
    try:
        _ = urlsplit(url).port
    except ValueError:
        return False
    return True
