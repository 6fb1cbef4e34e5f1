"""Find out which databases changed: from the feed ``_db_updates``, and by a scan of all databases.

CouchDB writes ``_db_updates`` with a delay, and a node that crashes loses what was not yet written.
So each run also scans one page of databases. It scans all pages if the server has no such feed, or
if it was never read before.
"""

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from chalicelib.couch import LOGIN_REFUSED, AccountLocked, CouchError, NotFound, Server
from chalicelib.domain.documents import JsonDict
from poller.checkpoint import MAX_DATABASES, batched

# Rows are small, and most may be of databases that are not control databases.
DB_UPDATES_PAGE_SIZE = 1000

# The status if the server has no `_db_updates`, or does not know the seq. 401 and 403 are not among
# them: CouchDB locks the administrator for some minutes after wrong passwords.
_REFUSALS = {400, 404, 405}

# The status if the server does not know the request `_dbs_info`.
_UNKNOWN = {400, 404, 405}


@dataclass(frozen=True)
class Shard:
    """The control databases of one poller: those whose name's hash is its number, modulo `shards`.

    Parameters
    ----------
    control_db : str
        ``CONTROL_DB``; an owner's control database is ``<control_db>-<owner id>``.
    shard, shards : int
        This poller's number, from 0, and how many pollers there are.
    """

    control_db: str
    shard: int = 0
    shards: int = 1

    def holds(self, db: str) -> bool:
        """Return whether this is a control database, and this poller's."""
        return self._is_control_db(db) and _hash(db) % self.shards == self.shard

    @property
    def end_key(self) -> str:
        """A key that sorts after the names of all owners' control databases."""
        return f"{self.control_db}-g"

    def _is_control_db(self, db: str) -> bool:
        owner_id = db.removeprefix(f"{self.control_db}-")
        return db == self.control_db or (
            owner_id != db and bool(re.fullmatch("[0-9a-f]{32}", owner_id))
        )


class DbUpdatesRefused(Exception):
    """The server no longer has ``_db_updates``, or does not know the seq."""


@dataclass(frozen=True)
class DbUpdatesPage:
    """A page of ``_db_updates``.

    Attributes
    ----------
    dbs : list of str
        The shard's databases that were created, updated or deleted; each once.
    last_seq : str
        The seq from which to read the next page.
    rows : int
        How many rows the page had, other databases' rows included.
    is_last : bool
        Whether the feed had no more rows at the time of the request.
    """

    dbs: list[str]
    last_seq: str
    rows: int
    is_last: bool


class DbUpdates:
    """The feed ``_db_updates``, filtered by shard."""

    def __init__(self, server: Server, shard: Shard) -> None:
        self._server = server
        self._shard = shard

    def last_seq(self) -> str | None:
        """Return the current end of the feed; None if the server has none. Up to three requests.

        CouchDB keeps the feed only while the database ``_global_changes`` exists. It is created
        where it is missing and the login may create it.
        """
        for may_create in (True, False):
            try:
                return self._last_seq()
            except CouchError as exc:
                if exc.status not in _REFUSALS:
                    raise
                if not (may_create and isinstance(exc, NotFound) and self._create()):
                    break
        return None

    def read(self, since: str, wait_s: float) -> DbUpdatesPage:
        """Read the next page; it is empty if nothing changed within `wait_s` seconds. One request.

        The type of a row (created, updated, deleted) is ignored, because the rows of one database
        may come in any order.

        Raises
        ------
        DbUpdatesRefused
            If the server refuses the seq, or the request as such.
        """
        try:
            page = self._server.db_updates(since, limit=DB_UPDATES_PAGE_SIZE, wait_s=wait_s)
        except CouchError as exc:
            if exc.status not in _REFUSALS:
                raise
            raise DbUpdatesRefused(exc.reason) from exc
        rows = page["results"]
        names = dict.fromkeys(str(row["db_name"]) for row in rows)
        dbs = [db for db in names if self._shard.holds(db)]
        is_last = len(rows) < DB_UPDATES_PAGE_SIZE
        return DbUpdatesPage(dbs, str(page["last_seq"]), len(rows), is_last)

    def _last_seq(self) -> str | None:
        # CouchDB 1.x has another feed of this name: one without seqs.
        seq = self._server.db_updates("now", limit=1).get("last_seq")
        return None if seq is None else str(seq)

    def _create(self) -> bool:
        try:
            self._server.database("_global_changes").create()
        except AccountLocked:
            raise
        except CouchError as exc:
            # The login is right, because the feed was asked for. It may have no right to this.
            if exc.status not in {*_REFUSALS, 401, 403}:
                raise
            return False
        return True


@dataclass(frozen=True)
class ScanPage:
    """A page of owners' control databases.

    Attributes
    ----------
    update_seqs : dict
        ``{name: update_seq}``; the seq is empty if the server did not give one.
    after : str
        The name after which the next page starts; empty if this page ends a scan.
    """

    update_seqs: dict[str, str]
    after: str

    @property
    def is_last(self) -> bool:
        """Whether the scan is complete."""
        return not self.after


class Scan:
    """Lists the owners' control databases of one shard by name, page by page."""

    def __init__(self, server: Server, shard: Shard) -> None:
        self._server = server
        self._shard = shard
        self._has_dbs_info = True

    def read(self, after: str) -> ScanPage:
        """Read the next page: up to 100 names. Two requests; more without ``_dbs_info``."""
        # No owner's name lies between a name and that name with a dash.
        start_key = f"{after or self._shard.control_db}-"
        names = self._server.all_dbs(start_key, self._shard.end_key, MAX_DATABASES)
        update_seqs = self.update_seqs([name for name in names if self._shard.holds(name)])
        return ScanPage(update_seqs, names[-1] if len(names) == MAX_DATABASES else "")

    def update_seqs(self, dbs: Collection[str]) -> dict[str, str]:
        """Return the ``update_seq`` of each database; empty if the server did not give one.

        One request for each hundred databases; one for each database without ``_dbs_info``.
        ``_dbs_info`` answers ``not_found`` also for a database that fails. Whether the database
        really is gone shows when its changes are read.

        Source
        ------
        https://github.com/apache/couchdb/blob/main/src/chttpd/src/chttpd_misc.erl
        """
        return dict.fromkeys(dbs, "") | {
            str(row["key"]): str(row.get("info", {}).get("update_seq", ""))
            for batch in batched(dbs)
            for row in self._dbs_info(batch)
        }

    def _dbs_info(self, dbs: Sequence[str]) -> list[JsonDict]:
        if self._has_dbs_info:
            try:
                return self._server.dbs_info(dbs)
            except LOGIN_REFUSED:
                raise
            except CouchError as exc:
                if not exc.status:
                    raise  # no answer at all: it is the server, not a database
                self._has_dbs_info = exc.status not in _UNKNOWN
        return [self._info(db) for db in dbs]

    def _info(self, db: str) -> JsonDict:
        try:
            return {"key": db, "info": self._server.database(db).info()}
        except LOGIN_REFUSED:
            raise
        except CouchError as exc:
            return {"key": db, "error": exc.error}


def _hash(db: str) -> int:
    return int.from_bytes(hashlib.sha256(db.encode()).digest())
