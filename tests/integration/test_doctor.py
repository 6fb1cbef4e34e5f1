"""`make doctor`: all well; and each thing that can be wrong, one after another."""

import re
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from chalicelib.settings import poller_key, queue_name
from local.aws import LocalAws
from local.system import ROOT
from ops import check_couchdb, check_deployed, check_mail, check_project, doctor
from ops.check_couchdb import CouchDB
from ops.findings import Finding, Level, find
from ops.record import find_api_id
from ops.rights import RIGHTS
from ops.stage import OpsError, lambda_name
from tests.kit.ops.operator import Operator, answering
from tests.kit.ops.self_signed import certificate_for_localhost

pytestmark = pytest.mark.io

ADMINS_ONLY: JsonDict = {
    "admins": {"names": [], "roles": ["_admin"]},
    "members": {"names": [], "roles": ["_admin"]},
}
WELL: JsonDict = {"ok": True, "couchdb": "ok", "dynamodb": "ok", "sqs": "ok", "poller": "ok"}


class SesWithAccount:
    """SES's second version, with what moto lacks: an account, verified identities."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.verified: set[str] = set()
        self.account: JsonDict = {
            "SendingEnabled": True,
            "ProductionAccessEnabled": True,
            "SendQuota": {"Max24HourSend": 50000.0},
        }

    def get_account(self) -> JsonDict:
        return self.account

    def get_email_identity(self, EmailIdentity: str) -> JsonDict:  # noqa: N803
        answer: JsonDict = self._client.get_email_identity(EmailIdentity=EmailIdentity)
        return {**answer, "VerifiedForSendingStatus": EmailIdentity in self.verified}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


@pytest.fixture
def operator(aws: LocalAws, tmp_path: Path, control: Database) -> Operator:
    """A stage with nothing set up but its settings."""
    control.put_security(ADMINS_ONLY)
    operator = Operator.make(aws, tmp_path, control.name)
    operator.clients["sesv2"] = SesWithAccount(aws.client("sesv2"))
    return operator


@pytest.fixture
def prepared(operator: Operator, couch_url: str) -> Operator:
    """All that is to be set up before a deployment."""
    operator.put_right_secret(couch_url)
    verify(operator, operator.stage.sender)
    return operator


@pytest.fixture
def deployed(prepared: Operator) -> Iterator[Operator]:
    """A deployment as `make deploy` leaves it, whose poller is at work."""
    operator = prepared
    operator.make_stack()
    stage = operator.stage
    operator.client("sesv2").create_configuration_set(ConfigurationSetName=stage.prefix)
    for function in RIGHTS:
        make_function(operator, lambda_name(stage.name, function))
    for function, rights in RIGHTS.items():
        if rights.queue:
            make_mapping(operator, function, f"{stage.prefix}-{rights.queue}")
    subscribe(
        operator, "mail-feedback", "lambda", arn("lambda", f"function:{stage.prefix}-mail_feedback")
    )
    subscribe(operator, "alarms", "email", "ops@example.com")
    make_api(operator)
    see_poller(operator, time.time() - 5)
    with answering({"/api/health": (200, WELL)}) as url:
        operator.client("ssm").put_parameter(
            Name=stage.public_url_parameter, Value=f"{url}/api", Type="String"
        )
        yield operator


def verify(operator: Operator, identity: str) -> None:
    ses = operator.client("sesv2")
    ses.create_email_identity(EmailIdentity=identity)
    ses.verified.add(identity)


def make_function(operator: Operator, name: str) -> None:
    iam = operator.client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    operator.client("lambda").create_function(
        FunctionName=name,
        Role=role,
        Runtime="python3.11",
        Handler="app.app",
        Code={"ZipFile": b"PK\x05\x06" + bytes(18)},
    )


def arn(service: str, name: str) -> str:
    return f"arn:aws:{service}:us-east-1:123456789012:{name}"


def make_mapping(operator: Operator, function: str, queue: str) -> None:
    operator.client("lambda").create_event_source_mapping(
        FunctionName=lambda_name(operator.name, function), EventSourceArn=arn("sqs", queue)
    )


def mapping_of(operator: Operator, function: str) -> str:
    [mapping] = operator.client("lambda").list_event_source_mappings(
        FunctionName=lambda_name(operator.name, function)
    )["EventSourceMappings"]
    uuid: str = mapping["UUID"]
    return uuid


def subscribe(operator: Operator, topic: str, protocol: str, endpoint: str) -> None:
    topic_arn = arn("sns", f"{operator.stage.prefix}-{topic}")
    operator.client("sns").subscribe(TopicArn=topic_arn, Protocol=protocol, Endpoint=endpoint)


def see_poller(operator: Operator, at_s: float) -> None:
    key = poller_key(operator.stage.control_db)
    item = {"pk": {"S": key}, "seen_at_ms": {"N": str(int(at_s * 1000))}}
    operator.client("dynamodb").put_item(TableName=operator.stage.prefix, Item=item)


def make_api(operator: Operator) -> None:
    """An API with the settings' limits, whose one route leads to the stage's function."""
    api, function = operator.client("apigateway"), lambda_name(operator.name, "api_handler")
    uri = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{}/invocations"
    api_id = api.create_rest_api(name="syncpoint")["id"]
    [root] = api.get_resources(restApiId=api_id)["items"]
    route = {"restApiId": api_id, "resourceId": root["id"], "httpMethod": "GET"}
    api.put_method(**route, authorizationType="NONE")
    target = uri.format(arn("lambda", f"function:{function}"))
    api.put_integration(**route, type="AWS_PROXY", integrationHttpMethod="POST", uri=target)
    api.create_deployment(restApiId=api_id, stageName="api")
    throttle(operator, 50, 100)


def throttle(operator: Operator, per_second: int, burst: int) -> None:
    limits = {"rateLimit": per_second, "burstLimit": burst}
    operator.client("apigateway").update_stage(
        restApiId=find_api_id(operator.stage, operator.client),
        stageName="api",
        patchOperations=[
            {"op": "replace", "path": f"/*/*/throttling/{name}", "value": str(limit)}
            for name, limit in limits.items()
        ],
    )


def findings(operator: Operator, now_s: float | None = None) -> dict[str, Finding]:
    clock = time.time if now_s is None else lambda: now_s
    found = list(doctor.examine(operator.stage, operator.tools, clock))
    assert len({finding.about for finding in found}) == len(found)
    return {finding.about: finding for finding in found}


def wrong(found: dict[str, Finding]) -> list[str]:
    return [about for about, finding in found.items() if finding.level is Level.WRONG]


def told(finding: Finding) -> tuple[str, str]:
    return finding.level.value, finding.text


def documented() -> list[str]:
    """What docs/deploy.md shows of it, until it leaves something out."""
    text = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```\n(ok       settings.*?)\n…\n", text, re.DOTALL)
    return [line[9:28].strip() for line in example.splitlines()]


# All well


def test_before_a_deployment_all_that_must_be_set_is_looked_at(prepared: Operator) -> None:
    found = findings(prepared)
    assert wrong(found) == []
    assert list(found) == [
        "settings",
        "build",
        "AWS",
        "AWS's clock",
        "secret",
        "TLS",
        "CouchDB",
        "version",
        "CouchDB's clock",
        "rights",
        "login hashes",
        "_users",
        "_global_changes",
        prepared.stage.control_db,
        "sender",
        "SES",
        "stack",
    ]
    assert documented() == list(found)[:5]
    assert told(found["AWS"]) == ("ok", "account 123456789012, region us-east-1")
    assert told(found["SES"]) == ("ok", "mails may go to everybody, up to 50000 a day")
    assert told(found["stack"]) == ("ok", "not deployed yet; run `make deploy`")


def test_after_a_deployment_what_is_deployed_is_looked_at_too(deployed: Operator) -> None:
    found = findings(deployed)
    assert wrong(found) == []
    assert list(found)[-14:] == [
        "stack",
        "table",
        "queues",
        "dead letters",
        "functions",
        "mappings",
        "feedback",
        "configuration set",
        "poller",
        "public URL",
        "health",
        "throttle",
        "alarms",
        "alarm address",
    ]
    assert {finding.level for finding in list(found.values())[-14:]} == {Level.OK}


def test_a_line_for_each_finding_and_the_exit_code(deployed: Operator) -> None:
    assert doctor.main([deployed.name], deployed.tools) == 0
    assert all(line.startswith(("ok ", "warning ")) for line in deployed.said)
    deployed.client("dynamodb").delete_table(TableName=deployed.stage.prefix)
    deployed.said.clear()
    assert doctor.main([deployed.name], deployed.tools) == 1
    assert f"wrong    table              {deployed.stage.prefix} does not exist; deploy again" in (
        deployed.said
    )


def test_nothing_of_the_secret_is_shown(deployed: Operator, couch_url: str) -> None:
    doctor.main([deployed.name], deployed.tools)
    password = urlsplit(couch_url).password
    assert password
    assert password not in "\n".join(deployed.said)


def test_looking_changes_nothing(deployed: Operator, server: Server) -> None:
    def state() -> tuple[Any, ...]:
        table = deployed.client("dynamodb").scan(TableName=deployed.stage.prefix)
        queues = deployed.client("sqs").list_queues(QueueNamePrefix=deployed.stage.prefix)
        control = server.database(deployed.stage.control_db)
        return table["Items"], queues["QueueUrls"], control.info()["update_seq"]

    before = state()
    findings(deployed)
    assert state() == before


# Settings and the account


def test_a_stage_that_the_config_does_not_have(operator: Operator) -> None:
    with pytest.raises(OpsError, match="there is no stage 'nowhere'"):
        doctor.main(["nowhere"], operator.tools)


def test_settings_that_the_handlers_would_refuse(operator: Operator) -> None:
    operator.configure(MAILS_PER_ADDRESS_HOUR="many")
    verdict = check_project.check_settings(operator.stage, operator.tools)
    assert verdict == (
        Level.WRONG,
        "MAILS_PER_ADDRESS_HOUR must be a whole number from 0 to 5000; "
        f"set it in .chalice/config.json, stages.{operator.name}.environment_variables",
    )


def test_a_claim_that_ends_before_its_handler(operator: Operator) -> None:
    operator.configure(CLAIM_LEASE_SECONDS="60")  # Chalice's own time-out
    assert doctor.main([operator.name], operator.tools) == 1
    assert operator.said[0] == (
        "wrong    settings           CLAIM_LEASE_SECONDS must be more than 60, the lambda_timeout "
        "of device_new, and is 60: a second worker would send the same mail while the first one is "
        "still at work; set it in .chalice/config.json, "
        f"stages.{operator.name}.environment_variables"
    )


def test_policies_that_are_not_the_tables(operator: Operator) -> None:
    (operator.root / f".chalice/policy-{operator.name}-device_new.json").write_text("{}")
    assert check_project.check_build(operator.tools) == (
        Level.WRONG,
        "the policies are not up to date; run `python -m ops.policies`",
    )


def test_without_credentials_nothing_in_aws_is_looked_at(operator: Operator) -> None:
    from botocore.exceptions import NoCredentialsError

    class Sts:
        def get_caller_identity(self) -> None:
            raise NoCredentialsError

    operator.clients["sts"] = Sts()
    found = findings(operator)
    assert list(found) == ["settings", "build", "AWS"]
    assert told(found["AWS"]) == (
        "wrong",
        "no AWS credentials: run `aws configure`, or set AWS_PROFILE",
    )


@pytest.mark.parametrize(("off_s", "direction"), [(75, "behind"), (-75, "ahead of")])
def test_a_clock_that_is_off(
    prepared: Operator, couch_url: str, off_s: float, direction: str
) -> None:
    now_s = time.time() + off_s
    for verdict in (
        check_project.check_clock(prepared.client, now_s),
        check_couchdb.check_clock(CouchDB(couch_url), now_s),
    ):
        assert verdict[0] is Level.WRONG
        assert f" s {direction} this machine's; synchronise the wrong one" in verdict[1]


def test_a_server_that_does_not_tell_the_time() -> None:
    verdict = check_couchdb.compare_clocks("CouchDB", None, time.time())
    assert verdict == (Level.WARNING, "CouchDB sent no Date header, so its clock is not known")


# The secret


def test_no_secret_and_so_no_look_at_couchdb(operator: Operator) -> None:
    found = findings(operator)
    assert told(found["secret"]) == (
        "wrong",
        f"there is no secret syncpoint/{operator.name}; docs/deploy.md says how to create it",
    )
    assert "CouchDB" not in found


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("hunter2", "must be {"),
        ({"couchdb_url": "https://a:hunter2@host"}, "must be {"),
        ({"couchdb_url": "a:hunter2@host", "link_keys": ["00" * 32]}, "must be {"),
        ({"couchdb_url": "https://a:hunter2@host", "link_keys": ["00" * 31]}, "of 32 bytes"),
        ({"couchdb_url": "https://a:hunter2@host", "link_keys": []}, "of 32 bytes"),
    ],
)
def test_a_secret_of_the_wrong_form_is_named_and_not_shown(
    operator: Operator, value: JsonDict | str, problem: str
) -> None:
    operator.put_secret(value)
    finding = find("secret", lambda: check_project.check_secret(operator.stage, operator.client))
    assert finding.level is Level.WRONG
    assert problem in finding.text
    assert "hunter2" not in finding.text


# CouchDB


def test_plain_http_is_for_this_machine_only() -> None:
    assert check_couchdb.check_tls(CouchDB("https://a:b@couch.example.com"))[0] is Level.OK
    assert check_couchdb.check_tls(CouchDB("http://a:b@localhost:5984"))[0] is Level.OK
    verdict = check_couchdb.check_tls(CouchDB("http://a:b@couch.example.com"))
    assert verdict[0] is Level.WRONG
    assert "http sends passwords unencrypted" in verdict[1]


def test_a_certificate_that_nobody_trusts(tmp_path: Path) -> None:
    with listening() as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate_for_localhost(tmp_path))

        def answer() -> None:
            connection, _ = server.accept()
            try:
                context.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"https://a:b@localhost:{server.getsockname()[1]}"
        verdict = check_couchdb.check_reachable(CouchDB(url))
        thread.join(timeout=10)
    assert verdict[0] is Level.WRONG
    assert verdict[1].startswith("its certificate is not valid: self-signed certificate;")


def test_a_server_that_does_not_answer_in_time() -> None:
    with listening() as server:
        couchdb = CouchDB(f"http://a:b@127.0.0.1:{server.getsockname()[1]}", (1.0, 0.05))
        verdict = check_couchdb.check_reachable(couchdb)
    assert verdict[0] is Level.WRONG
    assert verdict[1].startswith("no answer in time")


def test_a_host_where_nobody_is_stops_the_look_at_couchdb(operator: Operator) -> None:
    with listening() as server:
        port = server.getsockname()[1]
    operator.put_right_secret(f"http://a:b@127.0.0.1:{port}")
    found = findings(operator)
    assert told(found["CouchDB"])[1].startswith("no connection; check the host")
    assert "version" not in found


@pytest.mark.parametrize(
    ("info", "level", "text"),
    [
        ({"couchdb": "Welcome", "version": "3.4.3"}, Level.OK, "CouchDB 3.4.3"),
        ({"couchdb": "Welcome", "version": "3.10.0"}, Level.OK, "CouchDB 3.10.0"),
        (
            {"couchdb": "Welcome", "version": "3.3.3"},
            Level.WARNING,
            "CouchDB 3.3.3 is not tested; use 3.4 or later",
        ),
        (
            {"express-pouchdb": "Welcome!", "version": "4.2.0"},
            Level.WARNING,
            "express-pouchdb 4.2.0: use it to try Syncpoint, not for a deployment",
        ),
    ],
)
def test_versions(info: JsonDict, level: Level, text: str) -> None:
    with answering({"/": (200, info)}) as url:
        assert check_couchdb.check_version(CouchDB(url)) == (level, text)


def test_credentials_that_are_wrong(operator: Operator, couch_url: str) -> None:
    parts = urlsplit(couch_url)
    # Not the administrator's name: five wrong passwords would lock the administrator out.
    operator.put_right_secret(f"http://nobody:wrong@{parts.hostname}:{parts.port}")
    finding = findings(operator)["rights"]
    assert finding.level is Level.WRONG
    assert finding.text.startswith("CouchDB answers 401 unauthorized")


def test_credentials_that_are_no_administrators(operator: Operator, couch_url: str) -> None:
    parts = urlsplit(couch_url)
    operator.put_right_secret(f"http://{parts.hostname}:{parts.port}")
    found = findings(operator)
    assert found["rights"].text.endswith("must have the credentials of a server administrator")
    assert found["rights"].level is Level.WRONG
    assert "_users" not in found


CONFIG = "/_node/_local/_config/chttpd_auth/upgrade_hash_on_auth"
WELCOME: JsonDict = {"couchdb": "Welcome", "version": "3.5.2"}
NOT_SET: JsonDict = {"error": "not_found", "reason": "unknown_config_value"}
HIDDEN: JsonDict = {"error": "forbidden", "reason": "not for you"}


def test_logins_whose_hashes_stay_are_well() -> None:
    with answering({"/": (200, WELCOME), CONFIG: (200, "false")}) as url:
        assert check_couchdb.check_login_hashes(CouchDB(url))[0] is Level.OK


# CouchDB 3.5.2 takes all these for true.
@pytest.mark.parametrize("value", ["true", "False", "0", "off", ""])
def test_a_server_that_raises_the_iterations_of_logins(value: str) -> None:
    with answering({"/": (200, WELCOME), CONFIG: (200, value)}) as url:
        level, text = check_couchdb.check_login_hashes(CouchDB(url))
    assert level is Level.WARNING
    assert f"curl -X PUT …{CONFIG} -d '\"false\"'" in text


def test_a_server_raises_the_iterations_where_nothing_is_set() -> None:
    with answering({"/": (200, WELCOME), CONFIG: (404, NOT_SET)}) as url:
        level, text = check_couchdb.check_login_hashes(CouchDB(url))
    assert level is Level.WARNING
    assert f"curl -X PUT …{CONFIG} -d '\"false\"'" in text


@pytest.mark.parametrize(
    ("status", "answer"),
    [(401, HIDDEN), (403, HIDDEN), (404, HIDDEN), (405, HIDDEN), (500, HIDDEN)],
)
def test_a_server_that_does_not_show_its_configuration(status: int, answer: JsonDict) -> None:
    with answering({"/": (200, WELCOME), CONFIG: (status, answer)}) as url:
        level, text = check_couchdb.check_login_hashes(CouchDB(url))
    assert level is Level.WARNING
    assert "ask whoever runs it to set [chttpd_auth] upgrade_hash_on_auth to false" in text


def test_the_setting_for_login_hashes_is_read_where_it_is_set(
    server: Server, couch_url: str
) -> None:
    """The embedded server keeps its configuration elsewhere, and so does not show it."""
    section, key = CONFIG.split("/")[-2:]
    before = server.config_get(section, key)
    levels = []
    try:
        for value in ("true", "false"):
            server.config_set(section, key, value)
            levels.append(check_couchdb.check_login_hashes(CouchDB(couch_url))[0])
    finally:
        if before is None:
            server.config_delete(section, key)
        else:
            server.config_set(section, key, before)
    is_couchdb = "couchdb" in server.info()
    assert levels == [Level.WARNING, Level.OK if is_couchdb else Level.WARNING]


@pytest.mark.parametrize(
    ("check", "level"),
    [
        (check_couchdb.check_users, Level.WRONG),
        (check_couchdb.check_global_changes, Level.WARNING),
    ],
)
def test_a_database_of_the_server_that_is_missing(check: Any, level: Level) -> None:
    with answering({}) as url:
        verdict = check(CouchDB(url))
    assert verdict[0] is level
    assert "does not exist" in verdict[1]
    assert "curl -X PUT" in verdict[1]


def test_a_feed_of_databases_is_well() -> None:
    with answering({"/_global_changes": (200, {"db_name": "_global_changes"})}) as url:
        assert check_couchdb.check_global_changes(CouchDB(url))[0] is Level.OK


def test_a_control_database_that_is_missing(operator: Operator, couch_url: str) -> None:
    verdict = check_couchdb.check_control(CouchDB(couch_url), f"none-{uuid.uuid4().hex}")
    assert verdict[0] is Level.WRONG
    assert verdict[1].startswith("does not exist; create it: `curl -X PUT")


def test_a_control_database_that_everyone_can_read(couch_url: str, control: Database) -> None:
    control.put_security({"admins": {}, "members": {}})
    open_to_all = CouchDB(couch_url).get(f"/{control.name}").ok
    if not open_to_all:
        pytest.skip("this server lets nobody in without a login")
    verdict = check_couchdb.check_control(CouchDB(couch_url), control.name)
    assert verdict[0] is Level.WRONG
    assert "everyone can read it" in verdict[1]


# Mail


def test_a_sender_that_ses_does_not_know(operator: Operator) -> None:
    verdict = check_mail.check_sender(operator.stage, operator.client)
    assert verdict[0] is Level.WRONG
    command = f"aws sesv2 create-email-identity --email-identity {operator.stage.sender}"
    assert command in verdict[1]


def test_a_sender_that_is_not_verified_yet(operator: Operator) -> None:
    operator.client("sesv2").create_email_identity(EmailIdentity=operator.stage.sender)
    verdict = check_mail.check_sender(operator.stage, operator.client)
    assert verdict[0] is Level.WRONG
    assert f"{operator.stage.sender} is not verified yet" in verdict[1]


def test_a_domain_that_is_verified_is_enough(operator: Operator) -> None:
    domain = operator.stage.sender.partition("@")[2]
    verify(operator, domain)
    verdict = check_mail.check_sender(operator.stage, operator.client)
    assert verdict == (Level.OK, f"{domain} is verified")


@pytest.mark.parametrize("verified", ["mail.{}", "{}"])
def test_a_domain_is_verified_for_its_subdomains_though_the_address_is_pending(
    operator: Operator, verified: str
) -> None:
    domain = operator.stage.sender.partition("@")[2]
    operator.configure(MAIL_FROM=f"no-reply@mail.{domain}")
    operator.client("sesv2").create_email_identity(EmailIdentity=f"no-reply@mail.{domain}")
    verify(operator, verified.format(domain))
    verdict = check_mail.check_sender(operator.stage, operator.client)
    assert verdict == (Level.OK, f"{verified.format(domain)} is verified")


def test_of_several_that_are_pending_the_closest_is_named(operator: Operator) -> None:
    domain = operator.stage.sender.partition("@")[2]
    for identity in (domain, operator.stage.sender):
        operator.client("sesv2").create_email_identity(EmailIdentity=identity)
    level, text = check_mail.check_sender(operator.stage, operator.client)
    assert level is Level.WRONG
    assert text.startswith(f"{operator.stage.sender} is not verified yet")


def test_the_topmost_domain_is_not_asked_for() -> None:
    assert check_mail.identities("a@mail.example.com") == [
        "a@mail.example.com",
        "mail.example.com",
        "example.com",
    ]
    assert check_mail.identities("a@localhost") == ["a@localhost", "localhost"]


def test_the_sandbox_is_a_warning(operator: Operator) -> None:
    operator.clients["sesv2"].account["ProductionAccessEnabled"] = False
    level, text = check_mail.check_account(operator.stage, operator.client)
    assert level is Level.WARNING
    assert "sandbox, so only verified addresses get mails" in text


def test_sending_that_ses_has_stopped(operator: Operator) -> None:
    operator.clients["sesv2"].account["SendingEnabled"] = False
    level, text = check_mail.check_account(operator.stage, operator.client)
    assert level is Level.WRONG
    assert "SES has stopped this account from sending" in text


@pytest.mark.parametrize(("a_day", "level"), [(24_000, Level.OK), (23_999, Level.WARNING)])
def test_an_hour_that_is_busy_later_than_ses_takes_mails(
    operator: Operator, a_day: int, level: Level
) -> None:
    operator.clients["sesv2"].account["SendQuota"]["Max24HourSend"] = float(a_day)
    verdict = check_mail.check_account(operator.stage, operator.client)
    assert verdict[0] is level
    if level is Level.WARNING:
        assert verdict[1] == (
            "SES takes 23999 mails a day, but an hour is busy after 1000 only, so a few senders "
            "can use up what others need; set MAILS_BUSY_HOUR to 499"
        )


def test_a_configuration_set_that_is_missing(operator: Operator) -> None:
    level, text = check_mail.check_configuration_set(operator.stage, operator.client)
    assert level is Level.WRONG
    assert "no mail is sent without it" in text


# What is deployed


def test_a_stack_that_was_rolled_back(operator: Operator) -> None:
    class CloudFormation:
        def describe_stacks(self, StackName: str) -> JsonDict:  # noqa: N803
            return {"Stacks": [{"StackStatus": "UPDATE_ROLLBACK_COMPLETE"}]}

    operator.clients["cloudformation"] = CloudFormation()
    level, text = check_deployed.check_stack(operator.stage, operator.client)
    assert level is Level.WARNING
    assert "has the status UPDATE_ROLLBACK_COMPLETE" in text


def test_queues_that_are_missing_are_named(operator: Operator) -> None:
    operator.make_queues()
    operator.client("sqs").delete_queue(QueueUrl=operator.queue("channel", "new").url)
    level, text = check_deployed.check_queues(operator.stage, operator.client)
    name = queue_name(operator.name, "channel", "new")
    assert (level, text) == (Level.WRONG, f"missing: {name}; deploy again")


def test_dead_letters_are_counted(operator: Operator) -> None:
    operator.make_queues()
    assert check_deployed.check_dead_letters(operator.stage, operator.client)[0] is Level.OK
    operator.dead_letters.send("one")
    level, text = check_deployed.check_dead_letters(operator.stage, operator.client)
    assert level is Level.WARNING
    assert text == f"1; list them with `make redrive STAGE={operator.name} DRY_RUN=1`"


def test_no_queue_of_dead_letters(operator: Operator) -> None:
    level, _ = check_deployed.check_dead_letters(operator.stage, operator.client)
    assert level is Level.WRONG


def test_functions_that_are_missing_are_named(deployed: Operator) -> None:
    for name in ("device_new", "poller"):
        function = lambda_name(deployed.name, name)
        deployed.client("lambda").delete_function(FunctionName=function)
    assert check_deployed.check_functions(deployed.stage, deployed.client) == (
        Level.WRONG,
        f"missing: {lambda_name(deployed.name, 'device_new')}, "
        f"{lambda_name(deployed.name, 'poller')}; deploy again",
    )


def test_a_queue_that_is_switched_off(deployed: Operator) -> None:
    uuid = mapping_of(deployed, "channel_new")
    deployed.client("lambda").update_event_source_mapping(UUID=uuid, Enabled=False)
    assert check_deployed.check_mappings(deployed.stage, deployed.client) == (
        Level.WRONG,
        f"{lambda_name(deployed.name, 'channel_new')} does not read its queue; enable it: "
        f"`aws lambda update-event-source-mapping --uuid {uuid} --enabled`",
    )


def test_a_function_that_no_queue_feeds(deployed: Operator) -> None:
    uuid = mapping_of(deployed, "channel_new")
    deployed.client("lambda").delete_event_source_mapping(UUID=uuid)
    assert check_deployed.check_mappings(deployed.stage, deployed.client) == (
        Level.WRONG,
        f"not connected to a queue: {lambda_name(deployed.name, 'channel_new')}; deploy again",
    )


def test_bounces_that_reach_nobody(operator: Operator) -> None:
    level, text = check_deployed.check_feedback(operator.stage, operator.client)
    assert level is Level.WRONG
    assert "mail_feedback has no subscription, so bounces and complaints are lost" in text


def test_alarms_that_nobody_is_told_of(operator: Operator) -> None:
    assert check_deployed.check_alarm_address(operator.stage, operator.client) == (
        Level.WARNING,
        f"nobody gets the alarms; run `make deploy STAGE={operator.name} ALARM_ADDRESS=…`",
    )


def test_an_alarm_address_that_is_not_confirmed(deployed: Operator) -> None:
    operator = deployed
    operator.clients["sns"] = Unconfirmed(operator.client("sns"))
    level, text = check_deployed.check_alarm_address(operator.stage, operator.client)
    assert level is Level.WARNING
    assert text.startswith("not confirmed; follow the link in AWS's mail")


class Unconfirmed:
    """SNS before anybody has followed a link; moto confirms at once."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def get_paginator(self, name: str) -> "Unconfirmed":
        self._pages = self._client.get_paginator(name)
        return self

    def paginate(self) -> Iterator[JsonDict]:
        for page in self._pages.paginate():
            pending = {"SubscriptionArn": "PendingConfirmation"}
            yield {"Subscriptions": [{**item, **pending} for item in page["Subscriptions"]]}


