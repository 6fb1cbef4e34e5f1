"""No cold-start fat: no function imports what it does not use, in the real runtime."""

from collections.abc import Iterable

import pytest

from tests.runtime.acts import Acts
from tests.runtime.harness.specs import POLLER
from tests.runtime.harness.world import World
from tests.runtime.plays import PLAYS, ensure
from tests.runtime.test_rights import FUNCTIONS

# What costs, or would cost, many milliseconds; `make cold-start` says how many.
HEAVY = {
    "asyncio",
    "aws_xray_sdk",  # what Powertools' Tracer imports
    "boto3",
    "botocore.client",
    "chalice",
    "cryptography",
    "dns",  # of email-validator, which asks no name server here
    "email_validator",
    "jinja2",
    "pydantic",
    "requests",
    "sqlite3",
    "unittest",
}
AWS = {"botocore.client"}
AT_INIT = {"chalice", "requests"}
# Those whose sample events need more than AWS after that.
USES = {
    "device_new": {"email_validator", "jinja2"},
    "invitation_new": {"email_validator", "jinja2"},
    "api_handler": {"email_validator", "jinja2"},
}


def heavy(modules: Iterable[str]) -> set[str]:
    loaded = set(modules)
    return {
        name
        for name in HEAVY
        if any(module == name or module.startswith(f"{name}.") for module in loaded)
    }


@pytest.mark.parametrize("function", [*FUNCTIONS, POLLER])
def test_a_function_imports_no_sdk_before_its_first_event(world: World, function: str) -> None:
    imported = world.function(function).imports_at_init
    assert len(imported) > 100
    assert heavy(imported) == AT_INIT - ({"chalice"} if function == POLLER else set())


@pytest.mark.parametrize("function", [*FUNCTIONS, POLLER])
def test_a_function_imports_nothing_heavy_that_its_events_do_not_need(
    world: World, function: str
) -> None:
    for name, (sample, _) in PLAYS.items():
        if sample.partition("-")[0] == function or (
            function == "api_handler" and sample.startswith("api/")
        ):
            ensure(world, name)
    running = world.function(function)
    later = heavy(running.imports) - heavy(running.imports_at_init)
    assert later == AWS | USES.get(function, set())


@pytest.mark.parametrize(
    ("view", "uses"),
    [
        ("registrations_exists", set()),
        ("registrations_info", AWS),
        ("registrations_bulk_docs", AWS | {"email_validator"}),
        ("show_confirmation", AWS | {"jinja2"}),
        ("health", AWS),
    ],
)
def test_a_route_that_is_asked_first_imports_only_what_it_needs(
    world: World, view: str, uses: set[str]
) -> None:
    function = world.start("api_handler")
    try:
        function.invoke(Acts.of(world).cast.event(f"api/{view}"))
        assert heavy(function.imports) - heavy(function.imports_at_init) == uses
    finally:
        function.stop()
