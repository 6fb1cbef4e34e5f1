"""Look up what exists of a stage in AWS. Every function sends one request, and changes nothing."""

from collections.abc import Callable

from botocore.exceptions import ClientError

from chalicelib.domain.documents import JsonDict
from ops.rights import RIGHTS
from ops.stage import OpsError, Stage, lambda_name
from ops.tools import Client, is_missing


def account(client: Client) -> str:
    """Return the account and the region as text. It fails without a region, which STS would not."""
    region = client("sqs").meta.region_name
    return f"account {client('sts').get_caller_identity()['Account']}, region {region}"


def find_secret(stage: Stage, client: Client) -> str:
    """Return the ARN of the stage's secret. One request.

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
            f"there is no secret {stage.secret_id}: create it (docs/deploy.md), "
            "or give SECRET_ARN=…"
        )
    return str(answer["ARN"])


def has_stack(stage: Stage, client: Client) -> bool:
    """Return whether the stack exists, in whatever state."""
    cloudformation = client("cloudformation")
    answer = _unless_missing(lambda: cloudformation.describe_stacks(StackName=stage.prefix))
    return answer is not None


def has_table(stage: Stage, client: Client) -> bool:
    """Return whether the table exists."""
    dynamodb = client("dynamodb")
    return _unless_missing(lambda: dynamodb.describe_table(TableName=stage.prefix)) is not None


def find_log_groups(stage: Stage, client: Client) -> list[str]:
    """Return the names of the stage's log groups that exist, but not those of a stage `dev-2`."""
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
    """Return the API's URL from SSM; None if SSM has none."""
    ssm = client("ssm")
    answer = _unless_missing(lambda: ssm.get_parameter(Name=stage.public_url_parameter))
    return None if answer is None else str(answer["Parameter"]["Value"])


def _unless_missing(ask: Callable[[], JsonDict]) -> JsonDict | None:
    """Return AWS's answer; None if the resource does not exist."""
    try:
        return ask()
    except ClientError as exc:
        if not is_missing(exc):
            raise
        return None
