"""How far each database was sent: one DynamoDB item a database, ``feed#{db}``.

A seq is written only over a fence that is not higher: a poller that stalled past its lease cannot
put a feed back to where it stood. (If it could, nothing would be lost; documents would be sent
again.) Fences of different leases say nothing of each other: once POLLER_SHARDS was changed, a
database is another poller's, whose lease counts anew. So the item names the lease beside the fence.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from poller.feed import BEGINNING
from poller.lease import Lease, LeaseLost

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# What DynamoDB reads, and CouchDB tells of, in one request.
DATABASES_AT_ONCE = 100
PAUSE_S = 0.1

_NOT_OVERTAKEN = "attribute_not_exists(pk) OR lease <> :lease OR fence <= :fence"


@dataclass(frozen=True)
class Sent:
    """How far one database was sent.

    Attributes
    ----------
    seq : str
        The ``last_seq`` of its feed.
    info_seq : str
        The ``update_seq`` up to which that is all; empty if it is not known.
    """

    seq: str = BEGINNING
    info_seq: str = ""

    def is_all_up_to(self, update_seq: str) -> bool:
        """Whether a database with this ``update_seq`` has nothing that was not sent.

        CouchDB words the two kinds of seq differently, other servers alike. Where the words are the
        same, so is the place; nothing follows where they differ.
        """
        return update_seq != "" and update_seq in (self.info_seq, self.seq)


@dataclass(frozen=True)
class Checkpoint:
    """The seqs of the databases, as the holder of a lease sees them.

    Parameters
    ----------
    pause : callable
        Waits for so many seconds; ``time.sleep`` but in tests.
    """

    client: "DynamoDBClient"
    table_name: str
    lease: Lease
    pause: Callable[[float], None]

    def sent(self, dbs: Collection[str]) -> dict[str, Sent]:
        """How far these databases were sent; one that never was is not among them.

        Parameters
        ----------
        dbs : collection of str
            Up to 100. One request; more if DynamoDB leaves some for later.
        """
        keys: list[Any] = [{"pk": {"S": _key(db)}} for db in dbs]
        found: dict[str, Sent] = {}
        # DynamoDB refuses if it can read none at all, so this comes to an end.
        # Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
        while keys:
            answer = self.client.batch_get_item(
                RequestItems={self.table_name: {"Keys": keys, "ConsistentRead": True}}
            )
            for item in answer["Responses"].get(self.table_name, []):
                info_seq = item.get("info_seq", {"S": ""})["S"]
                found[item["pk"]["S"].removeprefix(_key(""))] = Sent(item["seq"]["S"], info_seq)
            keys = list(answer["UnprocessedKeys"].get(self.table_name, {"Keys": []})["Keys"])
            if keys:
                self.pause(PAUSE_S)
        return found

    def save(self, db: str, sent: Sent) -> None:
        """Remember how far a database was sent. One request.

        Raises
        ------
        LeaseLost
            If a poller that took the lease later has saved it already.
        """
        try:
            self.client.put_item(
                TableName=self.table_name,
                Item={
                    "pk": {"S": _key(db)},
                    "seq": {"S": sent.seq},
                    "info_seq": {"S": sent.info_seq},
                    "lease": {"S": self.lease.key},
                    "fence": {"N": str(self.lease.fence)},
                },
                ConditionExpression=_NOT_OVERTAKEN,
                ExpressionAttributeValues=self._ours(),
            )
        except self.client.exceptions.ConditionalCheckFailedException as exc:
            raise LeaseLost(self.lease.key) from exc

    def forget(self, db: str) -> None:
        """Remove what is known of a database that is gone. One request.

        Raises
        ------
        LeaseLost
            If a poller that took the lease later has saved it.
        """
        try:
            self.client.delete_item(
                TableName=self.table_name,
                Key={"pk": {"S": _key(db)}},
                ConditionExpression=_NOT_OVERTAKEN,
                ExpressionAttributeValues=self._ours(),
            )
        except self.client.exceptions.ConditionalCheckFailedException as exc:
            raise LeaseLost(self.lease.key) from exc

    def _ours(self) -> dict[str, Any]:
        return {":lease": {"S": self.lease.key}, ":fence": {"N": str(self.lease.fence)}}


def by_hundreds(dbs: Iterable[str]) -> Iterator[list[str]]:
    """The databases in lists that fit into one request."""
    left = iter(dbs)
    while page := list(islice(left, DATABASES_AT_ONCE)):
        yield page


def _key(db: str) -> str:
    return f"feed#{db}"
