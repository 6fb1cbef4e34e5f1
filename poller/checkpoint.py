"""The poller's place in the feed and its lease, in DynamoDB.

Two items. ``poller#{control_db}`` is the lease: one poller at a time, and when it was last seen.
``feed#{db}`` is the seq of one feed. Every take of the lease raises `fence` by one, and a seq is
written only over a fence that is not higher: a poller that stalled past its lease cannot put the
feed back to where it stood. (If it could, nothing would be lost; documents would be sent again.)
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chalicelib.settings import poller_key
from poller.feed import BEGINNING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class LeaseHeld(Exception):
    """Another poller is at work; this one has nothing to do."""


class LeaseLost(Exception):
    """This poller's lease ran out and another took over; it must stop."""


@dataclass
class Checkpoint:
    """The lease and the seqs, as one poller sees them.

    Parameters
    ----------
    lease_s : int
        How long after its last sign of life a poller keeps others out.
    now_s : callable
        The time, in seconds since 1970.
    """

    client: "DynamoDBClient"
    table_name: str
    control_db: str
    lease_s: int
    now_s: Callable[[], float]
    _owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    _fence: int = 0
    _renewed_at_s: float = 0.0

    def take(self) -> None:
        """Take the lease. One request.

        Raises
        ------
        LeaseHeld
            If another poller has it and it still runs.
        """
        now_ms = int(self.now_s() * 1000)
        try:
            taken = self.client.update_item(
                TableName=self.table_name,
                Key={"pk": {"S": poller_key(self.control_db)}},
                ConditionExpression="attribute_not_exists(pk) OR lease_until_ms < :now_ms",
                UpdateExpression="SET #owner = :owner, lease_until_ms = :until_ms,"
                " seen_at_ms = :now_ms ADD fence :one",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={
                    ":now_ms": {"N": str(now_ms)},
                    ":owner": {"S": self._owner},
                    ":until_ms": {"N": str(now_ms + self.lease_s * 1000)},
                    ":one": {"N": "1"},
                },
                ReturnValues="ALL_NEW",
            )
        except self.client.exceptions.ConditionalCheckFailedException as exc:
            raise LeaseHeld(self.control_db) from exc
        self._fence = int(taken["Attributes"]["fence"]["N"])
        self._renewed_at_s = now_ms / 1000

    def renew(self) -> None:
        """Keep the lease. One request once a third of it is over, none before.

        Raises
        ------
        LeaseLost
            If another poller has it.
        """
        if self.now_s() - self._renewed_at_s >= self.lease_s / 3:
            self._extend(self.lease_s)

    def release(self) -> None:
        """Give the lease back, so that the next poller need not wait. One request."""
        try:
            self._extend(-1)
        except LeaseLost:
            return

    def seq(self, db: str) -> str:
        """Where this feed was left, `BEGINNING` if nowhere. One request."""
        item = self.client.get_item(
            TableName=self.table_name, Key={"pk": {"S": f"feed#{db}"}}, ConsistentRead=True
        ).get("Item")
        return item["seq"]["S"] if item else BEGINNING

    def save_seq(self, db: str, seq: str) -> None:
        """Remember how far the feed was sent. One request.

        Raises
        ------
        LeaseLost
            If a poller that took the lease later has saved one already.
        """
        try:
            self.client.put_item(
                TableName=self.table_name,
                Item={
                    "pk": {"S": f"feed#{db}"},
                    "seq": {"S": seq},
                    "fence": {"N": str(self._fence)},
                },
                ConditionExpression="attribute_not_exists(pk) OR fence <= :fence",
                ExpressionAttributeValues={":fence": {"N": str(self._fence)}},
            )
        except self.client.exceptions.ConditionalCheckFailedException as exc:
            raise LeaseLost(self.control_db) from exc

    def _extend(self, by_s: int) -> None:
        now_ms = int(self.now_s() * 1000)
        try:
            self.client.update_item(
                TableName=self.table_name,
                Key={"pk": {"S": poller_key(self.control_db)}},
                ConditionExpression="#owner = :owner",
                UpdateExpression="SET lease_until_ms = :until_ms, seen_at_ms = :now_ms",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={
                    ":owner": {"S": self._owner},
                    ":until_ms": {"N": str(now_ms + by_s * 1000)},
                    ":now_ms": {"N": str(now_ms)},
                },
            )
        except self.client.exceptions.ConditionalCheckFailedException as exc:
            raise LeaseLost(self.control_db) from exc
        self._renewed_at_s = now_ms / 1000
