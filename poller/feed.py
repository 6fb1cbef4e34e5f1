"""One database's changes feed, read page by page from a seq."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chalicelib.couch import BadRequest, Database, Unreadable

JsonDict = dict[str, Any]

# `since` for the beginning of a feed.
BEGINNING = "0"


@dataclass(frozen=True)
class Page:
    """Some changes, in order, and the seq that follows them.

    Attributes
    ----------
    moved : bool
        Whether the seq is another than before the page.
    is_last : bool
        Whether the feed had no more than this when it was asked.
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
    """

    def __init__(
        self, database: Database, since: str, page_size: int, warn: Callable[[str, str], None]
    ) -> None:
        self.db = database.name
        self._database = database
        self._page_size = page_size
        self._warn = warn
        self.since = since

    def restart_if_replaced(self) -> None:
        """Begin anew if the database was deleted and made again, as far as that can be told here.

        CouchDB begins anew by itself. express-pouchdb does not: asked for changes after the end of
        the feed it finds none, for ever; but its seqs are plain numbers, and the end can be told.
        One request.
        """
        end = self._database.info().get("update_seq")
        if not isinstance(end, int):
            return  # an opaque seq: the server itself knows what it is worth
        if not self.since.isdigit() or int(self.since) > end:
            self._restart(f"the feed ends at {end}, before {self.since}")

    def read(self, wait_s: float) -> Page:
        """The next page; empty if nothing happened within `wait_s` seconds.

        One request; two if CouchDB refuses the seq, and the feed begins anew.
        """
        try:
            answer = self._ask(wait_s)
        except BadRequest as exc:
            if self.since == BEGINNING:
                raise
            self._restart(exc.reason)
            answer = self._ask(wait_s)
        rows, last_seq = answer["results"], str(answer["last_seq"])
        page = Page(rows, last_seq, last_seq != self.since, not rows)
        self.since = last_seq
        return page

    def _ask(self, wait_s: float) -> JsonDict:
        try:
            return self._database.changes(self.since, limit=self._page_size, wait_s=wait_s)
        except Unreadable:
            return self._ask_for_one()

    def _ask_for_one(self) -> JsonDict:
        """Step over a document that cannot be read: it must not keep those behind it waiting."""
        try:
            return self._database.changes(self.since, limit=1)
        except Unreadable as exc:
            page = self._database.changes(self.since, limit=1, include_docs=False)
            self._warn("a document cannot be read and is passed over", exc.reason)
            return page

    def _restart(self, why: str) -> None:
        self._warn("the feed begins anew", why)
        self.since = BEGINNING
