"""Counters in DynamoDB, each for an hour of the clock: how many mails went out, and where to.

A counter is a number, not a list of keys as in the rate limiter: it has to count all mails of the
installation. It is one item, so DynamoDB takes 1,000 increments a second of it, which is 3.6
million an hour. It is close to the truth, not exact: a worker that is killed may leave out its own
mail, and a request that boto3 repeats may count twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.aws.rate_limiter import Item, bucket_pk

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

HOUR_S = 3600


@dataclass(frozen=True)
class HourCounters:
    """The counters in one DynamoDB table."""

    client: "DynamoDBClient"
    table_name: str

    def read(
        self, names: Sequence[str], now_s: float, bucket: str = ""
    ) -> tuple[list[int], Item | None]:
        """Return the counters of the current hour, and a bucket of the rate limiter. One request.

        Parameters
        ----------
        bucket : str
            The bucket that is read beside the counters; empty: none.

        Returns
        -------
        (counts, item)
            The counters in the order of `names`, and the bucket's item, None if there is none.
        """
        pks = [_pk(name, now_s) for name in names]
        keys = [*pks, bucket_pk(bucket)] if bucket else pks
        answer = self.client.batch_get_item(
            RequestItems={self.table_name: {"Keys": [{"pk": {"S": pk}} for pk in keys]}}
        )
        items: dict[str, Item] = {
            item["pk"]["S"]: item for item in answer["Responses"].get(self.table_name, [])
        }
        counts = [int(items[pk]["count"]["N"]) if pk in items else 0 for pk in pks]
        return counts, items.get(bucket_pk(bucket))

    def increment(self, names: Sequence[str], now_s: float) -> None:
        """Add one to each counter of the current hour. One request for each."""
        expires_at = (int(now_s) // HOUR_S + 2) * HOUR_S
        for name in names:
            self.client.update_item(
                TableName=self.table_name,
                Key={"pk": {"S": _pk(name, now_s)}},
                UpdateExpression="SET expires_at = :expires_at ADD #count :one",
                ExpressionAttributeNames={"#count": "count"},
                ExpressionAttributeValues={
                    ":expires_at": {"N": str(expires_at)},
                    ":one": {"N": "1"},
                },
            )


def _pk(name: str, now_s: float) -> str:
    return f"hour#{int(now_s) // HOUR_S}#{name}"
