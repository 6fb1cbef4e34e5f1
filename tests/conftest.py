"""The servers that tests talk to, made once a worker; databases and tables of each test's own."""

import io
import os
import time
import uuid
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from chalicelib import telemetry
from chalicelib.aws.claims import Claims
from chalicelib.aws.rate_limiter import RateLimiter
from chalicelib.couch import Database, Server
from chalicelib.engine.context import Context
from local.aws import LocalAws
from local.cleanup import remove_all_of
from local.system import prepare_process
from syncpoint_device.registration import NewDevice
from tests.kit.basics import (
    FakeClock,
    FakeMailer,
    a_device,
    an_address,
    logged,
    make_context,
)
from tests.kit.cloud.steps import Owner, Steps
from tests.kit.embedded import start_quietly
from tests.kit.fakes.aws import FakeAws
from tests.kit.metrics import Metrics, printed
from tests.kit.planted import plant, pytest_runtest_makereport  # noqa: F401 - a hook

pytest_plugins = ["tests.kit.figures", "tests.kit.lent", "tests.kit.tiers"]
os.environ["POWERTOOLS_LOG_LEVEL"] = "INFO"  # what is logged is looked at, too

prepare_process()

# In the gate each run tries the same examples, so that it fails for what changed, not by luck;
# HYPOTHESIS_PROFILE=explore tries others, and more of them.
hypothesis.settings.register_profile("gate", derandomize=True, deadline=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))


@pytest.fixture(scope="session")
def couch_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A CouchDB with its administrator: the one that COUCHDB_URL names, or an embedded one."""
    given = os.environ.get("COUCHDB_URL")
    if given:
        yield given.rstrip("/")
        return
    couchdb = start_quietly(tmp_path_factory.mktemp("couchdb"), plant(uuid.uuid4().hex))
    yield couchdb.url
    couchdb.stop()


@pytest.fixture(scope="session")
def server(couch_url: str) -> Iterator[Server]:
    server = Server(couch_url)
    server.database("_users").create()
    yield server
    server.close()


@pytest.fixture
def control(server: Server) -> Iterator[Database]:
    """An empty control database; all that comes of it is removed afterwards."""
    database = server.database(f"syncpoint-test-{uuid.uuid4().hex[:12]}")
    database.create()
    yield database
    remove_all_of(server, database.name)


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    aws = LocalAws()
    yield aws
    aws.stop()


@pytest.fixture
def fake_aws() -> FakeAws:
    """An AWS in memory: it answers as moto does (tests/contracts), without a server."""
    return FakeAws(time.time)


@pytest.fixture
def dynamodb(fake_aws: FakeAws) -> Any:
    return fake_aws.client("dynamodb")


@pytest.fixture
def table_name(fake_aws: FakeAws) -> str:
    """An empty table like template.yaml's."""
    fake_aws.create_table("syncpoint-test")
    return "syncpoint-test"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def mailer() -> FakeMailer:
    return FakeMailer()


@pytest.fixture
def claims(dynamodb: Any, table_name: str) -> Claims:
    return Claims(dynamodb, table_name, lease_s=90)


@pytest.fixture
def context(
    server: Server,
    control: Database,
    dynamodb: Any,
    table_name: str,
    mailer: FakeMailer,
    clock: FakeClock,
) -> Context:
    """A transition's tools: a real CouchDB, a DynamoDB in memory, a mailer and a clock."""
    return make_context(server, control.name, RateLimiter(dynamodb, table_name), mailer, clock)


@pytest.fixture
def ada(steps: Steps) -> Owner:
    """An owner with an active device."""
    return steps.an_owner()


@pytest.fixture
def ben(steps: Steps) -> Owner:
    """Another owner."""
    return steps.an_owner()


@pytest.fixture
def device() -> NewDevice:
    """A device of somebody new, not registered yet."""
    return a_device(owner=an_address())


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the functions log."""
    with logged(telemetry.logger) as stream:
        yield stream


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Metrics:
    """Returns the metrics that were printed since it was last called."""
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "false")
    return lambda: printed(capsys)


@pytest.fixture
def guest() -> str:
    """The address of somebody who has no device yet."""
    return an_address()