def test_a_poller_that_is_silent(deployed: Operator) -> None:
    finding = findings(deployed, time.time() + 20 * 60)["poller"]
    assert finding.level is Level.WRONG
    assert finding.text.startswith("last seen 20.1 minutes ago; see the log of")


def test_a_poller_that_was_never_seen(deployed: Operator) -> None:
    deployed.configure(CONTROL_DB=deployed.stage.control_db, POLLER_SHARDS="2")
    finding = findings(deployed)["poller"]
    assert finding.level is Level.WRONG
    assert finding.text.startswith("it has never run; see the log of")


def test_no_public_url(deployed: Operator) -> None:
    deployed.client("ssm").delete_parameter(Name=deployed.stage.public_url_parameter)
    found = findings(deployed)
    assert found["public URL"].level is Level.WRONG
    assert "no mail is sent without it" in found["public URL"].text
    assert "health" not in found


def test_a_domain_of_the_operators_own_is_the_public_url(operator: Operator) -> None:
    operator.configure(PUBLIC_URL="https://sync.example.org", PUBLIC_URL_PARAMETER=None)
    verdict = check_deployed.check_public_url(operator.stage, operator.client)
    assert verdict == (Level.OK, "https://sync.example.org")


def test_an_api_that_does_not_reach_something(operator: Operator) -> None:
    ill = {**WELL, "ok": False, "couchdb": "failed: 0 unreachable", "poller": "not seen lately"}
    with answering({"/health": (503, ill)}) as url:
        level, text = check_deployed.check_health(url)
    assert level is Level.WRONG
    assert text == "couchdb: failed: 0 unreachable; poller: not seen lately"


