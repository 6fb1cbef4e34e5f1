"""`python -m ops.upgrade STAGE`: upgrade the design documents of existing databases."""

import json
import sys
from collections.abc import Callable

from chalicelib.domain.documents import JsonDict
from ops.stage import OpsError, lambda_name, read_stage
from ops.tools import Client, Tools, end, make_parser, real_tools


class UpgradeFailed(OpsError):
    """The Lambda failed; the message has its error."""


def main(arguments: list[str], tools: Tools) -> int:
    """Run the stage's Lambda until it has checked every database; return 0.

    Raises
    ------
    OpsError
        If there is no such stage, or its Lambda fails.
    """
    given = make_parser("ops.upgrade", __doc__).parse_args(arguments)
    stage = read_stage(given.stage, tools.root)
    checked, written = upgrade(invoker(stage.name, tools.client), tools.tell)
    tools.tell(f"done: {checked} databases checked, {written} design documents written")
    return 0


def upgrade(invoke: Callable[[JsonDict], JsonDict], tell: Callable[[str], None]) -> tuple[int, int]:
    """Call the Lambda repeatedly; each call continues where the last one ended.

    Parameters
    ----------
    invoke : callable
        Sends an event to the Lambda and returns its answer; see `chalicelib.jobs.upgrade.upgrade`.

    Returns
    -------
    (checked, written)
        The numbers of databases and of design documents.
    """
    checked = written = 0
    after = None
    while True:
        answer = invoke({"after": after})
        checked, written = checked + answer["checked"], written + answer["written"]
        after = answer["after"]
        if after is None:
            return checked, written
        tell(f"{checked} databases checked, {written} written; continuing after {after}")


def invoker(stage: str, client: Client) -> Callable[[JsonDict], JsonDict]:
    """Return a function that calls the stage's Lambda; it raises `UpgradeFailed` on an error."""

    def invoke(event: JsonDict) -> JsonDict:
        answer = client("lambda").invoke(
            FunctionName=lambda_name(stage, "upgrade_designs"), Payload=json.dumps(event)
        )
        result: JsonDict = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            kind, text = result.get("errorType"), result.get("errorMessage")
            raise UpgradeFailed(f"the upgrade of design documents failed: {kind}: {text}")
        return result

    return invoke


if __name__ == "__main__":
    sys.exit(end(lambda: main(sys.argv[1:], real_tools())))
