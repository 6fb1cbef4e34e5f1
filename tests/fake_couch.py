"""A CouchDB of many databases in memory; passes a real one's contract where the poller asks it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.couch import BadRequest, CouchError, Forbidden, JsonDict, NotFound

MISSING = NotFound(404, "not_found", "Database does not exist.")
MALFORMED = BadRequest(400, "bad_request", "Malformed sequence supplied in 'since' parameter.")


class FakeCouch:
    """The server.

    Attributes
    ----------
    asked : list of str
        Every request: ``changes NAME``, ``info NAME``, ``db_updates``, ``all_dbs``, …
    broken : dict
        What to raise for a database whose changes are asked for, by its name.
    has_updates, has_dbs_info, may_create, limits_updates : bool
        What the server knows, whom it takes us for, and whether it heeds the limit of db_updates.
    waited : callable
        Told of every wait, in seconds.
    """

    def __init__(self) -> None:
        self.dbs: dict[str, list[JsonDict]] = {}
        self.updates: list[tuple[str, str]] = []
        self.asked: list[str] = []
        self.broken: dict[str, CouchError] = {}
        self.has_updates = self.has_dbs_info = self.may_create = self.limits_updates = True
        self.waited: Callable[[float], None] = lambda wait_s: None
        self.dbs["_global_changes"] = []

    def database(self, name: str) -> "FakeFeedDatabase":
        return FakeFeedDatabase(self, name)

    def tell(self, name: str, kind: str) -> None:
        """A row of the feed of databases; the last of its kind and database stays."""
        self.updates = [("", "") if row == (name, kind) else row for row in self.updates]
        self.updates.append((name, kind))

    def all_dbs(self, start_key: str, end_key: str, limit: int) -> list[str]:
        self.asked.append("all_dbs")
        return sorted(name for name in self.dbs if start_key <= name <= end_key)[:limit]

    def dbs_info(self, names: Sequence[str]) -> list[JsonDict]:
        self.asked.append("dbs_info")
        if not self.has_dbs_info:
            raise NotFound(404, "not_found", "no_db_file")
        return [
            {"key": name, "info": self.info_of(name)}
            if name in self.dbs
            else {"key": name, "error": "not_found"}
            for name in names
        ]

    def db_updates(self, since: str, *, limit: int, wait_s: float = 0) -> JsonDict:
        self.asked.append("db_updates")
        if not self.has_updates:
            raise CouchError(400, "unknown", "the answer is not CouchDB's")
        if "_global_changes" not in self.dbs:
            raise MISSING
        begin = _number(since, len(self.updates))
        if not self._updates_after(begin):
            self.waited(wait_s)
        numbered = self._updates_after(begin)
        cut = numbered[:limit] if self.limits_updates else numbered
        last = cut[-1][0] if len(cut) < len(numbered) else len(self.updates)
        rows = [{"db_name": db, "type": kind, "seq": f"{n}-seq"} for n, (db, kind) in cut]
        return {"results": rows, "last_seq": f"{last}-seq"}

    def _updates_after(self, begin: int) -> list[tuple[int, tuple[str, str]]]:
        numbered = enumerate(self.updates, 1)
        return [(number, row) for number, row in numbered if row[0] and number > begin]

    def info_of(self, name: str) -> JsonDict:
        return {"db_name": name, "update_seq": f"{len(self.dbs[name])}-info"}


@dataclass
class FakeFeedDatabase:
    """One of its databases."""

    server: FakeCouch
    name: str

    def create(self) -> bool:
        if not self.server.may_create:
            raise Forbidden(403, "forbidden", "You are not a server admin.")
        if self.name in self.server.dbs:
            return False
        self.server.dbs[self.name] = []
        self.server.tell(self.name, "created")
        return True

    def delete(self) -> None:
        if self.server.dbs.pop(self.name, None) is not None:
            self.server.tell(self.name, "deleted")

    def put(self, doc: JsonDict) -> str:
        rows = self.server.dbs[self.name]
        doc = {"_rev": "1-a", **doc}
        rows.append({"id": doc["_id"], "seq": f"{len(rows) + 1}-seq", "doc": doc})
        self.server.tell(self.name, "updated")
        return str(doc["_rev"])

    def info(self) -> JsonDict:
        self.server.asked.append(f"info {self.name}")
        if self.name not in self.server.dbs:
            raise MISSING
        return self.server.info_of(self.name)

    def changes(self, since: str, *, limit: int, **options: Any) -> JsonDict:
        self.server.asked.append(f"changes {self.name}")
        if self.name in self.server.broken:
            raise self.server.broken[self.name]
        if self.name not in self.server.dbs:
            raise MISSING
        rows = self.server.dbs[self.name]
        begin = _number(since, len(rows))
        page = rows[begin : begin + limit]
        return {"results": page, "last_seq": f"{begin + len(page)}-seq"}


def _number(since: str, end: int) -> int:
    """Where a seq stands; the beginning for one past the end, as of a database made again."""
    if since == "now":
        return end
    if not re.fullmatch(r"0|[0-9]+-(seq|info)", since):
        raise MALFORMED
    number = int(since.partition("-")[0])
    return number if number <= end else 0
