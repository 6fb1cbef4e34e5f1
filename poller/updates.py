"""Which databases changed, as the server's own feed of databases (``_db_updates``) tells."""

from dataclasses import dataclass

from chalicelib.couch import CouchError, NotFound, Server
from poller.shard import Shard

# Rows are small, and those of other people's databases are among them.
ROWS_AT_ONCE = 1000

# What a server answers that has no such feed, shows it to others only, or knows no such seq.
_REFUSALS = {400, 401, 403, 404, 405}


class UpdatesRefused(Exception):
    """The server has no such feed any more, or makes nothing of the seq."""


@dataclass(frozen=True)
class Changed:
    """A page of the feed.

    Attributes
    ----------
    dbs : list of str
        The databases that are ours: created, updated or deleted; each once.
    seq : str
        What to go on from.
    rows : int
        How many rows the page had, whosever they are.
    is_last : bool
        Whether the feed had no more than this when it was asked.
    """

    dbs: list[str]
    seq: str
    rows: int
    is_last: bool


class Updates:
    """The feed of databases, cut down to those of one shard."""

    def __init__(self, server: Server, shard: Shard) -> None:
        self._server = server
        self._shard = shard

    def end(self) -> str | None:
        """The seq of the feed's end, None if there is no such feed, and we may not begin one.

        CouchDB keeps the feed as long as there is a database for it. Up to three requests.
        """
        for may_create in (True, False):
            try:
                return self._end()
            except CouchError as exc:
                if exc.status not in _REFUSALS:
                    raise
                if not (may_create and isinstance(exc, NotFound) and self._create()):
                    break
        return None

    def read(self, since: str, wait_s: float) -> Changed:
        """The next page; an empty one if nothing changed within `wait_s` seconds. One request.

        What kind of change a row tells is not read: several of one database may come in any order.

        Raises
        ------
        UpdatesRefused
            If the server refuses the seq, or the request as such.
        """
        try:
            page = self._server.db_updates(since, limit=ROWS_AT_ONCE, wait_s=wait_s)
        except CouchError as exc:
            if exc.status not in _REFUSALS:
                raise
            raise UpdatesRefused(exc.reason) from exc
        rows = page["results"]
        named = dict.fromkeys(str(row["db_name"]) for row in rows)
        dbs = [db for db in named if self._shard.holds(db)]
        return Changed(dbs, str(page["last_seq"]), len(rows), len(rows) < ROWS_AT_ONCE)

    def _end(self) -> str | None:
        # CouchDB 1.x has another feed under this name: one without seqs.
        seq = self._server.db_updates("now", limit=1).get("last_seq")
        return None if seq is None else str(seq)

    def _create(self) -> bool:
        try:
            self._server.database("_global_changes").create()
        except CouchError as exc:
            if exc.status not in _REFUSALS:
                raise
            return False
        return True
