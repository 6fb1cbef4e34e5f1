"""The agent: it follows the registration, and reconciles replications with the owner's documents.

At each start it handles all documents again, and compares the result with `_replicator`. So it does
not matter when or how the agent was ended.
"""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from chalicelib.couch import ChangesPage, CouchError, Unreadable
from chalicelib.domain.addresses import shown_address
from chalicelib.domain.documents import JsonDict, timestamp
from chalicelib.domain.names import subscription_id
from chalicelib.engine.runner import Message, handle
from syncpoint_device import channels, logins
from syncpoint_device.backoff import BackOff, Restarts
from syncpoint_device.channel_refusals import RefusalWatch
from syncpoint_device.cloud import CloudMonitor, CloudStatus, fill_outbox, remove_outbox
from syncpoint_device.databases import CONTROL, OUTBOX, Device, Say
from syncpoint_device.errors import (
    CloudFailed,
    DeviceError,
    LoginRefused,
    RegistrationRejected,
    Revoked,
    Unverified,
)
from syncpoint_device.gaps import Gaps
from syncpoint_device.home import AGENT_NOTE, Home
from syncpoint_device.known import Known
from syncpoint_device.log import Problem, Recovery
from syncpoint_device.network import is_behind_proxy
from syncpoint_device.news import News
from syncpoint_device.reasons import ANOTHERS, of_error, of_replication
from syncpoint_device.refusals import Refusals
from syncpoint_device.replications import Replication
from syncpoint_device.sync_watch import SyncWatch
from syncpoint_device.texts import refused
from syncpoint_device.transitions import registry

_PAGE = 100
# Errors that a server answers because of the document, as with an id of 40,000 characters.
_DOCUMENT_ERRORS = {400, 413, 414, 431}
_HANDLED_STATES = [[transition.doc_type, transition.state] for transition in registry]


@dataclass(frozen=True)
class Intervals:
    """How long the agent waits, in seconds.

    Attributes
    ----------
    changes_s : float
        The longest wait for changes before the agent checks its replications.
    min_retry_s, max_retry_s : float
        The wait after a first failure, and the longest one. It doubles with each failure.
    pending_s : float
        The longest time between two checks of a registration that is not active yet.
    check_s : float
        The time between two checks of the cloud while all is well.
    login_s : float
        The time between two tries of a login that the device's own CouchDB refuses. CouchDB locks
        a login after five wrong passwords in five minutes.
    max_restart_s : float
        The longest time between two restarts of a stalled replication. Each restart leaves a
        deleted document behind.
    """

    changes_s: float = 10
    min_retry_s: float = 1
    max_retry_s: float = 60
    pending_s: float = 10
    check_s: float = 60
    login_s: float = 310
    max_restart_s: float = 3600


