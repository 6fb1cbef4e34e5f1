"""What tests of all kinds share: fakes, a clock to set, documents, a way to wait."""

import copy
import io
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Barrier
from types import SimpleNamespace
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from aws_lambda_powertools import Logger
from chalice.app import Request, Response

from chalicelib.aws.hour_counters import HourCounters
from chalicelib.aws.rate_limiter import RateLimiter
from chalicelib.aws.suppressions import Suppressions
from chalicelib.couch import (
    MAX_ATTEMPTS,
    Conflict,
    CouchError,
    Database,
    Forbidden,
    NotFound,
    Server,
    Unauthorized,
)
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.link_tokens import LinkKeys
from chalicelib.engine.context import Context
from chalicelib.engine.docstate import Transition
from chalicelib.engine.runner import Message, Outcome
from chalicelib.settings import Settings
from chalicelib.web.pages import Page
from chalicelib.web.unavailable import answer_unavailable, context_of
from syncpoint_device.registration import NewDevice, new_device
from tests.kit.planted import plant

Value = TypeVar("Value")

START = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
LINK_KEY = b"k" * 32
PUBLIC_URL = "https://sync.example.com/api"


@dataclass
class FakeClock:
    """A clock that stands still until it is moved."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Seconds:
    """The same as seconds, of a clock that has no date."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True)
class Mail:
    to: str
    subject: str
    text: str
    html: str
    message_id: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass
