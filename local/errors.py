"""What goes wrong on one machine, in words for whoever typed the command."""

from chalicelib.couch import CouchError


class LocalError(Exception):
    """The local system cannot start or go on; the message says why and what to do."""


def refusal(server_url: str, exc: CouchError, *, is_given: bool = True) -> str:
    """Why a CouchDB did not do as it was asked, and what to do.

    Parameters
    ----------
    server_url : str
        Without its password, as `Server.url` is.
    is_given : bool
        Whether COUCHDB_URL names it; else it is the embedded one.
    """
    if exc.error == "unreachable":
        return f"CouchDB at {server_url} cannot be reached: is it running?"
    said = str(exc).rstrip(".")
    if not is_given:
        return f"the embedded CouchDB at {server_url} fails: {said}; try another --couch-port"
    return (
        f"CouchDB at {server_url} does not let us create a database: {said}. "
        "COUCHDB_URL needs an administrator: http://NAME:PASSWORD@HOST:5984"
    )
