"""`python -m ops.deploy STAGE`: the stack, the functions, the API's URL, the design documents.

Every step may be run again, and a deployment that was stopped anywhere is deployed again.
"""

import sys
from collections.abc import Mapping

from samtranslator.yaml_helper import yaml_parse

from ops import policies, upgrade
from ops.lookups import account, find_log_groups, find_secret, has_stack, has_table, read_public_url
from ops.package import pack_handlers
from ops.record import mend_record, read_record
from ops.stage import OpsError, Stage, read_stage
from ops.tools import Client, Tools, end, make_parser, real_tools

EMPTY = '""'


def main(arguments: list[str], tools: Tools) -> int:
    """Deploy the stage that the command line names; return 0.

    Raises
    ------
    OpsError
        If a step fails; those after it are not begun.
    """
    parser = make_parser("ops.deploy", __doc__)
    parser.add_argument("--secret-arn", help="default: of the secret that SECRET_ID names")
    parser.add_argument("--alarm-address", help="who is told of alarms, by e-mail; empty: nobody")
    parser.add_argument(
        "--poll-window",
        type=int,
        metavar="SECONDS",
        help="how long a run of the poller follows the feed; 0: one look a minute",
    )
    given = parser.parse_args(arguments)
    stage = read_stage(given.stage, tools.root)
    check_sources(tools)
    tools.tell(f"{stage.prefix}: {account(tools.client)}")
    secret_arn = given.secret_arn or find_secret(stage, tools.client)
    check_secret(stage, secret_arn)
    tools.tell("1/4 the stack: table, queues, poller, alarms")
    said = {"AlarmAddress": given.alarm_address, "PollWindowSeconds": given.poll_window}
    deploy_stack(stage, secret_arn, said, tools)
    tools.tell("2/4 the functions and the API")
    deploy_functions(stage, tools)
    tools.tell("3/4 the API's URL")
    url = store_public_url(stage, tools)
    tools.tell("4/4 design documents of existing databases")
    upgrade_designs(stage, tools)
    tools.tell(f"deployed: {url}\nlook at it with `make doctor STAGE={stage.name}`")
    return 0


def check_sources(tools: Tools) -> None:
    """Check what can be seen without AWS. Sends no request.

    Raises
    ------
    OpsError
        If the policies are not those of the table, or this Python is not that of the Lambdas.
    """
    if not policies.are_current(tools.root):
        raise OpsError("the policies are not up to date; run `python -m ops.policies`")
    wanted, here = runtime(tools), "python{}.{}".format(*sys.version_info)
    if wanted != here:
        raise OpsError(
            f"this is {here}, the Lambdas' is {wanted} (template.yaml): packages would not fit; "
            f"run `make clean` and `make PYTHON={wanted} setup`"
        )


def runtime(tools: Tools) -> str:
    """The poller's runtime; Chalice takes that of the Python that it runs on."""
    template = yaml_parse((tools.root / "template.yaml").read_text(encoding="utf-8"))
    return str(template["Globals"]["Function"]["Runtime"])


def check_secret(stage: Stage, secret_arn: str) -> None:
    """Check that the poller and the handlers are given the same secret. Sends no request.

    Raises
    ------
    OpsError
        If the ARN is of a secret of another name.
    """
    name = secret_arn.rpartition(":secret:")[2][: -len("-AbCdEf")]
    if name != stage.secret_id:
        raise OpsError(
            f"SECRET_ARN is of a secret {name!r}; the handlers of this stage read "
            f"{stage.secret_id!r}, and may read no other"
        )


def deploy_stack(
    stage: Stage, secret_arn: str, said: Mapping[str, str | int | None], tools: Tools
) -> None:
    """Build the poller and deploy template.yaml by SAM.

    Parameters
    ----------
    said : mapping
        Further parameters of the template; those that are None stay as they were.

    Raises
    ------
    OpsError
        If it fails; or if something of an earlier deployment is there and its stack is not.
    """
    check_leftovers(stage, tools.client)
    parameters = {
        "Stage": stage.name,
        "ControlDb": stage.control_db,
        "SecretArn": secret_arn,
        **{name: str(value) for name, value in said.items() if value is not None},
    }
    # SAM takes no empty value without quotes.
    overrides = [f"{name}={value or EMPTY}" for name, value in parameters.items()]
    tools.run(["sam", "build", "--build-in-source", "--template", "template.yaml"], tools.root)
    deploy = ["sam", "deploy", "--stack-name", stage.prefix, "--resolve-s3"]
    deploy += ["--capabilities", "CAPABILITY_IAM", "--no-fail-on-empty-changeset"]
    # A first try that fails is removed: a stack that was rolled back could not be deployed again.
    deploy += ["--no-confirm-changeset", "--on-failure", "DELETE"]
    tools.run([*deploy, "--parameter-overrides", *overrides], tools.root)


def check_leftovers(stage: Stage, client: Client) -> None:
    """Check that the stack can make its table and logs, or has them. One to three requests.

    Raises
    ------
    OpsError
        If there is a table that no stack has (`make destroy` keeps it), or a log: Lambda makes
        one for a function that has none.
    """
    if has_stack(stage, client):
        return
    groups = find_log_groups(stage, client)
    if groups:
        commands = "".join(
            f"\n    aws logs delete-log-group --log-group-name {group}" for group in groups
        )
        raise OpsError(
            "logs are there from an earlier deployment, and would be in the way; "
            f"this deletes them, with all that they say:{commands}"
        )
    if not has_table(stage, client):
        return
    raise OpsError(
        f"the table {stage.prefix} is there from an earlier deployment, and would be in the way: "
        f"`make destroy STAGE={stage.name} TABLE=delete` deletes it; "
        "docs/deploy.md says how to keep it"
    )


def deploy_functions(stage: Stage, tools: Tools) -> None:
    """Deploy app.py by Chalice.

    Raises
    ------
    OpsError
        If it fails.
    """
    for name in mend_record(stage, tools):
        tools.tell(f"    {name} is there already, though Chalice does not know it; now it does")
    pack_handlers(stage, tools, tools.root / ".aws-sam" / "package" / "handlers")
    tools.run(["chalice", "deploy", "--stage", stage.name], tools.root)


def store_public_url(stage: Stage, tools: Tools) -> str:
    """Write where the API is into SSM, for the links in mails. One or two requests.

    Returns
    -------
    str
        PUBLIC_URL of the stage, else the URL that API Gateway has given; no slash at its end.

    Raises
    ------
    OpsError
        If Chalice has deployed no API.
    """
    url = stage.variables.get("PUBLIC_URL") or deployed_url(stage, tools)
    if not url:
        raise OpsError(f"Chalice has deployed no API of stage {stage.name}")
    url = url.rstrip("/")
    if url != read_public_url(stage, tools.client):
        tools.client("ssm").put_parameter(
            Name=stage.public_url_parameter, Value=url, Type="String", Overwrite=True
        )
    return url


def deployed_url(stage: Stage, tools: Tools) -> str | None:
    """The URL of the API that Chalice has deployed, as its record has it."""
    url: str | None = read_record(stage, tools.root).get("rest_api", {}).get("rest_api_url")
    return url


def upgrade_designs(stage: Stage, tools: Tools) -> None:
    """Bring existing databases to the design documents of the code that is deployed.

    Raises
    ------
    OpsError
        If the Lambda that does it fails.
    """
    checked, written = upgrade.upgrade(upgrade.invoker(stage.name, tools.client), tools.tell)
    tools.tell(f"    {checked} databases checked, {written} design documents written")


if __name__ == "__main__":
    sys.exit(end(lambda: main(sys.argv[1:], real_tools())))
