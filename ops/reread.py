"""`python -m ops.reread STAGE`: let the poller read all databases again, from their beginnings.

After CouchDB was restored from a backup, the poller's cursor and the kept seqs may lie after the
ends of the restored feeds. Changes up to there would be skipped. This deletes both from the table.
The next run of the poller reads everything again. That does no harm: a transition runs only on a
document that is still in its state.
"""

import sys
from typing import Any

from chalicelib.settings import poller_key
from ops.stage import read_stage
from ops.tools import Tools, end, make_parser, real_tools
from poller.checkpoint import checkpoint_key

# DynamoDB's limit for BatchWriteItem.
_BATCH = 25


def main(arguments: list[str], tools: Tools) -> int:
    """Delete the cursors first, because a poller without its cursor ends; then the seqs. Return 0.

    Raises
    ------
    OpsError
        If there is no such stage.
    """
    given = make_parser("ops.reread", __doc__).parse_args(arguments)
    stage = read_stage(given.stage, tools.root)
    client = tools.client("dynamodb")
    cursors = _delete_all(client, stage.prefix, poller_key(""))
    seqs = _delete_all(client, stage.prefix, checkpoint_key(""))
    tools.tell(
        f"deleted the cursors of {cursors} pollers and the seqs of {seqs} databases; the next run "
        "of the poller reads all databases from their beginnings"
    )
    return 0


def _delete_all(client: Any, table: str, prefix: str) -> int:
    """Delete the items whose keys have a prefix; return how many they were."""
    count = 0
    pages = client.get_paginator("scan").paginate(
        TableName=table,
        ProjectionExpression="pk",
        FilterExpression="begins_with(pk, :prefix)",
        ExpressionAttributeValues={":prefix": {"S": prefix}},
    )
    for page in pages:
        keys = page["Items"]
        count += len(keys)
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            requests: Any = {table: [{"DeleteRequest": {"Key": key}} for key in batch]}
            # DynamoDB raises an error if it can delete no item at all, so this loop ends.
            while requests:
                requests = client.batch_write_item(RequestItems=requests)["UnprocessedItems"]
    return count


if __name__ == "__main__":
    sys.exit(end(lambda: main(sys.argv[1:], real_tools())))
