"""`python -m ops.upgrade STAGE`: bring existing databases to the deployed design documents."""

import json
import sys
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

JsonDict = dict[str, Any]


class UpgradeFailed(Exception):
    """The Lambda failed; the message says how."""


def main(stage: str) -> int:
    """Run the stage's own Lambda until it has seen every database; return the exit code."""
    try:
        checked, written = upgrade(lambda event: _invoke(stage, event), print)
    except (UpgradeFailed, BotoCoreError, ClientError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    print(f"done: {checked} databases checked, {written} design documents written")
    return 0


def upgrade(invoke: Callable[[JsonDict], JsonDict], tell: Callable[[str], None]) -> tuple[int, int]:
    """Call the Lambda again and again, each time where the last one ended.

    Parameters
    ----------
    invoke : callable
        Given an event, returns the Lambda's answer; see `chalicelib.upgrade.upgrade`.

    Returns
    -------
    (checked, written)
        How many databases, and how many design documents.
    """
    checked = written = 0
    after = None
    while True:
        answer = invoke({"after": after})
        checked, written = checked + answer["checked"], written + answer["written"]
        after = answer["after"]
        if after is None:
            return checked, written
        tell(f"{checked} databases checked, {written} written; goes on after {after}")


def _invoke(stage: str, event: JsonDict) -> JsonDict:
    import boto3

    answer = boto3.client("lambda").invoke(
        FunctionName=f"syncpoint-{stage}-upgrade_designs", Payload=json.dumps(event)
    )
    result: JsonDict = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise UpgradeFailed(f"{result.get('errorType')}: {result.get('errorMessage')}")
    return result


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m ops.upgrade STAGE")
    sys.exit(main(sys.argv[1]))
