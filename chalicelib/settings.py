"""Read and check the environment and the secret; make the names that template.yaml also uses.

Only `read_secrets` sends a request.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


class InvalidSettings(Exception):
    """The environment or the secret is wrong; the message names the variable."""


@dataclass(frozen=True)
class Variable:
    """One environment variable. Its `default` is None if it must be set."""

    name: str
    default: str | None
    help: str
    parse: Callable[[str], Any]


def variable(
    name: str, help: str, default: str | None = None, parse: Callable[[str], Any] = str
) -> Any:
    """Make a dataclass field that is read from an environment variable."""
    return field(metadata={"variable": Variable(name, default, help, parse)})


def match(pattern: str, what: str) -> Callable[[str], str]:
    """Make a parser of texts of one form; `what` describes the form."""

    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {what}")
        return value

    return parse


@dataclass(frozen=True)
class Count:
    """A parser of whole numbers, from `minimum` to `maximum`."""

    minimum: int
    maximum: int

    def __call__(self, value: str) -> int:
        """Parse a value; raise `ValueError` if it is no number or out of bounds."""
        # [0-9] only: int() would also accept signs, spaces, underscores and other scripts' digits.
        is_number = re.fullmatch(r"[0-9]{1,9}", value) is not None
        if not is_number or not self.minimum <= int(value) <= self.maximum:
            raise ValueError(f"must be a whole number from {self.minimum} to {self.maximum}")
        return int(value)


def optional(parse: Callable[[str], str]) -> Callable[[str], str]:
    """Make a parser that also accepts an empty text."""
    return lambda value: parse(value) if value else value


class FromEnvironment:
    """A base class for dataclasses whose fields are environment variables."""

    @classmethod
    def variables(cls) -> list[Variable]:
        """Return the variables, in the order of docs/configuration.md."""
        return [item.metadata["variable"] for item in fields(cls)]  # type: ignore[arg-type]

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read and check the environment.

        Raises
        ------
        InvalidSettings
            If a variable is missing or wrong. The message names it and says what it must be.
        """
        values = {}
        for item in fields(cls):  # type: ignore[arg-type]
            variable: Variable = item.metadata["variable"]
            given = environ.get(variable.name) or variable.default
            if given is None:
                raise InvalidSettings(f"{variable.name} is not set: {variable.help}")
            try:
                values[item.name] = variable.parse(given)
            except ValueError as exc:
                raise InvalidSettings(f"{variable.name} {exc}") from exc
        return cls(**values)


def _routes(value: str) -> dict[str, str]:
    wrong = ValueError('must be JSON of the form {"type/state": "queue URL"}')
    try:
        routes = json.loads(value)
    except ValueError:
        raise wrong from None
    if not isinstance(routes, dict) or not routes:
        raise wrong
    for route, queue_url in routes.items():
        if not re.fullmatch(r"[a-z]+/[a-z]+", route) or not re.match(r"https?://", str(queue_url)):
            raise wrong
    return routes


def app_origins(value: str) -> tuple[str, ...]:
    """Parse the origins of web apps, with spaces between them.

    Only https, but for this machine: whoever is on the way could change a page that comes by http.
    """
    origins = tuple(value.split())
    for origin in origins:
        secure = r"https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
        if not re.fullmatch(
            rf"({secure}|http://(localhost|127\.0\.0\.1))(:[1-9][0-9]{{0,4}})?", origin
        ):
            raise ValueError(
                "must be origins such as https://app.example.com, in lower case, without a path, "
                "with spaces between them"
            )
    return origins


_STAGE = match(r"[a-z][a-z0-9-]{0,19}", "lower case letters, digits and dashes")
CONTROL_DB = match(r"[a-z][a-z0-9_-]{0,99}", "the name of a database (a-z, 0-9, _ and -)")
_ADDRESS = match(
    r"[^\s@<>]+@[^\s@<>]+|[^<>@\r\n]+ <[^\s@<>]+@[^\s@<>]+>",
    "an address, or a name and an <address>",
)
_HTTP_URL = match(r"https?://[^\s/?#@]+[^\s?#@]*", "an http(s) URL without credentials or query")

