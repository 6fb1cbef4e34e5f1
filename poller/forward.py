"""Forward the changes of databases to SQS: read a page, send it, and then save a checkpoint.

What one owner can cause is bounded. After some messages of an owner's control database, other
databases have their turn. After `max_messages` of them, the rest waits for the next run.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

from chalicelib.couch import LOGIN_REFUSED, CouchError, Database, NotFound, Server
from poller.checkpoint import Checkpoint, Checkpoints, batched
from poller.feed import Feed, Page
from poller.messages import NotAccepted, Sender, messages_for

# After so many pages or seconds another database is read, so that a busy one does not delay the
# others.
MAX_PAGES_IN_A_ROW = 10
MAX_TURN_S = 2.0

# The route whose documents are sent before all others of their owner. Their ids have the prefix;
# only the cloud writes such ids into an owner's control database (design/owner_control.js).
URGENT_ROUTE = "device/revoking"
URGENT_PREFIX = "device-"
MAX_URGENT_ROWS = 1_000

# In an owner's control database, after so many messages. A page has no more changes than that.
MAX_MESSAGES_IN_A_ROW = 100

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
    monotonic_s : callable
        Returns the time in seconds since an arbitrary moment.
    warn : callable
        Called with a warning and its reason.
    executor : Executor
        Reads a page while another is sent.
    max_messages : int
        How many messages of one owner's control database a run sends. `<CONTROL_DB>`, where only
        the cloud writes, has no such limit.

    Attributes
    ----------
    lagging : set of str
        The databases whose feeds were not read to the end, or not at all: their turn was over, or
        the run.
    held : set of str
        The owners' control databases that have used up `max_messages`. The next run reads them.
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
    monotonic_s: Callable[[], float]
    warn: Callable[[str, str], None]
    executor: Executor
    max_messages: int = 500
    summary: Summary = field(default_factory=Summary)
    lagging: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    failing: dict[str, None] = field(default_factory=dict)
    failure: Exception | None = None
    _failures_in_a_row: int = 0
    _sent: Counter[str] = field(default_factory=Counter)

    @property
    def is_caught_up(self) -> bool:
        """Whether all changes were sent that this run may send."""
        return not self.lagging and not self.failing

    def forward(self, update_seqs: Mapping[str, str]) -> None:
        """Forward the changes of these databases, then of those that are lagging.

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
        last = {db: update_seqs.get(db, "") for db in sorted(self.lagging)}
        update_seqs = {db: seq for db, seq in update_seqs.items() if db not in last} | last
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
        database = self.server.database(db)
        if not self._may_send(db):
            self._hold(database)
            return
        turn_ends_at_s = self.monotonic_s() + MAX_TURN_S
        feed = Feed(
            database,
            since.seq,
            self._page_size(db),
            self.warn,
            update_seq,
            since.gap,
            self.monotonic_s,
        )
        self.summary.databases += 1
        try:
            if not self._send_pages(feed, turn_ends_at_s, update_seq):
                self.lagging.add(db)
        except LOGIN_REFUSED:
            raise  # it is no matter of the database
        except (CouchError, NotAccepted) as exc:
            if not isinstance(exc, NotFound) or db == self.control_db:
                self._fail(db, exc)
                return
            if checkpoint:
                self.checkpoints.delete(db)
        self.failing.pop(db, None)
        self._failures_in_a_row = 0

    def _send_pages(self, feed: Feed, turn_ends_at_s: float, update_seq: str) -> bool:
        """Send page after page; return whether the end of the feed was reached."""
        db = feed.database.name
        next_page: Callable[[], Page] = feed.read
        in_a_row = 0
        for number in range(1, MAX_PAGES_IN_A_ROW + 1):
            page = next_page()
            messages = list(messages_for(db, page.rows, self.routes))
            in_a_row += len(messages)
            self._sent[db] += len(messages)
            is_full = number == MAX_PAGES_IN_A_ROW or not self._may_send(db, in_a_row)
            is_turn_over = is_full or self.monotonic_s() >= turn_ends_at_s
            if not page.is_last and not is_turn_over:
                next_page = self.executor.submit(feed.read).result  # while this page is sent
            if number == 1 and not page.is_last and db != self.control_db:
                self._send_urgent(feed.database)
            self._note_changes(db, page)
            self.summary.sent += self.sender.send(messages)
            if page.has_new_seq or update_seq:
                end = update_seq if page.is_last else ""
                self.checkpoints.save(db, Checkpoint(page.last_seq, end, feed.gap))
            if page.is_last:
                return True
            if is_turn_over or self.remaining_s() <= 0:
                break
            self.checkpoints.lease.renew()
        return False

    def _page_size(self, db: str) -> int:
        """Return how many changes a page of a database has at most."""
        is_owners = db != self.control_db
        return min(self.page_size, MAX_MESSAGES_IN_A_ROW) if is_owners else self.page_size

    def _may_send(self, db: str, in_a_row: int = 0) -> bool:
        """Return whether another page of a database may be sent now: all its rows may be messages.

        Parameters
        ----------
        in_a_row : int
            How many messages of the database were sent in this turn.
        """
        has_room = self._sent[db] + self._page_size(db) <= self.max_messages
        return db == self.control_db or (has_room and in_a_row < MAX_MESSAGES_IN_A_ROW)

    def _hold(self, database: Database) -> None:
        """Leave the rest of a database's changes to the next run, but send its urgent documents."""
        db = database.name
        self._send_urgent(database)
        self.failing.pop(db, None)
        if db not in self.held:
            self.held.add(db)
            self.warn("the changes of an owner wait for the next run", f"{db}: too many messages")

    def _note_changes(self, db: str, page: Page) -> None:
        """Count the changes of a page, and warn of those that cannot be read."""
        self.summary.changes += len(page.rows) + len(page.bad)
        for row in page.bad:
            self.warn("a document cannot be read and was skipped", f"{db}: {row}")

    def _send_urgent(self, database: Database) -> None:
        """Send the urgent documents of a database before the changes that wait there.

        They are sent again when the feed comes to them. A transition does nothing then.
        """
        if URGENT_ROUTE not in self.routes:
            return
        routes = {URGENT_ROUTE: self.routes[URGENT_ROUTE]}
        found = database.between(URGENT_PREFIX, f"{URGENT_PREFIX}~", limit=MAX_URGENT_ROWS)
        self.summary.sent += self.sender.send(messages_for(database.name, found.good, routes))

    def _fail(self, db: str, exc: Exception) -> None:
        if db not in self.failing:
            self._failures_in_a_row += 1
            if self._failures_in_a_row == MAX_FAILURES_IN_A_ROW:
                raise exc
        self.failing.pop(db, None)
        self.failing[db] = None
        self.failure = self.failure or exc
        self.warn("the changes of a database could not be sent", f"{db}: {exc}")
