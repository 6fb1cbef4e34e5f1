"""A project's copy to deploy, and a moto server in a process of its own to deploy it to."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from samcli.cli.types import CfnParameterOverridesType  # type: ignore[import-untyped]

from chalicelib.domain.documents import JsonDict
from local.aws import ACCOUNT, CODE_BUCKET, ENVIRONMENT, translate
from local.system import ROOT
from ops import deploy, destroy
from ops.stage import OpsError, Stage, read_stage
from ops.tools import Tools

STAGE = "dev"
EMPTY_ZIP = b"PK\x05\x06" + bytes(18)


@contextmanager
def running_aws() -> Iterator[str]:
    """The URL of a moto server of this test's own."""
    command = [sys.executable, "-m", "tests.kit.ops.aws_server"]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


class LambdaClient:
    """Lambda, but for `invoke`: moto runs no code. Answers what `upgrade_designs` would."""

    def __init__(self, client: Any, answers: list[JsonDict]) -> None:
        self._client = client
        self.answers = answers
        self.error = False
        self.invoked: list[str] = []

    def invoke(self, FunctionName: str, Payload: str) -> JsonDict:  # noqa: N803
        self._client.get_function(FunctionName=FunctionName)
        self.invoked.append(FunctionName)
        answer = {"Payload": _Body(json.dumps(self.answers.pop(0)))}
        return {**answer, "FunctionError": "Unhandled"} if self.error else answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


@dataclass
class _Body:
    text: str

    def read(self) -> str:
        return self.text


@dataclass
class Place:
    """A copy of the project, an empty AWS, and the tools to deploy the one to the other.

    Attributes
    ----------
    ran : list of str
        The programs that the operator's command has run, by their first two words.
    instead : dict
        What is done instead of a program; raises, most likely.
    """

    endpoint: str
    root: Path
    said: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)
    instead: dict[str, Callable[[], None]] = field(default_factory=dict)

    @classmethod
    def make(cls, endpoint: str, root: Path) -> "Place":
        """An AWS with nothing in it but the stage's secret."""
        request = urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")
        urllib.request.urlopen(request, timeout=10).close()
        for name in ("app.py", "template.yaml"):
            shutil.copy(ROOT / name, root)
        shutil.copytree(ROOT / "chalicelib", root / "chalicelib")
        (root / ".chalice").mkdir()
        for path in (ROOT / ".chalice").glob("*.json"):
            shutil.copy(path, root / ".chalice")
        (root / "requirements.txt").touch()  # the packages themselves are not what is tested
        place = cls(endpoint, root)
        place.client("secretsmanager").create_secret(Name="syncpoint/dev", SecretString="{}")
        return place

    def client(self, service: str) -> Any:
        return self.clients.setdefault(service, self._make_client(service))

    @cached_property
    def clients(self) -> dict[str, Any]:
        return {}

    @cached_property
    def functions(self) -> LambdaClient:
        """What answers for the Lambdas; the upgrade has nothing to do unless told otherwise."""
        nothing = {"checked": 0, "written": 0, "after": None}
        return LambdaClient(self._make_client("lambda"), [nothing] * 9)

    @property
    def tools(self) -> Tools:
        return Tools(self._client_of_tools, self.run, self.said.append, self.root)

    @property
    def stage(self) -> Stage:
        return read_stage(STAGE, self.root)

    def run(self, command: Sequence[str], folder: Path) -> None:
        """Chalice for real; for SAM, which needs more of AWS than moto has, CloudFormation."""
        name = " ".join(command[:2])
        self.ran.append(name)
        if name in self.instead:
            self.instead[name]()
        elif name == "sam deploy":
            given = command[list(command).index("--parameter-overrides") + 1 :]
            self.create_stack(CfnParameterOverridesType().convert(tuple(given), None, None))
        elif name != "sam build":
            self.chalice(*command[1:])

    def deploy(self, *arguments: str) -> int:
        """What `make deploy` runs."""
        return deploy.main([STAGE, *arguments], self.tools)

    def destroy(self, *arguments: str) -> int:
        """What `make destroy` runs."""
        return destroy.main([STAGE, *arguments], self.tools)

    def chalice(self, *arguments: str) -> str:
        """Run Chalice in the copy."""
        program = Path(sys.executable).with_name("chalice")
        done = subprocess.run(
            [str(program), *arguments],
            cwd=self.root,
            env={"PATH": os.environ["PATH"], **ENVIRONMENT, "AWS_ENDPOINT_URL": self.endpoint},
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise OpsError(done.stderr[-2000:])
        return done.stdout

    def create_stack(self, parameters: Mapping[str, str]) -> None:
        """What `sam deploy` does: the stack, if it is not there yet."""
        self.parameters = dict(parameters)
        stacks = self.client("cloudformation").describe_stacks()["Stacks"]
        if [stack for stack in stacks if stack["StackStatus"] != "DELETE_COMPLETE"]:
            return
        s3 = self.client("s3")
        s3.create_bucket(Bucket=CODE_BUCKET)
        s3.put_object(Bucket=CODE_BUCKET, Key="poller.zip", Body=EMPTY_ZIP)
        every = {"PollWindowSeconds": "50", **parameters}
        os.environ.setdefault("AWS_DEFAULT_REGION", ENVIRONMENT["AWS_DEFAULT_REGION"])
        self.client("cloudformation").create_stack(
            StackName=f"syncpoint-{STAGE}",
            TemplateBody=self._template(every),
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value} for name, value in every.items()
            ],
            Capabilities=["CAPABILITY_IAM"],
        )

    def make_stack(self) -> None:
        """The stack, by the parameters that a deployment has."""
        arn = self.client("secretsmanager").describe_secret(SecretId="syncpoint/dev")["ARN"]
        self.create_stack({"Stage": STAGE, "ControlDb": "control", "SecretArn": arn})

    def edit(self, name: str, old: str, new: str) -> None:
        """Change the copy."""
        path = self.root / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def _template(self, parameters: dict[str, str]) -> str:
        text = json.dumps(translate(self.root / "template.yaml", parameters))
        return text.replace("RetainExceptOnCreate", "Retain")  # moto knows the old word only

    def _client_of_tools(self, service: str) -> Any:
        return self.functions if service == "lambda" else self.client(service)

    def _make_client(self, service: str) -> Any:
        import boto3

        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.endpoint,
            region_name=ENVIRONMENT["AWS_DEFAULT_REGION"],
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )


