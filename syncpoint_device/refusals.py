"""Find the documents that the cloud's rules refused, and bring the cloud's versions back.

A replicator counts the documents that its target refuses, but reports neither their ids nor the
reasons. So the device compares revisions, and sends those that the cloud lacks once more. The
answer has the reason. A document that was only waiting has then arrived.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chalicelib.couch import (
    BadRequest,
    Conflict,
    CouchError,
    Database,
    Forbidden,
    InvalidName,
    NotFound,
    Unreadable,
)
from chalicelib.domain.documents import JsonDict
from syncpoint_device.databases import Device
from syncpoint_device.errors import CloudFailed, DeviceError, Revoked, without_full_stop
from syncpoint_device.home import Home
from syncpoint_device.replications import find_missing, leaf_page, revision

# How many revisions are sent again in one round, and how many may wait for their round.
MAX_ASKED = 20
_MAX_WAITING = 1000
# The rules allow documents of 65,536 characters.
MAX_BYTES = 1_000_000
_REASON_LENGTH = 200
# The errors with which a validation function refuses a document.
_REFUSED = {"forbidden", "unauthorized"}
_UNREADABLE = "this device cannot read it; it is nested too deeply, or has more than 1 MB"


@dataclass(frozen=True)
class Refusal:
    """A revision on this device that the cloud refused, with the cloud's reason."""

    doc_id: str
    rev: str
    reason: str


class Refusals:
    """The refusals in the control database. Each revision is sent again once.

    A refused revision is sent again by the next process, because the rules may have changed.
    """

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()
        self.start_over()

    def start_over(self) -> None:
        """Compare all documents again, because the database may be another one."""
        self._since = "0"
        self._waiting: dict[str, list[str]] = {}

    def find(self, device: Device) -> Iterator[Refusal]:
        """Yield the revisions that the cloud refuses, and that were not found before.

        One request to the device's CouchDB if nothing changed. Else one more to each side for each
        thousand changes, and a few for each revision that the cloud lacks, of at most 20.

        Raises
        ------
        CloudFailed
            If the cloud does not answer. What was not asked is asked by the next call.
        CouchError
            If the device's own CouchDB does not answer.
        """
        local, cloud = device.database, device.cloud_control
        self._compare(local, cloud)
        lacking = [(doc_id, rev) for doc_id, revs in self._waiting.items() for rev in revs]
        for doc_id, rev in lacking[:MAX_ASKED]:
            # It goes to the end, so that it does not delay the others if the cloud fails here.
            revs = self._waiting.pop(doc_id)
            self._waiting[doc_id] = revs
            reason = _refusal(local, cloud, doc_id, rev)
            revs.remove(rev)
            if not revs:
                del self._waiting[doc_id]
            if reason is not None:
                self._known.add((doc_id, rev))
                yield Refusal(doc_id, rev, reason)

    def _compare(self, local: Database, cloud: Database) -> None:
        """Find the revisions that the cloud lacks, among those that changed and that waited."""
        with the_cloud(cloud):
            self._waiting = find_missing(self._waiting, cloud)
        while len(self._waiting) < _MAX_WAITING:
            page = leaf_page(local, self._since)
            with the_cloud(cloud):
                missing = find_missing(page.revs, cloud)
            for doc_id, revs in missing.items():
                new = [rev for rev in revs if (doc_id, rev) not in self._known]
                if new:
                    self._waiting[doc_id] = new
            self._since = page.last_seq
            if page.is_last:
                return


