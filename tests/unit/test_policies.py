"""A policy for each function and stage: what the table in ops/rights.py says, and no more."""

import json
import re
from pathlib import Path

import pytest

from chalicelib.domain.documents import JsonDict
from chalicelib.handlers.all import registry
from local.lambdas import load_app, queue_sources
from local.system import ROOT
from ops import policies
from ops.rights import RIGHTS, Rights
from ops.stage import lambda_name, read_config

CONFIG = read_config()
STAGES = sorted(CONFIG["stages"])
MAILERS = {"device_new", "invitation_new"}


def statements(stage: str, function: str) -> list[JsonDict]:
    text = (ROOT / ".chalice" / policies.policy_name(stage, function)).read_text("utf-8")
    found: list[JsonDict] = json.loads(text)["Statement"]
    return found


def actions(stage: str, function: str) -> set[str]:
    return {action for statement in statements(stage, function) for action in statement["Action"]}


def resources(statement: JsonDict) -> list[str]:
    given = statement["Resource"]
    return [given] if isinstance(given, str) else given


def test_the_files_are_what_the_table_says() -> None:
    assert policies.are_current(), "run `python -m ops.policies`"


def test_writing_adds_what_is_missing_and_removes_what_is_left_over(tmp_path: Path) -> None:
    folder = tmp_path / ".chalice"
    folder.mkdir()
    stage = {"environment_variables": {"MAIL_FROM": "Ada <ada@example.org>"}}
    (folder / "config.json").write_text(json.dumps({"version": "2.0", "stages": {"new": stage}}))
    (folder / "policy-gone-device_new.json").touch()
    assert not policies.are_current(tmp_path)
    assert policies.main(tmp_path) == 0
    assert policies.are_current(tmp_path)
    made = {path.name for path in folder.iterdir()}
    assert made == {"config.json", *(policies.policy_name("new", name) for name in RIGHTS)}
    named = read_config(tmp_path)["stages"]["new"]["lambda_functions"]
    assert named["device_new"] == {"iam_policy_file": "policy-new-device_new.json"}
    mail = (folder / "policy-new-device_new.json").read_text()
    assert '"ses:FromAddress": "ada@example.org"' in mail


def test_every_function_of_app_py_has_its_rights() -> None:
    app = load_app(ROOT).app
    functions = {source.name for source in app.event_sources}
    functions |= {function.name for function in app.pure_lambda_functions}
    assert set(RIGHTS) == functions | {"api_handler"}


def test_a_function_may_receive_from_its_own_queue_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STAGE", "dev")
    fed = {source.name: str(source.queue) for source in queue_sources(load_app(ROOT))}
    by_table = {name: f"syncpoint-dev-{rights.queue}" for name, rights in RIGHTS.items()}
    assert fed == {name: queue for name, queue in by_table.items() if RIGHTS[name].queue}


def test_those_that_hold_claims_are_the_unsafe_transitions() -> None:
    unsafe = {f"{t.doc_type}_{t.state}" for t in registry if t.unsafe}
    assert {name for name, rights in RIGHTS.items() if rights.claims} == unsafe


@pytest.mark.parametrize("function", RIGHTS)
@pytest.mark.parametrize("stage", STAGES)
def test_only_the_mail_transitions_may_send_and_read_the_public_url(
    stage: str, function: str
) -> None:
    may = {action for action in actions(stage, function) if action.startswith(("ses:", "ssm:"))}
    wanted = {"ses:SendEmail", "ses:SendRawEmail", "ssm:GetParameter"}
    assert may == (wanted if function in MAILERS else set())


@pytest.mark.parametrize("function", [name for name, rights in RIGHTS.items() if rights.queue])
@pytest.mark.parametrize("stage", STAGES)
def test_a_handler_may_take_messages_delete_them_and_send_them_again(
    stage: str, function: str
) -> None:
    [queue] = [s for s in statements(stage, function) if s["Action"][0].startswith("sqs:")]
    # Lambda receives and deletes in the function's name; chalicelib/engine/batch.py does the rest.
    assert queue["Action"] == [
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:GetQueueUrl",
        "sqs:ReceiveMessage",
        "sqs:SendMessage",
    ]
    assert queue["Resource"] == f"arn:aws:sqs:*:*:syncpoint-{stage}-{RIGHTS[function].queue}"


