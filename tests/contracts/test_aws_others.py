"""What this project relies on in SES, Secrets Manager, SSM: one suite for moto and FakeAws."""

import json
from typing import Any

import pytest

from chalicelib.aws.ses import SesMailer
from chalicelib.settings import InvalidSettings, read_secrets
from tests.kit.basics import an_address
from tests.kit.cloud.account import (
    Account,
    a_name,
)


def test_a_mail_is_taken_as_it_is_and_the_answer_has_its_id(account: Account) -> None:
    sender, to = an_address(), an_address()
    if account.real:
        account.real.verify_sender(sender)
    ses = account.client("sesv2")
    sent: list[Any] = []

    class Watched:
        def send_email(self, **request: Any) -> Any:
            sent.append((request, ses.send_email(**request)))
            return sent[-1][1]

    watched: Any = Watched()
    tags = {"db": "control", "id": "device-1"}
    SesMailer(watched, sender, "set").send(to, "Grüße", "text", "<p>ä</p>", "token", tags)
    [(request, answer)] = sent
    assert answer["MessageId"]
    raw = request["Content"]["Raw"]["Data"]
    taken = [mail for mail in account.mails() if to.encode() in mail]
    assert [mail.replace(b"\r\n", b"\n") for mail in taken] == [raw.replace(b"\r\n", b"\n")]


def test_a_secret_is_read_by_its_name(account: Account) -> None:
    name, secret = a_name(), {"couchdb_url": "http://admin:x@couch:5984", "link_keys": ["00" * 32]}
    account.put_secret(name, json.dumps(secret))
    secrets = read_secrets(account.client("secretsmanager"), name)
    assert (secrets.couchdb_url, secrets.link_keys) == ("http://admin:x@couch:5984", (bytes(32),))


def test_a_secret_of_another_form_is_read_as_it_is(account: Account) -> None:
    name = a_name()
    account.put_secret(name, "no JSON")
    with pytest.raises(InvalidSettings):
        read_secrets(account.client("secretsmanager"), name)


def test_a_secret_that_does_not_exist_is_said_to(account: Account) -> None:
    client = account.client("secretsmanager")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_secret_value(SecretId=a_name())


def test_a_parameter_is_read_by_its_name_and_a_missing_one_is_said_to_be(account: Account) -> None:
    client, name = account.client("ssm"), f"/syncpoint/{a_name()}/public-url"
    with pytest.raises(client.exceptions.ParameterNotFound) as missing:
        client.get_parameter(Name=name)
    assert missing.value.response["Error"]["Code"] == "ParameterNotFound"
    account.put_parameter(name, "https://pages.example.com")
    assert client.get_parameter(Name=name)["Parameter"]["Value"] == "https://pages.example.com"
