"""What may happen only so often: mails to an address, wrong codes for a device. Kept in DynamoDB.

A ledger remembers *who* was admitted when, not just how many were: a retry of the same mail, or the
same code typed twice, is admitted again and counts once. The windows slide, so «five an hour» holds
for any hour.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.errors import NoEffect

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# (when, in seconds since 1970; who)
Entry = tuple[int, str]
# As DynamoDB's client gives it.
Item = Any

_WRITE_ATTEMPTS = 10


@dataclass(frozen=True)
class Limit:
    """At most so many in any window of so many seconds."""

    most: int
    window_s: int


@dataclass(frozen=True)
class Admission:
    """The ledger's answer.

    Attributes
    ----------
    members : frozenset of str
        All whom the longest window holds, the asker included if admitted.
    retry_at_s : int or None
        None if admitted; else when there will be room again, in seconds since 1970.
    """

    members: frozenset[str]
    retry_at_s: int | None

    @property
    def admitted(self) -> bool:
        """Whether the asker is in."""
        return self.retry_at_s is None


class LedgerBusy(NoEffect):
    """Too many wrote the same ledger at once; nothing was counted."""


@dataclass(frozen=True)
class Ledger:
    """The ledgers in one table."""

    client: "DynamoDBClient"
    table_name: str

    def admit(
        self,
        key: str,
        member: str,
        limits: Sequence[Limit],
        now_s: float,
        *,
        is_likely_first: bool = False,
    ) -> Admission:
        """Admit `member` if it was admitted before, or if every limit has room.

        Two requests, or one if nothing is to be written; more if others write the same ledger.

        Parameters
        ----------
        key : str
            What is limited; ``mails-to#<owner>``, say.
        is_likely_first : bool
            Whether to write before anything is read: one request, if nobody was admitted yet, and
            never one more. Not for ledgers that grow long: a write that is refused costs as much
            as the item is large.

        Raises
        ------
        LedgerBusy
            If others wrote it each time.
        """
        pk = f"ledger#{key}"
        item: Item | None = {} if is_likely_first else self._read(pk)
        for _ in range(_WRITE_ATTEMPTS):
            entries = (
                [(int(at), str(who)) for at, who in json.loads(item["entries"]["S"])]
                if item
                else []
            )
            version = int(item["version"]["N"]) if item else 0
            kept, retry_at_s = admit(entries, member, limits, int(now_s))
            is_written = retry_at_s is None and kept != entries
            item = self._write(pk, kept, version, limits) if is_written else None
            if item is None:
                return Admission(frozenset(who for _, who in kept), retry_at_s)
        raise LedgerBusy(pk)

    def _read(self, pk: str) -> Item:
        answer = self.client.get_item(
            TableName=self.table_name, Key={"pk": {"S": pk}}, ConsistentRead=True
        )
        return answer.get("Item", {})

    def _write(
        self, pk: str, entries: list[Entry], version: int, limits: Sequence[Limit]
    ) -> Item | None:
        """Write the ledger over that version; returns what stands there, if it is another."""
        longest_s = max(limit.window_s for limit in limits)
        try:
            self.client.put_item(
                TableName=self.table_name,
                Item={
                    "pk": {"S": pk},
                    "entries": {"S": json.dumps(entries)},
                    "version": {"N": str(version + 1)},
                    "expires_at": {"N": str(max(at for at, _ in entries) + longest_s)},
                },
                ConditionExpression="attribute_not_exists(pk) OR version = :version",
                ExpressionAttributeValues={":version": {"N": str(version)}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self.client.exceptions.ConditionalCheckFailedException as exc:
            return exc.response.get("Item", {})
        return None


def admit(
    entries: Sequence[Entry], member: str, limits: Sequence[Limit], now_s: int
) -> tuple[list[Entry], int | None]:
    """The rule, without I/O.

    Returns
    -------
    (entries, retry_at_s)
        The entries that still count, the member's own among them if it is admitted; and when there
        will be room, None if it is admitted.
    """
    longest_s = max(limit.window_s for limit in limits)
    kept = [(at, who) for at, who in entries if at > now_s - longest_s]
    if any(who == member for _, who in kept):
        return kept, None
    waits = [wait for limit in limits if (wait := _room_at(kept, limit, now_s)) > now_s]
    if waits:
        return kept, max(waits)
    return [*kept, (now_s, member)], None


def _room_at(entries: Sequence[Entry], limit: Limit, now_s: int) -> int:
    """When the window has room for one more: now, or when enough of its entries have left it."""
    inside = sorted(at for at, _ in entries if at > now_s - limit.window_s)
    if len(inside) < limit.most:
        return now_s
    return limit.window_s + (inside[-limit.most] if limit.most else now_s)
