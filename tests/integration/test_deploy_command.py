"""`make deploy` as far as there is an AWS here; SAM's own steps are played by CloudFormation."""

import base64
import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from chalicelib.domain.documents import JsonDict
from ops import deploy, policies
from ops.check_deployed import check_throttle
from ops.findings import Level
from ops.lookups import find_log_groups
from ops.record import mend_record, read_record, record_path
from ops.stage import OpsError
from ops.tools import end
from tests.kit.ops.deployment import STAGE, Place, apis, deployed, running_aws

pytestmark = [pytest.mark.io, pytest.mark.slow]

STEPS = ["sam build", "sam deploy", "chalice package", "chalice deploy"]


@pytest.fixture
def place(own_aws: str, tmp_path: Path) -> Place:
    return Place.make(own_aws, tmp_path)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """What was deployed once, for tests that only look at it."""
    with running_aws() as endpoint:
        place = Place.make(endpoint, tmp_path_factory.mktemp("project"))
        assert place.deploy("--alarm-address", "ops@example.com") == 0
        yield place


def stop_before(place: Place, step: str) -> None:
    """Let a step of the deployment fail."""

    def fail() -> None:
        raise OpsError(f"`{step}` failed, see above; nothing after it was done")

    place.instead[step] = fail


def public_url(place: Place) -> JsonDict:
    answer = place.client("ssm").get_parameter(Name=f"/syncpoint/{STAGE}/public-url")
    found: JsonDict = answer["Parameter"]
    return found


def test_the_stack_the_functions_the_url_and_the_design_documents_in_this_order(
    there: Place,
) -> None:
    place = there
    assert place.ran == STEPS
    assert place.functions.invoked == [f"syncpoint-{STAGE}-upgrade_designs"]
    secret = place.client("secretsmanager").describe_secret(SecretId="syncpoint/dev")
    assert place.parameters == {
        "Stage": STAGE,
        "ControlDb": "control",
        "SecretArn": secret["ARN"],
        "AlarmAddress": "ops@example.com",
    }
    [api_id] = apis(place)
    url = f"https://{api_id}.execute-api.us-east-1.amazonaws.com/api"
    assert (public_url(place)["Value"], public_url(place)["Type"]) == (url, "String")
    assert place.said[0] == "syncpoint-dev: account 123456789012, region us-east-1"
    assert place.said[-1].startswith(f"deployed: {url}\n")


def test_what_is_deployed_is_the_package_with_bytecode(there: Place) -> None:
    place = there
    [package] = (place.root / ".chalice/deployments").glob("*.zip")
    function = place.client("lambda").get_function(FunctionName=f"syncpoint-{STAGE}-device_new")
    digest = base64.b64encode(hashlib.sha256(package.read_bytes()).digest()).decode()
    assert function["Configuration"]["CodeSha256"] == digest
    with zipfile.ZipFile(package) as archive:
        bytecode = {name for name in archive.namelist() if name.endswith(".pyc")}
        assert cache_from_source("app.py") in bytecode
        # Flags 3: goes by the hash of its source (PEP 552).
        assert {archive.read(name)[4] for name in bytecode} == {3}


def test_a_whole_record_costs_no_request(there: Place) -> None:
    def refuse(service: str) -> None:
        raise AssertionError(service)

    tools = there.tools
    assert mend_record(there.stage, type(tools)(refuse, tools.run, tools.tell, tools.root)) == []


def test_an_api_that_leads_to_another_stage_is_not_taken_for_ours(there: Place) -> None:
    [ours] = apis(there)
    other = there.client("apigateway").create_rest_api(name="syncpoint")["id"]
    record_path(there.stage, there.root).unlink()
    mend_record(there.stage, there.tools)
    there.client("apigateway").delete_rest_api(restApiId=other)
    assert read_record(there.stage, there.root)["rest_api"]["rest_api_id"] == ours


def test_deploying_again_changes_nothing_and_writes_the_url_no_second_time(place: Place) -> None:
    place.deploy()
    before = deployed(place)
    place.deploy()
    assert deployed(place) == before
    assert public_url(place)["Version"] == 1
    assert place.parameters.keys() == {"Stage", "ControlDb", "SecretArn"}


def limits_of_api(place: Place) -> tuple[float, int]:
    [api_id] = apis(place)
    stage = place.client("apigateway").get_stage(restApiId=api_id, stageName="api")
    found = stage["methodSettings"]["*/*"]
    return found["throttlingRateLimit"], found["throttlingBurstLimit"]