_TABLE_HELP = "the DynamoDB table with claims, quotas and checkpoints"
_LINK_KEYS_HELP = "the Secrets Manager secret with CouchDB's URL and the link keys"

# A poller that was not seen for so long is not running. It should run each minute.
POLLER_SILENT_S = 300

# The maximum concurrency that Lambda accepts for a queue.
# Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
MIN_CONCURRENCY = 2
_CONCURRENCY = Count(MIN_CONCURRENCY, 1000)

# A bucket of the rate limiter is one item of at most 400 KB, and takes 48 bytes for each key.
MAX_QUOTA = 5000
_QUOTA = Count(0, MAX_QUOTA)

# These mails are counted by a number, not by keys. Nobody sends more in an hour.
_BUSY = Count(0, 10_000_000)

_MONTH_S = 30 * 24 * 3600
_SHARDS = Count(1, 100)


@dataclass(frozen=True)
class Deployed(FromEnvironment):
    """The settings that app.py reads when it is imported: names and concurrency of the queues."""

    stage: str = variable(
        "STAGE", "the deployment's name; part of the queues' names", "dev", _STAGE
    )
    # Some ten mails a second, which is SES's limit for a new account.
    mail_concurrency: int = variable(
        "MAIL_CONCURRENCY",
        "how many batches run at the same time in each queue whose documents cause mails; choose"
        " an eighth of the mails that SES accepts per second; takes effect at deployment",
        str(MIN_CONCURRENCY),
        _CONCURRENCY,
    )
    # Seven queues, and three databases per batch at most: fewer than CouchDB's 500.
    couchdb_concurrency: int = variable(
        "COUCHDB_CONCURRENCY",
        "how many batches run at the same time in each other queue; CouchDB opens 500 databases at"
        " the same time (`max_dbs_open`); takes effect at deployment",
        "10",
        _CONCURRENCY,
    )


