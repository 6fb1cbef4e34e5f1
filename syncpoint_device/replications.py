"""The device's documents in `_replicator`: which databases its CouchDB replicates, and their state.

CouchDB continues to replicate while the agent is not running, and after a restart of CouchDB.
"""

import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from chalicelib.couch import Conflict, CouchError, Database, NotFound, Server
from chalicelib.domain.documents import JsonDict
from syncpoint_device.certificates import check_verifies

# The states of a stalled replication in CouchDB's scheduler and in PouchDB Server.
_STALLED_STATES = {"error", "failed", "crashing", "completed"}
_MAX_REPLICATIONS = 10_000
_CHANGES_PAGE = 1000
# The largest answer of a remote database that is read.
_MAX_BYTES = 20_000_000
_REMOVE_ATTEMPTS = 10
_RELEASE_LIMIT_S = 5.0
# A header that no server reads; see `Replications.restart`.
_CHECKPOINT_HEADER = "X-Syncpoint-Checkpoint"
# The fields that we write into a replication's document. The replicator adds others.
_OUR_FIELDS = ("source", "target", "continuous", "syncpoint")


@dataclass(frozen=True)
class Direction:
    """The source and the target of a continuous replication."""

    source: JsonDict
    target: JsonDict


@dataclass(frozen=True)
class Replication:
    """A replication and its state.

    Attributes
    ----------
    group : str
        The group that `Replications.reconcile` was called with.
    state : str
        The state that the server reports: ``running``, ``triggered``, ``error``, ``crashing`` …
    reason : str or None
        The server's reason for a stalled replication, if it reports one.
    job : str or None
        The id of the replication in CouchDB's scheduler; None on PouchDB Server.
    info : dict
        What CouchDB's scheduler reports: ``through_seq``, ``doc_write_failures`` …
    """

    doc: JsonDict
    group: str
    state: str
    reason: str | None
    job: str | None = None
    info: JsonDict = field(default_factory=dict)

    @property
    def is_busy(self) -> bool:
        """Whether CouchDB reports changes that are still to be replicated. PouchDB Server: no."""
        is_idle = self.state == "running" and not self.info.get("changes_pending")
        return self.job is not None and not is_idle

    @property
    def is_stalled(self) -> bool:
        """Whether it does not replicate, and will not soon restart by itself."""
        return self.state in _STALLED_STATES


