"""Fixtures of the attacks: the cloud over a real CouchDB, its routes, two owners."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from chalice.test import Client

from chalicelib.aws.claims import Claims
from chalicelib.couch import Database, Server
from chalicelib.engine.dependencies import Dependencies
from local.lambdas import load_app
from local.system import ROOT
from syncpoint_device.registration import NewDevice
from tests.kit.basics import LINK_KEY, PUBLIC_URL, FakeClock, FakeMailer
from tests.kit.cloud.site import Recorder, Site
from tests.kit.cloud.steps import Owner, Steps

MakeSite = Callable[..., Site]


class Secrets:
    """Secrets Manager with one secret."""

    def __init__(self, couchdb_url: str) -> None:
        value = {"couchdb_url": couchdb_url, "link_keys": [LINK_KEY.hex()]}
        self._answer = {"SecretString": json.dumps(value)}

    def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: N803 - as boto3 has it
        return self._answer


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def make_site(
    couch_url: str,
    control: Database,
    dynamodb: Any,
    table_name: str,
    mailer: FakeMailer,
    clock: FakeClock,
    recorder: Recorder,
) -> Iterator[MakeSite]:
    """Makes the API of a deployment: `make_site(STAGE="prod")`."""
    made: list[Site] = []

    def make(**changes: str) -> Site:
        environment = {
            "STAGE": "test",
            "TABLE_NAME": table_name,
            "SECRET_ID": "secret",
            "PUBLIC_URL": PUBLIC_URL,
            "MAIL_FROM": "sync@example.com",
            "CONTROL_DB": control.name,
        }
        clients = {"dynamodb": dynamodb, "secretsmanager": Secrets(couch_url)}
        dependencies = Dependencies(
            environment | changes, clock, clients.__getitem__, lambda url: Server(url, recorder)
        )
        app = load_app(ROOT)
        app.dependencies = dependencies  # type: ignore[attr-defined]
        context = replace(dependencies.context(), mail=mailer, count_mail=mailer.outcomes.append)
        claims = Claims(dynamodb, table_name, lease_s=90)
        site = Site(Client(app.app), Steps(context, claims, mailer, clock), recorder)
        made.append(site)
        return site

    yield make
    for site in made:
        site.steps.context.server.close()


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """The API of one deployment."""
    return make_site()


@pytest.fixture
def steps(site: Site) -> Steps:
    return site.steps


@pytest.fixture
def device(steps: Steps, device: NewDevice) -> NewDevice:
    """Registered: its owner has the mail."""
    steps.register(device)
    return device


@pytest.fixture
def ada(ada: Owner) -> Owner:
    """With a channel."""
    ada.channel()
    return ada
