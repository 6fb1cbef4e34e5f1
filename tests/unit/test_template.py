"""template.yaml, .chalice/config.json and the code say the same."""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chalice.config import Config
from chalice.constants import DEFAULT_LAMBDA_TIMEOUT
from samtranslator.yaml_helper import yaml_parse

from chalicelib.domain.documents import JsonDict
from chalicelib.engine.batch import MAX_TRIES
from chalicelib.handlers.all import registry
from chalicelib.settings import Count, InvalidSettings, PollerSettings, Settings, queue_name
from local.aws import REGION, translate
from local.lambdas import load_app, queue_sources
from local.system import ROOT
from ops.stage import OpsError, check_settings, read_config, read_stage

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
        InvalidSettings, match=r"^MAIL_CONCURRENCY must be a whole number from 2 to 1000"
    ):
        load_app(ROOT)


def test_a_message_is_hidden_for_six_times_a_handlers_time_out(
    resources: dict[str, Any], chalice_config: dict[str, Any]
) -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    for properties in route_queues(resources).values():
        assert properties["VisibilityTimeout"] >= 6 * chalice_config["lambda_timeout"]


@pytest.mark.parametrize("stage", sorted(read_config()["stages"]))
def test_a_claim_outlives_the_handler_that_took_it(stage: str) -> None:
    check_settings(read_stage(stage))


# Where a config may say how long a function may run.
TIMEOUTS: dict[str, Callable[[int], JsonDict]] = {
    "of all": lambda timeout_s: {"lambda_timeout": timeout_s},
    "of the stage": lambda timeout_s: {"stages": {"dev": {"lambda_timeout": timeout_s}}},
    "of a function": lambda timeout_s: {
        "lambda_functions": {"invitation_new": {"lambda_timeout": timeout_s}}
    },
    "of a stage's function": lambda timeout_s: {
        "stages": {"dev": {"lambda_functions": {"device_new": {"lambda_timeout": timeout_s}}}}
    },
}


@pytest.mark.parametrize("place", TIMEOUTS)
@pytest.mark.parametrize(("lease_s", "is_right"), [("29", False), ("30", False), ("31", True)])
def test_a_lease_that_is_no_longer_than_a_time_out_is_refused(
    chalice_config: dict[str, Any], tmp_path: Path, place: str, lease_s: str, *, is_right: bool
) -> None:
    config = {**copy.deepcopy(chalice_config), "lambda_timeout": 10}
    merge(config, TIMEOUTS[place](30))
    config["stages"]["dev"]["environment_variables"]["CLAIM_LEASE_SECONDS"] = lease_s
    (tmp_path / ".chalice").mkdir()
    (tmp_path / ".chalice/config.json").write_text(json.dumps(config))
    stage = read_stage("dev", tmp_path)
    if is_right:
        check_settings(stage, tmp_path)
        return
    said = rf"^CLAIM_LEASE_SECONDS must be more than 30, .* and is {lease_s}: a second worker would"
    with pytest.raises(OpsError, match=said):
        check_settings(stage, tmp_path)


def test_without_a_time_out_in_the_config_chalices_own_counts(
    chalice_config: dict[str, Any], tmp_path: Path
) -> None:
    config = {name: value for name, value in chalice_config.items() if name != "lambda_timeout"}
    (tmp_path / ".chalice").mkdir()
    (tmp_path / ".chalice/config.json").write_text(json.dumps(config))
    stage = read_stage("dev", tmp_path)
    check_settings(stage, tmp_path)
    shorter = {**stage.variables, "CLAIM_LEASE_SECONDS": str(DEFAULT_LAMBDA_TIMEOUT)}
    with pytest.raises(OpsError, match=f"more than {DEFAULT_LAMBDA_TIMEOUT}, the lambda_timeout"):
        check_settings(replace(stage, variables=shorter), tmp_path)


def merge(into: JsonDict, changes: JsonDict) -> None:
    for name, value in changes.items():
        if isinstance(value, dict):
            merge(into.setdefault(name, {}), value)
        else:
            into[name] = value


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
    "LoginRefused": {"Stage"},
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
    assert len(alarms) == 10
    for alarm in alarms:
        assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}]
        if alarm["Namespace"] == "Syncpoint":
            names = {dimension["Name"] for dimension in alarm["Dimensions"]}
            assert names == METRICS[alarm["MetricName"]]


def test_every_alarm_about_mails_is_about_an_outcome_that_the_code_counts(
    resources: dict[str, Any],
) -> None:
    outcomes = {
        dimension["Value"]
        for resource in resources.values()
        if resource["Properties"].get("MetricName") == "Mails"
        for dimension in resource["Properties"]["Dimensions"]
        if dimension["Name"] == "Outcome"
    }
    code = (ROOT / "chalicelib/emails/sending.py").read_text(encoding="utf-8")
    assert outcomes == {"over_quota", "busy", "busy_domain"}
    assert all(f'"{outcome}"' in code for outcome in outcomes)


def test_the_pollers_window_has_the_bounds_of_the_template() -> None:
    template = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    parameter = template["Parameters"]["PollWindowSeconds"]
    [window] = [each for each in PollerSettings.variables() if each.name == "POLL_WINDOW_SECONDS"]
    assert window.parse == Count(parameter["MinValue"], parameter["MaxValue"])


def test_concurrency_is_reserved_for_the_poller_only_if_somebody_says_so() -> None:
    """And never none of it, which would stop the poller."""
    template = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    parameter = template["Parameters"]["PollerConcurrency"]
    is_taken = [re.fullmatch(parameter["AllowedPattern"], value) for value in ("", "2", "0", "-1")]
    assert list(map(bool, is_taken)) == [True, True, False, False]
    assert parameter["Default"] == ""
    poller = template["Resources"]["PollerFunction"]["Properties"]
    assert poller["ReservedConcurrentExecutions"] == {
        "Fn::If": [
            "HasPollerConcurrency",
            {"Ref": "PollerConcurrency"},
            {"Ref": "AWS::NoValue"},
        ]
    }


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
