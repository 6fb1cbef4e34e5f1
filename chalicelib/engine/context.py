"""The dependencies that a transition gets as its `context`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

from chalicelib.aws.hour_counters import HourCounters
from chalicelib.aws.rate_limiter import RateLimiter
from chalicelib.aws.ses import Mailer
from chalicelib.aws.suppressions import Suppressions
from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.link_tokens import LinkKeys
from chalicelib.domain.names import owner_id_of_database
from chalicelib.settings import Settings

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the current time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Context:
    """The dependencies of transitions and routes.

    Attributes
    ----------
    database : Database
        The database that has the current document.
    pages_url : callable
        Returns the URL that links in mails begin with. It may send a request, and may raise
        `PublicUrlUnknown`.
    count_mail : callable
        Counts a mail by its outcome: ``sent``, ``refused``, ``over_quota``, ``unwanted``. And
        ``busy`` or ``busy_domain``, whatever becomes of it, if the hour is busy.
    """

    settings: Settings
    server: Server
    database: Database
    mail: Mailer
    rate_limiter: RateLimiter
    hour_counters: HourCounters
    suppressions: Suppressions
    confirmation_links: LinkKeys
    invitation_links: LinkKeys
    pages_url: Callable[[], str]
    count_mail: Callable[[str], None]
    clock: Clock = utc_now

    @property
    def in_control_database(self) -> bool:
        """Return whether the current document is in `<CONTROL_DB>`, where only the cloud writes."""
        return self.database.name == self.settings.control_db

    @property
    def owner_id(self) -> str | None:
        """Return the owner whose control database has the current document; None if none has."""
        return owner_id_of_database(self.settings.control_db, self.database.name)

    @property
    def control_database(self) -> Database:
        """Return the database `<CONTROL_DB>`, whichever database has the current document."""
        return self.server.database(self.settings.control_db)

    def at(self, db: str) -> Self:
        """Return the same context for a document in another database. Sends no request."""
        return replace(self, database=self.server.database(db))

    def reread(self, doc: JsonDict) -> JsonDict | None:
        """Read the current document again; return None if it is gone. One request.

        Call this after a change outside the document, such as in a security object. If the document
        has changed meanwhile, the change came too late and must be corrected.
        """
        return self.database.find_one(doc["_id"])

    def page_url(self, page: str, token: str) -> str:
        """Return the URL of the page behind a link in a mail; see `pages_url`."""
        return f"{self.pages_url().rstrip('/')}/{page}/{token}"

    @property
    def public_couchdb_url(self) -> str:
        """Return the URL of CouchDB for devices, without credentials and without a final slash."""
        return self.settings.couchdb_public_url.rstrip("/") or self.server.url

    def public_url(self, database: Database) -> str:
        """Return the URL of a database for devices."""
        return self.public_couchdb_url + database.url.removeprefix(self.server.url)
