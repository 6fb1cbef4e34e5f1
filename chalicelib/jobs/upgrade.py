"""Upgrades the design documents of existing databases.

A new database gets the newest version when it is created. For existing ones, an operator runs this
job after a deployment (``make upgrade``). It is idempotent: it writes only where a database has a
lower version. A run that was interrupted can be continued.
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
    """Upgrade the design documents of owners' control databases and of public channels.

    One or two requests for each database, one more where there is something to write.

    Parameters
    ----------
    after : str or None
        The ``after`` of an earlier call, to continue there; None starts at the beginning.
    remaining_s : callable
        Returns how many seconds remain.

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
    """Return whether a database is a public channel of this installation.

    Only public channels have a design document. A channel that becomes public later gets the newest
    version then.
    """
    try:
        security = database.security()
    except NotFound:
        return False  # the channel was closed after the database was listed
    control_db = security.get("syncpoint", {}).get("control_db", "")
    is_ours = control_db == context.settings.control_db or owner_id_of_database(
        context.settings.control_db, control_db
    )
    return bool(is_ours) and not security["members"]["roles"]


def _databases(context: Context, after: str | None) -> Iterator[Database]:
    """Yield owners' control databases, then channels' databases; those after `after`, by name."""
    control_db = context.settings.control_db
    for prefix in (f"{control_db}-", "db-"):
        start = f"{prefix}!"  # no name has a "!", and it sorts before all characters in names
        if after is not None:
            if not after.startswith(prefix):
                continue
            start, after = f"{after}!", None
        while names := context.server.all_dbs(start, f"{prefix}~", PAGE):
            for name in names:
                if prefix == "db-" or owner_id_of_database(control_db, name):
                    yield context.server.database(name)
            start = f"{names[-1]}!"
