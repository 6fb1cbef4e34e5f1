"""Databases that changed, one after another: read a page, send it, and only then remember it."""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

from chalicelib.couch import CouchError, NotFound, Server
from poller.checkpoint import Checkpoint, Sent, by_hundreds
from poller.feed import Feed, Page
from poller.messages import NotAccepted, Sender, messages_for

# After so many pages it is another database's turn: one that never rests holds up no other.
TURN_PAGES = 10

# So many databases that fail one after another are the server's failure.
FAILURES_IN_A_ROW = 5


@dataclass
class Summary:
    """What one run did: the databases it read, the changes it found there, what it sent of them."""

    databases: int = 0
    changes: int = 0
    sent: int = 0


@dataclass
class Follower:
    """Brings databases to the end of their feeds.

    Parameters
    ----------
    routes : mapping
        ``{"type/state": queue URL}``.
    page_size : int
        How many changes to ask for at once.
    remaining_s : callable
        How many seconds of the run are left. Without any, nothing more is begun.
    warn : callable
        Told what happened and why.
    executor : Executor
        Reads a page while another is sent.

    Attributes
    ----------
    lagging : set of str
        The databases that are not at their end yet: begun, or left for want of time.
    failing : dict
        The databases that failed when they were last read, in this run or before it; the one that
        did so last is the last. Its values mean nothing.
    failure : Exception or None
        Why the first database failed that did. It does not keep the others waiting.
    """

    server: Server
    checkpoint: Checkpoint
    sender: Sender
    control_db: str
    routes: Mapping[str, str]
    page_size: int
    remaining_s: Callable[[], float]
    warn: Callable[[str, str], None]
    executor: Executor
    summary: Summary = field(default_factory=Summary)
    lagging: set[str] = field(default_factory=set)
    failing: dict[str, None] = field(default_factory=dict)
    failure: Exception | None = None
    _failures_in_a_row: int = 0

    @property
    def is_caught_up(self) -> bool:
        """Whether every database that was to be followed is at its end."""
        return not self.lagging and not self.failing

    def follow(self, changed: Mapping[str, str]) -> None:
        """Give each of these databases a turn, and those that were behind.

        A request for each hundred; a request or more, its messages and its seq for each that has
        something to send.

        Parameters
        ----------
        changed : mapping
            ``{name: update_seq}``, as it was asked for before; empty where it is not known.

        Raises
        ------
        LeaseLost
            If another poller took over.
        CouchError, NotAccepted
            If several databases failed one after another. The seq of each stands before the page
            that was not sent.
        """
        info_seqs = {**dict.fromkeys(self.lagging, ""), **changed}
        self.lagging = set()
        for dbs in by_hundreds(info_seqs):
            known = self.checkpoint.sent(dbs) if self.remaining_s() > 0 else {}
            for db in dbs:
                self._follow_one(db, known.get(db), info_seqs[db])

    def _follow_one(self, db: str, sent: Sent | None, info_seq: str) -> None:
        self.checkpoint.lease.renew()
        if self.remaining_s() <= 0:
            if db not in self.failing:
                self.lagging.add(db)
            return
        since = sent or Sent()
        if since.is_all_up_to(info_seq):
            self.failing.pop(db, None)
            return
        feed = Feed(self.server.database(db), since.seq, self.page_size, self.warn, info_seq)
        self.summary.databases += 1
        try:
            if not self._is_brought_to_its_end(feed, info_seq):
                self.lagging.add(db)
        except (CouchError, NotAccepted) as exc:
            if not isinstance(exc, NotFound) or db == self.control_db:
                self._fail(db, exc)
                return
            if sent:
                self.checkpoint.forget(db)
        self.failing.pop(db, None)
        self._failures_in_a_row = 0

    def _is_brought_to_its_end(self, feed: Feed, info_seq: str) -> bool:
        next_page: Callable[[], Page] = feed.read
        for turn in range(1, TURN_PAGES + 1):
            page = next_page()
            if not page.is_last and turn < TURN_PAGES:
                next_page = self.executor.submit(feed.read).result  # while this one is sent
            self.summary.changes += len(page.rows)
            self.summary.sent += self.sender.send(messages_for(feed.db, page.rows, self.routes))
            if page.moved or info_seq:
                self.checkpoint.save(feed.db, Sent(page.last_seq, info_seq if page.is_last else ""))
            if page.is_last:
                return True
            if self.remaining_s() <= 0:
                return False
            self.checkpoint.lease.renew()
        return False

    def _fail(self, db: str, exc: Exception) -> None:
        if db not in self.failing:
            self._failures_in_a_row += 1
            if self._failures_in_a_row == FAILURES_IN_A_ROW:
                raise exc
        self.failing.pop(db, None)
        self.failing[db] = None
        self.failure = self.failure or exc
        self.warn("a database could not be followed", f"{db}: {exc}")