def test_the_api_has_the_throttle_of_the_settings(place: Place) -> None:
    place.deploy()
    assert limits_of_api(place) == (50, 100)
    assert "    it takes 50 requests a second, 100 at once" in place.said
    variables = '"API_REQUESTS_PER_SECOND": "7", "API_BURST": "9", "STAGE": "dev"'
    place.edit(".chalice/config.json", '"STAGE": "dev"', variables)
    policies.main(place.root)
    for _ in range(2):
        place.deploy()
        assert limits_of_api(place) == (7, 9)
    assert check_throttle(place.stage, place.client)[0] is Level.OK


def test_a_reserved_concurrency_for_the_poller_is_deployed(place: Place) -> None:
    place.deploy("--poller-concurrency", "2")
    assert place.parameters["PollerConcurrency"] == "2"


def test_an_empty_alarm_address_and_a_poll_window_of_0_are_deployed(
    place: Place,
) -> None:
    stop_before(place, "chalice package")
    with pytest.raises(OpsError, match="chalice package"):
        place.deploy("--alarm-address", "", "--poll-window", "0")
    assert place.parameters["AlarmAddress"] == ""
    assert place.parameters["PollWindowSeconds"] == "0"


def test_a_domain_of_the_operators_own_goes_into_mails_instead(place: Place) -> None:
    place.deploy()
    name = f'"PUBLIC_URL_PARAMETER": "/syncpoint/{STAGE}/public-url"'
    place.edit(".chalice/config.json", name, '"PUBLIC_URL": "https://sync.example.org/"')
    place.deploy()
    assert public_url(place)["Value"] == "https://sync.example.org"


def test_a_deployment_stopped_before_its_record_is_continued(
    place: Place,
) -> None:
    place.deploy()
    before = deployed(place)
    whole = read_record(place.stage, place.root)
    record_path(place.stage, place.root).unlink()
    place.deploy()
    assert deployed(place) == before
    assert read_record(place.stage, place.root) == whole
    assert any("rest_api exists already" in line for line in place.said)


def test_a_deployment_that_chalice_gave_up_in_the_middle_is_deployed_again(place: Place) -> None:
    place.make_stack()
    topic = f"syncpoint-{STAGE}-mail-feedback"
    place.client("sns").delete_topic(TopicArn=f"arn:aws:sns:us-east-1:123456789012:{topic}")
    with pytest.raises(OpsError, match="Topic does not exist"):
        place.deploy()
    assert not record_path(place.stage, place.root).exists()
    place.client("sns").create_topic(Name=topic)
    assert place.deploy() == 0
    there = deployed(place)
    assert (len(there["mappings"]), len(there["apis"]), len(there["subscriptions"])) == (9, 1, 1)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_is_the_last_one(
    place: Place, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_before(place, step)
    assert end(lambda: place.deploy()) == 1
    assert place.ran == STEPS[: STEPS.index(step) + 1]
    assert place.functions.invoked == []
    assert (
        capsys.readouterr().err == f"error: `{step}` failed, see above; nothing after it was done\n"
    )


def test_design_documents_that_cannot_be_upgraded_are_told_in_a_sentence(place: Place) -> None:
    place.functions.error = True
    place.functions.answers[0] = {"errorType": "Unavailable", "errorMessage": "no answer"}
    with pytest.raises(OpsError, match="design documents failed: Unavailable: no answer"):
        place.deploy()


def test_a_stage_that_the_config_does_not_have(place: Place) -> None:
    with pytest.raises(OpsError, match=r"there is no stage 'test' .* there are: dev, prod"):
        deploy.main(["test"], place.tools)
    assert place.ran == []


def test_a_stage_whose_names_the_policies_do_not_know(place: Place) -> None:
    place.edit(".chalice/config.json", '"TABLE_NAME": "syncpoint-dev"', '"TABLE_NAME": "mine"')
    with pytest.raises(OpsError, match="TABLE_NAME='mine'; it must be 'syncpoint-dev'"):
        place.deploy()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CLAIM_LEASE_SECONDS", "30", "must be more than 30, the lambda_timeout of device_new"),
        ("MAILS_PER_OWNER_DAY", "5001", "must be a whole number from 0 to 5000"),
        ("API_REQUESTS_PER_SECOND", "0", "must be a whole number from 1 to 10000"),
        ("API_BURST", "5001", "must be a whole number from 1 to 5000"),
    ],
)
def test_settings_that_do_harm_are_not_deployed(
    place: Place, capsys: pytest.CaptureFixture[str], variable: str, value: str, said: str
) -> None:
    place.edit(".chalice/config.json", '"STAGE": "dev"', f'"{variable}": "{value}", "STAGE": "dev"')
    assert end(place.deploy) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {variable} {said}")
    assert "set it in .chalice/config.json, stages.dev.environment_variables" in told
    assert place.ran == []


