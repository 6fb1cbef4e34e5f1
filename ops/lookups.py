"""What is there in AWS of a stage. Every function sends one request, and changes nothing."""

from collections.abc import Callable

from botocore.exceptions import ClientError

from chalicelib.domain.documents import JsonDict
from ops.rights import RIGHTS
from ops.stage import OpsError, Stage, lambda_name
from ops.tools import Client, is_missing


def account(client: Client) -> str:
    """Whom AWS takes us for, and where. (STS itself would do without a region.)"""
    region = client("sqs").meta.region_name
    return f"account {client('sts').get_caller_identity()['Account']}, region {region}"


def find_secret(stage: Stage, client: Client) -> str:
    """The ARN of the stage's secret. One request.

    Raises
    ------
    OpsError
        If there is none.
    """
    answer = _unless_missing(
        lambda: client("secretsmanager").describe_secret(SecretId=stage.secret_id)
    )
    if answer is None:
        raise OpsError(
            f"there is no secret {stage.secret_id}: create it (docs/deploy.md), or say SECRET_ARN=…"
        )
    return str(answer["ARN"])


def has_stack(stage: Stage, client: Client) -> bool:
    """Whether there is a stack, in whatever state."""
    cloudformation = client("cloudformation")
    answer = _unless_missing(lambda: cloudformation.describe_stacks(StackName=stage.prefix))
    return answer is not None


def has_table(stage: Stage, client: Client) -> bool:
    """Whether there is a table."""
    dynamodb = client("dynamodb")
    return _unless_missing(lambda: dynamodb.describe_table(TableName=stage.prefix)) is not None


def find_log_groups(stage: Stage, client: Client) -> list[str]:
    """The stage's logs that are there, by name. (Those of a stage `dev-2` begin like `dev`'s.)"""
    prefix = "/aws/lambda/"
    wanted = {prefix + lambda_name(stage.name, function) for function in [*RIGHTS, "poller"]}
    pages = client("logs").get_paginator("describe_log_groups")
    there = {
        group["logGroupName"]
        for page in pages.paginate(logGroupNamePrefix=prefix + stage.prefix)
        for group in page["logGroups"]
    }
    return sorted(wanted & there)


def read_public_url(stage: Stage, client: Client) -> str | None:
    """Where the API is, as SSM has it; None if it does not."""
    ssm = client("ssm")
    answer = _unless_missing(lambda: ssm.get_parameter(Name=stage.public_url_parameter))
    return None if answer is None else str(answer["Parameter"]["Value"])


def _unless_missing(ask: Callable[[], JsonDict]) -> JsonDict | None:
    """What AWS answers; None if it says that there is no such thing."""
    try:
        return ask()
    except ClientError as exc:
        if not is_missing(exc):
            raise
        return None
