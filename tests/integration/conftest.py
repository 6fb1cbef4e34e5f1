"""Fixtures of the tests over real servers."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chalicelib.aws.claims import Claims
from chalicelib.couch import Database, Server
from chalicelib.engine.context import Context
from local.aws import LocalAws
from tests.kit.basics import FakeClock, FakeMailer
from tests.kit.cloud.steps import Owner, Steps
from tests.kit.device.by_hand import Kit, MakeKit
from tests.kit.device.fake_cloud import FakeCloud, running_cloud
from tests.kit.ops.deployment import running_aws
from tests.kit.poller.over_servers import Poller, a_poller


@pytest.fixture(scope="module")
def own_aws() -> Iterator[str]:
    """The URL of an AWS of the module's own, to deploy to."""
    with running_aws() as url:
        yield url


@pytest.fixture
def steps(context: Context, claims: Claims, mailer: FakeMailer, clock: FakeClock) -> Steps:
    return Steps(context, claims, mailer, clock)


@pytest.fixture
def poller(aws: LocalAws, couch_url: str, control: Database) -> Iterator[Poller]:
    with a_poller(aws, couch_url, control) as poller:
        yield poller


@pytest.fixture
def make_kit(server: Server, couch_url: str, tmp_path: Path) -> Iterator[MakeKit]:
    """Makes a device on the CouchDB: `make_kit(context="https://…", control_db="control")`."""
    made: list[Kit] = []

    def make(**profile: Any) -> Kit:
        kit = Kit.make(tmp_path / f"device-{len(made)}", couch_url, **profile)
        made.append(kit)
        return kit

    yield make
    for kit in made:
        kit.remove()


@pytest.fixture
def kit(make_kit: MakeKit, fake_cloud: FakeCloud) -> Kit:
    """A device that has heard where its cloud is."""
    cloud = fake_cloud.couch_url
    return make_kit(registrations=fake_cloud.registrations_url, cloud=cloud, control_db="control")


@pytest.fixture
def fake_cloud() -> Iterator[FakeCloud]:
    with running_cloud() as context:
        yield context


@pytest.fixture
def adas_kit(ada: Owner, make_kit: MakeKit, server: Server, fake_cloud: FakeCloud) -> Kit:
    """Ada's device, which the cloud on this CouchDB knows; it has replicated nothing yet."""
    fake_cloud.state = "active"
    fake_cloud.said = {"couchdb": server.url, "control_db": ada.steps.control.name}
    kit = make_kit(
        owner=ada.address,
        registrations=fake_cloud.registrations_url,
        cloud=server.url,
        control_db=ada.steps.control.name,
    )
    doc, password = ada.device.doc, ada.device.password
    kit.device.release(kit.device.database, delete=False)
    kit.home.update(lambda kept: replace(kept, doc=doc, password=password))
    kit.device.acquire(kit.device.database)
    return kit