def deployed(place: Place) -> JsonDict:
    """All that Chalice makes, as it is in AWS: without times, which every deployment changes."""
    return {
        "functions": functions(place),
        "roles": role_policies(place),
        "mappings": mappings(place),
        "subscriptions": subscriptions(place),
        "rules": rules(place),
        "apis": apis(place),
    }


def functions(place: Place) -> dict[str, JsonDict]:
    kept = ("Handler", "Runtime", "Role", "Timeout", "MemorySize", "Environment", "CodeSha256")
    listed = place.client("lambda").list_functions()["Functions"]
    return {
        function["FunctionName"]: {name: function.get(name) for name in kept}
        for function in listed
        if not function["FunctionName"].endswith("-poller")
    }


def role_policies(place: Place) -> dict[str, JsonDict]:
    """The policy of each role, those of the stack left out."""
    iam = place.client("iam")
    found = {}
    for role in iam.list_roles()["Roles"]:
        name = role["RoleName"]
        if not name.startswith(f"syncpoint-{STAGE}-Poller"):
            [policy] = iam.list_role_policies(RoleName=name)["PolicyNames"]
            answer = iam.get_role_policy(RoleName=name, PolicyName=policy)
            found[name] = cast(JsonDict, answer["PolicyDocument"])
    return found


def mappings(place: Place) -> dict[str, tuple[str, int, str]]:
    listed = place.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert len({mapping["FunctionArn"] for mapping in listed}) == len(listed)
    return {
        last(mapping["FunctionArn"]): (
            last(mapping["EventSourceArn"]),
            mapping["BatchSize"],
            mapping["UUID"],
        )
        for mapping in listed
    }


def subscriptions(place: Place) -> list[tuple[str, str, str]]:
    listed = place.client("sns").list_subscriptions()["Subscriptions"]
    return sorted(
        (last(item["TopicArn"]), item["Protocol"], last(item["Endpoint"])) for item in listed
    )


def rules(place: Place) -> dict[str, tuple[str, list[str]]]:
    events = place.client("events")
    found = {}
    for rule in events.list_rules(NamePrefix=f"syncpoint-{STAGE}-")["Rules"]:
        targets = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
        if not rule["Name"].startswith(f"syncpoint-{STAGE}-PollerFunction"):
            schedule = rule["ScheduleExpression"]
            found[rule["Name"]] = (schedule, [last(target["Arn"]) for target in targets])
    return found


def apis(place: Place) -> dict[str, dict[str, list[str]]]:
    """By id, the paths with their methods."""
    apigateway = place.client("apigateway")
    return {
        api["id"]: {
            resource["path"]: sorted(resource.get("resourceMethods", {}))
            for resource in apigateway.get_resources(restApiId=api["id"], limit=500)["items"]
            if resource.get("resourceMethods")
        }
        for api in apigateway.get_rest_apis()["items"]
    }


def last(arn: str) -> str:
    """A resource's name, from its ARN."""
    assert f":{ACCOUNT}:" in arn
    return arn.rpartition(":")[2]
