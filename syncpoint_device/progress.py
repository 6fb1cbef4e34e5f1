"""How far a local database and its counterpart in the cloud are apart, at a bounded cost.

A database may have very many changes. So only those are compared that the replicator has not passed
yet, and at most some pages of them. CouchDB's scheduler says how far its replicator is. PouchDB
Server does not. So the device's notes keep up to where a database was compared before.
"""

import json
import math
import uuid
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from chalicelib.couch import Conflict, CouchError, Database
from chalicelib.domain.documents import JsonDict
from syncpoint_device.replications import Replication, count_missing, find_missing, leaf_page

# How many pages of a thousand changes are compared in each direction.
MAX_PAGES = 2
# What is read to know its size: how many documents, and how long their JSON may be.
MAX_SIZED, MAX_SIZED_BYTES = 100, 1_000_000
# A local document of each local database; it is never replicated.
_MARK_DOC = "_local/syncpoint-compared"

# By the name of a database and a direction: {instance, since}, up to where it was compared.
Notes = dict[str, JsonDict]


@dataclass(frozen=True)
class _Way:
    """One direction. `target` is None while the cloud cannot be reached."""

    name: str
    local: Database
    source: Database
    target: Database | None
    replication: Replication | None


def compare(
    local: Database,
    remote: Database,
    replications: Sequence[Replication],
    notes: Notes,
    refused: Collection[str] = (),
    *,
    is_exact: bool = False,
    with_sizes: bool = False,
) -> JsonDict:
    """Compare two databases. Some requests, however many documents they have.

    Parameters
    ----------
    replications : sequence of Replication
        Those of the local database.
    notes : dict
        What earlier comparisons have found; changed.
    refused : collection of str
        The ids of documents that the cloud has refused. They do not wait.
    is_exact : bool
        Whether to compare all changes: two requests for each thousand.
    with_sizes : bool
        Whether to read what waits, if that is little, to know how large it is.

    Returns
    -------
    dict
        - ``to_send``, ``to_receive``: the numbers of documents that wait
        - ``bytes_to_send``, ``bytes_to_receive``: about how large they are with their attachments,
          if that was asked for and at most a hundred documents wait
        - ``is_estimate``: whether fewer documents may wait

    Raises
    ------
    CouchError
        If one of the two does not answer, or does not answer as a CouchDB.
    """
    if is_exact:
        counts = {
            "to_send": count_missing(local, remote, ignored=refused),
            "to_receive": count_missing(remote, local),
        }
        return {**counts, "is_estimate": False}
    sent = _Way("send", local, local, remote, _from(replications, local))
    received = _Way("receive", local, remote, local, _to(replications, local))
    there = _count(sent, notes, refused, with_sizes=with_sizes)
    back = _count(received, notes, (), with_sizes=with_sizes)
    return {**there, **back, "is_estimate": there["is_estimate"] or back["is_estimate"]}


def waiting_here(local: Database, replications: Sequence[Replication], notes: Notes) -> JsonDict:
    """Count what the replicator has still to look at here, while the cloud cannot be asked.

    Some of it may be in the cloud already, because it came from there.

    Returns
    -------
    dict
        ``{to_send, bytes_to_send?, is_estimate}``; `is_estimate` unless nothing waits.
    """
    way = _Way("send", local, local, None, _from(replications, local))
    return _count(way, notes, (), with_sizes=True)


def unsent(
    local: Database, replications: Sequence[Replication], notes: Notes, refused: JsonDict
) -> int:
    """Return how many documents may be on this device only, where nothing is sent any more.

    At most so many. Some requests.

    Parameters
    ----------
    refused : dict
        The note on the database of `syncpoint_device.channel_refusals`. It says up to where all but
        some documents were in the cloud.
    """
    key, mark = f"{local.name} send", instance_of(local)
    known = notes.get(key, {})
    reached = seq_number(known.get("since")) if known.get("instance") == mark else 0
    if refused.get("instance") == mark and seq_number(refused.get("since")) > reached:
        notes[key] = {"instance": mark, "since": str(refused.get("since"))}
    lacking = refused.get("lacking")
    waiting = int(waiting_here(local, replications, notes)["to_send"])
    return waiting + (len(lacking) if isinstance(lacking, dict) else 0)


