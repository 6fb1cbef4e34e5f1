"""Which databases changed: as the server's own feed tells, and by looking at all of them.

``_db_updates`` is written with a delay, and what was not written yet is lost when a node crashes.
So each run looks at one page; and at all pages where there is no such feed, or none was read yet.
"""

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from chalicelib.couch import CouchError, NotFound, Server
from chalicelib.domain.documents import JsonDict
from poller.checkpoint import DATABASES_AT_ONCE, by_hundreds

# Rows are small, and those of other people's databases are among them.
ROWS_AT_ONCE = 1000

# What a server answers that has no such feed, shows it to others only, or knows no such seq.
_REFUSALS = {400, 401, 403, 404, 405}

# What a server answers that knows no such request.
_UNKNOWN = {400, 404, 405}


@dataclass(frozen=True)
class Shard:
    """One poller's share: the databases whose name's hash falls on its number.

    Parameters
    ----------
    control_db : str
        ``CONTROL_DB``; an owner's is ``<control_db>-<owner>``.
    shard, shards : int
        This poller's number, from 0, and how many there are.
    """

    control_db: str
    shard: int = 0
    shards: int = 1

    def holds(self, db: str) -> bool:
        """Whether this is a control database, and this poller's."""
        return self._is_control_db(db) and _hash(db) % self.shards == self.shard

    @property
    def last_key(self) -> str:
        """What comes after the names of all owners' control databases."""
        return f"{self.control_db}-g"

    def _is_control_db(self, db: str) -> bool:
        owner = db.removeprefix(f"{self.control_db}-")
        return db == self.control_db or (owner != db and bool(re.fullmatch("[0-9a-f]{32}", owner)))


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


@dataclass(frozen=True)
class ScanPage:
    """A page of owners' control databases.

    Attributes
    ----------
    seqs : dict
        ``{name: update_seq}``, the seq empty where it could not be told.
    after : str
        Where the next page begins; empty if this was the last of a round.
    """

    seqs: dict[str, str]
    after: str

    @property
    def is_last(self) -> bool:
        """Whether the round is complete."""
        return not self.after


class Scan:
    """Walks one shard's owners' control databases in the order of their names."""

    def __init__(self, server: Server, shard: Shard) -> None:
        self._server = server
        self._shard = shard
        self._has_dbs_info = True

    def read(self, after: str) -> ScanPage:
        """The next page: up to 100 names. Two requests; more where there is no ``_dbs_info``."""
        # No owner's name lies between a name and that name with a dash.
        start_key = f"{after or self._shard.control_db}-"
        names = self._server.all_dbs(start_key, self._shard.last_key, DATABASES_AT_ONCE)
        seqs = self.update_seqs([name for name in names if self._shard.holds(name)])
        return ScanPage(seqs, names[-1] if len(names) == DATABASES_AT_ONCE else "")

    def update_seqs(self, dbs: Collection[str]) -> dict[str, str]:
        """The ``update_seq`` of each, empty if it cannot be told.

        A request for each hundred; for each where there is no ``_dbs_info``. That says
        ``not_found`` of one that fails, too: whether it is gone, its reader finds out.

        Source
        ------
        https://github.com/apache/couchdb/blob/main/src/chttpd/src/chttpd_misc.erl
        """
        return dict.fromkeys(dbs, "") | {
            str(row["key"]): str(row.get("info", {}).get("update_seq", ""))
            for hundred in by_hundreds(dbs)
            for row in self._dbs_info(hundred)
        }

    def _dbs_info(self, dbs: Sequence[str]) -> list[JsonDict]:
        if self._has_dbs_info:
            try:
                return self._server.dbs_info(dbs)
            except CouchError as exc:
                if not exc.status:
                    raise  # no answer at all: it is the server, not a database
                self._has_dbs_info = exc.status not in _UNKNOWN
        return [self._info(db) for db in dbs]

    def _info(self, db: str) -> JsonDict:
        try:
            return {"key": db, "info": self._server.database(db).info()}
        except CouchError as exc:
            return {"key": db, "error": exc.error}


def _hash(db: str) -> int:
    return int.from_bytes(hashlib.sha256(db.encode()).digest())
