"""Find replications that have passed over documents, and restart them from the start.

A replicator goes on where its checkpoint says. Checkpoints are `_local` documents, which no rule
protects: on a public channel everybody may write them. A replication whose checkpoint was moved
forward looks as if all were well, and documents are missing.

So one page of one replication is compared at a time. A revision that its target lacks twice in a
row, and still lacks when nothing is pending, is a gap. Each revision causes one restart only: the
rules of the target may refuse it, or the device may be unable to store it.
"""

from dataclasses import dataclass, field

from chalicelib.couch import CouchError, Database
from syncpoint_device.databases import CONTROL, OUTBOX, Device
from syncpoint_device.replications import Replication, find_missing, leaf_page

Revs = dict[str, list[str]]
# The key of a replication: its group, and whether it sends.
Key = tuple[str, bool]


@dataclass
class _Progress:
    """How far one replication was compared.

    Attributes
    ----------
    since : str
        Where the next page begins.
    missing : dict
        What the target lacked at the last look.
    known : set
        The revisions that have caused a restart.
    """

    since: str = "0"
    missing: Revs = field(default_factory=dict)
    known: set[tuple[str, str]] = field(default_factory=set)


class Gaps:
    """What was compared so far, and what was missing."""

    def __init__(self) -> None:
        self._progress: dict[Key, _Progress] = {}
        self._turn = 0

    def find(self, device: Device) -> Replication | None:
        """Compare one page of one replication. Return the replication if it has a gap.

        Two requests to the device's CouchDB for the list of replications; then one or two to each
        side. The replications take turns; one with missing revisions is looked at twice.
        """
        found = {_key(one, device): one for one in device.replications.all()}
        found = {key: one for key, one in found.items() if key[0] != OUTBOX}
        self._progress = {key: self._progress.get(key, _Progress()) for key in found}
        suspects = [key for key in found if self._progress[key].missing]
        keys = suspects or sorted(found)
        if not keys:
            return None
        self._turn += 1
        key = keys[self._turn % len(keys)]
        try:
            return found[key] if self._has_gap(device, key, found[key]) else None
        except CouchError:  # one side does not answer, which others report
            self._progress[key].missing = {}
            return None

    def _has_gap(self, device: Device, key: Key, replication: Replication) -> bool:
        progress, (source, target) = self._progress[key], _ends(device, key)
        if progress.missing:
            missing, progress.missing = find_missing(progress.missing, target), {}
            if not missing or replication.is_busy:
                return False
            progress.known |= {(doc_id, rev) for doc_id, revs in missing.items() for rev in revs}
            return True
        page = leaf_page(source, progress.since)
        progress.since = "0" if page.is_last else page.last_seq
        for doc_id, revs in find_missing(page.revs, target).items():
            new = [rev for rev in revs if (doc_id, rev) not in progress.known]
            if new:
                progress.missing[doc_id] = new
        return False


def _key(replication: Replication, device: Device) -> Key:
    local = _local(device, replication.group)
    return replication.group, replication.doc["source"]["url"] == local.url


def _local(device: Device, group: str) -> Database:
    return device.database if group == CONTROL else device.server.database(group)


def _ends(device: Device, key: Key) -> tuple[Database, Database]:
    """Open the source and the target of a replication."""
    group, is_sending = key
    local, cloud = _local(device, group), device.cloud_control
    if group != CONTROL:
        cloud = device.in_cloud(group.removeprefix(device.profile.prefix))
    return (local, cloud) if is_sending else (cloud, local)
