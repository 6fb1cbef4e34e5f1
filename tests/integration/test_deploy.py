"""`chalice deploy` and `delete`, against an AWS of its own: what they make, change and remove."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.domain.documents import JsonDict
from local.lambdas import load_app
from local.system import ROOT
from ops.policies import policy_name
from ops.rights import RIGHTS
from ops.stage import lambda_name
from tests.kit.ops.deployment import STAGE, Place, apis, deployed, running_aws

pytestmark = [pytest.mark.io, pytest.mark.slow]

EMPTY: JsonDict = {
    "functions": {},
    "roles": {},
    "mappings": {},
    "subscriptions": [],
    "rules": {},
    "apis": {},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Deployed by Chalice, upon the stack of template.yaml."""
    with running_aws() as endpoint:
        place = Place.make(endpoint, tmp_path_factory.mktemp("project"))
        place.make_stack()
        place.chalice("deploy", "--stage", STAGE)
        yield place


@pytest.fixture
def of_its_own(tmp_path: Path) -> Iterator[Place]:
    with running_aws() as endpoint:
        place = Place.make(endpoint, tmp_path)
        place.make_stack()
        yield place


def test_every_function_is_there_with_its_stages_environment(place: Place) -> None:
    there = deployed(place)["functions"]
    assert set(there) == {lambda_name(STAGE, function) for function in RIGHTS}
    for name, function in there.items():
        # What Chalice adds says that it is no local run.
        assert place.stage.variables.items() <= function["Environment"]["Variables"].items()
        time_out_s = 900 if name == lambda_name(STAGE, "sweep_expired") else 30
        assert (function["Timeout"], function["MemorySize"]) == (time_out_s, 256)


def test_every_function_has_a_role_of_its_own_with_its_own_policy(place: Place) -> None:
    there = deployed(place)
    assert set(there["roles"]) == {f"syncpoint-{STAGE}-{function}" for function in RIGHTS}
    for function in RIGHTS:
        role = f"syncpoint-{STAGE}-{function}"
        assert there["functions"][lambda_name(STAGE, function)]["Role"].endswith(f"role/{role}")
        policy = (ROOT / ".chalice" / policy_name(STAGE, function)).read_text(encoding="utf-8")
        assert there["roles"][role] == json.loads(policy)


def test_every_queue_feeds_its_function_one_message_at_a_time(place: Place) -> None:
    there = deployed(place)["mappings"]
    assert {function: mapping[:2] for function, mapping in there.items()} == {
        f"syncpoint-{STAGE}-{function}": (f"syncpoint-{STAGE}-{rights.queue}", 1)
        for function, rights in RIGHTS.items()
        if rights.queue
    }


def test_bounces_come_by_the_topic_and_the_sweep_by_its_schedule(place: Place) -> None:
    there = deployed(place)
    topic = f"syncpoint-{STAGE}-mail-feedback"
    assert there["subscriptions"] == [(topic, "lambda", f"syncpoint-{STAGE}-mail_feedback")]
    sweep = f"syncpoint-{STAGE}-sweep_expired"
    assert there["rules"] == {f"{sweep}-event": ("rate(1 day)", [sweep])}


def test_the_api_has_the_routes_of_app_py_and_no_others(place: Place) -> None:
    [(_, routes)] = apis(place).items()
    wanted = {path: sorted(methods) for path, methods in load_app(ROOT).app.routes.items()}
    assert routes == wanted


def test_deploying_again_changes_nothing(place: Place) -> None:
    before = deployed(place)
    place.chalice("deploy", "--stage", STAGE)
    assert deployed(place) == before


def test_a_changed_function_is_updated_and_a_deleted_one_removed(
    of_its_own: Place,
) -> None:
    place = of_its_own
    before_all = deployed(place)
    place.chalice("deploy", "--stage", STAGE)
    before = deployed(place)
    queue = 'settings.queue_name(deployed.stage, "device", "new")'
    place.edit(
        "app.py",
        '@on("device", "new", concurrency=deployed.mail_concurrency)',
        f"@app.on_sqs_message(queue={queue}, batch_size=4)",
    )
    place.edit(
        ".chalice/config.json",
        '"iam_policy_file": "policy-dev-channel_new.json"',
        '"iam_policy_file": "policy-dev-channel_new.json", "lambda_memory_size": 512',
    )
    place.edit(".chalice/policy-dev-channel_ready.json", "logs:PutLogEvents", "logs:PutLogEvent")
    place.chalice("deploy", "--stage", STAGE)
    after = deployed(place)
    changed = {
        (kind, name)
        for kind in ("functions", "roles", "mappings", "rules", "apis")
        for name in before[kind]
        if without_code(before[kind][name]) != without_code(after[kind][name])
    }
    assert changed == {
        ("mappings", f"syncpoint-{STAGE}-device_new"),
        ("functions", f"syncpoint-{STAGE}-channel_new"),
        ("roles", f"syncpoint-{STAGE}-channel_ready"),
    }
    assert after["mappings"][f"syncpoint-{STAGE}-device_new"][1] == 4
    place.chalice("delete", "--stage", STAGE)
    assert deployed(place) == before_all == EMPTY


def without_code(value: object) -> object:
    """All functions share one artifact."""
    if isinstance(value, dict):
        return {name: part for name, part in value.items() if name != "CodeSha256"}
    return value
