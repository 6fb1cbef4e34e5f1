"""Every function answers its sample event, in the real runtime, as it should."""

import json
from typing import Any

import pytest

from local.lambdas import load_app
from local.system import ROOT
from poller.messages import group_of
from tests.runtime import samples
from tests.runtime.harness.specs import API_HANDLER, POLLER
from tests.runtime.harness.world import World
from tests.runtime.plays import PLAYS, ensure


def views() -> set[str]:
    """The functions behind app.py's routes."""
    routes: dict[str, dict[str, Any]] = load_app(ROOT).app.routes
    return {entry.view_name for methods in routes.values() for entry in methods.values()}


def test_each_function_has_a_sample_event_and_each_event_a_function(world: World) -> None:
    assert samples.names() | {API_HANDLER} == set(world.specs)
    assert POLLER in samples.names()


def test_each_route_has_a_sample_event_and_each_event_a_route() -> None:
    assert samples.names(samples.EVENTS / "api") == views()


def test_each_sample_event_is_played() -> None:
    files = samples.EVENTS.rglob("*.json")
    written = {str(path.relative_to(samples.EVENTS).with_suffix("")) for path in files}
    assert {sample for sample, _ in PLAYS.values()} == written


@pytest.mark.parametrize("name", PLAYS)
def test_a_sample_event_is_answered(world: World, name: str) -> None:
    ensure(world, name)


def test_a_sample_event_names_resources_of_the_dev_stage() -> None:
    for path in samples.EVENTS.glob("*.json"):
        text = path.read_text(encoding="utf-8")
        if '"eventSourceARN"' in text:
            queue = path.stem.replace("_", "-")
            assert f'"arn:aws:sqs:us-east-1:123456789012:syncpoint-dev-{queue}"' in text


def test_a_sample_message_is_in_the_group_that_the_poller_gives_it() -> None:
    for path in samples.EVENTS.glob("*.json"):
        for record in json.loads(path.read_text(encoding="utf-8")).get("Records", []):
            if record.get("eventSource") == "aws:sqs":
                message = json.loads(record["body"])
                group = group_of(message["db"], message["doc"])
                assert record["attributes"]["MessageGroupId"] == group, path.name
