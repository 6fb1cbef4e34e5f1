"""A new version of a design document reaches the databases that have an older one.

New databases get the newest version when they are made. For those that were there before, an
operator runs this after a deployment (``make upgrade``), as often as they like: it writes only
where the version in the database is lower, and goes on where it stopped.
"""

from collections.abc import Callable, Iterator

from chalicelib.couch import Database, NotFound
from chalicelib.design import OWNER_CONTROL, PUBLIC_CHANNEL
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_id_of_database
from chalicelib.engine.context import Context

PAGE = 100
MIN_TIME_S = 5.0


def upgrade(context: Context, after: str | None, remaining_s: Callable[[], float]) -> JsonDict:
    """Bring owners' control databases and public channels to this code's design documents.

    A request or two for each database, one more where there is something to write.

    Parameters
    ----------
    after : str or None
        ``after`` of an earlier call, to go on there; None begins at the beginning.
    remaining_s : callable
        How many seconds are left.

    Returns
    -------
    dict
        ``{"checked": int, "written": int, "after": str or None}``; None when all are done.
    """
    checked = written = 0
    for database in _databases(context, after):
        written += _upgrade(context, database)
        checked += 1
        if remaining_s() < MIN_TIME_S:
            return {"checked": checked, "written": written, "after": database.name}
    return {"checked": checked, "written": written, "after": None}


def _upgrade(context: Context, database: Database) -> bool:
    if owner_id_of_database(context.settings.control_db, database.name):
        return OWNER_CONTROL.install(database)
    return _is_public_channel_of_ours(context, database) and PUBLIC_CHANNEL.upgrade(database)


def _is_public_channel_of_ours(context: Context, database: Database) -> bool:
    """Others have no design document, and one that becomes public gets the newest."""
    try:
        security = database.security()
    except NotFound:
        return False  # closed since it was listed
    control_db = security.get("syncpoint", {}).get("control_db", "")
    is_ours = control_db == context.settings.control_db or owner_id_of_database(
        context.settings.control_db, control_db
    )
    return bool(is_ours) and not security["members"]["roles"]


def _databases(context: Context, after: str | None) -> Iterator[Database]:
    """Owners' control databases, then channels'; those after a name, in their order."""
    control_db = context.settings.control_db
    for prefix in (f"{control_db}-", "db-"):
        start = f"{prefix}!"  # of all printable characters the lowest, and in no name
        if after is not None:
            if not after.startswith(prefix):
                continue
            start, after = f"{after}!", None
        while names := context.server.all_dbs(start, f"{prefix}~", PAGE):
            for name in names:
                if prefix == "db-" or owner_id_of_database(control_db, name):
                    yield context.server.database(name)
            start = f"{names[-1]}!"