def undo(home: Home, device: Device, doc_id: str) -> JsonDict:
    """Replace a refused document on this device by the cloud's version. Some requests.

    The device's replications have nothing to send afterwards. If this is interrupted, the next call
    finishes it.

    Parameters
    ----------
    home : Home
        The device's folder, in which the refused document is kept.

    Returns
    -------
    dict
        - ``document``: its id
        - ``undone``: whether the cloud had refused it
        - ``in_cloud``: whether the cloud has the document; else it is deleted on this device
        - ``reasons``: why the cloud refused it, for each refused revision
        - ``kept``: the files with the refused revisions; without those that cannot be read

    Raises
    ------
    DeviceError
        If this device has no such document, or the cloud cannot be asked.
    """
    if device.profile.is_revoked:
        raise Revoked
    local = device.database
    revs = _leaf_revs(local, doc_id)
    if not device.profile.cloud or not device.has_login():
        raise DeviceError(
            "this device is not registered in the cloud yet; start the agent with `run` first"
        )
    cloud = device.cloud_control
    with the_cloud(cloud):
        missing = find_missing({doc_id: revs}, cloud).get(doc_id, [])
    reasons = {rev: _refusal(local, cloud, doc_id, rev) for rev in missing}
    refused = {rev: reason for rev, reason in reasons.items() if reason is not None}
    leaves = _cloud_leaves(cloud, doc_id)
    is_in_cloud = any(not leaf.get("_deleted") for leaf in leaves)
    unknown = find_missing({doc_id: [leaf["_rev"] for leaf in leaves]}, local).get(doc_id, [])
    kept = [str(path) for rev in refused for path in _keep(home, local, doc_id, rev)]
    for leaf in leaves:
        if refused and not leaf.get("_deleted") and leaf["_rev"] not in (*unknown, *revs):
            _write(local, _write_again(cloud, leaf))
        elif leaf["_rev"] in unknown:
            _write(local, leaf)
    for rev in refused:
        tombstone = _tombstone(doc_id, rev)
        with the_cloud(cloud):
            _send(cloud, tombstone)
        _write(local, tombstone)
    return {
        "document": doc_id,
        "undone": bool(refused),
        "in_cloud": is_in_cloud,
        "reasons": list(refused.values()),
        "kept": kept,
    }


@contextmanager
def the_cloud(cloud: Database) -> Iterator[None]:
    """Turn the errors of the cloud's CouchDB into `CloudFailed`."""
    try:
        yield
    except CouchError as exc:
        raise CloudFailed(exc, cloud.url) from exc


def _refusal(local: Database, cloud: Database, doc_id: str, rev: str) -> str | None:
    """Send a revision to the cloud. Return why the cloud refuses it, or None if it does not.

    It is sent with its history, as a replicator does. So in the cloud, too, a deletion ends the
    branch that it ends here.

    A refused deletion counts only if it makes a difference: the document is deleted here, and not
    there. Else it is sent again without the history, so that it does not wait for ever.
    """
    try:
        doc = revision(local, doc_id, rev, max_bytes=MAX_BYTES)
    except Unreadable:
        return _UNREADABLE
    return None if doc is None else refusal_of(doc, local, cloud)


def refusal_of(doc: JsonDict, local: Database, cloud: Database) -> str | None:
    """Do the same for a revision that was read with its history."""
    doc_id, rev = doc["_id"], doc["_rev"]
    with the_cloud(cloud):
        reason = _send(cloud, doc)
    if reason is None or not doc.get("_deleted"):
        return reason
    is_here = is_there(local, doc_id)
    with the_cloud(cloud):
        if not is_here and is_there(cloud, doc_id):
            return reason
        _send(cloud, _deletion(doc_id, rev))
    return None


def is_there(database: Database, doc_id: str) -> bool:
    """Tell whether a document exists and is not deleted. One request."""
    try:
        return "_rev" in database.stub(doc_id)
    except NotFound:
        return False
    except (AttributeError, IndexError, KeyError, TypeError) as exc:
        raise CouchError(200, "bad_answer", "the answer is not CouchDB's") from exc


def _send(cloud: Database, doc: JsonDict) -> str | None:
    """Write a revision into the cloud. Return why the cloud refuses it, or None if it does not."""
    try:
        row = cloud.put_revision(doc)
    except CouchError as exc:
        if exc.status == 413:
            return "it is larger than the cloud accepts"
        if isinstance(exc, BadRequest):  # its JSON
            return exc.reason[:_REASON_LENGTH]
        raise
    if row is None:
        return None
    error, reason = str(row["error"]), str(row.get("reason"))[:_REASON_LENGTH]
    if error not in _REFUSED:
        raise CouchError(200, error, reason)
    return reason