@pytest.mark.parametrize("stage", STAGES)
def test_the_routes_can_neither_read_queues_nor_send_to_them(stage: str) -> None:
    may = {action for action in actions(stage, "api_handler") if action.startswith("sqs:")}
    assert may == {"sqs:GetQueueUrl"}


@pytest.mark.parametrize("function", RIGHTS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_policy_is_about_nothing_but_the_stages_own_names(stage: str, function: str) -> None:
    for statement in statements(stage, function):
        for resource in resources(statement):
            assert resource.startswith("arn:aws:")
            # In the sandbox SES asks for the recipient's identity: the sender is a condition.
            if not resource.endswith(":identity/*"):
                assert re.search(rf"[:/]syncpoint[-/]{stage}(?![a-z0-9])", resource), resource


@pytest.mark.parametrize("function", RIGHTS)
@pytest.mark.parametrize("stage", STAGES)
def test_no_action_is_a_pattern(stage: str, function: str) -> None:
    assert not [action for action in actions(stage, function) if "*" in action]


@pytest.mark.parametrize("function", RIGHTS)
@pytest.mark.parametrize("stage", STAGES)
def test_the_log_and_the_secret_are_its_own(stage: str, function: str) -> None:
    by_sid = {statement["Sid"]: statement for statement in statements(stage, function)}
    group = f"/aws/lambda/{lambda_name(stage, function)}"
    assert by_sid["Logs"]["Resource"] == f"arn:aws:logs:*:*:log-group:{group}:*"
    secret_id = CONFIG["stages"][stage]["environment_variables"]["SECRET_ID"]
    assert by_sid["Secret"]["Resource"].endswith(f":secret:{secret_id}-??????")


@pytest.mark.parametrize("function", RIGHTS)
@pytest.mark.parametrize("stage", STAGES)
def test_items_are_told_apart_by_their_keys(stage: str, function: str) -> None:
    keys: dict[str, set[str]] = {}
    for statement in statements(stage, function):
        if statement["Action"][0].startswith("dynamodb:"):
            [condition] = statement["Condition"].items()
            assert condition[0] == "ForAllValues:StringLike"
            for key in condition[1]["dynamodb:LeadingKeys"]:
                keys.setdefault(key, set()).update(statement["Action"])
    assert keys == wanted_keys(RIGHTS[function])


def wanted_keys(rights: Rights) -> dict[str, set[str]]:
    wanted: dict[str, set[str]] = {}
    if rights.claims:
        wanted["claim#*"] = {"dynamodb:UpdateItem", "dynamodb:DeleteItem"}
    wanted |= {key: {"dynamodb:GetItem", "dynamodb:PutItem"} for key in rights.counts}
    wanted |= {key: {"dynamodb:GetItem"} for key in rights.reads}
    wanted |= {key: {"dynamodb:PutItem"} for key in rights.writes}
    for key in (*rights.looks, *rights.adds):
        wanted[key] = {"dynamodb:BatchGetItem"} if key in rights.looks else set()
        wanted[key] |= {"dynamodb:UpdateItem"} if key in rights.adds else set()
    return wanted


@pytest.mark.parametrize("stage", STAGES)
def test_mail_is_sent_in_the_stages_own_name(stage: str) -> None:
    for function in MAILERS:
        [mail] = [s for s in statements(stage, function) if s["Sid"] == "Mail"]
        sender = CONFIG["stages"][stage]["environment_variables"]["MAIL_FROM"]
        assert mail["Condition"] == {"StringEquals": {"ses:FromAddress": sender}}
        assert f"arn:aws:ses:*:*:configuration-set/syncpoint-{stage}" in mail["Resource"]
