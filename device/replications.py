"""The device's own documents in `_replicator`: what its CouchDB keeps in sync, and how it fares.

CouchDB goes on with them while the agent is not there, and after a restart of its own.
"""

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.couch import Conflict, CouchError, Database, NotFound, Server
from chalicelib.domain.documents import JsonDict

# What CouchDB's scheduler, and the `_replication_state` of PouchDB Server, call those that stand.
_STANDS = {"error", "failed", "crashing", "completed"}
_PAGE = 10_000
_REMOVE_ATTEMPTS = 10
_FORGET_LIMIT_S = 5.0
# Fields of ours in a replication's document; all else there is the replicator's.
_OURS = ("source", "target", "continuous", "syncpoint")


@dataclass(frozen=True)
class Way:
    """Documents go from one database to another, for as long as there are any."""

    source: JsonDict
    target: JsonDict


@dataclass(frozen=True)
class Replication:
    """A replication as the server knows it.

    Attributes
    ----------
    of : str
        What it was made for: the name that `Replications.keep` was given.
    state : str
        In the server's own words: ``running``, ``triggered``, ``error``, ``crashing`` …
    reason : str or None
        Why it stands, if it does and the server says so.
    """

    doc: JsonDict
    of: str
    state: str
    reason: str | None

    @property
    def stands(self) -> bool:
        """Whether it does nothing, and will not by itself."""
        return self.state in _STANDS


class Replications:
    """The replications of one device; those of others on the same server are never touched.

    No two documents are alike, in neither id nor content: PouchDB Server keeps in mind what it was
    asked for, and takes one that is like a removed one for a duplicate that need not be begun.
    """

    def __init__(self, server: Server, device_id: str) -> None:
        self._http = server.http
        self._database = server.database("_replicator")
        self._prefix = f"syncpoint-{device_id}-"
        self._kept: set[str] = set()

    def keep(self, of: str, ways: Sequence[Way]) -> bool:
        """Let these ways be replicated for `of`, and no others. A request; one for each change.

        Returns
        -------
        bool
            Whether that was not so already.
        """
        self._kept.add(of)
        wanted = [self._doc(of, way) for way in ways]
        strays = [doc for doc in self._docs() if doc.get("syncpoint") == of]
        for doc in list(strays):
            same = next((want for want in wanted if _is_same(doc, want)), None)
            if same is not None:
                strays.remove(doc)
                wanted.remove(same)
        for doc in strays:
            self._remove(doc)
        for want in wanted:
            self._database.put(want)
        return bool(strays or wanted)

    def remove_strays(self) -> None:
        """Remove what was made for anything that `keep` was not called for."""
        for doc in self._docs():
            if doc.get("syncpoint") not in self._kept:
                self._remove(doc)

    def remove_all(self) -> None:
        """Replicate nothing any more."""
        for doc in self._docs():
            self._remove(doc)

    def all(self) -> list[Replication]:
        """All replications of this device, with their states. Two requests."""
        docs, scheduled = self._docs(), self._scheduled()
        return [_replication(doc, scheduled.get(doc["_id"])) for doc in docs]

    def restart(self, replication: Replication) -> None:
        """Begin one anew, at once: after failures the server itself may wait for hours."""
        if self._remove(replication.doc):  # else it was ended in this very moment
            self._wait_until_forgotten(replication.doc["_id"])
            way = Way(replication.doc["source"], replication.doc["target"])
            self._database.put(self._doc(replication.of, way))

    def _doc(self, of: str, way: Way) -> JsonDict:
        nonce = uuid.uuid4().hex
        return {
            "_id": self._prefix + nonce,
            "source": way.source,
            "target": way.target,
            "continuous": True,
            "syncpoint": of,
            "nonce": nonce,
            # To PouchDB Server: a missing database was deleted, and is not to be made again.
            "skip_setup": True,
        }

    def _docs(self) -> list[JsonDict]:
        params = {
            "include_docs": "true",
            "start_key": json.dumps(self._prefix),
            "end_key": json.dumps(self._prefix + "~"),
            "limit": str(_PAGE),
        }
        try:
            answer = self._database.request("GET", "_all_docs", params=params)
        except NotFound:
            self._database.create()
            return []
        return [row["doc"] for row in answer["rows"] if row.get("doc")]

    def _scheduled(self) -> dict[str, JsonDict]:
        """What CouchDB's scheduler says of each document; PouchDB Server has no such thing."""
        try:
            answer = self._http.request_object(
                "GET", "/_scheduler/docs/_replicator", params={"limit": str(_PAGE)}
            )
        except CouchError as exc:
            if exc.status == 0 or exc.status >= 500:
                raise
            return {}
        return {row["doc_id"]: row for row in answer["docs"]}

    def _wait_until_forgotten(self, doc_id: str) -> None:
        """Wait until CouchDB's scheduler has let go of a removed document, if it has one.

        While it has not, a document with the same source and target fails for good: to CouchDB the
        two are one replication, and it belongs to the first.

        Source: couch_replicator_doc_processor_worker, maybe_add_job_to_scheduler
        """
        deadline_s = time.monotonic() + _FORGET_LIMIT_S
        while time.monotonic() < deadline_s:
            try:
                self._http.request_object("GET", f"/_scheduler/docs/_replicator/{doc_id}")
            except CouchError as exc:
                if exc.status == 0 or exc.status >= 500:
                    raise
                return
            time.sleep(0.05)

    def _remove(self, doc: JsonDict) -> bool:
        """Remove a document, however often its replicator writes into it; whether it was there."""
        newest: JsonDict | None = doc
        for _ in range(_REMOVE_ATTEMPTS):
            if newest is None:
                return False
            try:
                self._database.remove(newest)
            except Conflict:
                newest = self._database.find_one(doc["_id"])
            except NotFound:
                return False
            else:
                return True
        raise Conflict(409, "conflict", "a replication's document changed at each try")


def _is_same(doc: JsonDict, wanted: JsonDict) -> bool:
    return all(doc.get(name) == wanted[name] for name in _OURS)


def _replication(doc: JsonDict, row: JsonDict | None) -> Replication:
    state, reason = doc.get("_replication_state"), doc.get("_replication_state_reason")
    if row is not None:
        state, reason = row.get("state"), (row.get("info") or {}).get("error")
    return Replication(doc, str(doc.get("syncpoint")), str(state or "new"), reason)


_PAGE = 1000


def behind(source: Database, target: Database, enough: int | None = None) -> int:
    """How many changed documents of one database the other does not have yet.

    Two requests for each thousand. All changes are compared: a database is filled from several
    sides at once, so what is missing may lie anywhere among them. Design documents do not count:
    a device's login may not write them.

    Parameters
    ----------
    enough : int, optional
        Stop when so many are known.

    Raises
    ------
    CouchError
        If one of them does not answer, or not as a CouchDB does.

    Source
    ------
    https://docs.couchdb.org/en/stable/api/database/misc.html#db-revs-diff
    """
    count, since = 0, "0"
    while True:
        params = {"style": "all_docs", "since": since, "limit": str(_PAGE)}
        page = source.request("GET", "_changes", params=params)
        try:
            since, rows = str(page["last_seq"]), page["results"]
            revs = {
                row["id"]: [change["rev"] for change in row["changes"]]
                for row in rows
                if not row["id"].startswith("_design/")
            }
        except (AttributeError, KeyError, TypeError) as exc:  # a remote may lie anywhere
            raise CouchError(200, "bad_answer", f"{source.url} is no CouchDB's") from exc
        count += len(target.request("POST", "_revs_diff", body=revs))
        if not rows or (enough is not None and count >= enough):
            return count