@dataclass(frozen=True)
class Settings(Deployed):
    """The settings of the handlers and the routes."""

    table_name: str = variable("TABLE_NAME", _TABLE_HELP)
    secret_id: str = variable("SECRET_ID", _LINK_KEYS_HELP)
    control_db: str = variable("CONTROL_DB", "the control database", "control", CONTROL_DB)
    public_url: str = variable(
        "PUBLIC_URL",
        "the URL that links in mails begin with; empty: the parameter's value",
        "",
        optional(_HTTP_URL),
    )
    public_url_parameter: str = variable(
        "PUBLIC_URL_PARAMETER",
        "the SSM parameter into which `make deploy` writes the API's URL",
        "",
    )
    couchdb_public_url: str = variable(
        "COUCHDB_PUBLIC_URL",
        "CouchDB's URL for devices; empty: the secret's URL without credentials",
        "",
        optional(_HTTP_URL),
    )
    mail_from: str = variable(
        "MAIL_FROM", "the sender's address; it must be verified in SES", None, _ADDRESS
    )
    mail_configuration_set: str = variable(
        "MAIL_CONFIGURATION_SET",
        "the SES configuration set that reports bounces and complaints; empty: none",
        "",
    )
    device_auth: str = variable(
        "DEVICE_AUTH",
        "how devices log in: `login` (CouchDB 3) or `oauth1` (CouchDB 1.x)",
        "login",
        match("login|oauth1", "login or oauth1"),
    )
    confirm_ttl_s: int = variable(
        "CONFIRM_TTL_SECONDS",
        "how long the link in a confirmation mail is valid",
        "86400",
        Count(1, _MONTH_S),
    )
    invitation_ttl_s: int = variable(
        "INVITATION_TTL_SECONDS",
        "how long an invitation can be answered",
        "604800",
        Count(1, 12 * _MONTH_S),
    )
    # A Lambda may run for 900 s.
    claim_lease_s: int = variable(
        "CLAIM_LEASE_SECONDS",
        "how long a claim on an unsafe transition holds; longer than a handler's time-out",
        "90",
        Count(1, 3600),
    )
    mails_per_address_hour: int = variable(
        "MAILS_PER_ADDRESS_HOUR", "the most mails to one address in any hour", "5", _QUOTA
    )
    mails_per_address_day: int = variable(
        "MAILS_PER_ADDRESS_DAY", "the most mails to one address in any day", "20", _QUOTA
    )
    mails_per_owner_hour: int = variable(
        "MAILS_PER_OWNER_HOUR", "the most invitations of one owner in any hour", "20", _QUOTA
    )
    mails_per_owner_day: int = variable(
        "MAILS_PER_OWNER_DAY", "the most invitations of one owner in any day", "100", _QUOTA
    )
    mails_per_network_hour: int = variable(
        "MAILS_PER_NETWORK_HOUR", "the most mails caused by one network in any hour", "50", _QUOTA
    )
    mails_per_network_day: int = variable(
        "MAILS_PER_NETWORK_DAY", "the most mails caused by one network in any day", "200", _QUOTA
    )
    bounces_per_sender_day: int = variable(
        "BOUNCES_PER_SENDER_DAY",
        "after how many mails of one owner or one network that did not arrive for good, or were"
        " reported as spam, in any day, their further mails are refused",
        "10",
        Count(1, MAX_QUOTA),
    )
    # An account that has just left SES's sandbox may often send 50,000 mails a day, which is some
    # 2,000 an hour; `make doctor` compares the account's own quota.
    # Source: https://docs.aws.amazon.com/ses/latest/dg/quotas.html
    mails_busy_hour: int = variable(
        "MAILS_BUSY_HOUR",
        "after how many mails an hour of the clock is busy, so that each owner and each network"
        " gets only `MAILS_SHARE_HOUR`; choose half of the mails that SES takes in an hour",
        "1000",
        _BUSY,
    )
    mails_busy_domain_hour: int = variable(
        "MAILS_BUSY_DOMAIN_HOUR",
        "after how many mails to addresses of one domain an hour is busy for that domain",
        "500",
        _BUSY,
    )
    mails_share_hour: int = variable(
        "MAILS_SHARE_HOUR",
        "the most mails of one owner or one network in any hour, while the hour is busy",
        "3",
        _QUOTA,
    )
    channels_per_owner_hour: int = variable(
        "CHANNELS_PER_OWNER_HOUR", "the most new channels of one owner in any hour", "100", _QUOTA
    )
    channels_per_owner_day: int = variable(
        "CHANNELS_PER_OWNER_DAY", "the most new channels of one owner in any day", "300", _QUOTA
    )
    # 10,000 and 5,000 are an account's own limits in most regions.
    # Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
    api_requests_second: int = variable(
        "API_REQUESTS_PER_SECOND",
        "how many requests a second the API takes from all clients together, in the long run;"
        " takes effect at deployment",
        "50",
        Count(1, 10_000),
    )
    api_burst: int = variable(
        "API_BURST",
        "how many requests the API takes at once, above which it answers 429; takes effect at"
        " deployment",
        "100",
        Count(1, 5_000),
    )
    poller_shards: int = variable("POLLER_SHARDS", "how many pollers there are", "1", _SHARDS)

    def __post_init__(self) -> None:
        if not self.public_url and not self.public_url_parameter:
            raise InvalidSettings(
                "PUBLIC_URL is not set: set it to the URL that links in mails begin with, or set "
                "PUBLIC_URL_PARAMETER to the name of an SSM parameter with that URL"
            )


