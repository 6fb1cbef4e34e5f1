"""The poller's lease and cursor: one DynamoDB item, ``poller#{control_db}``.

One poller at a time; when it was last seen; how far it came with all databases. Whoever takes the
lease reads the cursor with it, and nobody else can move it. Every take raises `fence` by one: a seq
that was saved by a later holder is not put back by an earlier one that stalled (checkpoint.py).
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class LeaseHeld(Exception):
    """Another poller is at work; this one has nothing to do."""


class LeaseLost(Exception):
    """This poller's lease ran out and another took over; it must stop."""


@dataclass(frozen=True)
class Cursor:
    """How far a poller came with the databases as a whole.

    Attributes
    ----------
    updates_seq : str
        All that ``_db_updates`` told up to here was followed; empty before the first time.
    scan_after : str
        The name after which the scan goes on; empty at the beginning of a round.
    is_whole : bool
        Whether every database was looked at since `updates_seq` was first set.
    failing : tuple of str
        The databases that failed, and so were not followed up to `updates_seq`.
    """

    updates_seq: str = ""
    scan_after: str = ""
    is_whole: bool = False
    failing: tuple[str, ...] = ()


@dataclass
class Lease:
    """The lease as one poller sees it.

    Parameters
    ----------
    key : str
        The item's, from `poller_key`.
    lease_s : int
        How long after its last sign of life a poller keeps others out.
    now_s : callable
        The time, in seconds since 1970.

    Attributes
    ----------
    caught_up_at_s : float
        When a holder last left every database at the end of its feed, in seconds since 1970.
    """

    client: "DynamoDBClient"
    table_name: str
    key: str
    lease_s: int
    now_s: Callable[[], float]
    fence: int = 0
    caught_up_at_s: float = 0.0
    _holder: str = field(default_factory=lambda: uuid.uuid4().hex)
    _renewed_at_s: float = 0.0

    def take(self) -> Cursor:
        """Take the lease; return the cursor where the last holder stopped. One request.

        Raises
        ------
        LeaseHeld
            If another poller has it and it still runs.
        """
        now_ms = int(self.now_s() * 1000)
        try:
            taken = self.client.update_item(
                TableName=self.table_name,
                Key={"pk": {"S": self.key}},
                ConditionExpression="attribute_not_exists(pk) OR lease_until_ms < :now_ms",
                UpdateExpression="SET #holder = :holder, lease_until_ms = :until_ms,"
                " seen_at_ms = :now_ms ADD fence :one",
                ExpressionAttributeNames={"#holder": "holder"},
                ExpressionAttributeValues={
                    ":now_ms": {"N": str(now_ms)},
                    ":holder": {"S": self._holder},
                    ":until_ms": {"N": str(now_ms + self.lease_s * 1000)},
                    ":one": {"N": "1"},
                },
                ReturnValues="ALL_NEW",
            )["Attributes"]
        except self.client.exceptions.ConditionalCheckFailedException as exc:
            raise LeaseHeld(self.key) from exc
        self.fence = int(taken["fence"]["N"])
        self._renewed_at_s = now_ms / 1000
        self.caught_up_at_s = int(taken.get("caught_up_at_ms", {"N": str(now_ms)})["N"]) / 1000
        return Cursor(
            taken.get("updates_seq", {"S": ""})["S"],
            taken.get("scan_after", {"S": ""})["S"],
            taken.get("is_whole", {"BOOL": False})["BOOL"],
            tuple(taken.get("failing", {"S": ""})["S"].split()),
        )

    def renew(self) -> None:
        """Keep the lease. One request once a third of it is over, none before.

        Raises
        ------
        LeaseLost
            If another poller has it.
        """
        if self.now_s() - self._renewed_at_s >= self.lease_s / 3:
            self._extend(self.lease_s)

    def release(self, *, is_caught_up: bool = False) -> None:
        """Give the lease back, so that the next poller need not wait. One request.

        Parameters
        ----------
        is_caught_up : bool
            Whether every database is at the end of its feed.
        """
        if is_caught_up:
            self.caught_up_at_s = self.now_s()
        caught_up_at_ms = str(int(self.caught_up_at_s * 1000))
        try:
            self._extend(-1, ", caught_up_at_ms = :at_ms", {":at_ms": {"N": caught_up_at_ms}})
        except LeaseLost:
            return

    def save(self, cursor: Cursor) -> None:
        """Save the cursor, and keep the lease. One request.

        Raises
        ------
        LeaseLost
            If another poller has it.
        """
        self._extend(
            self.lease_s,
            ", updates_seq = :updates_seq, scan_after = :scan_after, is_whole = :is_whole,"
            " failing = :failing",
            {
                ":updates_seq": {"S": cursor.updates_seq},
                ":scan_after": {"S": cursor.scan_after},
                ":is_whole": {"BOOL": cursor.is_whole},
                ":failing": {"S": " ".join(cursor.failing)},
            },
        )

    def _extend(
        self, by_s: int, also: str = "", also_values: dict[str, dict[str, Any]] | None = None
    ) -> None:
        now_ms = int(self.now_s() * 1000)
        try:
            self.client.update_item(
                TableName=self.table_name,
                Key={"pk": {"S": self.key}},
                ConditionExpression="#holder = :holder",
                UpdateExpression="SET lease_until_ms = :until_ms, seen_at_ms = :now_ms" + also,
                ExpressionAttributeNames={"#holder": "holder"},
                ExpressionAttributeValues={
                    ":holder": {"S": self._holder},
                    ":until_ms": {"N": str(now_ms + by_s * 1000)},
                    ":now_ms": {"N": str(now_ms)},
                    **(also_values or {}),
                },
            )
        except self.client.exceptions.ConditionalCheckFailedException as exc:
            raise LeaseLost(self.key) from exc
        self._renewed_at_s = now_ms / 1000
