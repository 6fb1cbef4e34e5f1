"""The tools that a transition gets as its `cloud`, and how they are made from the environment."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.claims import Claims
from chalicelib.couch import Database, JsonDict, Server, Unauthorized
from chalicelib.identity import LinkKeys, owner_of
from chalicelib.ledger import Ledger
from chalicelib.mail import Mailer, SesMailer
from chalicelib.settings import Secrets, Settings, queue_name, read_secrets

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

# For how long the secret is taken from memory before it is fetched again: a key that was rotated
# reaches every running Lambda within this time.
SECRET_AGE_S = 300

Clock = Callable[[], datetime]
Result = TypeVar("Result")


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Cloud:
    """What transitions and routes work with.

    Attributes
    ----------
    database : Database
        The database that the document at hand lives in.
    """

    settings: Settings
    server: Server
    database: Database
    mail: Mailer
    ledger: Ledger
    links: LinkKeys
    invitation_links: LinkKeys
    clock: Clock = utc_now

    @property
    def in_control(self) -> bool:
        """Whether the document at hand lives where only the cloud writes: the control database."""
        return self.database.name == self.settings.control_db

    @property
    def owner(self) -> str | None:
        """Whose control database the document at hand lives in; None in the control database."""
        return owner_of(self.settings.control_db, self.database.name)

    @property
    def control(self) -> Database:
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

    def page_url(self, page: str, code: str) -> str:
        """The URL of the page behind a link in a mail."""
        return f"{self.settings.public_url.rstrip('/')}/{page}/{code}"

    @property
    def public_couchdb_url(self) -> str:
        """Where devices find the cloud's CouchDB; no credentials, no slash at its end."""
        return self.settings.couchdb_public_url.rstrip("/") or self.server.url

    def public_url(self, database: Database) -> str:
        """The URL by which devices find a database."""
        return self.public_couchdb_url + database.url.removeprefix(self.server.url)


class Wiring:
    """Makes the clients when they are first needed, and keeps them while the Lambda lives.

    Parameters
    ----------
    environ : mapping
        Where the settings come from; ``os.environ`` but in tests.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, clock: Clock = utc_now) -> None:
        self._environ = os.environ if environ is None else environ
        self._clock = clock
        self._cloud: Cloud | None = None
        self._cloud_until_s = 0.0

    @cached_property
    def settings(self) -> Settings:
        """The environment, read and checked at the first use."""
        return Settings.read(self._environ)

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """The DynamoDB client."""
        client: DynamoDBClient = _client("dynamodb")
        return client

    @cached_property
    def sqs(self) -> "SQSClient":
        """The SQS client."""
        client: SQSClient = _client("sqs")
        return client

    @cached_property
    def claims(self) -> Claims:
        """The claims of unsafe steps."""
        return Claims(self.dynamodb, self.settings.table_name, self.settings.claim_lease_s)

    def now(self) -> datetime:
        """The time, in UTC."""
        return self._clock()

    def cloud(self) -> Cloud:
        """The tools, standing in the control database.

        Sends a request to Secrets Manager at the first use, and when the secret has aged.
        """
        now_s = self._clock().timestamp()
        if self._cloud is None or now_s >= self._cloud_until_s:
            self._cloud = self._renewed()
            self._cloud_until_s = now_s + SECRET_AGE_S
        return self._cloud

    def use(self, action: Callable[[Cloud], Result]) -> Result:
        """Do something with the tools; after a 401 of CouchDB's the next use has a fresh secret."""
        try:
            return action(self.cloud())
        except Unauthorized:
            self._cloud_until_s = 0.0
            raise

    def _renewed(self) -> Cloud:
        try:
            secrets = read_secrets(_client("secretsmanager"), self.settings.secret_id)
        except (BotoCoreError, ClientError):
            if self._cloud is None:
                raise
            return self._cloud  # an aged secret is better than none
        return self._make(secrets)

    def queue_url(self, doc_type: str, state: str) -> str:
        """The URL of a route's queue. One request."""
        name = queue_name(self.settings.stage, doc_type, state)
        return self.sqs.get_queue_url(QueueName=name)["QueueUrl"]

    def _make(self, secrets: Secrets) -> Cloud:
        settings = self.settings
        server = Server(secrets.couchdb_url)
        return Cloud(
            settings=settings,
            server=server,
            database=server.database(settings.control_db),
            mail=SesMailer(_client("sesv2"), settings.mail_from),
            ledger=Ledger(self.dynamodb, settings.table_name),
            links=_link_keys(secrets, "confirm", settings),
            invitation_links=_link_keys(secrets, "invitation", settings),
            clock=self._clock,
        )


def _link_keys(secrets: Secrets, page: str, settings: Settings) -> LinkKeys:
    return LinkKeys(secrets.link_keys, f"{page} {settings.stage} {settings.control_db}")


def _client(service: str) -> Any:
    # Imported at the first use: together they are most of a cold start.
    import boto3
    from botocore.config import Config

    # SES has no idempotency token: only we know when to send again.
    attempts = 1 if service == "sesv2" else 2
    return boto3.client(  # type: ignore[call-overload]
        service,
        config=Config(
            connect_timeout=2,
            read_timeout=5,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            # Pumps, tests and Lambdas with a batch use one client from several threads.
            max_pool_connections=32,
        ),
    )
