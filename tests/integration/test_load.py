"""The load that `make load` puts on, small: its checks hold, and they find what does not."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import requests

from bench.backend import Around
from bench.load_many import Figures, register_many
from bench.people import CheckFailed
from chalicelib.couch import Server
from tests.kit.fakes.couch import FakeCouch, just_ask

pytestmark = pytest.mark.slow


def load(count: int, fake: FakeCouch | None = None, fault: Around = just_ask) -> Figures:
    """Put a load on a CouchDB in memory, with a fault around each of its requests."""
    couch = fake or FakeCouch()
    couch.server().database("control").create()

    def make_server(around: Around) -> Server:
        return couch.server(lambda name, call: around(name, lambda: fault(name, call)))

    return register_many("control", make_server, count, lambda _: None)


def test_many_registrations_become_active_with_one_mail_each_and_few_requests() -> None:
    figures = load(60)
    assert figures.requests["sesv2"] == 60
    assert figures.requests["couchdb"] / 60 < 25
    assert figures.requests["dynamodb"] / 60 < 15
    assert figures.retried == 0


def test_each_device_has_one_mail_though_the_first_write_after_it_never_arrives() -> None:
    lost = set[str]()

    def lose(name: str, call: Callable[[], Any]) -> Any:
        if re.match(r"couchdb\.PUT /control/device-", name) and name not in lost:
            lost.add(name)
            raise requests.ConnectionError
        return call()

    figures = load(20, fault=lose)
    assert len(lost) == 20
    assert figures.retried > 0


def test_a_message_that_nobody_can_handle_fails_the_load() -> None:
    def refuse(name: str, call: Callable[[], Any]) -> Any:
        if re.match(r"couchdb\.PUT /_users/", name):
            raise RuntimeError(name)
        return call()

    with pytest.raises(CheckFailed, match="2 dead letters"):
        load(2, fault=refuse)


def test_a_device_that_is_not_active_fails_the_load() -> None:
    fake = FakeCouch()
    control = fake.server().database("control")
    control.create()
    control.put({"_id": "device-1", "type": "device", "state": "rejected"})
    with pytest.raises(CheckFailed, match="not all devices are active"):
        load(2, fake)
