"""A rate limiter in DynamoDB, for mails to an address and wrong codes for a device.

It stores *which* keys were allowed and when, not only how many. A retry of the same mail, or the
same code typed twice, has the same key: it is allowed again and counts once. Windows slide, so a
quota of five an hour holds for any hour.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.errors import NoEffect

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# (when, in seconds since 1970; the key)
Entry = tuple[int, str]
# An item as DynamoDB's client returns it.
Item = Any

_WRITE_ATTEMPTS = 10


@dataclass(frozen=True)
class Quota:
    """A limit of `limit` keys in any window of `window_s` seconds."""

    limit: int
    window_s: int


@dataclass(frozen=True)
class Decision:
    """The rate limiter's decision about one key.

    Attributes
    ----------
    keys : frozenset of str
        All keys in the longest window, including the requested key if it is allowed.
    retry_at_s : int or None
        None if the key is allowed. Otherwise the time when there is room again, in seconds since
        1970.
    """

    keys: frozenset[str]
    retry_at_s: int | None

    @property
    def allowed(self) -> bool:
        """Return whether the key is allowed."""
        return self.retry_at_s is None


class RateLimiterBusy(NoEffect):
    """Raised when others wrote the same bucket at every attempt; nothing was counted."""


@dataclass(frozen=True)
class RateLimiter:
    """The buckets in one DynamoDB table, one item each."""

    client: "DynamoDBClient"
    table_name: str

    def allow(
        self,
        bucket: str,
        key: str,
        quotas: Sequence[Quota],
        now_s: float,
        *,
        is_likely_first: bool = False,
    ) -> Decision:
        """Allow `key` if it was allowed before, or if every quota has room.

        Two requests, or one if there is nothing to write. More if others write the same bucket.

        Parameters
        ----------
        bucket : str
            What is limited, for example ``mails-to#<owner id>``.
        key : str
            What is counted. The same key counts once.
        is_likely_first : bool
            Whether to write without reading the bucket first. That saves a request if the bucket is
            empty, and never costs an additional one. Do not use it for buckets with many entries: a
            refused write costs as much as the item is large.

        Raises
        ------
        RateLimiterBusy
            If others wrote the bucket at every attempt.
        """
        pk = f"quota#{bucket}"
        item: Item | None = {} if is_likely_first else self._read(pk)
        for _ in range(_WRITE_ATTEMPTS):
            entries = (
                [(int(at), str(each)) for at, each in json.loads(item["entries"]["S"])]
                if item
                else []
            )
            version = int(item["version"]["N"]) if item else 0
            kept, retry_at_s = check_quotas(entries, key, quotas, int(now_s))
            is_written = retry_at_s is None and kept != entries
            item = self._write(pk, kept, version, quotas) if is_written else None
            if item is None:
                return Decision(frozenset(each for _, each in kept), retry_at_s)
        raise RateLimiterBusy(pk)

    def _read(self, pk: str) -> Item:
        answer = self.client.get_item(
            TableName=self.table_name, Key={"pk": {"S": pk}}, ConsistentRead=True
        )
        return answer.get("Item", {})

    def _write(
        self, pk: str, entries: list[Entry], version: int, quotas: Sequence[Quota]
    ) -> Item | None:
        """Write the bucket over that version; return the stored item if it has another version."""
        longest_s = max(quota.window_s for quota in quotas)
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


def check_quotas(
    entries: Sequence[Entry], key: str, quotas: Sequence[Quota], now_s: int
) -> tuple[list[Entry], int | None]:
    """Apply the quotas to the entries of a bucket, without I/O.

    Returns
    -------
    (entries, retry_at_s)
        The entries that still count, with a new one for the key if it is allowed. And None if the
        key is allowed, otherwise the time when there is room again.
    """
    longest_s = max(quota.window_s for quota in quotas)
    kept = [(at, each) for at, each in entries if at > now_s - longest_s]
    if any(each == key for _, each in kept):
        return kept, None
    waits = [wait for quota in quotas if (wait := _room_at(kept, quota, now_s)) > now_s]
    if waits:
        return kept, max(waits)
    return [*kept, (now_s, key)], None


def _room_at(entries: Sequence[Entry], quota: Quota, now_s: int) -> int:
    """Return when the window has room for one more entry: now, or when old entries leave it."""
    inside = sorted(at for at, _ in entries if at > now_s - quota.window_s)
    if len(inside) < quota.limit:
        return now_s
    return quota.window_s + (inside[-quota.limit] if quota.limit else now_s)
