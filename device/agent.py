"""The agent: registers its device, then lets its CouchDB follow its owner's documents.

Everything is decided anew at each start, from the documents and from what is in `_replicator`, so
it does not matter when the agent was ended, or how.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from chalicelib.couch import CouchError
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import subscription_id
from chalicelib.engine.runner import Message, handle
from device.backoff import BackOff, Restarts
from device.cloud import Contact, Sight, empty_outbox, fill_outbox
from device.databases import CONTROL, Device, Say
from device.errors import DeviceError, Revoked
from device.home import Home
from device.replications import Replication
from device.transitions import registry

_PAGE = 100
# What a server says of a request that it cannot take, as with an id of 40,000 characters.
_OF_THE_DOCUMENT = {400, 413, 414, 431}
_KNOWN = [[transition.doc_type, transition.state] for transition in registry]


@dataclass(frozen=True)
class Pace:
    """How long the agent waits, in seconds.

    Attributes
    ----------
    wait_s : float
        For changes here, before it looks at its replications again.
    min_s, max_s : float
        Between two tries of what fails: from the first to the second, twice as long each time.
    waiting_s : float
        Between two looks at a registration that waits for its owner, at the most.
    steady_s : float
        Between two looks at the cloud while all is well.
    restart_s : float
        Between two beginnings of a replication that stands though the cloud is there, at the most:
        each leaves a deleted document behind.
    """

    wait_s: float = 10
    min_s: float = 1
    max_s: float = 60
    waiting_s: float = 10
    steady_s: float = 60
    restart_s: float = 3600


class Agent:
    """The agent of the device whose file is in `home`.

    Parameters
    ----------
    is_ended : callable
        Asked between two steps; the agent may also be ended in the middle of one.
    """

    def __init__(
        self,
        home: Home,
        say: Say,
        clock: Callable[[], datetime],
        pace: Pace | None = None,
        is_ended: Callable[[], bool] = lambda: False,
    ) -> None:
        self._home, self._say, self._clock, self._is_ended = home, say, clock, is_ended
        self._pace = pace or Pace()
        self._contact = Contact(home, say)
        self._looks = BackOff(self._pace.min_s, self._pace.max_s)
        self._restarts = Restarts(self._pace.min_s, self._pace.restart_s)
        self._failures = BackOff(self._pace.min_s, self._pace.max_s)

    def run(self) -> None:
        """Go on until it is ended.

        Raises
        ------
        Revoked
            If the device was revoked; nothing is replicated any more then.
        DeviceError
            If the cloud refused the registration for good, or another agent of this device runs.
        """
        with self._home.only_agent():
            self._run()

    def _run(self) -> None:
        while not self._is_ended():
            device = Device.of(self._home.load(), self._say, self._clock)
            if device.profile.is_revoked:
                raise Revoked
            try:
                self._follow(device)
            except DeviceError as exc:
                device.replications.remove_all()
                if isinstance(exc, Revoked):
                    self._home.update(lambda kept: replace(kept, is_revoked=True))
                raise
            except CouchError as exc:
                self._say("couchdb", f"the CouchDB here fails, trying again: {exc}")
                time.sleep(self._failures.fail())

    def _follow(self, device: Device) -> None:
        """All documents from the first on, until there is a reason to begin anew."""
        self._begin(device)
        since, is_more = "0", True
        while is_more:
            page = self._read(device, since)
            since, is_more = str(page["last_seq"]), bool(page["results"])
        device.replications.remove_strays()
        self._failures.succeed()
        while not self._is_ended():
            page = self._read(device, since, min(self._pace.wait_s, self._looks.remaining_s))
            since = str(page["last_seq"])
            self._tend(device)
            if _is_unsubscribed(page, device) or self._has_news(device):
                return

    def _begin(self, device: Device) -> None:
        if not device.make(device.database):
            raise DeviceError(f"{device.database.name} here is not this device's; `unlink` it")
        own = device.database.find_one(device.profile.device_id) or {}
        if own.get("state") in ("active", "revoking") and device.profile.cloud:
            self._contact.is_active = True
        if self._contact.is_active:
            device.replications.keep(CONTROL, device.control_both_ways())
            empty_outbox(device)
            self._say("agent", f"follows what {device.profile.address} has in the cloud")
        else:
            fill_outbox(device)

    def _read(self, device: Device, since: str, wait_s: float = 0) -> JsonDict:
        """A page of changes, each of them obeyed."""
        page = device.database.changes(since, limit=_PAGE, wait_s=wait_s)
        for row in page["results"]:
            self._obey(device, row.get("doc") or {})
        return page

    def _obey(self, device: Device, doc: JsonDict) -> None:
        if [doc.get("type"), doc.get("state")] not in _KNOWN:  # a list: they may be of any type
            return
        message = Message(device.database.name, doc["_id"], doc["type"], doc["state"], doc)
        try:
            handle(message, registry, device)
        except Revoked:
            raise
        except Exception as exc:  # the loop that isolates one document from the next
            if isinstance(exc, CouchError) and exc.status not in _OF_THE_DOCUMENT:
                raise
            self._say(doc["_id"][:80], f"cannot be obeyed: {type(exc).__name__}: {exc}"[:200])

    def _tend(self, device: Device) -> None:
        """Begin those replications anew that stand. Why they do, a look at the cloud may tell."""
        if self._contact.is_lost:
            return  # all are begun anew when the cloud is back
        standing = [one for one in device.replications.all() if one.stands]
        names = self._restarts.due({one.of for one in standing})
        due = [one for one in standing if one.of in names]
        if due:
            reasons = {one.reason or one.state for one in due}
            self._say("replications", f"{len(due)} begun anew ({'; '.join(sorted(reasons))})")
            self._begin_anew(device, due)
            self._looks.hasten()

    def _has_news(self, device: Device) -> bool:
        """Look at the cloud if it is time; whether what was found asks for a new beginning."""
        if self._looks.remaining_s:
            return False
        sight = self._contact.look(device)
        if sight is Sight.BACK:  # its own next try may be hours away
            self._begin_anew(device, device.replications.all())
        if sight is Sight.LOST:
            self._looks.fail()
        elif sight is Sight.CHANGED:
            self._looks.succeed()
        elif self._contact.is_active:
            self._looks.succeed(self._pace.steady_s)
        else:
            self._looks.fail(self._pace.waiting_s)
        return sight is Sight.CHANGED

    def _begin_anew(self, device: Device, replications: Iterable[Replication]) -> None:
        for replication in replications:
            device.replications.restart(replication)


def _is_unsubscribed(page: JsonDict, device: Device) -> bool:
    """Whether a subscription was deleted: what was made for it is a stray now."""
    end = subscription_id("", device.profile.owner)
    return any(row.get("deleted") and str(row["id"]).endswith(end) for row in page["results"])
