"""Forward the changes of databases to SQS: read a page, send it, and then save a checkpoint."""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

from chalicelib.couch import CouchError, NotFound, Server
from poller.checkpoint import Checkpoint, Checkpoints, batched
from poller.feed import Feed, Page
from poller.messages import NotAccepted, Sender, messages_for

# After so many pages another database is read, so that a busy one does not delay the others.
MAX_PAGES_IN_A_ROW = 10

# If so many databases fail one after another, the server itself has failed.
MAX_FAILURES_IN_A_ROW = 5


@dataclass
class Summary:
    """Counts of one run: databases that were read, changes in them, and messages sent."""

    databases: int = 0
    changes: int = 0
    sent: int = 0


@dataclass
class Forwarder:
    """Forwards the changes of databases to SQS.

    Parameters
    ----------
    routes : mapping
        ``{"type/state": queue URL}``.
    page_size : int
        How many changes one request asks for.
    remaining_s : callable
        Returns how many seconds the run has left. If it has none, no further page is read.
    warn : callable
        Called with a warning and its reason.
    executor : Executor
        Reads a page while another is sent.

    Attributes
    ----------
    lagging : set of str
        The databases whose feeds were not read to the end, or not at all, for lack of time.
    failing : dict
        The databases that failed when they were last read, in this run or before it. The one that
        failed last is the last key. The values mean nothing.
    failure : Exception or None
        The error of the first database that failed. The others are read all the same.
    """

    server: Server
    checkpoints: Checkpoints
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
        """Whether the changes of all databases were sent, up to the ends of their feeds."""
        return not self.lagging and not self.failing

    def forward(self, update_seqs: Mapping[str, str]) -> None:
        """Forward the changes of these databases, and of those that are lagging.

        One request for each hundred databases. For each database with changes: a request or more
        to CouchDB, one for each batch of messages, and one for each checkpoint.

        Parameters
        ----------
        update_seqs : mapping
            ``{name: update_seq}``; the seq is empty where it is not known.

        Raises
        ------
        LeaseLost
            If another poller took over.
        CouchError, NotAccepted
            If several databases failed one after another. Each checkpoint is before the page that
            was not sent.
        """
        update_seqs = {**dict.fromkeys(self.lagging, ""), **update_seqs}
        self.lagging = set()
        for dbs in batched(update_seqs):
            checkpoints = self.checkpoints.read(dbs) if self.remaining_s() > 0 else {}
            for db in dbs:
                self._forward_one(db, checkpoints.get(db), update_seqs[db])

    def _forward_one(self, db: str, checkpoint: Checkpoint | None, update_seq: str) -> None:
        self.checkpoints.lease.renew()
        if self.remaining_s() <= 0:
            if db not in self.failing:
                self.lagging.add(db)
            return
        since = checkpoint or Checkpoint()
        if since.covers(update_seq):
            self.failing.pop(db, None)
            return
        feed = Feed(self.server.database(db), since.seq, self.page_size, self.warn, update_seq)
        self.summary.databases += 1
        try:
            if not self._send_pages(feed, update_seq):
                self.lagging.add(db)
        except (CouchError, NotAccepted) as exc:
            if not isinstance(exc, NotFound) or db == self.control_db:
                self._fail(db, exc)
                return
            if checkpoint:
                self.checkpoints.delete(db)
        self.failing.pop(db, None)
        self._failures_in_a_row = 0

    def _send_pages(self, feed: Feed, update_seq: str) -> bool:
        """Send page after page; return whether the end of the feed was reached."""
        next_page: Callable[[], Page] = feed.read
        for number in range(1, MAX_PAGES_IN_A_ROW + 1):
            page = next_page()
            if not page.is_last and number < MAX_PAGES_IN_A_ROW:
                next_page = self.executor.submit(feed.read).result  # while this page is sent
            self.summary.changes += len(page.rows)
            self.summary.sent += self.sender.send(messages_for(feed.db, page.rows, self.routes))
            if page.has_new_seq or update_seq:
                checkpoint = Checkpoint(page.last_seq, update_seq if page.is_last else "")
                self.checkpoints.save(feed.db, checkpoint)
            if page.is_last:
                return True
            if self.remaining_s() <= 0:
                return False
            self.checkpoints.lease.renew()
        return False

    def _fail(self, db: str, exc: Exception) -> None:
        if db not in self.failing:
            self._failures_in_a_row += 1
            if self._failures_in_a_row == MAX_FAILURES_IN_A_ROW:
                raise exc
        self.failing.pop(db, None)
        self.failing[db] = None
        self.failure = self.failure or exc
        self.warn("the changes of a database could not be sent", f"{db}: {exc}")