class FakeMailer:
    """Keeps what it is asked to send; `fail` is raised before (nothing is sent) if it is set."""

    sent: list[Mail] = field(default_factory=list)
    fail: Exception | None = None
    outcomes: list[str] = field(default_factory=list)  # as they are counted

    def send(
        self,
        to: str,
        subject: str,
        text: str,
        html: str,
        message_id: str,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        if self.fail is not None:
            raise self.fail
        self.sent.append(Mail(to, subject, text, html, message_id, tags or {}))

    def links(self) -> list[str]:
        """The links in the mails, oldest first."""
        return [
            line for mail in self.sent for line in mail.text.splitlines() if line.startswith("http")
        ]


class FakeDatabase:
    """A database in memory with CouchDB's rules for revisions; passes a real one's contract."""

    def __init__(self, name: str = "control") -> None:
        self.name = name
        self.docs: dict[str, JsonDict] = {}
        self.writes = 0

    def get(self, doc_id: str) -> JsonDict:
        if doc_id not in self.docs:
            raise NotFound(404, "not_found", "missing")
        return copy.deepcopy(self.docs[doc_id])

    def find_one(self, doc_id: str, *, conflicts: bool = False) -> JsonDict | None:
        try:
            return self.get(doc_id)
        except NotFound:
            return None

    def put(self, doc: JsonDict) -> str:
        current = self.docs.get(doc["_id"], {}).get("_rev")
        if doc.get("_rev") != current:
            raise Conflict(409, "conflict", "Document update conflict.")
        number = int(current.split("-")[0]) + 1 if current else 1
        rev = f"{number}-{uuid.uuid4().hex}"
        self.docs[doc["_id"]] = {**copy.deepcopy(doc), "_rev": rev}
        self.writes += 1
        return rev

    def attempts(self) -> Iterator[int]:
        """The numbers of the attempts at a write, without the pauses between them."""
        return iter(range(MAX_ATTEMPTS))

    def remove(self, doc: JsonDict) -> None:
        if self.get(doc["_id"])["_rev"] != doc["_rev"]:
            raise Conflict(409, "conflict", "Document update conflict.")
        del self.docs[doc["_id"]]


@dataclass(frozen=True)
class FakeTools:
    """What the runner needs of a transition's tools; all databases are one."""

    database: Database
    clock: FakeClock
    asked_for: list[str] = field(default_factory=list)

    def at(self, db: str) -> Self:
        self.asked_for.append(db)
        return replace(self)


def make_settings(**changes: str) -> Settings:
    """Settings as a deployment has them; `changes` by the names of the environment's variables."""
    environment = {
        "STAGE": "test",
        "TABLE_NAME": "unused",
        "SECRET_ID": "unused",
        "PUBLIC_URL": PUBLIC_URL,
        "MAIL_FROM": "sync@example.com",
    }
    return Settings.read(environment | changes)


def make_context(
    server: Server,
    control_db: str,
    rate_limiter: RateLimiter,
    mailer: FakeMailer,
    clock: Callable[[], datetime],
    **changes: str,
) -> Context:
    """The tools of a transition, over a real server and a real rate_limiter."""
    return Context(
        settings=make_settings(CONTROL_DB=control_db, **changes),
        server=server,
        database=server.database(control_db),
        mail=mailer,
        rate_limiter=rate_limiter,
        hour_counters=HourCounters(rate_limiter.client, rate_limiter.table_name),
        suppressions=Suppressions(rate_limiter.client, rate_limiter.table_name),
        confirmation_links=LinkKeys([LINK_KEY], "test"),
        invitation_links=LinkKeys([LINK_KEY], "test invitation"),
        pages_url=lambda: PUBLIC_URL,
        count_mail=mailer.outcomes.append,
        clock=clock,
    )


def a_device(owner: str = "ada@example.com", name: str = "Ada's phone") -> NewDevice:
    """A new device with a login that every server in use knows."""
    device = new_device(owner, name, "2026-11-23T06:00:00Z", sha256=False)
    plant(device.password)
    return device


def is_refused(error: CouchError | None) -> bool:
    """Whether CouchDB says that a login has no right to this."""
    if error is None or error.status != 500:
        return isinstance(error, Unauthorized | Forbidden)
    # CouchDB's words to a member who writes the security object, or makes an index.
    return error.reason == "no_majority" or error.error == "error_saving_ddoc"


def wait_until_shut_out(ask: Callable[[], object]) -> None:
    """Wait until a login is refused: CouchDB forgets it a moment after its document is gone."""

    def is_shut_out() -> bool:
        try:
            ask()
        except Unauthorized:
            return True
        return False

    wait_for(is_shut_out, "the end of a login", limit_s=10)


def without_hash(user: JsonDict) -> JsonDict:
    """A user document without what CouchDB changes when its owner logs in: the password's hash."""
    hashed = ("iterations", "salt", "derived_key", "password_scheme", "pbkdf2_prf")
    return without(user, "_rev", *hashed)


def without(doc: JsonDict, *names: str) -> JsonDict:
    """A document without some of its fields."""
    return {name: value for name, value in doc.items() if name not in names}


def without_private(doc: JsonDict) -> JsonDict:
    """A document without the fields that CouchDB keeps for itself, and without its id."""
    return {name: value for name, value in doc.items() if not name.startswith("_")}


def looked_for(couch_url: str) -> str:
    """The administrator's password, as it must be nowhere in what is printed.

    That of a CouchDB that was lent to us may be an ordinary word: it is looked for as in a URL.
    """
    password = str(urlsplit(couch_url).password)
    lent = urlsplit(os.environ.get("COUCHDB_URL", "")).password
    return f":{password}@" if password == lent else password


def an_address() -> str:
    """An address that no other test uses."""
    return plant(f"{uuid.uuid4().hex[:12]}@example.com")


def wait_for(condition: Callable[[], Value | None], what: str, limit_s: float = 120) -> Value:
    """What `condition` returns as soon as it is true; fails after the limit.

    That is longer than a claim's lease: on a machine so busy that a request to SES or DynamoDB runs
    out of time, the mail goes out at the next try.
    """
    deadline = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {limit_s:.0f} s")
        time.sleep(0.02)


def at_once(*actions: Callable[[], Value]) -> list[Value]:
    """What the actions return, all begun together."""
    start = Barrier(len(actions))

    def act(action: Callable[[], Value]) -> Value:
        start.wait(timeout=30)
        return action()

    with ThreadPoolExecutor(len(actions)) as threads:
        return list(threads.map(act, actions))


@contextmanager
def logged(logger: Logger) -> Iterator[io.StringIO]:
    """All that is logged, in the form of a Lambda's log."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logger.registered_formatter)
    of_python = logging.getLogger(logger.name)
    level = of_python.level
    of_python.addHandler(handler)
    of_python.setLevel(logging.INFO)
    yield stream
    of_python.removeHandler(handler)
    of_python.setLevel(level)


@dataclass(frozen=True)
class FakeWork:
    """The work of a batch, with a handler, a time and a queue of the test's own."""

    transition: Transition
    handler: Callable[[Message], Outcome]
    sqs: Any
    url: str = "queue"
    remaining_s: Callable[[], float] = lambda: 30.0
    lease_s: int = 90
    stage: str = "dev"

    def handle(self, message: Message) -> Outcome:
        return self.handler(message)

    def queue(self) -> tuple[Any, str]:
        return self.sqs, self.url


def failing_view(error: Exception, path: str) -> Response:
    """What the API answers for a path whose view raises an error."""

    def view(_: object) -> Page:
        raise error

    return view_page(FakeDependencies(), view, path)


def view_page(
    dependencies: Any, view: Callable[[Context], Page], path: str = "/confirm/{token}"
) -> Response:
    """What the API answers for a page's view, errors included."""

    def get_response(_: Request) -> Response:
        with context_of(dependencies) as context:
            page = view(context)
        return Response(page.body, dict(page.headers), page.status)

    request: Any = SimpleNamespace(path=path)
    return answer_unavailable(request, get_response)


@dataclass(frozen=True)
class FakeDependencies:
    """Dependencies that give the context of a test."""

    context: Any = None

    @contextmanager
    def use(self) -> Iterator[Context]:
        yield self.context


def create_table(dynamodb: Any, name: str) -> None:
    """The table, with the key that template.yaml gives it (a test holds the two equal)."""
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