def _from(replications: Sequence[Replication], local: Database) -> Replication | None:
    return next((one for one in replications if one.doc["source"]["url"] == local.url), None)


def _to(replications: Sequence[Replication], local: Database) -> Replication | None:
    return next((one for one in replications if one.doc["target"]["url"] == local.url), None)


def _count(way: _Way, notes: Notes, refused: Collection[str], *, with_sizes: bool) -> JsonDict:
    info = way.source.info()
    mark = instance_of(way.local)
    key = f"{way.local.name} {way.name}"
    since = compared = _start(way, notes.get(key, {}), info, mark)
    found: set[str] = set()
    rest = 0
    for _ in range(MAX_PAGES):
        page = leaf_page(way.source, since)
        missing = page.revs if way.target is None else find_missing(page.revs, way.target)
        found |= missing.keys() - refused
        since = page.last_seq
        if not found:
            compared = since
        rest = 0 if page.is_last else _rest(page.pending, info, since)
        if rest == 0:
            break
    notes[key] = {"instance": mark, "since": compared}
    documents = len(found) + rest
    is_sized = with_sizes and rest == 0 and 0 < documents <= MAX_SIZED
    size = _bytes(way.source, sorted(found)) if is_sized else None
    return {
        f"to_{way.name}": documents,
        **({} if size is None else {f"bytes_to_{way.name}": size}),
        "is_estimate": rest > 0 or (way.target is None and documents > 0),
    }


def instance_of(local: Database) -> str:
    """Return what tells a local database from one that was created again under its name."""
    doc = local.find_one(_MARK_DOC)
    if doc is None:
        doc = {"_id": _MARK_DOC, "mark": uuid.uuid4().hex}
        try:
            local.put(doc)
        except Conflict:  # the agent or `status` wrote one in this moment
            doc = local.find_one(_MARK_DOC) or doc
    return str(doc.get("mark"))


def _start(way: _Way, note: JsonDict, info: JsonDict, mark: str) -> str:
    """Return the seq up to which the target has everything. At most one request."""
    replication = way.replication
    if replication is not None:
        seq = replication.info.get("through_seq")
        if seq is None and replication.job is not None:
            # Both ends have the replicator's checkpoint. It is asked for here.
            doc_id = f"_local/{replication.job.partition('+')[0]}"
            with suppress(CouchError):
                seq = (way.local.find_one(doc_id) or {}).get("source_last_seq")
        if isinstance(seq, int | str):
            return str(seq)
    since = str(note.get("since", "0"))
    is_same = note.get("instance") == mark
    # A database that was created again has other seqs.
    return since if is_same and seq_number(since) <= seq_number(info.get("update_seq")) else "0"


def _rest(pending: int | None, info: JsonDict, since: str) -> int:
    """Return how many changes come after a seq. PouchDB Server reports no `pending`."""
    if pending is not None:
        return pending
    rest = seq_number(info.get("update_seq")) - seq_number(since)
    return max(0, int(rest)) if math.isfinite(rest) else 1


def sent_through(replications: Sequence[Replication], local: Database) -> object:
    """Return up to which seq the replicator has sent a local database; None if it is not known.

    All changes up to there have arrived, or were refused.
    """
    replication = _from(replications, local)
    return None if replication is None else replication.info.get("through_seq")


def seq_number(seq: object) -> float:
    """Return the number in a seq, ``12`` in ``12-g1AAAA``, and infinity if there is none."""
    number = str(seq).partition("-")[0]
    return int(number) if number.isdecimal() else math.inf


def _bytes(source: Database, doc_ids: list[str]) -> int | None:
    """Return about how large some documents are with their attachments. One request.

    None if that is not known: their JSON is too long, or the database does not answer.
    """
    params, body = {"include_docs": "true"}, {"keys": doc_ids}
    try:
        answer = source.request(
            "POST", "_all_docs", params=params, body=body, max_bytes=MAX_SIZED_BYTES
        )
        docs = [row.get("doc") or {} for row in answer["rows"]]
        files = [one for doc in docs for one in doc.get("_attachments", {}).values()]
        texts = [json.dumps(doc, ensure_ascii=False) for doc in docs]
        return sum(map(len, texts)) + sum(int(one["length"]) for one in files)
    except (CouchError, AttributeError, KeyError, TypeError, ValueError):
        return None  # anything may answer at a remote URL
