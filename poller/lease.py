"""Take and keep the poller's lease, and save its cursor: one item, ``poller#{control_db}``.

The lease lets one poller run at a time. The item also says when a poller was last seen. A poller
that takes the lease reads the cursor in the same request, and only the holder can save a cursor.
Every take raises `fence` by one. So an earlier holder that stalled cannot overwrite a checkpoint
that a later one saved (checkpoint.py).
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class LeaseHeld(Exception):
    """Another poller holds the lease, so this one has nothing to do."""


class LeaseLost(Exception):
    """This poller's lease ran out and another poller took it, so this one must stop."""


@dataclass(frozen=True)
class Cursor:
    """How far a poller has read which databases changed.

    Attributes
    ----------
    db_updates_seq : str
        The changes of all databases in ``_db_updates`` up to this seq were sent. Empty at first.
    scan_after : str
        The name after which the scan continues; empty if it starts with the first name.
    is_fully_scanned : bool
        Whether every database was scanned since `db_updates_seq` was first set.
    failing : tuple of str
        The databases whose changes up to `db_updates_seq` were not all sent: they failed, or had
        more than a run sends of one owner's.
    gap : int
        How far `db_updates_seq` seemed to lie after the end of ``_db_updates`` when that restarted
        last.
    """

    db_updates_seq: str = ""
    scan_after: str = ""
    is_fully_scanned: bool = False
    failing: tuple[str, ...] = ()
    gap: int = 0


@dataclass
class Lease:
    """The lease of one poller.

    Parameters
    ----------
    key : str
        The item's key, from `poller_key`.
    lease_s : int
        For how many seconds the lease holds after it was taken or renewed.
    now_s : callable
        The time, in seconds since 1970.

    Attributes
    ----------
    caught_up_at_s : float
        When a holder had last caught up with every feed, in seconds since 1970.
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
        """Take the lease; return the cursor that the last holder saved. One request.

        Raises
        ------
        LeaseHeld
            If another poller has it, and it has not run out.
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
            taken.get("db_updates_seq", {"S": ""})["S"],
            taken.get("scan_after", {"S": ""})["S"],
            taken.get("is_fully_scanned", {"BOOL": False})["BOOL"],
            tuple(taken.get("failing", {"S": ""})["S"].split()),
            int(taken.get("gap", {"N": "0"})["N"]),
        )

    def renew(self) -> None:
        """Renew the lease. One request once a third of its time is over, none before.

        Raises
        ------
        LeaseLost
            If another poller has it.
        """
        if self.now_s() - self._renewed_at_s >= self.lease_s / 3:
            self._extend(self.lease_s)

    def release(self, *, is_caught_up: bool = False) -> None:
        """Release the lease, so that the next poller need not wait. One request.

        Parameters
        ----------
        is_caught_up : bool
            Whether this poller has caught up with every feed.
        """
        if is_caught_up:
            self.caught_up_at_s = self.now_s()
        caught_up_at_ms = str(int(self.caught_up_at_s * 1000))
        try:
            self._extend(-1, ", caught_up_at_ms = :at_ms", {":at_ms": {"N": caught_up_at_ms}})
        except LeaseLost:
            return

    def save(self, cursor: Cursor) -> None:
        """Save the cursor, and renew the lease. One request.

        Raises
        ------
        LeaseLost
            If another poller has it.
        """
        self._extend(
            self.lease_s,
            ", db_updates_seq = :db_updates_seq, scan_after = :scan_after,"
            " is_fully_scanned = :is_fully_scanned, failing = :failing, gap = :gap",
            {
                ":db_updates_seq": {"S": cursor.db_updates_seq},
                ":scan_after": {"S": cursor.scan_after},
                ":is_fully_scanned": {"BOOL": cursor.is_fully_scanned},
                ":failing": {"S": " ".join(cursor.failing)},
                ":gap": {"N": str(cursor.gap)},
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
