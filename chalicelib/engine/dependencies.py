"""Makes the dependencies from the environment: clients, secrets, the URL of the pages."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aws.claims import Claims
from chalicelib.aws.clients import make_client
from chalicelib.aws.hour_counters import HourCounters
from chalicelib.aws.rate_limiter import RateLimiter
from chalicelib.aws.ses import SesMailer
from chalicelib.aws.suppressions import Suppressions
from chalicelib.couch import Server, Unauthorized
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.link_tokens import LinkKeys
from chalicelib.engine.context import Clock, Context, utc_now
from chalicelib.errors import NoEffect
from chalicelib.settings import Secrets, Settings, queue_name, read_secrets
from chalicelib.telemetry import count_mail

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sesv2 import SESV2Client
    from mypy_boto3_sqs import SQSClient

# How long the secret is kept in memory before it is fetched again. A key that was rotated reaches
# every running Lambda within this time.
SECRET_AGE_S = 300

MakeClient = Callable[[str], Any]
MakeServer = Callable[[str], Server]


class PublicUrlUnknown(NoEffect):
    """Raised when no link can be made, because the SSM parameter with the pages' URL is missing."""


class Dependencies:
    """The dependencies of a Lambda. They are made when they are first needed, and then kept.

    Parameters
    ----------
    environ : mapping
        The environment variables; ``os.environ`` except in tests.
    client : callable
        Makes the AWS client for the name of a service.
    server : callable
        Makes the CouchDB server for its URL.

    Attributes
    ----------
    health : tuple
        The last answer of the health check, and when it was given (chalicelib/web/health.py).
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        clock: Clock = utc_now,
        client: MakeClient | None = None,
        server: MakeServer = Server,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._clock = clock
        self._client = client or make_client
        self._server = server
        self._context: Context | None = None
        self._context_until_s = 0.0
        self._known_pages_url = ""
        self.health: tuple[float, tuple[int, JsonDict] | None] = (0.0, None)

    @cached_property
    def settings(self) -> Settings:
        """Return the settings, which are read and checked at the first use."""
        return Settings.read(self._environ)

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """Return the DynamoDB client."""
        return cast("DynamoDBClient", self._lazy("dynamodb"))

    @cached_property
    def sqs(self) -> "SQSClient":
        """Return the SQS client."""
        return cast("SQSClient", self._lazy("sqs"))

    @cached_property
    def claims(self) -> Claims:
        """Return the claims on unsafe transitions."""
        return Claims(self.dynamodb, self.settings.table_name, self.settings.claim_lease_s)

    def now(self) -> datetime:
        """Return the current time, in UTC."""
        return self._clock()

    def context(self) -> Context:
        """Return the context for a document in the control database.

        Sends a request to Secrets Manager at the first use, and when the secret is too old.
        """
        now_s = self._clock().timestamp()
        if self._context is None or now_s >= self._context_until_s:
            self._context = self._renewed()
            self._context_until_s = now_s + SECRET_AGE_S
        return self._context

    @contextmanager
    def use(self) -> Iterator[Context]:
        """Give the context for one event.

        After a 401 from CouchDB, the next event reads the secret again.
        """
        try:
            yield self.context()
        except Unauthorized:
            self._context_until_s = 0.0
            raise

    def _renewed(self) -> Context:
        try:
            secrets = read_secrets(self._client("secretsmanager"), self.settings.secret_id)
        except (BotoCoreError, ClientError):
            if self._context is None:
                raise
            return self._context  # an old secret is better than none
        self._known_pages_url = ""  # the URL is read again when the secret is
        return self._make(secrets)

    def queue_url(self, doc_type: str, state: str) -> str:
        """Return the URL of a route's queue. One request."""
        name = queue_name(self.settings.stage, doc_type, state)
        return self.sqs.get_queue_url(QueueName=name)["QueueUrl"]

    def _make(self, secrets: Secrets) -> Context:
        settings = self.settings
        server = self._server(secrets.couchdb_url)
        return Context(
            settings=settings,
            server=server,
            database=server.database(settings.control_db),
            mail=SesMailer(
                cast("SESV2Client", self._lazy("sesv2")),
                settings.mail_from,
                settings.mail_configuration_set,
            ),
            rate_limiter=RateLimiter(self.dynamodb, settings.table_name),
            hour_counters=HourCounters(self.dynamodb, settings.table_name),
            suppressions=Suppressions(self.dynamodb, settings.table_name),
            confirmation_links=_link_keys(secrets, "confirm", settings),
            invitation_links=_link_keys(secrets, "invitation", settings),
            pages_url=self._pages_url,
            count_mail=lambda outcome: count_mail(settings.stage, outcome),
            clock=self._clock,
        )

    def _lazy(self, service: str) -> "_LazyClient":
        return _LazyClient(lambda: self._client(service))

    def _pages_url(self) -> str:
        """Return the URL of the pages, from the environment or as `make deploy` has written it."""
        if not self._known_pages_url:
            self._known_pages_url = self.settings.public_url or self._deployed_url()
        return self._known_pages_url

    def _deployed_url(self) -> str:
        name = self.settings.public_url_parameter
        try:
            url: str = self._client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
        except ClientError as exc:
            code = exc.response["Error"]["Code"]
            raise PublicUrlUnknown(f"{name}: {code}; `make deploy` writes it") from exc
        return url


def _link_keys(secrets: Secrets, page: str, settings: Settings) -> LinkKeys:
    return LinkKeys(secrets.link_keys, f"{page} {settings.stage} {settings.control_db}")


class _LazyClient:
    """An AWS client that is made at its first use: most functions use only one of several."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._client: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._client is None:
            self._client = self._make()
        return getattr(self._client, name)
