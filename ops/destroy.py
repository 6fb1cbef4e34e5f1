"""`python -m ops.destroy STAGE`: delete a deployment; the table only with `--table delete`."""

import sys

from botocore.exceptions import ClientError, WaiterError

from ops.lookups import account, has_stack, has_table
from ops.record import mend_record, read_record
from ops.stage import OpsError, Stage, read_stage
from ops.tools import Tools, end, is_missing, make_parser, real_tools


def main(arguments: list[str], tools: Tools) -> int:
    """Delete the deployment that the command line names; return 0. May be run again.

    Raises
    ------
    OpsError
        If a step fails; the steps after it are not run.
    """
    parser = make_parser("ops.destroy", __doc__)
    parser.add_argument(
        "--table",
        choices=["keep", "delete"],
        default="keep",
        help="whether to delete the DynamoDB table; default: keep",
    )
    given = parser.parse_args(arguments)
    stage = read_stage(given.stage, tools.root)
    tools.tell(f"{stage.prefix}: {account(tools.client)}")
    make_sure(stage, given.table == "delete", tools)
    delete_functions(stage, tools)
    delete_public_url(stage, tools)
    delete_stack(stage, tools)
    if given.table == "delete":
        delete_table(stage, tools)
    for line in kept(stage, tools):
        tools.tell(f"kept: {line}")
    return 0


def make_sure(stage: Stage, with_table: bool, tools: Tools) -> None:
    """Ask for the stage's name as a confirmation, if there is a terminal.

    Raises
    ------
    OpsError
        If something else is typed.
    """
    if tools.ask is None:
        return
    what = "everything, and the table" if with_table else "everything except the table"
    try:
        typed = tools.ask(f"this deletes {what}; type the stage's name to confirm: ")
    except EOFError:
        typed = ""
    if typed.strip() != stage.name:
        raise OpsError(f"that is not {stage.name}; nothing was deleted")


def delete_functions(stage: Stage, tools: Tools) -> None:
    """Delete what Chalice has deployed: functions, roles, mappings, the schedule, the API."""
    mend_record(stage, tools)
    if read_record(stage, tools.root):
        tools.run(["chalice", "delete", "--stage", stage.name], tools.root)
        tools.tell("deleted: the functions and the API")
    else:
        tools.tell("already deleted: the functions and the API")


def delete_public_url(stage: Stage, tools: Tools) -> None:
    """Delete the SSM parameter. One request."""
    try:
        tools.client("ssm").delete_parameter(Name=stage.public_url_parameter)
    except ClientError as exc:
        if not is_missing(exc):
            raise
        tools.tell(f"already deleted: the parameter {stage.public_url_parameter}")
    else:
        tools.tell(f"deleted: the parameter {stage.public_url_parameter}")


def delete_stack(stage: Stage, tools: Tools) -> None:
    """Delete the stack of template.yaml, and wait until it is gone.

    Raises
    ------
    OpsError
        If CloudFormation cannot delete all of it.
    """
    if not has_stack(stage, tools.client):
        tools.tell(f"already deleted: the stack {stage.prefix}")
        return
    cloudformation = tools.client("cloudformation")
    cloudformation.delete_stack(StackName=stage.prefix)
    try:
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=stage.prefix)
    except WaiterError as exc:
        raise OpsError(
            f"the stack {stage.prefix} could not be deleted; CloudFormation's console says why"
        ) from exc
    tools.tell(f"deleted: the stack {stage.prefix}, with its queues and their messages")


def delete_table(stage: Stage, tools: Tools) -> None:
    """Delete the table, with the poller's cursor and the record of sent mails."""
    if not has_table(stage, tools.client):
        tools.tell(f"already deleted: the table {stage.prefix}")
        return
    tools.client("dynamodb").delete_table(TableName=stage.prefix)
    tools.tell(f"deleted: the table {stage.prefix}")


def kept(stage: Stage, tools: Tools) -> list[str]:
    """Return what was kept, a line each, and how to delete the table."""
    lines = [
        f"the secret {stage.secret_id}, and the identity of {stage.sender} in SES",
        "CouchDB, and all databases in it",
        "the uploaded versions of the poller, in SAM's bucket",
    ]
    if has_table(stage, tools.client):
        how = f"`make destroy STAGE={stage.name} TABLE=delete` deletes it"
        lines.insert(0, f"the table {stage.prefix} (mails sent, seqs, complaints); {how}")
    return lines


if __name__ == "__main__":
    sys.exit(end(lambda: main(sys.argv[1:], real_tools())))
