"""Each function as the two deployments make it: handler, environment, rights."""

import ast
from typing import Any

from chalicelib.domain.documents import JsonDict
from local.aws import LocalAws
from local.system import ROOT
from tests.runtime.harness.artifacts import STAGE, Artifacts
from tests.runtime.harness.function import Spec

APP_NAME = "syncpoint"
API_HANDLER = "api_handler"
POLLER = "poller"


def chalice_functions(artifacts: Artifacts) -> dict[str, Spec]:
    """The functions that ``chalice package`` describes, by their names in app.py."""
    resources = artifacts.packaged["Resources"]
    specs = {}
    for resource in resources.values():
        if resource["Type"] == "AWS::Serverless::Function":
            spec = _chalice_function(resource["Properties"], resources, artifacts)
            specs[spec.name] = spec
    return specs


def _chalice_function(properties: JsonDict, resources: JsonDict, artifacts: Artifacts) -> Spec:
    name = properties["Handler"].rpartition(".")[2]
    is_api = name == "app"
    role = resources[properties["Role"]["Fn::GetAtt"][0]]["Properties"]
    [policy] = role["Policies"]
    return Spec(
        name=API_HANDLER if is_api else name,
        lambda_name=f"{APP_NAME}-{STAGE}" + ("" if is_api else f"-{name}"),
        handler=properties["Handler"],
        code=artifacts.handlers,
        time_out_s=properties["Timeout"],
        memory_mb=properties["MemorySize"],
        variables=properties["Environment"]["Variables"],
        policy=policy["PolicyDocument"],
    )


def poller(artifacts: Artifacts, aws: LocalAws, control_db: str, secret_arn: str) -> Spec:
    """Make what template.yaml describes; the poller as the stack has it, for one pass a run."""
    parameters = {
        "Stage": STAGE,
        "ControlDb": control_db,
        "SecretArn": secret_arn,
        "PollWindowSeconds": "0",
    }
    variables = aws.create_stack(ROOT / "template.yaml", parameters)
    name = f"{APP_NAME}-{STAGE}-{POLLER}"
    made = aws.client("lambda").get_function_configuration(FunctionName=name)
    return Spec(
        name=POLLER,
        lambda_name=name,
        handler=made["Handler"],
        code=artifacts.poller,
        time_out_s=made["Timeout"],
        memory_mb=made["MemorySize"],
        variables=variables,
        policy=_role_policy(aws.client("iam"), made["Role"].rpartition("/")[2]),
    )


def _role_policy(iam: Any, role_name: str) -> JsonDict:
    """What a role of the stack allows, with the names and ARNs that the stack has put in."""
    assert iam.list_attached_role_policies(RoleName=role_name)["AttachedPolicies"] == []
    [policy_name] = iam.list_role_policies(RoleName=role_name)["PolicyNames"]
    answer = iam.get_role_policy(RoleName=role_name, PolicyName=policy_name)
    # moto keeps what CloudFormation gives it as Python's text of it, not as JSON.
    policy: JsonDict = ast.literal_eval(str(answer["PolicyDocument"]))
    return policy
