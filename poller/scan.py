"""Which databases changed, by looking at all of them: a page of names at a time.

``_db_updates`` is written with a delay, and what was not written yet is lost when a node crashes.
So each run looks at one page; and at all pages where there is no such feed, or none was read yet.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from chalicelib.couch import CouchError, Server
from chalicelib.domain.documents import JsonDict
from poller.checkpoint import DATABASES_AT_ONCE, by_hundreds
from poller.shard import Shard

# What a server answers that knows no such request.
_UNKNOWN = {400, 404, 405}


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
