"""The daily sweep: registrations and invitations that nobody answered in time become ``expired``.

An invitation lies in its owner's control database, and there may be a million of those: a note in
the control database says when each one is over, so that one indexed query finds them all.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from chalicelib.couch import Conflict, CouchError, NotFound
from chalicelib.domain.documents import JsonDict, generation_of, timestamp
from chalicelib.engine.context import Context
from chalicelib.handlers import confirmations, invitations, owners
from chalicelib.telemetry import logger

PAGE = 100
# So much time must be left for one more document.
MIN_TIME_S = 5.0


@dataclass(frozen=True)
class Query:
    """What one indexed query finds, and what is done with it.

    Attributes
    ----------
    name : str
        Of the index, and of its design document.
    equal : dict
        The fields that must have these values.
    until : str
        The field that says when a document's time is over.
    """

    name: str
    equal: dict[str, str]
    until: str
    expire: Callable[[Context, JsonDict], object]

    def page(self, context: Context, skip: int) -> list[JsonDict]:
        """Some documents whose time is over, the oldest first, without `skip` of them. One request.

        Not by a bookmark: CouchDB goes on one after the document that it names, and that one may
        have left the index.
        """
        selector = {**self.equal, self.until: {"$lt": timestamp(context.clock())}}
        return context.database.find(selector, index=self.name, limit=PAGE, skip=skip)


def expire_invitation(context: Context, note: JsonDict) -> None:
    """Expire the invitation that a note is about, if it still waits; then remove the note."""
    with suppress(NotFound):  # deleted: there is nothing left to expire
        doc = owners.database_of(context, note["owner"]).get(note["invitation"])
        if generation_of(doc) == note["generation"]:
            invitations.expire(context, note["owner"], doc)
    with suppress(Conflict):  # sent again just now, and the note is about that
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
    """Expire all whose time is over, page by page, as long as there is time; and log how that went.

    Parameters
    ----------
    remaining_s : callable
        How many seconds are left; what is not done then is done the next day.

    Returns
    -------
    dict
        ``{"expired": int, "failed": int, "complete": bool}``; what is not complete is a warning.
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
    """One query's pages: what is done has left the index, what failed is at its front."""
    done = failed = 0
    while True:
        docs = query.page(context, skip=failed)
        for doc in docs:
            if remaining_s() < MIN_TIME_S:
                return done, failed, False
            try:
                query.expire(context, doc)
            except CouchError as exc:  # one that cannot be written must not hold up the others
                failed += 1
                extra = {"doc_id": doc["_id"], "exception_type": type(exc).__name__}
                logger.warning("not expired", extra=extra)
            else:
                done += 1
        if len(docs) < PAGE:
            return done, failed, not failed
