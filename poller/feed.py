"""Read the ``_changes`` feed of one database, page by page from a seq."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.couch import BadRequest, Database
from chalicelib.domain.documents import JsonDict
from chalicelib.json_rows import BadRow

# `since` for the beginning of a feed.
BEGINNING = "0"

# For so long the rows of one page are read, after the first one.
MAX_PAGE_S = 2.0


@dataclass
class TimeLimit:
    """A limit of time, which begins with the first question whether it is over."""

    monotonic_s: Callable[[], float]
    limit_s: float
    _ends_at_s: float = math.inf

    def is_over(self) -> bool:
        """Return whether the time is over."""
        now_s = self.monotonic_s()
        if self._ends_at_s == math.inf:
            self._ends_at_s = now_s + self.limit_s
        return now_s >= self._ends_at_s


@dataclass(frozen=True)
class Page:
    """Some changes, in order, and the seq after them.

    Attributes
    ----------
    rows : list of dict
        The changes that can be read.
    bad : list of BadRow
        The changes that cannot be read.
    has_new_seq : bool
        Whether `last_seq` differs from the seq before the page.
    is_last : bool
        Whether the feed had no more changes at the time of the request.
    """

    rows: list[JsonDict]
    bad: list[BadRow]
    last_seq: str
    has_new_seq: bool
    is_last: bool


class Feed:
    """The changes of one database.

    Parameters
    ----------
    since : str
        Where to start: the `last_seq` of an earlier page, or "0". It is opaque.
    page_size : int
        How many changes one request asks for.
    warn : callable
        Called with a warning and its reason if the feed restarts.
    update_seq : str, optional
        The database's ``update_seq``. It is requested if it is needed and not given.
    gap : int
        How far the kept seq seemed to lie after the end of the feed when the feed restarted last.
    monotonic_s : callable
        Returns the time in seconds since an arbitrary moment.
    """

    def __init__(
        self,
        database: Database,
        since: str,
        page_size: int,
        warn: Callable[[str, str], None],
        update_seq: str = "",
        gap: int = 0,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.database = database
        self._page_size = page_size
        self._warn = warn
        self._update_seq = update_seq
        self.gap = gap
        self._monotonic_s = monotonic_s
        self._is_first = True
        self.since = since

    def read(self) -> Page:
        """Read the next page; it is empty if there are no more changes.

        One request. More if the first page is empty, or if CouchDB refuses the seq and the feed
        restarts.
        """
        try:
            page = self._page()
        except BadRequest as exc:
            if self.since == BEGINNING:
                raise
            self._restart(exc.reason)
            page = self._page()
        if self._is_first and not page.rows and not page.bad and self._was_replaced():
            self._restart(f"the feed ends before {self.since}")
            page = self._page()
        self._is_first = False
        self.since = page.last_seq
        return page

    def _was_replaced(self) -> bool:
        """Return whether the feed seems to end before the seq that was kept.

        Either the database was restored from an older backup, or it was deleted and created again.
        CouchDB restarts the feed by itself in the second case, express-pouchdb in neither.
        """
        is_known_end = self._update_seq and not gap_between(self._update_seq, self.since)
        if self.since == BEGINNING or is_known_end:
            return False
        # The seq that was given may be older than the page.
        end = str(self.database.info().get("update_seq"))
        gap = gap_between(end, self.since)
        if gap <= (0 if end.isdigit() else self.gap):
            return False
        self.gap = gap
        return True

    def _page(self) -> Page:
        # Not from the request on: a slow server would then have prepared all rows for one.
        limit = TimeLimit(self._monotonic_s, MAX_PAGE_S)
        page = self.database.changes(self.since, limit=self._page_size, is_over=limit.is_over)
        last_seq = page["last_seq"]
        return Page(page["results"], page["bad"], last_seq, last_seq != self.since, page["is_last"])

    def _restart(self, why: str) -> None:
        self._warn("a feed restarted from its beginning", f"{self.database.name}: {why}")
        self.since = BEGINNING


def gap_between(end: str, seq: str) -> int:
    """Return how far a kept seq seems to lie after the end of its feed; 0 if it does not.

    A seq is opaque. The number before its dash is a hint that something is wrong, and no order. The
    copies of a database in a cluster count differently, so there the gap may be there for ever. A
    caller restarts a feed only if the gap is larger than the last time.
    """
    number, end_number = (text.partition("-")[0] for text in (seq, end))
    if end.isdigit() and not seq.isdigit():
        return 1  # a server whose seqs are plain numbers never gave this one
    if not (number.isdigit() and end_number.isdigit()):
        return 0
    return max(0, int(number) - int(end_number))