class Agent:
    """The agent of the device whose file is in `home`.

    Parameters
    ----------
    is_ended : callable
        Asked between two steps; the agent may also be killed in the middle of one.
    """

    def __init__(
        self,
        home: Home,
        say: Say,
        clock: Callable[[], datetime],
        intervals: Intervals | None = None,
        is_ended: Callable[[], bool] = lambda: False,
    ) -> None:
        self._home, self._say, self._clock, self._is_ended = home, say, clock, is_ended
        self._intervals = intervals = intervals or Intervals()
        self._monitor = CloudMonitor(home, say)
        self._news = News(home, say)
        self._refusals = Refusals()
        self._channel_watch = RefusalWatch(home, say)
        self._gaps = Gaps()
        self._checks = BackOff(intervals.min_retry_s, intervals.max_retry_s)
        self._restarts = Restarts(intervals.min_retry_s, intervals.max_restart_s)
        self._sync_watch = SyncWatch(home, say, intervals.min_retry_s, intervals.max_retry_s)
        self._failures = BackOff(intervals.min_retry_s, intervals.max_retry_s)
        self._problem = ""  # of the device's own CouchDB, as it was told

    def run(self) -> None:
        """Run until the agent is ended.

        Raises
        ------
        Revoked
            If the device was revoked. Its replications are removed.
        DeviceError
            If the cloud refused the registration for good, or another agent of this device runs.
        """
        with self._home.only_agent():
            note = {"pid": os.getpid(), "since": timestamp(self._clock())}
            self._home.write_note(AGENT_NOTE, note)
            try:
                self._run()
            finally:
                self._home.remove_note(AGENT_NOTE)

    def _run(self) -> None:
        while not self._is_ended():
            written_at = self._home.written_at
            device = Device.of(self._home.load(), self._say, self._clock)
            if device.profile.is_revoked:
                raise Revoked
            try:
                device = logins.adopt(self._home, device)
                self._reconcile(device)
            except LoginRefused as exc:
                self._wait_for_login(written_at, exc)
            except Unverified as exc:
                self._say_problem(str(exc))
                time.sleep(self._failures.fail())
            except DeviceError as exc:
                device.replications.remove_all()
                if isinstance(exc, Revoked):
                    self._home.update(lambda kept: replace(kept, is_revoked=True))
                if isinstance(exc, RegistrationRejected):
                    self._home.update(lambda kept: replace(kept, is_rejected=True))
                raise
            except CouchError as exc:
                why = of_error(exc, device.server.url)
                self._say_problem(f"this device's CouchDB failed, trying again: {why}")
                time.sleep(self._failures.fail())

    def _wait_for_login(self, written_at: int, exc: LoginRefused) -> None:
        """Say what to do, once. Wait some minutes, or until the command `couch` has been run."""
        self._say_problem(str(exc))
        wait = BackOff(self._intervals.login_s, self._intervals.login_s)
        wait.fail()
        while wait.remaining_s and not self._is_ended() and self._home.written_at == written_at:
            time.sleep(min(self._intervals.min_retry_s, wait.remaining_s))

    def _reconcile(self, device: Device) -> None:
        """Handle all documents, then their changes, until all must be handled again."""
        self._check_verifies(device)
        self._start(device)
        self._refusals.start_over()
        since, is_last = "0", False
        while not is_last:
            page = self._handle_changes(device, since)
            since, is_last = page["last_seq"], page["is_last"]
        device.replications.remove_orphans()
        self._failures.succeed()
        while not self._is_ended():
            wait_s = min(self._intervals.changes_s, self._checks.remaining_s)
            page = self._handle_changes(device, since, wait_s)
            since = page["last_seq"]
            self._look_at_replications(device)
            if _has_deleted_subscription(page, device):
                return
            if self._home.load().couch != device.profile.couch:  # by the command `couch`
                return
            if self._has_cloud_changed(device):
                return

    def _check_verifies(self, device: Device) -> None:
        """Replicate nothing while this device's CouchDB does not check the cloud's certificate."""
        try:
            device.check_verifies()
        except Unverified:
            device.replications.remove_all()
            raise

    def _say_problem(self, problem: str) -> None:
        """Say once what is wrong with the device's own CouchDB."""
        if problem != self._problem:
            self._problem = problem
            self._say("couchdb", Problem(problem))

    def _start(self, device: Device) -> None:
        if not device.acquire(device.database):
            raise DeviceError(ANOTHERS.format(database=device.database.name))
        if self._problem:
            self._problem = ""
            self._say("couchdb", Recovery("this device's CouchDB can be used again"))
        if device.has_login() and device.profile.cloud:
            self._monitor.is_active = True
        if self._monitor.is_active:
            device.replications.reconcile(CONTROL, device.control_both_ways())
            remove_outbox(device)
            owner = shown_address(device.profile.owner_address)
            self._say("agent", f"looks after the channels of {owner}")
        else:
            fill_outbox(device)

    def _handle_changes(self, device: Device, since: str, wait_s: float = 0) -> ChangesPage:
        """Read a page of changes and handle each document that can be read. Return the page."""
        page = device.database.changes(since, limit=_PAGE, wait_s=wait_s)
        for bad in page["bad"]:
            self._say(bad.doc_id[:80], Problem(f"cannot be read: {bad.reason}"))
        for row in page["results"]:
            self._handle(device, row.get("doc") or {})
        self._news.save()
        return page

    def _handle(self, device: Device, doc: JsonDict) -> None:
        what = [doc.get("type"), doc.get("state")]  # they may have any JSON type
        try:
            self._news.look(device, doc)
            if what in _HANDLED_STATES:
                message = Message(device.database.name, doc["_id"], doc["type"], doc["state"], doc)
                handle(message, registry, device)
        except DeviceError:
            raise
        except Exception as exc:  # so that no document keeps the agent from the next one
            if isinstance(exc, CouchError) and not _is_of_document(exc):
                raise
            why = f"cannot be handled: {type(exc).__name__}: {exc}"
            self._say(doc["_id"][:80], Problem(why[:200]))

    def _look_at_replications(self, device: Device) -> None:
        """Restart the stalled replications that are due, and say which channels are in sync."""
        if self._monitor.is_unreachable:
            self._sync_watch.start_over()
            return  # all are restarted when the cloud answers again
        replications = device.replications.all()
        self._restart_stalled(device, [one for one in replications if one.is_stalled])
        if self._monitor.is_active:
            self._sync_watch.look(device, replications)

    def _restart_stalled(self, device: Device, stalled: list[Replication]) -> None:
        """Restart the stalled replications that are due, and check the cloud for the cause."""
        groups = self._restarts.due({one.group for one in stalled})
        due = [one for one in stalled if one.group in groups]
        if due:
            cloud = device.profile.cloud or device.profile.registrations
            causes = {
                of_replication(
                    one.reason or one.state, cloud, is_behind_proxy=is_behind_proxy(cloud)
                )
                for one in due
            }
            names = ", ".join(sorted(_names(device, {one.group for one in due})))
            what = f"stopped ({names}): {'; '.join(sorted(causes))}. Starting them again"
            self._say("replications", Problem(what))
            _restart(device, due)
            self._checks.retry_now()

    def _has_cloud_changed(self, device: Device) -> bool:
        """Check the cloud if a check is due. Return whether to handle all documents again."""
        if self._checks.remaining_s:
            return False
        self._check_verifies(device)
        status = self._monitor.check(device)
        if status is not CloudStatus.UNREACHABLE:
            self._remember_reached()
        if status is CloudStatus.RECOVERED:  # CouchDB itself may wait for hours
            _restart(device, device.replications.all())
        if status is CloudStatus.UNREACHABLE:
            self._checks.fail()
        elif status is CloudStatus.CHANGED:
            self._checks.succeed()
        elif self._monitor.is_active:
            self._say_refusals(device)
            self._close_gap(device)
            self._channel_watch.look(device)
            self._checks.succeed(self._intervals.check_s)
        else:
            self._checks.fail(self._intervals.pending_s)
        return status is CloudStatus.CHANGED

    def _remember_reached(self) -> None:
        known = Known(self._home)
        known.reach(self._clock())
        known.save()

    def _say_refusals(self, device: Device) -> None:
        """Say which documents the cloud has refused since the last check, and why."""
        try:
            for refusal in self._refusals.find(device):
                self._say("cloud", Problem(f"refused {refused(refusal.doc_id, refusal.reason)}"))
        except CloudFailed:
            return  # the next check of the cloud says why

    def _close_gap(self, device: Device) -> None:
        """Restart a replication that has passed over documents."""
        replication = self._gaps.find(device)
        if replication is not None:
            self._say("replications", f"{replication.group} has passed over documents; restarted")
            device.replications.restart(replication, from_start=True)


def _is_of_document(exc: CouchError) -> bool:
    return isinstance(exc, Unreadable) or exc.status in _DOCUMENT_ERRORS


def _names(device: Device, groups: set[str]) -> set[str]:
    """Return what people call some groups of replications. One request."""
    names = {CONTROL: "your lists", OUTBOX: "the registration"}
    for channel in channels.list_all(device):
        names[device.channel(channel["_id"]).name] = f"“{channel['name']}”"
    return {names.get(group, group) for group in groups}


def _restart(device: Device, replications: Iterable[Replication]) -> None:
    for replication in replications:
        device.replications.restart(replication)


def _has_deleted_subscription(page: ChangesPage, device: Device) -> bool:
    """Tell whether a subscription was deleted, so that its replications are orphans."""
    end = subscription_id("", device.profile.owner_id)
    return any(row.get("deleted") and str(row["id"]).endswith(end) for row in page["results"])
