"""Fixtures of the tests over real servers."""

import pytest

from chalicelib.claims import Claims
from chalicelib.cloud import Cloud
from tests.integration.steps import Steps
from tests.support import FakeClock, FakeMailer


@pytest.fixture
def steps(cloud: Cloud, claims: Claims, mailer: FakeMailer, clock: FakeClock) -> Steps:
    return Steps(cloud, claims, mailer, clock)