def _write(local: Database, doc: JsonDict) -> None:
    row = local.put_revision(doc)
    if row is not None:
        raise CouchError(200, str(row["error"]), str(row.get("reason")))


def _leaf_revs(local: Database, doc_id: str) -> list[str]:
    page = leaf_page(local, "0")
    while not page.is_last:
        if doc_id in page.revs:
            return page.revs[doc_id]
        page = leaf_page(local, page.last_seq)
    raise DeviceError(
        f"there is no document “{doc_id}”; `status` lists the documents that the cloud refused"
    )


def _cloud_leaves(cloud: Database, doc_id: str) -> list[JsonDict]:
    try:
        leaves = cloud.leaves(doc_id, max_bytes=MAX_BYTES)
    except (InvalidName, NotFound):
        return []
    except CouchError as exc:
        raise CloudFailed(exc, cloud.url) from exc
    if not all(_is_leaf(leaf, doc_id) for leaf in leaves):
        raise CloudFailed(ValueError("the answer is not CouchDB's"), cloud.url)
    return leaves


def _is_leaf(leaf: JsonDict, doc_id: str) -> bool:
    """Tell whether an answer is a revision of a document, with its history."""
    revisions = leaf.get("_revisions")
    return (
        leaf.get("_id") == doc_id
        and isinstance(leaf.get("_rev"), str)
        and isinstance(revisions, dict)
        and isinstance(revisions.get("ids"), list)
    )


def _keep(home: Home, local: Database, doc_id: str, rev: str) -> Iterator[Path]:
    """Keep a revision in a file, unless it is a deletion or cannot be read. Yield the file."""
    try:
        doc = revision(local, doc_id, rev, max_bytes=MAX_BYTES)
    except Unreadable:
        return
    if doc is not None and not doc.get("_deleted"):
        yield home.keep(doc)


def _write_again(cloud: Database, leaf: JsonDict) -> JsonDict:
    """Write the cloud's version over itself. Return it in its new revision.

    The refused revision was made from the cloud's, which is therefore no leaf on this device, and
    cannot become one again.

    Raises
    ------
    DeviceError
        If the cloud does not accept it, or its version changes at the same time.
    """
    history = leaf["_revisions"]["ids"]
    doc = {name: value for name, value in leaf.items() if name != "_revisions"}
    try:
        rev = cloud.put(doc)
    except Conflict as exc:
        raise DeviceError("the cloud has just changed the document; run `undo` again") from exc
    except Forbidden as exc:
        raise DeviceError(
            f"the cloud does not accept its own version again: {without_full_stop(exc.reason)}. "
            "Nothing was changed. Try again when the cloud has changed the document, or when its "
            "operator has run `make upgrade`"
        ) from exc
    except CouchError as exc:
        raise CloudFailed(exc, cloud.url) from exc
    number, _, digest = rev.partition("-")
    revisions = {"start": int(number), "ids": [digest, *history]}
    return {**leaf, "_rev": rev, "_revisions": revisions}


def _tombstone(doc_id: str, rev: str) -> JsonDict:
    """Return the deletion of a refused revision."""
    number, _, digest = rev.partition("-")
    new = hashlib.sha256(f"{doc_id} {rev}".encode(errors="surrogatepass")).hexdigest()[:32]
    return _deletion(doc_id, f"{int(number) + 1}-{new}", digest)


def _deletion(doc_id: str, rev: str, *parents: str) -> JsonDict:
    """Return a deletion whose history does not reach back to a revision of the cloud's.

    So the cloud takes it for the deletion of something that it never had, and the branch ends in
    the cloud as it does here. With its whole history it would be the deletion of the cloud's own
    version, which the rules may refuse.
    """
    number, _, digest = rev.partition("-")
    revisions = {"start": int(number), "ids": [digest, *parents]}
    return {"_id": doc_id, "_rev": rev, "_deleted": True, "_revisions": revisions}
