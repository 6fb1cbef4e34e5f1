"""The daily sweep: it expires registrations and invitations that nobody answered in time.

An invitation is in its owner's control database, and there may be a million of those. So a note in
the installation's control database says when each invitation expires. One indexed query finds all
notes that are due.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from chalicelib.couch import Conflict, CouchError, NotFound, Unreadable
from chalicelib.domain.documents import JsonDict, generation_of, timestamp
from chalicelib.engine.context import Context
from chalicelib.handlers import confirmations, invitations, owners
from chalicelib.json_rows import Rows
from chalicelib.telemetry import logger

PAGE = 100
# The sweep starts no further document with less time than this.
MIN_TIME_S = 5.0


@dataclass(frozen=True)
class Query:
    """An indexed query for documents whose time is over, and what expires them.

    Attributes
    ----------
    name : str
        The name of the index, and of its design document.
    equal : dict
        The fields that must have these values.
    until : str
        The field with the time when a document expires.
    expire : callable
        Expires one document that the query returned.
    """

    name: str
    equal: dict[str, str]
    until: str
    expire: Callable[[Context, JsonDict], object]

    def page(self, context: Context, skip: int) -> Rows:
        """Return a page of documents whose time is over, the oldest first. One request.

        It uses no bookmark: CouchDB continues after the document that a bookmark names, and that
        document may have been removed from the index.

        Parameters
        ----------
        skip : int
            How many documents to skip at the beginning.
        """
        selector = {**self.equal, self.until: {"$lt": timestamp(context.clock())}}
        return context.database.find(selector, index=self.name, limit=PAGE, skip=skip)


def expire_invitation(context: Context, note: JsonDict) -> None:
    """Expire the invitation that a note belongs to, if it still waits; then delete the note."""
    with suppress(NotFound, Unreadable):  # deleted, or nobody can answer it
        doc = owners.database_of(context, note["owner"]).get(note["invitation"])
        if generation_of(doc) == note["generation"]:
            invitations.expire(context, note["owner"], doc)
    with suppress(Conflict):  # the invitation was just sent again, and the note updated
        context.control_database.remove(note)


QUERIES = (
    Query(
        "expired-devices",
        {"type": "device", "state": "confirming"},
        "confirm_expires_at",
        confirmations.expire,
    ),
    Query("expired-invitations", {"type": "expiry"}, "expires_at", expire_invitation),
)


def sweep(context: Context, remaining_s: Callable[[], float]) -> JsonDict:
    """Expire all documents whose time is over, page by page while there is time; log the result.

    Parameters
    ----------
    remaining_s : callable
        Returns how many seconds remain. The next day's run does the rest.

    Returns
    -------
    dict
        ``{"expired": int, "failed": int, "complete": bool}``. If it is not complete, the log entry
        is a warning.
    """
    expired = failed = 0
    complete = True
    for query in QUERIES:
        context.database.create_index(query.name, [*query.equal, query.until])
        done, missed, finished = _sweep(context, query, remaining_s)
        expired, failed = expired + done, failed + missed
        complete = complete and finished
    result = {"expired": expired, "failed": failed, "complete": complete}
    log = logger.info if complete else logger.warning
    log("sweep", extra=result)
    return result


def _sweep(
    context: Context, query: Query, remaining_s: Callable[[], float]
) -> tuple[int, int, bool]:
    """Expire the documents of one query; return (expired, failed, whether all were expired).

    Expired documents disappear from the index. Failed ones stay at its front and are skipped.
    """
    done = failed = 0
    while True:
        page = query.page(context, skip=failed)
        for row in page.bad:
            failed += 1
            logger.warning("not expired", extra={"doc_id": row.doc_id, "reason": row.reason})
        for doc in page.good:
            if remaining_s() < MIN_TIME_S:
                return done, failed, False
            try:
                query.expire(context, doc)
            except CouchError as exc:  # one document must not delay the others
                failed += 1
                extra = {"doc_id": doc["_id"], "exception_type": type(exc).__name__}
                logger.warning("not expired", extra=extra)
            else:
                done += 1
        if len(page.good) + len(page.bad) < PAGE:
            return done, failed, not failed
