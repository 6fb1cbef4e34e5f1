"""Run the poller once: find out which databases changed, forward their changes, save the cursor."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from poller.databases import DbUpdates, DbUpdatesPage, DbUpdatesRefused, Scan, ScanPage
from poller.feed import gap_between
from poller.forward import Forwarder
from poller.lease import Cursor, Lease

# The longest wait of one request. The lease is renewed between waits, so it must be much longer.
LONGPOLL_S = 15.0

# With more failing databases than this, the cursor stays. Their names are stored in its item.
MAX_FAILING = 100

# The pause between two scans of all databases, if the server has no `_db_updates`.
SCAN_PAUSE_S = 2.0

# The pauses while only databases change that are not control databases: doubled each time.
MIN_PAUSE_S, MAX_PAUSE_S = 0.1, 2.0


@dataclass
class Poll:
    """One run of the poller.

    Parameters
    ----------
    cursor : Cursor
        The cursor that the last run saved.
    is_one_pass : bool
        Whether to end as soon as all changes were sent, without waiting for more.
    remaining_s : callable
        Returns how many seconds the run has left.
    pause : callable
        Waits for a number of seconds; ``time.sleep`` except in tests.
    warn : callable
        Called with a warning and its reason.
    """

    db_updates: DbUpdates
    scan: Scan
    forwarder: Forwarder
    lease: Lease
    cursor: Cursor
    is_one_pass: bool
    remaining_s: Callable[[], float]
    pause: Callable[[float], None]
    warn: Callable[[str, str], None]
    _always: Mapping[str, str] = field(default_factory=dict)
    _since: str = ""
    _is_scan_due: bool = True
    _is_retry_due: bool = True
    _is_first_read: bool = True
    _has_restarted: bool = False
    _pause_s: float = 0.0

    def run(self, control_db: str | None) -> None:
        """Forward changes until the time is over; with `is_one_pass`, until there are no more.

        Parameters
        ----------
        control_db : str or None
            The database that is read in each run, whether or not it is known to have changed. None
            if it is another shard's.

        Raises
        ------
        LeaseLost
            If another poller took over.
        Exception
            The error of the first database that failed, after all others were read.
        """
        self._always = {control_db: ""} if control_db else {}
        self.forwarder.failing = dict.fromkeys(self.cursor.failing)
        try:
            self._start()
        finally:  # after the end of `_db_updates` was read, and even if that failed
            self.forwarder.forward(self._always)
        while True:
            self.lease.renew()
            page = self._read()
            scanned = self.scan.read(self.cursor.scan_after) if self._is_scan_due else None
            self.forwarder.forward(self._update_seqs(page, scanned))
            self._save(page, scanned)
            if self._is_over(page):
                break
            self._pause(page)
        if self.forwarder.failure:
            raise self.forwarder.failure

    def _start(self) -> None:
        self._since = self.cursor.db_updates_seq
        if not self._since:
            self._restart()

    def _restart(self) -> None:
        """Go to the end of ``_db_updates``, and then scan all databases.

        If the server has no such feed, `_since` is empty, and the scan continues where it was.
        """
        self._has_restarted = True
        self._since = self.db_updates.last_seq() or ""
        if self._since:
            self._move(db_updates_seq=self._since, scan_after="", is_fully_scanned=False)
        self._is_scan_due = True

    def _read(self) -> DbUpdatesPage:
        """Read the next page of ``_db_updates``; without that feed, return `_always` as a page.

        Before a run waits for changes, it looks whether the feed ends before its seq. CouchDB then
        returns no rows, and the same seq.
        """
        if not self._since:
            return DbUpdatesPage(list(self._always), "", 0, is_last=True)
        try:
            page = self.db_updates.read(self._since, self._wait_s())
        except DbUpdatesRefused as exc:
            if self._has_restarted:
                raise
            return self._restarted(str(exc))
        if self._is_first_read and not self._has_restarted and not page.rows:
            gap = gap_between(self.db_updates.last_seq() or "", self._since)
            if gap > self.cursor.gap:
                self._move(gap=gap)
                return self._restarted(f"it ends before {self._since}")
        self._is_first_read = False
        self._since = page.last_seq
        return page

    def _restarted(self, why: str) -> DbUpdatesPage:
        """Restart ``_db_updates``, and return a page of what is read in any case."""
        self.warn("_db_updates restarted, and all databases are scanned", why)
        self._restart()
        return DbUpdatesPage(list(self._always), self._since, 0, is_last=not self._since)

    def _update_seqs(self, page: DbUpdatesPage, scanned: ScanPage | None) -> dict[str, str]:
        """Return the databases of both pages, each once, with their update seqs.

        The seqs of changed databases are requested before their changes are read. Then a later
        scan sees that nothing is new there. A database that is gone has an empty seq; reading it
        deletes its checkpoint. Once in a run, the databases that failed before it come last.
        """
        update_seqs = self.scan.update_seqs(page.dbs) | (scanned.update_seqs if scanned else {})
        if self._is_retry_due and page.is_last:
            self._is_retry_due = False
            update_seqs |= {db: update_seqs.get(db, "") for db in self.cursor.failing}
        return update_seqs

    def _wait_s(self) -> float:
        can_wait = not self.is_one_pass and not self._is_scan_due and self.forwarder.is_caught_up
        return max(0.0, min(LONGPOLL_S, self.remaining_s())) if can_wait else 0.0

    def _save(self, page: DbUpdatesPage, scanned: ScanPage | None) -> None:
        changes: dict[str, Any] = {}
        # A database that is held is read again like one that failed: by the next run.
        failing = tuple({**self.forwarder.failing, **dict.fromkeys(sorted(self.forwarder.held))})
        if not self.forwarder.lagging and len(failing) <= MAX_FAILING:
            changes |= {"db_updates_seq": page.last_seq, "failing": failing}
        if scanned and not self.forwarder.lagging:
            is_fully_scanned = bool(self._since) and (
                self.cursor.is_fully_scanned or scanned.is_last
            )
            changes |= {"scan_after": scanned.after, "is_fully_scanned": is_fully_scanned}
            self._is_scan_due = not (is_fully_scanned or scanned.is_last)
        self._move(**changes)

    def _is_over(self, page: DbUpdatesPage) -> bool:
        if self.remaining_s() <= 0:
            return True
        is_all_sent = page.is_last and not self._is_scan_due and not self.forwarder.lagging
        return is_all_sent and (self.is_one_pass or self.forwarder.failure is not None)

    def _pause(self, page: DbUpdatesPage) -> None:
        if self._is_scan_due or self.forwarder.lagging:
            return
        if not self._since:
            self.pause(min(SCAN_PAUSE_S, self.remaining_s()))
            self._is_scan_due = True
            return
        if page.rows > 0 and not page.dbs and page.is_last:
            self.pause(min(self._pause_s, self.remaining_s()))
            self._pause_s = min(max(2 * self._pause_s, MIN_PAUSE_S), MAX_PAUSE_S)
        else:
            self._pause_s = 0.0

    def _move(self, **changes: Any) -> None:
        """Save the cursor if it changed."""
        cursor = replace(self.cursor, **changes)
        if cursor != self.cursor:
            self.lease.save(cursor)
            self.cursor = cursor
