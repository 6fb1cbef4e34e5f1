"""How the tools are made from the environment, and what happens when the secret changes."""

import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from chalice.app import Response

from chalicelib.couch import Unauthorized
from chalicelib.engine.dependencies import SECRET_AGE_S, Dependencies, PublicUrlUnknown
from chalicelib.errors import NoEffect
from chalicelib.settings import InvalidSettings
from chalicelib.telemetry import logger
from chalicelib.web import confirm, health
from tests.kit.basics import FakeClock, logged, view_page
from tests.kit.fakes.couch_http import Refusal
from tests.kit.fakes.couch_watched import WatchedCouch

NOWHERE = "http://127.0.0.1:9"


@dataclass
class Secret:
    client: Any
    name: str

    def change(self, couchdb_url: str) -> None:
        value = json.dumps({"couchdb_url": couchdb_url, "link_keys": ["00" * 32]})
        self.client.put_secret_value(SecretId=self.name, SecretString=value)


@pytest.fixture
def secret(aws: Any) -> Iterator[Secret]:
    client, name = aws.client("secretsmanager"), f"test-{uuid.uuid4().hex[:12]}"
    aws.create_secret(name, "http://admin:old@couch.example.com", "00" * 32)
    yield Secret(client, name)
    client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


@pytest.fixture
def dependencies(secret: Secret, clock: FakeClock) -> Dependencies:
    environment = {
        "TABLE_NAME": "unused",
        "SECRET_ID": secret.name,
        "PUBLIC_URL": "https://sync.example.com",
        "MAIL_FROM": "sync@example.com",
    }
    return Dependencies(environment, clock)


def test_the_secret_is_fetched_once_in_its_time(
    dependencies: Dependencies, secret: Secret, clock: FakeClock
) -> None:
    first = dependencies.context()
    secret.change("http://admin:new@other.example.com")
    clock.move(SECRET_AGE_S - 1)
    assert dependencies.context() is first
    clock.move(1)
    assert dependencies.context().server.url == "http://other.example.com"


def test_a_secret_that_couchdb_did_not_take_is_fetched_again_at_once(
    dependencies: Dependencies, secret: Secret
) -> None:
    dependencies.context()
    secret.change("http://admin:new@other.example.com")
    with pytest.raises(Unauthorized), dependencies.use():
        raise Unauthorized(401, "unauthorized", "Name or password is incorrect.")
    assert dependencies.context().server.url == "http://other.example.com"


