"""`python -m ops.deploy STAGE`: deploy the stack and the functions, upgrade design documents.

Every step may be run again. A deployment that was stopped at any step is completed so.
"""

import sys
from collections.abc import Mapping

from samtranslator.yaml_helper import yaml_parse

from chalicelib.settings import Settings
from ops import policies, upgrade
from ops.lookups import account, find_log_groups, find_secret, has_stack, has_table, read_public_url
from ops.package import pack_handlers
from ops.record import mend_record, read_record
from ops.stage import OpsError, Stage, check_settings, read_stage
from ops.tools import Client, Tools, end, make_parser, real_tools

EMPTY = '""'


def main(arguments: list[str], tools: Tools) -> int:
    """Deploy the stage that the command line names; return 0.

    Raises
    ------
    OpsError
        If a step fails; the steps after it are not run.
    """
    parser = make_parser("ops.deploy", __doc__)
    parser.add_argument("--secret-arn", help="default: the ARN of the secret SECRET_ID")
    parser.add_argument("--alarm-address", help="gets a mail for each alarm; empty: no mails")
    parser.add_argument(
        "--poll-window",
        type=int,
        metavar="SECONDS",
        help="how long a run of the poller waits for changes; 0: it does not wait",
    )
    parser.add_argument(
        "--poller-concurrency",
        metavar="COUNT",
        help="how much of the account's concurrency is the poller's alone; empty: none",
    )
    given = parser.parse_args(arguments)
    stage = read_stage(given.stage, tools.root)
    check_settings(stage, tools.root)
    check_sources(tools)
    tools.tell(f"{stage.prefix}: {account(tools.client)}")
    secret_arn = given.secret_arn or find_secret(stage, tools.client)
    check_secret(stage, secret_arn)
    tools.tell("1/4 the stack: table, queues, poller, alarms")
    said = {
        "AlarmAddress": given.alarm_address,
        "PollWindowSeconds": given.poll_window,
        "PollerConcurrency": given.poller_concurrency,
    }
    deploy_stack(stage, secret_arn, said, tools)
    tools.tell("2/4 the functions and the API")
    deploy_functions(stage, tools)
    throttle_api(stage, tools)
    tools.tell("3/4 the API's URL")
    url = store_public_url(stage, tools)
    tools.tell("4/4 design documents of existing databases")
    upgrade_designs(stage, tools)
    tools.tell(f"deployed: {url}\ncheck it with `make doctor STAGE={stage.name}`")
    return 0


def check_sources(tools: Tools) -> None:
    """Check the policies and the Python version. Sends no request.

    Raises
    ------
    OpsError
        If the policies are not up to date, or this Python is not the Lambdas' version.
    """
    if not policies.are_current(tools.root):
        raise OpsError("the policies are not up to date; run `python -m ops.policies`")
    wanted, here = runtime(tools), "python{}.{}".format(*sys.version_info)
    if wanted != here:
        raise OpsError(
            f"this is {here}, but the Lambdas run {wanted} (template.yaml); "
            f"run `make clean` and `make PYTHON={wanted} setup`"
        )


def runtime(tools: Tools) -> str:
    """Return the poller's runtime. Chalice uses the version of the Python that runs it."""
    template = yaml_parse((tools.root / "template.yaml").read_text(encoding="utf-8"))
    return str(template["Globals"]["Function"]["Runtime"])


def check_secret(stage: Stage, secret_arn: str) -> None:
    """Check that the poller and the handlers use the same secret. Sends no request.

    Raises
    ------
    OpsError
        If the ARN is that of a secret with another name.
    """
    name = secret_arn.rpartition(":secret:")[2][: -len("-AbCdEf")]
    if name != stage.secret_id:
        raise OpsError(
            f"SECRET_ARN is the ARN of {name!r}, but the handlers of this stage can only read "
            f"{stage.secret_id!r}; give the ARN of that secret"
        )


def deploy_stack(
    stage: Stage, secret_arn: str, said: Mapping[str, str | int | None], tools: Tools
) -> None:
    """Build the poller, and deploy template.yaml with SAM.

    Parameters
    ----------
    said : mapping
        Further parameters of the template. A parameter that is None keeps its value.

    Raises
    ------
    OpsError
        If it fails, or if resources of an earlier deployment are in the way.
    """
    check_leftovers(stage, tools.client)
    parameters = {
        "Stage": stage.name,
        "ControlDb": stage.control_db,
        "SecretArn": secret_arn,
        **{name: str(value) for name, value in said.items() if value is not None},
    }
    # SAM accepts an empty value only in quotes.
    overrides = [f"{name}={value or EMPTY}" for name, value in parameters.items()]
    tools.run(["sam", "build", "--build-in-source", "--template", "template.yaml"], tools.root)
    deploy = ["sam", "deploy", "--stack-name", stage.prefix, "--resolve-s3"]
    deploy += ["--capabilities", "CAPABILITY_IAM", "--no-fail-on-empty-changeset"]
    # If the first deployment fails, the stack is deleted, because it could not be updated.
    deploy += ["--no-confirm-changeset", "--on-failure", "DELETE"]
    tools.run([*deploy, "--parameter-overrides", *overrides], tools.root)