@pytest.mark.parametrize(
    ("status", "words"), [(401, "name or the password"), (403, "locked for some minutes")]
)
def test_doctor_has_words_for_a_login_that_is_refused(
    operator: Operator, status: int, words: str
) -> None:
    ill = {**WELL, "ok": False, "couchdb": f"failed: {status}"}
    with answering({"/health": (503, ill)}) as url:
        level, text = check_deployed.check_health(url)
    assert level is Level.WRONG
    assert words in text


def test_something_else_behind_the_public_url(operator: Operator) -> None:
    with answering({}) as url:
        level, text = check_deployed.check_health(url)
    assert level is Level.WRONG
    assert text.endswith("/health answers 404, but not as Syncpoint does; check the URL")


def test_an_api_that_is_not_reached(operator: Operator) -> None:
    with listening() as server:
        port = server.getsockname()[1]
    finding = find("health", lambda: check_deployed.check_health(f"http://127.0.0.1:{port}"))
    assert told(finding) == ("wrong", "no answer: ConnectionError")


def test_an_api_that_takes_other_numbers_of_requests_than_were_set(deployed: Operator) -> None:
    assert told(findings(deployed)["throttle"]) == (
        "ok",
        "the API takes 50 requests a second, 100 at once",
    )
    for limits in ((51, 100), (50, 101)):
        throttle(deployed, *limits)
        finding = findings(deployed)["throttle"]
        assert finding.level is Level.WRONG
        assert "API_REQUESTS_PER_SECOND" in finding.text


