"""One database's changes feed, read page by page from a seq."""

from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.couch import BadRequest, Database, Unreadable
from chalicelib.domain.documents import JsonDict

# `since` for the beginning of a feed.
BEGINNING = "0"

# The largest page that is parsed: `[{},{},…]` takes thirty times its size as Python objects, there
# are two pages at once, one read ahead, and the Lambda has 256 MB. A document is smaller than this.
PAGE_BYTES = 1_048_576


@dataclass(frozen=True)
class Page:
    """Some changes, in order, and the seq that follows them.

    Attributes
    ----------
    moved : bool
        Whether the seq is another than before the page.
    is_last : bool
        Whether the feed had no more than this when it was asked: fewer rows than it might give.
    """

    rows: list[JsonDict]
    last_seq: str
    moved: bool
    is_last: bool


class Feed:
    """The changes of one database.

    Parameters
    ----------
    since : str
        Where to begin: a `last_seq` of before, or "0". Opaque: nothing is read into it.
    page_size : int
        How many changes to ask for at once.
    warn : callable
        Told what happened and why, when the feed begins anew or passes a document over.
    end : str, optional
        The database's ``update_seq``, if it is known; it is asked for where it is needed.
    """

    def __init__(
        self,
        database: Database,
        since: str,
        page_size: int,
        warn: Callable[[str, str], None],
        end: str = "",
    ) -> None:
        self.db = database.name
        self._database = database
        self._page_size = self._limit = page_size
        self._warn = warn
        self._end = end
        self._is_first = True
        self.since = since

    def read(self) -> Page:
        """The next page; empty if there is nothing more.

        One request. Some more if the first page is empty, if CouchDB refuses the seq and the feed
        begins anew, if a page is too large, or if a document cannot be read.
        """
        try:
            page = self._page()
        except BadRequest as exc:
            if self.since == BEGINNING:
                raise
            self._restart(exc.reason)
            page = self._page()
        if self._is_first and not page.rows and self._was_replaced():
            self._restart(f"the feed ends before {self.since}")
            page = self._page()
        self._is_first = False
        self.since = page.last_seq
        return page

    def _was_replaced(self) -> bool:
        """Whether the database was deleted and made again, as far as that can be told here.

        CouchDB begins anew by itself. express-pouchdb does not: asked for changes after the end of
        the feed it finds none, for ever; but its seqs are plain numbers, and the end can be told.
        """
        if self.since == BEGINNING:
            return False
        end = self._end or str(self._database.info().get("update_seq"))
        if not end.isdigit():
            return False  # an opaque seq: the server itself knows what it is worth
        return not self.since.isdigit() or int(self.since) > int(end)

    def _page(self) -> Page:
        answer, limit = self._ask()
        rows, last_seq = answer["results"], str(answer["last_seq"])
        return Page(rows, last_seq, last_seq != self.since, len(rows) < limit)

    def _ask(self) -> tuple[JsonDict, int]:
        """The answer, and the largest number of rows that it could have.

        A page that cannot be read is asked for by halves, and so are those that follow it.
        """
        while self._limit > 1:
            try:
                answer = self._database.changes(self.since, limit=self._limit, max_bytes=PAGE_BYTES)
            except Unreadable:
                self._limit //= 2
            else:
                return answer, self._limit
        return self._ask_for_one(), 1

    def _ask_for_one(self) -> JsonDict:
        """Step over a document that cannot be read: it must not keep those behind it waiting."""
        try:
            return self._database.changes(self.since, limit=1)
        except Unreadable as exc:
            page = self._database.changes(self.since, limit=1, include_docs=False)
            self._warn("a document cannot be read and is passed over", exc.reason)
            self._limit = self._page_size
            return page

    def _restart(self, why: str) -> None:
        self._warn("the feed begins anew", why)
        self.since = BEGINNING