def check_leftovers(stage: Stage, client: Client) -> None:
    """Check that no table or log group is in the way of the stack. One to three requests.

    Raises
    ------
    OpsError
        If there is a table without a stack (`make destroy` keeps it), or a log group: Lambda
        creates one when a function without one runs.
    """
    if has_stack(stage, client):
        return
    groups = find_log_groups(stage, client)
    if groups:
        commands = "".join(
            f"\n    aws logs delete-log-group --log-group-name {group}" for group in groups
        )
        raise OpsError(
            "log groups of an earlier deployment exist, and block this one; "
            f"these commands delete them:{commands}"
        )
    if not has_table(stage, client):
        return
    raise OpsError(
        f"the table {stage.prefix} of an earlier deployment exists, and blocks this one; "
        f"`make destroy STAGE={stage.name} TABLE=delete` deletes it; "
        "docs/deploy.md says how to keep it"
    )


def deploy_functions(stage: Stage, tools: Tools) -> None:
    """Deploy app.py with Chalice.

    Raises
    ------
    OpsError
        If it fails.
    """
    for name in mend_record(stage, tools):
        tools.tell(f"    {name} exists already; added to Chalice's record")
    pack_handlers(stage, tools, tools.root / ".aws-sam" / "package" / "handlers")
    tools.run(["chalice", "deploy", "--stage", stage.name], tools.root)


def throttle_api(stage: Stage, tools: Tools) -> None:
    """Set how many requests the API takes. Chalice cannot. One request.

    Raises
    ------
    OpsError
        If Chalice has deployed no API.

    Source
    ------
    https://docs.aws.amazon.com/apigateway/latest/api/patch-operations.html#UpdateStage-Patch
    """
    api = read_record(stage, tools.root).get("rest_api")
    if api is None:
        raise _no_api(stage)
    settings = Settings.read(stage.variables)
    limits = {"rateLimit": settings.api_requests_second, "burstLimit": settings.api_burst}
    tools.client("apigateway").update_stage(
        restApiId=api["rest_api_id"],
        stageName=stage.api_stage,
        patchOperations=[
            {"op": "replace", "path": f"/*/*/throttling/{name}", "value": str(limit)}
            for name, limit in limits.items()
        ],
    )
    tools.tell(
        f"    it takes {limits['rateLimit']} requests a second, {limits['burstLimit']} at once"
    )


def _no_api(stage: Stage) -> OpsError:
    return OpsError(f"Chalice has deployed no API of stage {stage.name}; run `make deploy` again")


def store_public_url(stage: Stage, tools: Tools) -> str:
    """Write the API's URL into SSM, for the links in mails. One or two requests.

    Returns
    -------
    str
        PUBLIC_URL of the stage, or else API Gateway's URL; without a slash at its end.

    Raises
    ------
    OpsError
        If Chalice has deployed no API.
    """
    url = stage.variables.get("PUBLIC_URL") or deployed_url(stage, tools)
    if not url:
        raise _no_api(stage)
    url = url.rstrip("/")
    if url != read_public_url(stage, tools.client):
        tools.client("ssm").put_parameter(
            Name=stage.public_url_parameter, Value=url, Type="String", Overwrite=True
        )
    return url


def deployed_url(stage: Stage, tools: Tools) -> str | None:
    """Return the API's URL from Chalice's record; None if it has none."""
    url: str | None = read_record(stage, tools.root).get("rest_api", {}).get("rest_api_url")
    return url


def upgrade_designs(stage: Stage, tools: Tools) -> None:
    """Upgrade the design documents of existing databases to the deployed version.

    Raises
    ------
    OpsError
        If the Lambda fails that upgrades them.
    """
    checked, written = upgrade.upgrade(upgrade.invoker(stage.name, tools.client), tools.tell)
    tools.tell(f"    {checked} databases checked, {written} design documents written")


if __name__ == "__main__":
    sys.exit(end(lambda: main(sys.argv[1:], real_tools())))
