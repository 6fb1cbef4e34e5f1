"""A rate limiter in DynamoDB, for mails to an address and wrong codes for a device.

It stores *which* keys were allowed and when, not only how many. A retry of the same mail, or the
same code typed twice, has the same key: it is allowed again and counts once. Windows slide, so a
quota of five an hour holds for any hour.

Keys are stored as hashes, and a quota has an upper bound. So an item stays below DynamoDB's 400 KB,
whatever the settings are and however long the ids in the keys.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.errors import NoEffect
from chalicelib.settings import MAX_QUOTA

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# (when, in seconds since 1970; the hash of the key)
Entry = tuple[int, str]
# An item as DynamoDB's client returns it.
Item = Any

_WRITE_ATTEMPTS = 10


@dataclass(frozen=True)
class Quota:
    """A limit of `limit` keys, at most `MAX_QUOTA`, in any window of `window_s` seconds."""

    limit: int
    window_s: int

    def __post_init__(self) -> None:
        if self.limit > MAX_QUOTA:
            raise ValueError(f"a quota is {MAX_QUOTA} at most: its keys are stored in one item")


@dataclass(frozen=True)
class Decision:
    """The rate limiter's decision about one key.

    Attributes
    ----------
    keys : frozenset of str
        The hashes of all keys in the longest window, including the requested key if it is allowed.
    retry_at_s : int or None
        None if the key is allowed. Otherwise the time when there is room again, in seconds since
        1970.
    is_new : bool
        Whether the key is allowed now and was not in the window before.
    """

    keys: frozenset[str]
    retry_at_s: int | None
    is_new: bool = False

    @property
    def allowed(self) -> bool:
        """Return whether the key is allowed."""
        return self.retry_at_s is None

    def count_others(self, keys: Iterable[str]) -> int:
        """Count the keys in the longest window that are none of `keys`."""
        return len(self.keys.difference(map(key_hash, keys)))


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
        is_moved: bool = False,
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
        is_moved : bool
            Whether a key that was allowed before is moved to the current time, if every quota has
            room for it there. Set it if each request may have the effect that is limited.

        Raises
        ------
        RateLimiterBusy
            If others wrote the bucket at every attempt.
        """
        pk, key = bucket_pk(bucket), key_hash(key)
        item: Item | None = {} if is_likely_first else self._read(pk)
        for _ in range(_WRITE_ATTEMPTS):
            entries = _entries(item)
            version = int(item["version"]["N"]) if item else 0
            kept, retry_at_s = check_quotas(entries, key, quotas, int(now_s), is_moved=is_moved)
            is_written = retry_at_s is None and kept != entries
            item = self._write(pk, kept, version, quotas) if is_written else None
            if item is None:
                is_new = retry_at_s is None and key not in {each for _, each in entries}
                return Decision(frozenset(each for _, each in kept), retry_at_s, is_new)
        raise RateLimiterBusy(pk)

    def retry_at_s(
        self, bucket: str, key: str, quotas: Sequence[Quota], now_s: float
    ) -> int | None:
        """Return what `allow` would decide, and count nothing. One request."""
        return room_at_s(self._read(bucket_pk(bucket)), key, quotas, now_s)

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
                    "entries": {"S": json.dumps(entries, separators=(",", ":"))},
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


def bucket_pk(bucket: str) -> str:
    """Return the key of a bucket's item."""
    return f"quota#{bucket}"


def room_at_s(item: Item | None, key: str, quotas: Sequence[Quota], now_s: float) -> int | None:
    """Return what `RateLimiter.allow` would decide by a bucket's item, without I/O."""
    return check_quotas(_entries(item), key_hash(key), quotas, int(now_s), is_moved=True)[1]


def key_hash(key: str) -> str:
    """Return the text by which a key is stored: 32 hex digits, however long the key is."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def check_quotas(
    entries: Sequence[Entry],
    key: str,
    quotas: Sequence[Quota],
    now_s: int,
    *,
    is_moved: bool = False,
) -> tuple[list[Entry], int | None]:
    """Apply the quotas to the entries of a bucket, without I/O; `is_moved` as in `allow`.

    Returns
    -------
    (entries, retry_at_s)
        The entries that still count, with a new one for the key if it is allowed. And None if the
        key is allowed, otherwise the time when there is room again.
    """
    longest_s = max(quota.window_s for quota in quotas)
    kept = [(at, each) for at, each in entries if at > now_s - longest_s]
    others = [(at, each) for at, each in kept if each != key]
    if len(others) < len(kept) and not is_moved:
        return kept, None
    waits = [wait for quota in quotas if (wait := _room_at(others, quota, now_s)) > now_s]
    if waits:
        return kept, max(waits)
    return [*others, (now_s, key)], None


def _entries(item: Item | None) -> list[Entry]:
    if not item:
        return []
    return [(int(at), str(each)) for at, each in json.loads(item["entries"]["S"])]


def _room_at(entries: Sequence[Entry], quota: Quota, now_s: int) -> int:
    """Return when the window has room for one more entry: now, or when old entries leave it."""
    inside = sorted(at for at, _ in entries if at > now_s - quota.window_s)
    if len(inside) < quota.limit:
        return now_s
    return quota.window_s + (inside[-quota.limit] if quota.limit else now_s)
