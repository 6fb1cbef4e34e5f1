"""The error of the local system: `LocalError`, for the person who typed a command."""

from chalicelib.couch import CouchError


class LocalError(Exception):
    """The local system cannot start or continue. The message says why, and what to do."""


def refusal(server_url: str, exc: CouchError, *, is_given: bool = True) -> str:
    """Describe why a CouchDB failed or refused a request, and what to do.

    Parameters
    ----------
    server_url : str
        Its URL without the password, as in `Server.url`.
    is_given : bool
        Whether it is the one that COUCHDB_URL names, and not the embedded one.
    """
    if exc.error == "unreachable":
        return f"CouchDB at {server_url} cannot be reached: is it running?"
    reason = str(exc).rstrip(".")
    if not is_given:
        return f"the embedded CouchDB at {server_url} failed: {reason}; try another --couch-port"
    return (
        f"CouchDB at {server_url} does not let us create a database: {reason}. "
        "COUCHDB_URL needs an administrator: http://NAME:PASSWORD@HOST:5984"
    )
