"""The accounts that each contract test runs over: at moto, and in memory."""

import pytest

from local.aws import LocalAws
from tests.kit.basics import FakeClock
from tests.kit.cloud.account import (
    Account,
)
from tests.kit.fakes.aws import FakeAws


@pytest.fixture(params=["fake", pytest.param("moto", marks=pytest.mark.io)])
def account(request: pytest.FixtureRequest, clock: FakeClock) -> Account:
    if request.param == "fake":
        fake = FakeAws(lambda: clock().timestamp())
        return Account(
            fake.client, lambda: fake.mails, fake.put_secret, fake.put_parameter, fake=fake
        )
    real: LocalAws = request.getfixturevalue("aws")
    secrets, ssm = real.client("secretsmanager"), real.client("ssm")
    return Account(
        real.client,
        real.sent_mails,
        lambda name, text: secrets.create_secret(Name=name, SecretString=text),
        lambda name, value: ssm.put_parameter(Name=name, Value=value, Type="String"),
        real=real,
    )
