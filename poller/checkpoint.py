"""Store a checkpoint per database: one DynamoDB item each, ``feed#{db}``.

A checkpoint is the seq up to which all changes of a database were sent. It is written only if its
item does not have a higher fence. So a poller that stalled past its lease cannot set a feed back.
(If it could, nothing would be lost: documents would be sent again.)

Fences of different leases cannot be compared. After POLLER_SHARDS was changed, another poller with
another lease reads the database. So the item has the lease's key beside the fence.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from poller.feed import BEGINNING
from poller.lease import Lease, LeaseLost

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# DynamoDB's limit for BatchGetItem, and CouchDB's for _dbs_info.
MAX_DATABASES = 100
PAUSE_S = 0.1


@dataclass(frozen=True)
class Checkpoint:
    """How far one database was sent.

    Attributes
    ----------
    seq : str
        The ``last_seq`` of its ``_changes`` feed.
    update_seq : str
        The database's ``update_seq`` when its feed was read to the end; empty if it is not known.
    gap : int
        See `Feed`.
    """

    seq: str = BEGINNING
    update_seq: str = ""
    gap: int = 0

    def covers(self, update_seq: str) -> bool:
        """Return whether a database with this ``update_seq`` has no changes that were not sent.

        CouchDB writes the two kinds of seq differently, and other servers write them alike. Equal
        texts mean the same position. Different texts mean nothing.
        """
        return update_seq != "" and update_seq in (self.update_seq, self.seq)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of all databases, as the holder of a lease reads and writes them.

    Parameters
    ----------
    pause : callable
        Waits for a number of seconds; ``time.sleep`` except in tests.
    """

    client: "DynamoDBClient"
    table_name: str
    lease: Lease
    pause: Callable[[float], None]

    def read(self, dbs: Collection[str]) -> dict[str, Checkpoint]:
        """Read the checkpoints of up to 100 databases; one that was never saved is left out.

        One request; more if DynamoDB returns unprocessed keys.
        """
        keys: list[Any] = [{"pk": {"S": checkpoint_key(db)}} for db in dbs]
        found: dict[str, Checkpoint] = {}
        # DynamoDB raises an error if it can read no key at all, so this loop ends.
        # Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
        while keys:
            answer = self.client.batch_get_item(
                RequestItems={self.table_name: {"Keys": keys, "ConsistentRead": True}}
            )
            for item in answer["Responses"].get(self.table_name, []):
                update_seq = item.get("update_seq", {"S": ""})["S"]
                db = item["pk"]["S"].removeprefix(checkpoint_key(""))
                gap = int(item.get("gap", {"N": "0"})["N"])
                found[db] = Checkpoint(item["seq"]["S"], update_seq, gap)
            keys = list(answer["UnprocessedKeys"].get(self.table_name, {"Keys": []})["Keys"])
            if keys:
                self.pause(PAUSE_S)
        return found

    def save(self, db: str, checkpoint: Checkpoint) -> None:
        """Save the checkpoint of a database. One request.

        Raises
        ------
        LeaseLost
            If a poller that took the lease later has saved it already.
        """
        item = {
            "pk": {"S": checkpoint_key(db)},
            "seq": {"S": checkpoint.seq},
            "update_seq": {"S": checkpoint.update_seq},
            "gap": {"N": str(checkpoint.gap)},
            "lease": {"S": self.lease.key},
            "fence": {"N": str(self.lease.fence)},
        }
        self._write(self.client.put_item, Item=item)

    def delete(self, db: str) -> None:
        """Delete the checkpoint of a database that no longer exists. One request.

        Raises
        ------
        LeaseLost
            If a poller that took the lease later has saved it.
        """
        self._write(self.client.delete_item, Key={"pk": {"S": checkpoint_key(db)}})

    def _write(self, request: Callable[..., Any], **arguments: Any) -> None:
        try:
            request(
                TableName=self.table_name,
                ConditionExpression="attribute_not_exists(pk) OR lease <> :lease"
                " OR fence <= :fence",
                ExpressionAttributeValues={
                    ":lease": {"S": self.lease.key},
                    ":fence": {"N": str(self.lease.fence)},
                },
                **arguments,
            )
        except self.client.exceptions.ConditionalCheckFailedException as exc:
            raise LeaseLost(self.lease.key) from exc


def batched(dbs: Iterable[str]) -> Iterator[list[str]]:
    """Yield the databases in lists that fit into one request."""
    remaining = iter(dbs)
    while batch := list(islice(remaining, MAX_DATABASES)):
        yield batch


def checkpoint_key(db: str) -> str:
    """Return the key of the item with a database's checkpoint."""
    return f"feed#{db}"
