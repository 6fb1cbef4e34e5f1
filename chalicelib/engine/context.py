"""The tools that a transition gets as its `context`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

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
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Context:
    """What transitions and routes work with.

    Attributes
    ----------
    database : Database
        The database that the document at hand lives in.
    pages_url : callable
        What links in mails begin with. May send a request, and raise `PublicUrlUnknown`.
    count_mail : callable
        Told what became of a mail: ``sent``, ``refused``, ``over_quota``, ``unwanted``.
    """

    settings: Settings
    server: Server
    database: Database
    mail: Mailer
    rate_limiter: RateLimiter
    suppressions: Suppressions
    links: LinkKeys
    invitation_links: LinkKeys
    pages_url: Callable[[], str]
    count_mail: Callable[[str], None]
    clock: Clock = utc_now

    @property
    def in_control_database(self) -> bool:
        """Whether the document at hand lives where only the cloud writes: the control database."""
        return self.database.name == self.settings.control_db

    @property
    def owner_id(self) -> str | None:
        """Whose control database the document at hand lives in; None in the control database."""
        return owner_id_of_database(self.settings.control_db, self.database.name)

    @property
    def control_database(self) -> Database:
        """The control database, wherever the document at hand lives."""
        return self.server.database(self.settings.control_db)

    def at(self, db: str) -> Self:
        """The same tools for a document of another database. Sends no request."""
        return replace(self, database=self.server.database(db))

    def again(self, doc: JsonDict) -> JsonDict | None:
        """The document at hand as it is by now, None if it is gone. One request.

        For what a transition does outside its document, and may do a moment too late: first do it,
        then look whether the document still wants it.
        """
        return self.database.find_one(doc["_id"])

    def page_url(self, page: str, token: str) -> str:
        """The URL of the page behind a link in a mail; see `pages_url`."""
        return f"{self.pages_url().rstrip('/')}/{page}/{token}"

    @property
    def public_couchdb_url(self) -> str:
        """Where devices find the cloud's CouchDB; no credentials, no slash at its end."""
        return self.settings.couchdb_public_url.rstrip("/") or self.server.url

    def public_url(self, database: Database) -> str:
        """The URL by which devices find a database."""
        return self.public_couchdb_url + database.url.removeprefix(self.server.url)
