"""Remove what a control database led to, so that a given CouchDB is as it was before."""

from collections.abc import Iterator
from contextlib import suppress

from chalicelib.couch import Database, NotFound, Server
from chalicelib.domain.channel import parse_channel
from chalicelib.domain.credentials import ForeignLogin
from chalicelib.domain.documents import JsonDict, Rejected
from chalicelib.domain.names import owner_id_of_database
from chalicelib.handlers.logins import remove_login

_PAGE_ROWS = 200
_MAX_DATABASES = 100_000


def remove_all_of(server: Server, control_db: str) -> None:
    """Remove a control database and all that the cloud created for its documents.

    These are the owners' control databases, the channels' databases, logins and keys. A few
    requests for each.
    """
    control = server.database(control_db)
    for doc in _documents(control):
        if doc.get("type", "device") == "device" and doc["_id"].startswith("device-"):
            with suppress(ForeignLogin):  # it is not ours to remove
                remove_login(server, doc)
    _remove_channels(server, control, None)
    # Others may have databases whose names begin alike, so each name is checked.
    for name in server.all_dbs(f"{control_db}-", f"{control_db}-~", _MAX_DATABASES):
        owner = owner_id_of_database(control_db, name)
        if owner is not None:
            _remove_channels(server, server.database(name), owner)
            server.database(name).delete()
    control.delete()


def _remove_channels(server: Server, control: Database, owner: str | None) -> None:
    for doc in _documents(control):
        if doc.get("type", "channel") == "channel":
            _remove_channel(server, {**doc, "name": "any"}, control.name, owner)


def _remove_channel(server: Server, doc: JsonDict, control_db: str, owner: str | None) -> None:
    try:
        found = parse_channel(doc, control_db, owner)
        database = server.database(found.db)
        if found.mark.items() <= database.security().get("syncpoint", {}).items():
            database.delete()
    except (Rejected, NotFound):
        return  # the channel never had a database


def _documents(database: Database) -> Iterator[JsonDict]:
    """Yield all documents, also deleted ones; of one that cannot be read, its id only."""
    for page in database.pages(_PAGE_ROWS):
        yield from (row["doc"] for row in page["results"])
        yield from ({"_id": row.doc_id} for row in page["bad"] if row.doc_id)