class Replications:
    """The replications of one device. Those of others on the same server are never changed.

    They are in groups: for the control database, the outbox, and each channel's database. Each
    document has a unique id and nonce. Without them, PouchDB Server would take it for a duplicate
    of a removed one, and not start it.
    """

    def __init__(self, server: Server, device_id: str) -> None:
        self._server, self._http = server, server.http
        self._database = server.database("_replicator")
        self._prefix = f"syncpoint-{device_id}-"
        self._known_groups: set[str] = set()

    def reconcile(self, group: str, directions: Sequence[Direction]) -> bool:
        """Replicate these directions for a group, and no others. A request; one for each change.

        Returns
        -------
        bool
            Whether anything changed.

        Raises
        ------
        Unverified
            If one is with https, and the server checks no certificates.
        """
        self._known_groups.add(group)
        missing = [self._doc(group, direction) for direction in directions]
        orphans = [doc for doc in self._docs() if doc.get("syncpoint") == group]
        for doc in list(orphans):
            same = next((new for new in missing if _is_same(doc, new)), None)
            if same is not None:
                orphans.remove(doc)
                missing.remove(same)
        for doc in orphans:
            self._remove(doc)
        self._write(missing)
        return bool(orphans or missing)

    def remove_orphans(self) -> None:
        """Remove the replications of all groups that `reconcile` was not called for."""
        for doc in self._docs():
            if doc.get("syncpoint") not in self._known_groups:
                self._remove(doc)

    def remove_all(self) -> None:
        """Remove all replications of this device."""
        for doc in self._docs():
            self._remove(doc)

    def end_all(self) -> None:
        """Remove all replications of this device, and wait until CouchDB has ended them."""
        docs = self._docs()
        for doc in docs:
            self._remove(doc)
        for doc in docs:
            self._wait_until_released(doc["_id"])

    def all(self) -> list[Replication]:
        """Return all replications of this device with their states. Two requests."""
        docs, scheduled = self._docs(), self._scheduled()
        return [_replication(doc, scheduled.get(doc["_id"])) for doc in docs]

    def restart(self, replication: Replication, *, from_start: bool = False) -> None:
        """Restart a replication now. After failures the server itself may wait for hours.

        Parameters
        ----------
        from_start : bool
            Whether to compare all documents again, because its checkpoint is wrong. CouchDB looks
            for the checkpoint under an id that depends on the headers, so another header makes
            another id. PouchDB Server resets the checkpoint to `since`.

            Source: couch_replicator_ids, replication_id; pouchdb-replication, replicate
        """
        self._replace(replication, replication.doc["source"], replication.doc["target"], from_start)

    def replace(self, replication: Replication, source: JsonDict, target: JsonDict) -> None:
        """Replace a replication by one between other endpoints."""
        self._replace(replication, source, target, False)

    def _replace(
        self, replication: Replication, source: JsonDict, target: JsonDict, from_start: bool
    ) -> None:
        if self._remove(replication.doc):  # else it was removed a moment ago
            self._wait_until_released(replication.doc["_id"])
            doc = self._doc(replication.group, Direction(source, target))
            if from_start:
                headers = {**source["headers"], _CHECKPOINT_HEADER: doc["nonce"]}
                doc |= {"source": {**source, "headers": headers}, "since": 0}
            self._write([doc])

    def _write(self, docs: Sequence[JsonDict]) -> None:
        """Write the documents of replications; one with https only to a server that checks it."""
        urls = [doc[end]["url"] for doc in docs for end in ("source", "target")]
        if any(url.startswith("https:") for url in urls):
            check_verifies(self._server)
        for doc in docs:
            self._database.put(doc)

    def _doc(self, group: str, direction: Direction) -> JsonDict:
        nonce = uuid.uuid4().hex
        return {
            "_id": self._prefix + nonce,
            "source": direction.source,
            "target": direction.target,
            "continuous": True,
            "syncpoint": group,
            "nonce": nonce,
            # For PouchDB Server: do not create a missing database, because it was deleted.
            "skip_setup": True,
        }

    def _docs(self) -> list[JsonDict]:
        try:
            rows = self._database.between(self._prefix, self._prefix + "~", limit=_MAX_REPLICATIONS)
        except NotFound:
            self._database.create()
            return []
        return [row["doc"] for row in rows.good if row.get("doc")]

    def _scheduled(self) -> dict[str, JsonDict]:
        """Return what CouchDB's scheduler reports of each document. PouchDB Server has none."""
        try:
            answer = self._http.request_object(
                "GET",
                "/_scheduler/docs/_replicator",
                params={"limit": str(_MAX_REPLICATIONS)},
                max_bytes=_MAX_BYTES,
            )
        except CouchError as exc:
            if exc.status == 0 or exc.status >= 500:
                raise
            return {}
        return {row["doc_id"]: row for row in answer["docs"]}

    def _wait_until_released(self, doc_id: str) -> None:
        """Wait until CouchDB's scheduler has released a removed document.

        Before that, a document with the same source and target fails for good. CouchDB takes the
        two for one replication, which belongs to the first document.

        Source: couch_replicator_doc_processor_worker, maybe_add_job_to_scheduler
        """
        deadline_s = time.monotonic() + _RELEASE_LIMIT_S
        while time.monotonic() < deadline_s:
            try:
                self._http.request_object("GET", f"/_scheduler/docs/_replicator/{doc_id}")
            except CouchError as exc:
                if exc.status == 0 or exc.status >= 500:
                    raise
                return
            time.sleep(0.05)

    def _remove(self, doc: JsonDict) -> bool:
        """Remove a document although its replicator may change it. Return whether it existed."""
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
        raise Conflict(409, "conflict", "the document of a replication changed at each try")


def _is_same(doc: JsonDict, wanted: JsonDict) -> bool:
    source = doc.get("source")
    if isinstance(source, dict) and isinstance(source.get("headers"), dict):
        headers = {k: v for k, v in source["headers"].items() if k != _CHECKPOINT_HEADER}
        doc = {**doc, "source": {**source, "headers": headers}}
    return all(doc.get(name) == wanted[name] for name in _OUR_FIELDS)


def _replication(doc: JsonDict, row: JsonDict | None) -> Replication:
    state, reason = doc.get("_replication_state"), doc.get("_replication_state_reason")
    job = None
    info: JsonDict = {}
    if row is not None:
        state, job, info = row.get("state"), row.get("id"), row.get("info") or {}
        reason = info.get("error")
    return Replication(doc, str(doc.get("syncpoint")), str(state or "new"), reason, job, info)


@dataclass(frozen=True)
class LeafPage:
    """A page of a changes feed without documents.

    Attributes
    ----------
    revs : dict
        All leaf revisions of each changed document.
    pending : int or None
        How many changes come after the page; None if the server does not report it.
    """

    last_seq: str
    revs: dict[str, list[str]]
    is_last: bool
    pending: int | None = None


