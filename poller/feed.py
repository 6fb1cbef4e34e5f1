"""Read the ``_changes`` feed of one database, page by page from a seq."""

from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.couch import BadRequest, Database, Unreadable
from chalicelib.domain.documents import JsonDict

# `since` for the beginning of a feed.
BEGINNING = "0"

# The largest page that is parsed. `[{},{},…]` takes thirty times its size as Python objects, two
# pages are in memory at once (one is read ahead), and the Lambda has 256 MB. Documents are smaller.
MAX_PAGE_BYTES = 1_048_576


@dataclass(frozen=True)
class Page:
    """Some changes, in order, and the seq after them.

    Attributes
    ----------
    has_new_seq : bool
        Whether `last_seq` differs from the seq before the page.
    is_last : bool
        Whether the feed had no more changes at the time of the request: fewer rows than the limit.
    """

    rows: list[JsonDict]
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
        Called with a warning and its reason if the feed restarts or a document is skipped.
    update_seq : str, optional
        The database's ``update_seq``. It is requested if it is needed and not given.
    """

    def __init__(
        self,
        database: Database,
        since: str,
        page_size: int,
        warn: Callable[[str, str], None],
        update_seq: str = "",
    ) -> None:
        self.db = database.name
        self._database = database
        self._page_size = self._limit = page_size
        self._warn = warn
        self._update_seq = update_seq
        self._is_first = True
        self.since = since

    def read(self) -> Page:
        """Read the next page; it is empty if there are no more changes.

        One request. More if the first page is empty, if CouchDB refuses the seq and the feed
        restarts, if a page is too large, or if a document cannot be read.
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
        """Return whether the database was deleted and created again, if that can be found out.

        CouchDB itself restarts such a feed. express-pouchdb does not: after the end of the feed it
        finds no changes, for ever. But its seqs are plain numbers, so they can be compared.
        """
        if self.since == BEGINNING:
            return False
        update_seq = self._update_seq or str(self._database.info().get("update_seq"))
        if not update_seq.isdigit():
            return False  # an opaque seq: the server itself checks it
        return not self.since.isdigit() or int(self.since) > int(update_seq)

    def _page(self) -> Page:
        answer, limit = self._request()
        rows, last_seq = answer["results"], str(answer["last_seq"])
        return Page(rows, last_seq, last_seq != self.since, len(rows) < limit)

    def _request(self) -> tuple[JsonDict, int]:
        """Return the answer, and the limit that was asked for.

        The limit is halved until a page can be read, and stays so for the next pages.
        """
        while self._limit > 1:
            try:
                answer = self._database.changes(
                    self.since, limit=self._limit, max_bytes=MAX_PAGE_BYTES
                )
            except Unreadable:
                self._limit //= 2
            else:
                return answer, self._limit
        return self._request_one(), 1

    def _request_one(self) -> JsonDict:
        """Request one change; skip its document if it cannot be read, so that later ones are."""
        try:
            return self._database.changes(self.since, limit=1)
        except Unreadable as exc:
            page = self._database.changes(self.since, limit=1, include_docs=False)
            self._warn("a document cannot be read and was skipped", f"{self.db}: {exc.reason}")
            self._limit = self._page_size
            return page

    def _restart(self, why: str) -> None:
        self._warn("a feed restarted from its beginning", f"{self.db}: {why}")
        self.since = BEGINNING