def test_an_aged_secret_is_better_than_none(
    dependencies: Dependencies, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dependencies.context()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", NOWHERE)
    clock.move(SECRET_AGE_S)
    assert dependencies.context() is first


def test_when_aws_does_not_answer_the_page_says_so_with_all_its_headers(
    dependencies: Dependencies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", NOWHERE)
    page = confirmation_page(dependencies, "device-1.0.AAAAAAAAAAAAAAAAAAAAAA")
    assert (page.status_code, page.headers["Cache-Control"]) == (503, "no-store")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "Nothing is lost" in page.body


@pytest.mark.io
def test_a_missing_variable_is_named_and_the_page_still_answers() -> None:
    dependencies = Dependencies({})
    with pytest.raises(InvalidSettings, match="TABLE_NAME is not set"):
        dependencies.context()
    assert confirmation_page(dependencies, "x").status_code == 503


def test_health_says_which_part_does_not_answer(
    dependencies: Dependencies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", NOWHERE)
    status, body = health.check_health(dependencies, "device", "new")
    assert status == 503
    assert body["ok"] is False
    assert body["sqs"].startswith("failed: ")
    assert body["dynamodb"] == "failed: ResourceNotFoundException"
    assert "couch.example.com" not in json.dumps(body)


WRONG_PASSWORD = Refusal(401, "unauthorized", "Name or password is incorrect.")
LOCKED = Refusal(
    403, "forbidden", "Account is temporarily locked due to multiple authentication failures"
)


@pytest.fixture
def watched(
    secret: Secret, clock: FakeClock, aws: Any
) -> tuple[Dependencies, WatchedCouch, list[str]]:
    """Dependencies with a CouchDB in memory; it, and the services of AWS that are asked."""
    couch, asked = WatchedCouch(), list[str]()
    couch.create("control")
    environment = {
        "TABLE_NAME": "unused",
        "SECRET_ID": secret.name,
        "PUBLIC_URL": "https://sync.example.com",
        "MAIL_FROM": "sync@example.com",
    }

    def client(service: str) -> Any:
        return Noted(aws.client(service), service, asked)

    return Dependencies(environment, clock, client, lambda url: couch.server()), couch, asked


@dataclass
class Noted:
    """A client that notes that its service is asked."""

    client: Any
    service: str
    asked: list[str]

    def __getattr__(self, name: str) -> Any:
        self.asked.append(self.service)
        return getattr(self.client, name)


@pytest.mark.parametrize(
    ("refusal", "said", "words"),
    [
        (
            WRONG_PASSWORD,
            "failed: 401",
            "name or the password in the secret's couchdb_url is wrong",
        ),
        (LOCKED, "failed: 403", "locked for some minutes, because somebody sent wrong passwords"),
        (Refusal(403, "forbidden", "You are no admin."), "failed: 403", "You are no admin."),
        (Refusal(500, "badmatch", ""), "failed: 500 badmatch", ""),
    ],
)
def test_why_couchdb_refuses_the_login_is_for_the_log_and_not_for_the_world(
    watched: tuple[Dependencies, WatchedCouch, list[str]],
    refusal: Refusal,
    said: str,
    words: str,
) -> None:
    dependencies, couch, _ = watched
    couch.refuse("GET /control", refusal)
    with logged(logger) as log:
        status, body = health.check_health(dependencies, "device", "new")
    assert (status, body["couchdb"]) == (503, said)
    assert words in log.getvalue()
    assert bool(log.getvalue()) is bool(words)


def test_a_flood_of_health_checks_costs_no_requests(
    watched: tuple[Dependencies, WatchedCouch, list[str]], clock: FakeClock
) -> None:
    dependencies, couch, asked = watched
    first = health.check_health(dependencies, "device", "new")
    before = (list(couch.asked), list(asked))
    couch.refuse("GET /control")
    for _ in range(100):
        assert health.check_health(dependencies, "device", "new") == first
    assert (couch.asked, asked) == before
    clock.move(health.HEALTH_AGE_S)
    assert health.check_health(dependencies, "device", "new") != first
    assert len(couch.asked) > len(before[0])


def test_health_says_that_the_secret_is_malformed_and_nothing_of_it(
    dependencies: Dependencies, secret: Secret
) -> None:
    secret.change("admin:hunter2@couch.example.com")
    status, body = health.check_health(dependencies, "device", "new")
    assert (status, body["couchdb"]) == (503, "failed: settings")
    assert "hunter2" not in json.dumps(body)


@pytest.mark.io
def test_health_answers_though_a_variable_is_missing() -> None:
    status, body = health.check_health(Dependencies({}), "device", "new")
    parts = {name: body[name] for name in ("couchdb", "dynamodb", "sqs")}
    assert (status, parts) == (503, dict.fromkeys(parts, "failed: settings"))


# Where the pages are


@pytest.fixture
def deployed(secret: Secret, clock: FakeClock, aws: Any) -> Iterator[tuple[Dependencies, Any, str]]:
    """Dependencies that ask SSM where the pages are; the client, and the parameter's name."""
    ssm, name = aws.client("ssm"), f"/test/{uuid.uuid4().hex[:12]}/public-url"
    environment = {
        "TABLE_NAME": "unused",
        "SECRET_ID": secret.name,
        "PUBLIC_URL_PARAMETER": name,
        "MAIL_FROM": "sync@example.com",
    }
    yield Dependencies(environment, clock), ssm, name
    with suppress(ssm.exceptions.ParameterNotFound):
        ssm.delete_parameter(Name=name)


def test_a_link_leads_where_the_deployment_says(
    deployed: tuple[Dependencies, Any, str], clock: FakeClock
) -> None:
    dependencies, ssm, name = deployed
    ssm.put_parameter(Name=name, Value="https://a.example/api", Type="String")
    assert (
        dependencies.context().page_url("confirm", "code") == "https://a.example/api/confirm/code"
    )
    ssm.put_parameter(Name=name, Value="https://b.example/api", Type="String", Overwrite=True)
    clock.move(SECRET_AGE_S)
    assert (
        dependencies.context().page_url("confirm", "code") == "https://b.example/api/confirm/code"
    )


def test_without_a_deployment_no_link_is_written_and_nothing_was_done(
    deployed: tuple[Dependencies, Any, str],
) -> None:
    dependencies, _, name = deployed
    with pytest.raises(PublicUrlUnknown, match=f"{name}: .*`make deploy` writes it") as caught:
        dependencies.context().page_url("confirm", "code")
    assert isinstance(caught.value, NoEffect)


def test_a_domain_of_the_operators_own_asks_nobody(dependencies: Dependencies) -> None:
    assert dependencies.context().page_url("confirm", "x") == "https://sync.example.com/confirm/x"


def confirmation_page(dependencies: Dependencies, token: str) -> Response:
    """The page of a link, as the API answers it."""
    return view_page(dependencies, lambda context: confirm.show(context, token, None))