def leaves_of(database: Database, doc_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return all leaf revisions of some documents. One request, or none if there are no ids.

    Source
    ------
    https://docs.couchdb.org/en/stable/api/database/changes.html#filtering
    """
    if not doc_ids:
        return {}
    params = {"style": "all_docs", "filter": "_doc_ids"}
    body = {"doc_ids": list(doc_ids)}
    page = database.request("POST", "_changes", params=params, body=body, max_bytes=_MAX_BYTES)
    return {row["id"]: [change["rev"] for change in row["changes"]] for row in page["results"]}


def leaf_page(source: Database, since: str, *, with_design: bool = False) -> LeafPage:
    """Read the next page of the changes of a database, up to a thousand. One request.

    Parameters
    ----------
    with_design : bool
        Whether to include design documents, which a device's login may not write.

    Raises
    ------
    CouchError
        If the database does not answer, or does not answer as a CouchDB.
    """
    params = {"style": "all_docs", "since": since, "limit": str(_CHANGES_PAGE)}
    page = source.request("GET", "_changes", params=params, max_bytes=_MAX_BYTES)
    try:
        rows = page["results"]
        revs = {
            row["id"]: [change["rev"] for change in row["changes"]]
            for row in rows
            if with_design or not row["id"].startswith("_design/")
        }
        pending = page.get("pending")
        pending = pending if isinstance(pending, int) else None
        return LeafPage(str(page["last_seq"]), revs, is_last=not rows, pending=pending)
    except (AttributeError, KeyError, TypeError) as exc:  # anything may answer at a remote URL
        raise _not_a_couchdb(source) from exc


def find_missing(revs: dict[str, list[str]], target: Database) -> dict[str, list[str]]:
    """Return those of some revisions that `target` does not have, by document.

    One request, or none if there are no revisions.

    Raises
    ------
    CouchError
        If `target` does not answer, or does not answer as a CouchDB.

    Source
    ------
    https://docs.couchdb.org/en/stable/api/database/misc.html#db-revs-diff
    """
    if not revs:
        return {}
    answer = target.request("POST", "_revs_diff", body=revs, max_bytes=_MAX_BYTES)
    try:
        missing = {doc_id: set(row["missing"]) for doc_id, row in answer.items()}
    except (KeyError, TypeError) as exc:
        raise _not_a_couchdb(target) from exc
    return {
        doc_id: [rev for rev in revs[doc_id] if rev in missing[doc_id]]
        for doc_id in revs
        if doc_id in missing
    }


def _not_a_couchdb(database: Database) -> CouchError:
    return CouchError(200, "bad_answer", f"{database.url} does not answer as a CouchDB")


def revision(
    database: Database,
    doc_id: str,
    rev: str,
    *,
    max_bytes: int,
    with_attachments: bool = True,
) -> JsonDict | None:
    """Read a revision with its history and its attachments, whatever its id is. One request.

    Parameters
    ----------
    max_bytes : int
        The largest answer that is read.
    with_attachments : bool
        Whether to read the attachments themselves. Else there are stubs of them.

    Returns
    -------
    dict or None
        None if the database does not have the revision.

    Source
    ------
    https://docs.couchdb.org/en/stable/api/database/bulk-api.html#post--db-_bulk_get
    """
    answer = database.request(
        "POST",
        "_bulk_get",
        params={"revs": "true", "attachments": str(with_attachments).lower()},
        body={"docs": [{"id": doc_id, "rev": rev}]},
        max_bytes=max_bytes,
    )
    [result] = answer["results"]
    found: JsonDict | None = result["docs"][0].get("ok")
    return found


def count_missing(
    source: Database,
    target: Database,
    stop_at: int | None = None,
    ignored: Collection[str] = (),
) -> int:
    """Count the changed documents in `source` that `target` does not have yet.

    All changes are compared, because several devices write at the same time, and a missing
    document may be anywhere among them. Two requests for each thousand changes.

    Parameters
    ----------
    stop_at : int, optional
        Stop counting at this number.
    ignored : collection of str
        The ids of documents that do not count.

    Raises
    ------
    CouchError
        If one of the two does not answer, or does not answer as a CouchDB.
    """
    count, page = 0, leaf_page(source, "0")
    while True:
        count += len(find_missing(page.revs, target).keys() - ignored)
        if page.is_last or (stop_at is not None and count >= stop_at):
            return count
        page = leaf_page(source, page.last_seq)