def test_policies_that_are_not_the_tables_are_not_deployed(place: Place) -> None:
    place.edit(".chalice/policy-dev-channel_new.json", "syncpoint-dev-channel-new", "*")
    with pytest.raises(OpsError, match=r"run `python -m ops\.policies`"):
        place.deploy()
    assert place.ran == []


def test_another_python_than_the_lambdas_is_refused(place: Place) -> None:
    here = "python{}.{}".format(*sys.version_info)
    place.edit("template.yaml", "Runtime: python3.11", "Runtime: python3.99")
    with pytest.raises(OpsError, match=f"this is {here}, but the Lambdas run python3.99"):
        place.deploy()


def test_a_secret_that_is_not_there(place: Place) -> None:
    place.client("secretsmanager").delete_secret(
        SecretId="syncpoint/dev", ForceDeleteWithoutRecovery=True
    )
    with pytest.raises(OpsError, match="there is no secret syncpoint/dev: create it"):
        place.deploy()
    assert place.ran == []


def test_the_secret_of_another_stage_is_refused(place: Place) -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:syncpoint/prod-AbCdEf"
    with pytest.raises(OpsError, match="SECRET_ARN is the ARN of 'syncpoint/prod'"):
        place.deploy("--secret-arn", arn)


def test_a_table_that_was_kept_is_not_run_into(place: Place) -> None:
    place.client("dynamodb").create_table(
        TableName="syncpoint-dev",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
    with pytest.raises(OpsError, match="table syncpoint-dev of an earlier deployment exists"):
        place.deploy()
    assert place.ran == []


def test_log_groups_that_were_kept_stop_a_deployment_of_their_stage(
    place: Place,
) -> None:
    logs = place.client("logs")
    for name in ("syncpoint-dev", "syncpoint-dev-device_new", "syncpoint-dev-2-device_new"):
        logs.create_log_group(logGroupName=f"/aws/lambda/{name}")
    with pytest.raises(OpsError, match="log groups of an earlier deployment exist") as caught:
        place.deploy()
    assert place.ran == []
    commands = [line.split() for line in str(caught.value).splitlines()[1:]]
    assert [command[-1] for command in commands] == [
        "/aws/lambda/syncpoint-dev",
        "/aws/lambda/syncpoint-dev-device_new",
    ]
    for command in commands:
        assert command[:3] == ["aws", "logs", "delete-log-group"]
        logs.delete_log_group(logGroupName=command[-1])
    stop_before(place, "sam build")
    with pytest.raises(OpsError, match="sam build"):
        place.deploy()


def test_the_logs_that_are_looked_for_are_those_that_the_template_makes(place: Place) -> None:
    place.make_stack()
    template = (place.root / "template.yaml").read_text(encoding="utf-8")
    assert len(find_log_groups(place.stage, place.client)) == template.count("AWS::Logs::LogGroup")


def test_no_credentials_are_told_in_a_sentence(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    from botocore.exceptions import NoCredentialsError

    def refuse(service: str) -> None:
        raise NoCredentialsError

    tools = type(place.tools)(refuse, place.run, place.said.append, place.root)
    assert end(lambda: deploy.main([STAGE], tools)) == 1
    assert capsys.readouterr().err == (
        "error: no AWS credentials: run `aws configure`, or set AWS_PROFILE\n"
    )


def test_a_public_url_needs_an_api(place: Place) -> None:
    record = {"resources": [], "schema_version": "2.0", "backend": "api"}
    path = record_path(place.stage, place.root)
    path.parent.mkdir()
    path.write_text(json.dumps(record))
    with pytest.raises(OpsError, match="Chalice has deployed no API of stage dev"):
        deploy.store_public_url(place.stage, place.tools)