@dataclass(frozen=True)
class PollerSettings(FromEnvironment):
    """The settings of the poller."""

    stage: str = variable("STAGE", "the deployment's name, in the metrics", "dev", _STAGE)
    table_name: str = variable("TABLE_NAME", _TABLE_HELP)
    secret_id: str = variable("SECRET_ID", _LINK_KEYS_HELP)
    control_db: str = variable("CONTROL_DB", "the control database", "control", CONTROL_DB)
    routes: dict[str, str] = variable(
        "ROUTES",
        '`{"type/state": "queue URL"}`; set by template.yaml',
        None,
        _routes,
    )
    window_s: int = variable(
        "POLL_WINDOW_SECONDS",
        "how long one run waits for changes; 0: it sends what has changed, and ends",
        "50",
        Count(0, 100),  # as in template.yaml, where the time-out is 120 s
    )
    page_size: int = variable(
        "POLL_PAGE_SIZE",
        "how many changes one request to CouchDB reads",
        "1000",
        Count(1, 10_000),
    )
    lease_s: int = variable(
        "POLL_LEASE_SECONDS",
        "after how long another poller may start if one has died",
        "60",
        Count(30, 900),
    )
    shards: int = variable("POLLER_SHARDS", "how many pollers there are", "1", _SHARDS)
    shard: int = variable(
        "POLLER_SHARD", "the number of this poller, from 0", "0", Count(0, _SHARDS.maximum - 1)
    )
    max_messages: int = variable(
        "POLL_MESSAGES_PER_OWNER",
        "how many messages of one owner a run sends, of which there is one a minute; the owner's"
        " other changes wait for the next run",
        "500",
        Count(100, 100_000),
    )

    def __post_init__(self) -> None:
        if self.shard >= self.shards:
            raise InvalidSettings("POLLER_SHARD must be less than POLLER_SHARDS")


def queue_name(stage: str, doc_type: str, state: str) -> str:
    """Return the name of the queue of one route, as in template.yaml."""
    return f"syncpoint-{stage}-{doc_type}-{state}"


def feedback_topic(stage: str) -> str:
    """Return the name of the SNS topic of bounces and complaints, as in template.yaml."""
    return f"syncpoint-{stage}-mail-feedback"


def poller_key(control_db: str, shard: int = 0, shards: int = 1) -> str:
    """Return the key of the item with a poller's lease and cursor."""
    return f"poller#{control_db}" + (f"#{shard}of{shards}" if shards > 1 else "")


# An unescaped / or @ in the password would put a part of it into the host or the path.
parse_couchdb_url = match(r"https?://([^\s/?#@]+@)?[^\s/?#@]+(/[^\s?#@]*)?", "CouchDB's URL")


@dataclass(frozen=True)
class Secrets:
    """The contents of the secret.

    Attributes
    ----------
    couchdb_url : str
        The URL with an administrator's credentials.
    link_keys : tuple of bytes
        The first key signs the links in mails. All keys verify them.
    """

    couchdb_url: str
    link_keys: tuple[bytes, ...]


def read_secrets(client: "SecretsManagerClient", secret_id: str) -> Secrets:
    """Fetch the secret, ``{"couchdb_url": URL, "link_keys": [HEX, …]}``. One request.

    Raises
    ------
    InvalidSettings
        If it has another form, or a key is shorter than 32 bytes. The message shows no part of it.
    """
    value = client.get_secret_value(SecretId=secret_id).get("SecretString", "")
    try:
        raw = json.loads(value)
        keys = tuple(bytes.fromhex(key) for key in list(raw["link_keys"]))
        url = parse_couchdb_url(raw["couchdb_url"])
    except (ValueError, TypeError, KeyError):
        raise InvalidSettings(
            f'the secret {secret_id} must be {{"couchdb_url": URL, "link_keys": [HEX, …]}}'
        ) from None
    if not keys or any(len(key) < 32 for key in keys):
        raise InvalidSettings(
            f"the secret {secret_id} must have link_keys of 32 bytes (64 hex digits) or more"
        )
    return Secrets(url, keys)