def test_an_api_that_is_missing(operator: Operator) -> None:
    level, text = check_deployed.check_throttle(operator.stage, operator.client)
    assert (level, text) == (Level.WRONG, "the API does not exist; deploy again")


def test_alarms_that_are_on_are_named(operator: Operator) -> None:
    cloudwatch = operator.client("cloudwatch")
    name = f"{operator.stage.prefix}-dead-letters"
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="Syncpoint",
        MetricName="Transitions",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        ComparisonOperator="GreaterThanThreshold",
        Threshold=0,
    )
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    verdict = check_deployed.check_alarms(operator.stage, operator.client)
    assert verdict == (Level.WARNING, f"active: {name}; CloudWatch shows their descriptions")


def test_what_aws_forbids_the_operator_is_a_finding(operator: Operator) -> None:
    from botocore.exceptions import ClientError

    class Sqs:
        def get_queue_url(self, QueueName: str) -> None:  # noqa: N803
            refusal: Any = {"Error": {"Code": "AccessDenied", "Message": "no"}}
            raise ClientError(refusal, "GetQueueUrl")

    operator.clients["sqs"] = Sqs()
    check = check_deployed.check_queues
    finding = find("queues", lambda: check(operator.stage, operator.client))
    assert told(finding) == ("wrong", "AWS refused GetQueueUrl: AccessDenied: no")


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A port where nobody answers; afterwards, one where nobody is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server
