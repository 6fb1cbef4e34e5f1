"""template.yaml, .chalice/config.json and the code say the same."""

import json
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from chalicelib.handlers import control as registry
from chalicelib.settings import PollerSettings, Settings, queue_name
from local.aws import REGION, translate
from local.lambdas import load_app, queue_sources
from local.system import ROOT

STAGES = ["dev", "prod"]
PARAMETERS = {
    "Stage": "dev",
    "ControlDb": "control",
    "SecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:x",
    "PollWindowSeconds": "50",
}


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    template: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = template["Resources"]
    return found


@pytest.fixture(scope="module")
def chalice_config() -> dict[str, Any]:
    config: dict[str, Any] = json.loads((ROOT / ".chalice/config.json").read_text())
    return config


def registered() -> set[str]:
    return {f"{transition.doc_type}/{transition.state}" for transition in registry}


def route_queues(resources: dict[str, Any]) -> dict[str, Any]:
    return {
        name: resource["Properties"]
        for name, resource in resources.items()
        if resource["Type"] == "AWS::SQS::Queue" and name != "DeadLetters"
    }


def poller_variables(resources: dict[str, Any]) -> dict[str, Any]:
    variables: dict[str, Any] = resources["PollerFunction"]["Properties"]["Environment"][
        "Variables"
    ]
    return variables


def test_the_pollers_routes_are_the_registered_transitions(resources: dict[str, Any]) -> None:
    routes = json.loads(poller_variables(resources)["ROUTES"]["Fn::Sub"])
    assert set(routes) == registered()


def test_each_route_leads_to_the_queue_of_its_own_type_and_state(
    resources: dict[str, Any],
) -> None:
    routes = json.loads(poller_variables(resources)["ROUTES"]["Fn::Sub"])
    queues = route_queues(resources)
    for route, reference in routes.items():
        name = queues[reference.strip("${}")]["QueueName"]["Fn::Sub"]
        assert name == queue_name("${Stage}", *route.split("/"))


def test_every_queue_has_a_route_and_the_dead_letters_behind_it(
    resources: dict[str, Any],
) -> None:
    queues = route_queues(resources)
    assert len(queues) == len(registered())
    for properties in queues.values():
        assert properties["RedrivePolicy"] == {
            "deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetters", "Arn"]},
            "maxReceiveCount": 5,
        }


def test_app_has_a_function_for_each_transition_on_its_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STAGE", "dev")
    sources = {source.queue for source in queue_sources(load_app(ROOT))}
    assert sources == {queue_name("dev", *route.split("/")) for route in registered()}


def test_a_message_is_hidden_for_six_times_a_handlers_time_out(
    resources: dict[str, Any], chalice_config: dict[str, Any]
) -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    for properties in route_queues(resources).values():
        assert properties["VisibilityTimeout"] >= 6 * chalice_config["lambda_timeout"]


def test_a_claim_outlives_the_handler_that_took_it(chalice_config: dict[str, Any]) -> None:
    [lease] = [item for item in Settings.variables() if item.name == "CLAIM_LEASE_SECONDS"]
    assert int(lease.default or 0) > chalice_config["lambda_timeout"]


def test_the_poller_ends_its_window_before_its_time_out(resources: dict[str, Any]) -> None:
    template = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    longest = template["Parameters"]["PollWindowSeconds"]["MaxValue"]
    assert longest < resources["PollerFunction"]["Properties"]["Timeout"]


def test_the_table_is_keyed_by_pk_expires_and_can_be_restored(resources: dict[str, Any]) -> None:
    table = resources["Table"]
    # One that a first deployment made and could not keep would be in the way of the next.
    assert table["DeletionPolicy"] == "RetainExceptOnCreate"
    assert table["UpdateReplacePolicy"] == "Retain"
    properties = table["Properties"]
    assert properties["KeySchema"] == [{"AttributeName": "pk", "KeyType": "HASH"}]
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert properties["TimeToLiveSpecification"] == {
        "AttributeName": "expires_at",
        "Enabled": True,
    }
    assert properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]


def test_the_poller_gets_every_variable_that_it_needs(resources: dict[str, Any]) -> None:
    known = {variable.name for variable in PollerSettings.variables()}
    needed = {v.name for v in PollerSettings.variables() if v.default is None}
    given = set(poller_variables(resources))
    assert needed <= given <= known


@pytest.mark.parametrize("stage", STAGES)
def test_the_handlers_get_every_variable_that_they_need(
    chalice_config: dict[str, Any], stage: str
) -> None:
    given = chalice_config["stages"][stage]["environment_variables"]
    assert set(given) <= {variable.name for variable in Settings.variables()}
    assert Settings.read(given).stage == stage


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_names_the_table_that_the_template_makes(
    resources: dict[str, Any], chalice_config: dict[str, Any], stage: str
) -> None:
    given = chalice_config["stages"][stage]["environment_variables"]
    made = resources["Table"]["Properties"]["TableName"]["Fn::Sub"]
    assert given["TABLE_NAME"] == made.replace("${Stage}", stage)


def test_the_poller_may_only_send_and_keep_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    translated = translate(ROOT / "template.yaml", PARAMETERS)
    role = translated["Resources"]["PollerFunctionRole"]["Properties"]
    statements = role["Policies"][0]["PolicyDocument"]["Statement"]
    actions = [
        action
        for statement in statements
        for action in (
            statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        )
    ]
    assert sorted(actions) == [
        "dynamodb:BatchGetItem",
        "dynamodb:DeleteItem",
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
        "secretsmanager:GetSecretValue",
        "sqs:SendMessage",
    ]
    assert all(statement["Resource"] != "*" for statement in statements)
