"""Say that a channel is in sync when it is, and not when its replication starts."""

from collections.abc import Sequence

from chalicelib.couch import CouchError
from syncpoint_device import channels
from syncpoint_device.backoff import BackOff
from syncpoint_device.databases import CONTROL, OUTBOX, Device, Say
from syncpoint_device.home import Home
from syncpoint_device.known import Known
from syncpoint_device.progress import compare
from syncpoint_device.replications import Replication

# The states in which a replicator replicates, of CouchDB's scheduler and of PouchDB Server.
_RUNNING = {"running", "pending", "triggered"}


class SyncWatch:
    """Compares each channel with the cloud until it is in sync, and says so once.

    A channel whose replications stop, or whose cloud cannot be reached, is compared again.

    Parameters
    ----------
    min_s, max_s : float
        The wait after the first comparison of a channel that is not in sync, and the longest one.
    """

    def __init__(self, home: Home, say: Say, min_s: float, max_s: float) -> None:
        self._home, self._say, self._min_s, self._max_s = home, say, min_s, max_s
        self._in_sync: set[str] = set()
        self._waits: dict[str, BackOff] = {}

    def start_over(self) -> None:
        """Forget what was in sync."""
        self._in_sync.clear()
        self._waits.clear()

    def look(self, device: Device, replications: Sequence[Replication]) -> None:
        """Compare the channels that are due. Some requests for each, of whatever size it is.

        Parameters
        ----------
        replications : sequence of Replication
            All of the device's.
        """
        due = [group for group in _complete_groups(replications) if self._is_due(group)]
        self._in_sync &= _complete_groups(replications)
        if not due:
            return
        known = Known(self._home)
        for channel in channels.list_all(device):
            local = device.channel(channel["_id"])
            if local.name not in due:
                continue
            found = [one for one in replications if one.group == local.name]
            try:
                remote = device.channel_in_cloud(channel["_id"])
                refused = known.refused_of(local.name)
                comparison = compare(local, remote, found, known.positions, refused)
            except CouchError:
                self._waits[local.name].fail()
                continue
            known.remember(local.name, comparison, device.clock())
            if comparison["to_send"] or comparison["to_receive"] or comparison["is_estimate"]:
                self._waits[local.name].fail()
            else:
                self._in_sync.add(local.name)
                self._say(channel["name"], f"in sync; its database here is {local.name}")
        known.save()

    def _is_due(self, group: str) -> bool:
        if group in self._in_sync:
            return False
        wait = self._waits.setdefault(group, BackOff(self._min_s, self._max_s))
        return wait.remaining_s == 0


def _complete_groups(replications: Sequence[Replication]) -> set[str]:
    """Return the names of the local databases that are replicated both ways."""
    ends: dict[str, set[str]] = {}
    for one in replications:
        if one.state in _RUNNING and one.group not in (CONTROL, OUTBOX):
            ends.setdefault(one.group, set()).add(str(one.doc["source"]["url"]))
    return {group for group, sources in ends.items() if len(sources) > 1}
