"""template.yaml, .chalice/config.json and the code say the same."""

import json
import re
from typing import Any

import pytest
from chalice.config import Config
from samtranslator.yaml_helper import yaml_parse

from chalicelib.engine.batch import MAX_TRIES
from chalicelib.handlers.all import registry
from chalicelib.settings import InvalidSettings, PollerSettings, Settings, queue_name
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


def test_the_poller_may_send_to_every_queue_of_a_route(resources: dict[str, Any]) -> None:
    statements = resources["PollerRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    [allowed] = [each["Resource"] for each in statements if each["Action"] == "sqs:SendMessage"]
    assert {arn["Fn::GetAtt"][0] for arn in allowed} == set(route_queues(resources))


def test_the_output_names_the_queue_of_every_route() -> None:
    template = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    output = template["Outputs"]["Routes"]["Value"]["Fn::Sub"]
    assert set(json.loads(output)) == registered()


def test_every_queue_has_a_route_and_the_dead_letters_behind_it(
    resources: dict[str, Any],
) -> None:
    queues = route_queues(resources)
    assert len(queues) == len(registered())
    for properties in queues.values():
        assert properties["RedrivePolicy"] == {
            "deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetters", "Arn"]},
            "maxReceiveCount": MAX_TRIES,
        }


def test_app_has_a_function_for_each_transition_on_its_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STAGE", "dev")
    sources = {source.queue for source in queue_sources(load_app(ROOT))}
    assert sources == {queue_name("dev", *route.split("/")) for route in registered()}


def test_functions_that_send_mail_have_the_lowest_concurrency() -> None:
    bounds = {source.name: source.maximum_concurrency for source in queue_sources(load_app(ROOT))}
    assert bounds == {f"{t.doc_type}_{t.state}": 2 if t.unsafe else 10 for t in registry}


def test_what_app_reads_at_import_may_be_empty_but_not_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("STAGE", "MAIL_CONCURRENCY", "COUCHDB_CONCURRENCY"):
        monkeypatch.setenv(name, "")
    load_app(ROOT)
    monkeypatch.setenv("COUCHDB_CONCURRENCY", "7")
    bounds = {source.name: source.maximum_concurrency for source in queue_sources(load_app(ROOT))}
    assert (bounds["device_new"], bounds["channel_ready"]) == (2, 7)
    monkeypatch.setenv("MAIL_CONCURRENCY", "abc")
    with pytest.raises(
        InvalidSettings, match=r"^MAIL_CONCURRENCY must be a whole number, 2 or more"
    ):
        load_app(ROOT)


def test_a_message_is_hidden_for_six_times_a_handlers_time_out(
    resources: dict[str, Any], chalice_config: dict[str, Any]
) -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    for properties in route_queues(resources).values():
        assert properties["VisibilityTimeout"] >= 6 * chalice_config["lambda_timeout"]


def test_a_claim_outlives_the_handler_that_took_it(chalice_config: dict[str, Any]) -> None:
    [lease] = [item for item in Settings.variables() if item.name == "CLAIM_LEASE_SECONDS"]
    assert int(lease.default or 0) > chalice_config["lambda_timeout"]


@pytest.mark.parametrize("stage", STAGES)
def test_the_daily_sweep_has_as_long_as_a_lambda_may_run(
    chalice_config: dict[str, Any], stage: str
) -> None:
    functions = ("sweep_expired", "device_new", "api_handler")
    limits_s = [Config(stage, name, None, chalice_config).lambda_timeout for name in functions]
    assert limits_s == [900, 30, 30]


def test_the_poller_ends_its_window_before_its_time_out(resources: dict[str, Any]) -> None:
    template = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    longest = template["Parameters"]["PollWindowSeconds"]["MaxValue"]
    assert longest < resources["PollerFunction"]["Properties"]["Timeout"]


def test_the_documentation_names_what_the_template_sets_for_the_poller(
    resources: dict[str, Any],
) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    [said] = re.findall(r"template\.yaml\) sets (.*?)\. The others", text, re.DOTALL)
    environment = resources["PollerFunction"]["Properties"]["Environment"]["Variables"]
    assert re.findall("`(.*?)`", said) == list(environment)


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
    # SAM's own would have a managed policy that allows logs of every name.
    assert "PollerFunctionRole" not in translated["Resources"]
    role = translated["Resources"]["PollerRole"]["Properties"]
    assert "ManagedPolicyArns" not in role
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
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "secretsmanager:GetSecretValue",
        "sqs:SendMessage",
    ]
    assert all(statement["Resource"] != "*" for statement in statements)


COUNTING = ("chalicelib/telemetry.py", "chalicelib/engine/batch.py", "poller/app.py")
# What the code counts: metric → dimensions.
METRICS = {
    "Transitions": {"Stage", "Type", "State", "Outcome"},
    "TransitionAge": {"Stage"},
    "Mails": {"Stage", "Outcome"},
    "MailFeedback": {"Stage", "Kind"},
    "PollerRuns": {"Stage"},
    "PollerChanges": {"Stage"},
    "PollerMessages": {"Stage"},
    "PollerLag": {"Stage"},
}


def test_the_metrics_are_those_that_the_code_counts() -> None:
    code = [(ROOT / name).read_text() for name in COUNTING]
    for metric in METRICS:
        assert f'"{metric}"' in "".join(code)


def test_every_alarm_of_ours_is_about_a_metric_that_the_code_counts(
    resources: dict[str, Any],
) -> None:
    alarms = [
        resource["Properties"]
        for resource in resources.values()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    ]
    assert len(alarms) == 7
    for alarm in alarms:
        assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}]
        if alarm["Namespace"] == "Syncpoint":
            names = {dimension["Name"] for dimension in alarm["Dimensions"]}
            assert names == METRICS[alarm["MetricName"]]


def test_the_dashboard_shows_every_queue_and_metrics_that_the_code_counts(
    resources: dict[str, Any],
) -> None:
    body = json.loads(resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    rows = [row for widget in body["widgets"] for row in widget["properties"]["metrics"]]
    shown = {str(part) for row in rows for part in row}
    queues = [*route_queues(resources), "DeadLetters"]
    assert {f"${{{name}.QueueName}}" for name in queues} <= shown
    searches = [row[0]["expression"] for row in rows if isinstance(row[0], dict)]
    known = [",".join(("Syncpoint", *dimensions)) for dimensions in ORDERED]
    assert all(re.search(r"{(.*?)}", search)[1] in known for search in searches)  # type: ignore[index]
    named = {row[1] for row in rows if len(row) > 1 and row[0] in ("Syncpoint", ".")}
    assert {"TransitionAge", "PollerRuns", "PollerLag"} <= named <= set(METRICS)


# As the code gives them: CloudWatch's searches name the dimensions of a metric all together.
ORDERED = [("Stage", "Type", "State", "Outcome"), ("Stage", "Outcome"), ("Stage", "Kind")]


def test_every_function_has_a_log_group_that_ends(
    resources: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGE", "dev")
    functions = [f"-{handler.name}" for handler in load_app(ROOT).app.pure_lambda_functions]
    functions += [f"-{source.name}" for source in load_app(ROOT).app.event_sources]
    groups = {
        resource["Properties"]["LogGroupName"]["Fn::Sub"]: resource["Properties"]["RetentionInDays"]
        for resource in resources.values()
        if resource["Type"] == "AWS::Logs::LogGroup"
    }
    wanted = {f"/aws/lambda/syncpoint-${{Stage}}{name}" for name in [*functions, "-poller", ""]}
    assert set(groups) == wanted
    assert set(groups.values()) == {30}
