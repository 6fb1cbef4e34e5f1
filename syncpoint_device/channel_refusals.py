"""Find the documents of a channel that the cloud does not accept, and why, at a bounded cost.

A channel may have very many documents. So the device's notes keep up to where it was compared, and
what the cloud lacked. That is sent once more, as in `syncpoint_device.refusals`, because the answer
has the reason. A document that was only waiting has then arrived.

A document with attachments, or of more than 1 MB, is not sent a second time. If CouchDB's
replicator has passed it and the cloud lacks it, the cloud has not accepted it. PouchDB Server does
not say how far its replicator is, so there it counts as waiting.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from chalicelib.couch import Database, NoDatabase, Unreadable
from chalicelib.domain.documents import JsonDict
from syncpoint_device import channels
from syncpoint_device.databases import Device, Say
from syncpoint_device.errors import CloudFailed
from syncpoint_device.home import Home
from syncpoint_device.known import Known
from syncpoint_device.log import Problem
from syncpoint_device.progress import MAX_PAGES, Notes, instance_of, sent_through, seq_number
from syncpoint_device.refusals import (
    MAX_ASKED,
    MAX_BYTES,
    Refusal,
    is_there,
    refusal_of,
    the_cloud,
)
from syncpoint_device.replications import (
    Replication,
    find_missing,
    leaf_page,
    leaves_of,
    revision,
)
from syncpoint_device.texts import refused_in_channel

DESIGN = "only the cloud writes design documents, which are code"
NOT_ACCEPTED = (
    "the cloud did not accept it. It or an attachment may be too large, or this device may not "
    "write it"
)


@dataclass
class _Note:
    """What is known of a channel.

    Attributes
    ----------
    instance, cloud : str
        The two databases that were compared.
    since, until : str
        Up to where all changes were compared, and up to where any were.
    lacking : dict
        The leaf revisions of at most twenty documents that the cloud lacks.
    refused : dict
        Why, by document, if that is known.
    """

    instance: str
    cloud: str
    since: str = "0"
    until: str = "0"
    lacking: dict[str, list[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def find_refused(
    local: Database,
    cloud: Database,
    replications: Sequence[Replication],
    notes: Notes,
    *,
    max_pages: float = MAX_PAGES,
    asks_again: bool = True,
) -> list[Refusal]:
    """Find at most twenty documents of a channel that the cloud does not accept.

    Two requests to the device's CouchDB if nothing changed and nothing is lacking; one to each side
    for each page of a thousand changes; and some for each lacking document.

    Parameters
    ----------
    replications : sequence of Replication
        Those of the local database.
    notes : dict
        What earlier calls have found; changed.
    asks_again : bool
        Whether to send what was refused before once more, because the rules may have changed.

    Returns
    -------
    list of Refusal
        Design documents last, because they may be many, and stay on the device as a rule.

    Raises
    ------
    CloudFailed
        If the cloud does not answer. The next call does what was not done.
    CouchError
        If the device's own CouchDB does not answer.
    """
    note = _note(notes.get(local.name, {}), instance_of(local), cloud.url)
    finder = _Finder(local, cloud, note, sent_through(replications, local))
    finder.ask_again(is_sent=asks_again)
    finder.read(max_pages)
    notes[local.name] = vars(note)
    found = [Refusal(doc_id, note.lacking[doc_id][0], why) for doc_id, why in note.refused.items()]
    return sorted(found, key=lambda one: _is_design(one.doc_id))


class _Finder:
    """One call of `find_refused`; it changes the note."""

    def __init__(self, local: Database, cloud: Database, note: _Note, through: object) -> None:
        self._local, self._cloud, self._note, self._through = local, cloud, note, through

    def ask_again(self, *, is_sent: bool) -> None:
        """Ask about what the cloud lacked before. What was changed since is in the next pages."""
        note = self._note
        leaves = leaves_of(self._local, list(note.lacking))
        kept = {
            doc_id: [rev for rev in revs if rev in leaves.get(doc_id, [])]
            for doc_id, revs in note.lacking.items()
        }
        before, is_passed = note.lacking, self._is_passed(note.until)
        lacking = self._find_missing({doc_id: revs for doc_id, revs in kept.items() if revs})
        known, note.lacking, note.refused = note.refused, {}, {}
        for doc_id, revs in lacking.items():
            if doc_id in known and revs == before[doc_id] and not is_sent:
                note.lacking[doc_id], note.refused[doc_id] = revs, known[doc_id]
            else:
                self._ask(doc_id, revs, is_passed=is_passed)

    def read(self, max_pages: float) -> None:
        """Ask about what was changed since, while there is room in the note."""
        note, pages = self._note, 0
        while pages < max_pages and len(note.lacking) < MAX_ASKED:
            page = leaf_page(self._local, note.since, with_design=True)
            missing = self._find_missing(page.revs)
            note.until, is_passed = page.last_seq, self._is_passed(page.last_seq)
            for asked, (doc_id, revs) in enumerate(missing.items()):
                if asked >= MAX_ASKED or len(note.lacking) >= MAX_ASKED:
                    return  # the next call looks at this page again
                if note.lacking.get(doc_id) != revs:
                    self._ask(doc_id, revs, is_passed=is_passed)
            note.since, pages = page.last_seq, pages + 1
            if page.is_last:
                return

    def _ask(self, doc_id: str, revs: list[str], *, is_passed: bool) -> None:
        """Find out why the cloud lacks some revisions of a document."""
        left, reason = [], None
        for rev in revs:
            is_lacking, why = self._ask_rev(doc_id, rev, is_passed=is_passed)
            if is_lacking:
                left.append(rev)
                reason = reason or why
        note = self._note
        note.lacking.pop(doc_id, None)
        note.refused.pop(doc_id, None)
        if left:
            note.lacking[doc_id] = left
        if reason is not None:
            note.refused[doc_id] = reason

    def _ask_rev(self, doc_id: str, rev: str, *, is_passed: bool) -> tuple[bool, str | None]:
        """Return whether the cloud still lacks a revision, and why; None if that is not known."""
        if _is_design(doc_id):
            return (True, DESIGN) if is_there(self._local, doc_id) else (False, None)
        unsent = (True, NOT_ACCEPTED if is_passed else None)
        try:
            doc = revision(self._local, doc_id, rev, max_bytes=MAX_BYTES, with_attachments=False)
        except Unreadable:
            return unsent
        if doc is None:
            return False, None
        if doc.get("_attachments"):
            return unsent
        reason = refusal_of(doc, self._local, self._cloud)
        return reason is not None, reason

    def _find_missing(self, revs: dict[str, list[str]]) -> dict[str, list[str]]:
        with the_cloud(self._cloud):
            return find_missing(revs, self._cloud)

    def _is_passed(self, seq: str) -> bool:
        """Tell whether the replicator has passed a seq."""
        return self._through is not None and seq_number(self._through) >= seq_number(seq)


def _is_design(doc_id: str) -> bool:
    return doc_id.startswith("_design/")


def _note(known: JsonDict, instance: str, cloud: str) -> _Note:
    """Return a note of an earlier call; a new one if it is of other databases, or odd."""
    new = _Note(instance, cloud)
    if known.keys() != vars(new).keys() or (known["instance"], known["cloud"]) != (instance, cloud):
        return new
    lacking, refused = known["lacking"], known["refused"]
    if not isinstance(lacking, dict) or not isinstance(refused, dict):
        return new
    texts = [known["since"], known["until"], *refused.values()]
    is_odd = not all(isinstance(text, str) for text in texts)
    if is_odd or not all(isinstance(revs, list) for revs in lacking.values()):
        return new
    return _Note(instance, cloud, known["since"], known["until"], dict(lacking), dict(refused))


class RefusalWatch:
    """Tells in the agent's log what the cloud does not accept of channels, once in a run."""

    def __init__(self, home: Home, say: Say) -> None:
        self._home, self._say = home, say
        self._told: set[tuple[str, str, str]] = set()
        self._turn = 0

    def look(self, device: Device) -> None:
        """Compare a page of one channel; the channels take turns. A few requests.

        Three requests to the device's CouchDB for the lists, and those of `find_refused`.
        """
        replications = device.replications.all()
        groups = {one.group for one in replications if not one.is_stalled}
        listed = channels.list_all(device)
        replicated = [one for one in listed if device.channel(one["_id"]).name in groups]
        if not replicated:
            return
        self._turn += 1
        channel = replicated[self._turn % len(replicated)]
        local, cloud = device.channel(channel["_id"]), device.channel_in_cloud(channel["_id"])
        found = [one for one in replications if one.group == local.name]
        known = Known(self._home)
        try:
            refused = find_refused(
                local, cloud, found, known.refused, max_pages=1, asks_again=False
            )
        except (CloudFailed, NoDatabase):
            return  # others say why
        known.save()
        for one in refused:
            key = (local.name, one.doc_id, one.rev)
            if key not in self._told:
                self._told.add(key)
                what = refused_in_channel(one.doc_id, channel["name"], one.reason)
                self._say("cloud", Problem(what))
