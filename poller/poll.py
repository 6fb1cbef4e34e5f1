"""One run of the poller: which databases changed, from which source, and when it is enough."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from poller.databases import Changed, Scan, ScanPage, Updates, UpdatesRefused
from poller.forward import Follower
from poller.lease import Cursor, Lease

# One wait for changes. The lease is renewed between waits, so it must be well below the lease.
LONGPOLL_S = 15.0

# The cursor moves past at most so many failing databases: their names are kept in its item.
MAX_FAILING = 100

# Between two rounds over all databases, where there is no feed that tells of changes.
ROUND_PAUSE_S = 2.0

# While only other people's databases change: from the first to the longest, each twice the last.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0


@dataclass
class Poll:
    """A run of one poller over its control databases.

    Parameters
    ----------
    cursor : Cursor
        Where the last run left off.
    is_one_pass : bool
        Whether to end when all that is there was sent, and wait for nothing.
    remaining_s : callable
        How many seconds of the run are left.
    pause : callable
        Waits for so many seconds; ``time.sleep`` but in tests.
    warn : callable
        Told what happened and why.
    """

    updates: Updates
    scan: Scan
    follower: Follower
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
    _has_begun_anew: bool = False
    _pause_s: float = 0.0

    def run(self, control_db: str | None) -> None:
        """Follow the databases until the time is over; in one pass, to the end of what is there.

        Parameters
        ----------
        control_db : str or None
            The database that is read whatever the feed of databases says; None if it is another
            shard's.

        Raises
        ------
        LeaseLost
            If another poller took over.
        Exception
            What a database failed with, when all others were served.
        """
        self._always = {control_db: ""} if control_db else {}
        self.follower.failing = dict.fromkeys(self.cursor.failing)
        try:
            self._begin()
        finally:  # whether or not the feed's end could be asked for, and behind that
            self.follower.follow(self._always)
        while True:
            self.lease.renew()
            page = self._read()
            scanned = self.scan.read(self.cursor.scan_after) if self._is_scan_due else None
            self.follower.follow(self._named(page, scanned))
            self._remember(page, scanned)
            if self._is_over(page):
                break
            self._rest(page)
        if self.follower.failure:
            raise self.follower.failure

    def _begin(self) -> None:
        self._since = self.cursor.updates_seq
        if not self._since:
            self._begin_anew()

    def _begin_anew(self) -> None:
        """Take the end of the feed of databases, and then look at every database that there is.

        Where there is no such feed, `_since` is empty, and looking goes on from where it stood.
        """
        self._has_begun_anew = True
        self._since = self.updates.end() or ""
        if self._since:
            self._move(updates_seq=self._since, scan_after="", is_whole=False)
        self._is_scan_due = True

    def _read(self) -> Changed:
        """The next page of the feed of databases; where there is none, what is always looked at."""
        if not self._since:
            return Changed(list(self._always), "", 0, is_last=True)
        try:
            page = self.updates.read(self._since, self._wait_s())
        except UpdatesRefused as exc:
            if self._has_begun_anew:
                raise
            self.warn("the feed of databases begins anew", str(exc))
            self._begin_anew()
            return Changed(list(self._always), self._since, 0, is_last=not self._since)
        self._since = page.seq
        return page

    def _named(self, page: Changed, scanned: ScanPage | None) -> dict[str, str]:
        """The databases that either names, each once, with their update seqs.

        All that changed are asked for theirs in one request, before they are read: then the scan
        need not read them again. One that is gone has none, but is named: it is to be forgotten.
        Once in a run, those that failed before it come after all others, which they might delay.
        """
        seqs = self.scan.update_seqs(page.dbs) | (scanned.seqs if scanned else {})
        if self._is_retry_due and page.is_last:
            self._is_retry_due = False
            seqs |= {db: seqs.get(db, "") for db in self.cursor.failing}
        return seqs

    def _wait_s(self) -> float:
        can_wait = not self.is_one_pass and not self._is_scan_due and self.follower.is_caught_up
        return max(0.0, min(LONGPOLL_S, self.remaining_s())) if can_wait else 0.0

    def _remember(self, page: Changed, scanned: ScanPage | None) -> None:
        changes: dict[str, Any] = {}
        failing = tuple(self.follower.failing)
        if not self.follower.lagging and len(failing) <= MAX_FAILING:
            changes |= {"updates_seq": page.seq, "failing": failing}
        if scanned and not self.follower.lagging:
            is_whole = bool(self._since) and (self.cursor.is_whole or scanned.is_last)
            changes |= {"scan_after": scanned.after, "is_whole": is_whole}
            self._is_scan_due = not (is_whole or scanned.is_last)
        self._move(**changes)

    def _is_over(self, page: Changed) -> bool:
        if self.remaining_s() <= 0:
            return True
        is_all = page.is_last and not self._is_scan_due and not self.follower.lagging
        return is_all and (self.is_one_pass or self.follower.failure is not None)

    def _rest(self, page: Changed) -> None:
        if self._is_scan_due or self.follower.lagging:
            return
        if not self._since:
            self.pause(min(ROUND_PAUSE_S, self.remaining_s()))
            self._is_scan_due = True
            return
        if page.rows > 0 and not page.dbs and page.is_last:
            self.pause(min(self._pause_s, self.remaining_s()))
            self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        else:
            self._pause_s = 0.0

    def _move(self, **changes: Any) -> None:
        cursor = replace(self.cursor, **changes)
        if cursor != self.cursor:
            self.lease.save(cursor)
            self.cursor = cursor
