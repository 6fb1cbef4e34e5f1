"""Unsafe mode: a claim on one step, held in DynamoDB, so that racing workers run it once.

One item per step, ``pk = claim#{db}#{id}#{state}#{generation}``, and its life:

    (none) ── take ──> running ── finish ──> done, with the changes to save
      ^                  │  │
      └──── release ─────┘  └── lease over ── take by another worker ──> running (attempt + 1)

Every write is conditional. A worker's own run is known by `holder`, a new id at each take, so a
worker that was overtaken after its lease can neither finish nor release what is another's now:

    A: take ........ (stalls, lease over) ................ finish → refused
    B:                                     take, run, finish

The `token` stays over retries: what a transition derives from it (the mail's Message-ID) is the
same in each attempt. So a later attempt that is released is no item less, but one without a lease.
"""

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.errors import NoEffect

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Longer than SQS keeps a message (14 days): as long as one may be replayed, its claim is known.
CLAIM_TTL_S = 15 * 24 * 3600


@dataclass(frozen=True)
class Claim:
    """A step that this worker holds.

    Attributes
    ----------
    attempt : int
        1 for the first run of the step, more after a crash or an error of unknown effect.
    token : str
        Random, and the same in every attempt at the step.
    """

    pk: str
    holder: str
    attempt: int
    token: str


@dataclass(frozen=True)
class Done:
    """The step was run to its end before; `changes` may not have reached the document yet."""

    changes: dict[str, Any]


class RunningElsewhere(NoEffect):
    """Another worker holds the step; come back when its lease ends, in `retry_after_s` seconds."""

    def __init__(self, pk: str, retry_after_s: int) -> None:
        super().__init__(f"{pk} is running elsewhere")
        self.retry_after_s = retry_after_s


class Overtaken(Exception):
    """This worker's lease ran out and another took the step over: the claim is no longer ours."""


@dataclass
class Claims:
    """The claims in one table.

    Parameters
    ----------
    client : DynamoDBClient
    table_name : str
    lease_s : int
        How long a worker may run before another may take its step; longer than the handler's own
        time-out, so that no two live workers hold one step.
    """

    client: "DynamoDBClient"
    table_name: str
    lease_s: int

    def take(self, pk: str, now_s: float) -> Claim | Done:
        """Take the step, or learn that it is done. One request.

        Parameters
        ----------
        now_s : float
            The time, in seconds since 1970.

        Raises
        ------
        RunningElsewhere
            If another worker holds it and its lease still runs.
        """
        holder = uuid.uuid4().hex
        try:
            taken = self.client.update_item(
                TableName=self.table_name,
                Key={"pk": {"S": pk}},
                ConditionExpression="attribute_not_exists(pk)"
                " OR (#status = :running AND lease_until_ms < :now_ms)",
                UpdateExpression="SET #status = :running, #holder = :holder,"
                " lease_until_ms = :lease_until_ms, expires_at = :expires_at,"
                " #token = if_not_exists(#token, :token) ADD attempt :one",
                ExpressionAttributeNames={
                    "#status": "status",
                    "#holder": "holder",
                    "#token": "token",
                },
                ExpressionAttributeValues={
                    ":running": {"S": "running"},
                    ":now_ms": {"N": str(int(now_s * 1000))},
                    ":holder": {"S": holder},
                    ":lease_until_ms": {"N": str(int((now_s + self.lease_s) * 1000))},
                    ":expires_at": {"N": str(int(now_s) + CLAIM_TTL_S)},
                    ":token": {"S": uuid.uuid4().hex},
                    ":one": {"N": "1"},
                },
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self.client.exceptions.ConditionalCheckFailedException as exc:
            return self._refused(pk, exc.response.get("Item", {}), now_s)
        item = taken["Attributes"]
        return Claim(pk, holder, int(item["attempt"]["N"]), item["token"]["S"])

    def finish(self, claim: Claim, changes: dict[str, Any], now_s: float) -> None:
        """Mark the step as done and keep its changes, before they are saved. One request.

        Raises
        ------
        Overtaken
            If the claim is another worker's now.
        """
        try:
            self.client.update_item(
                TableName=self.table_name,
                Key={"pk": {"S": claim.pk}},
                ConditionExpression="#status = :running AND #holder = :holder",
                UpdateExpression="SET #status = :done, changes = :changes, expires_at = :expires_at"
                " REMOVE lease_until_ms",
                ExpressionAttributeNames={"#status": "status", "#holder": "holder"},
                ExpressionAttributeValues={
                    ":running": {"S": "running"},
                    ":done": {"S": "done"},
                    ":holder": {"S": claim.holder},
                    ":changes": {"S": json.dumps(changes)},
                    ":expires_at": {"N": str(int(now_s) + CLAIM_TTL_S)},
                },
            )
        except self.client.exceptions.ConditionalCheckFailedException as exc:
            raise Overtaken(claim.pk) from exc

    def release(self, claim: Claim) -> None:
        """Give the step back, if it is still ours: it may be run again at once. One request.

        A first attempt goes as if never made. After a later one the token stays: the attempt before
        may have had its effect.
        """
        ours: Any = {
            "TableName": self.table_name,
            "Key": {"pk": {"S": claim.pk}},
            "ConditionExpression": "#status = :running AND #holder = :holder",
            "ExpressionAttributeNames": {"#status": "status", "#holder": "holder"},
        }
        values = {":running": {"S": "running"}, ":holder": {"S": claim.holder}}
        try:
            if claim.attempt == 1:
                self.client.delete_item(**ours, ExpressionAttributeValues=values)
            else:
                self.client.update_item(
                    **ours,
                    UpdateExpression="SET lease_until_ms = :over REMOVE #holder",
                    ExpressionAttributeValues={**values, ":over": {"N": "0"}},
                )
        except self.client.exceptions.ConditionalCheckFailedException:
            return

    def _refused(self, pk: str, item: Any, now_s: float) -> Done:
        if item.get("status", {}).get("S") == "done":
            return Done(json.loads(item["changes"]["S"]))
        lease_until_ms = int(item.get("lease_until_ms", {}).get("N", "0"))
        remaining_s = max(0.0, lease_until_ms / 1000 - now_s)
        raise RunningElsewhere(pk, retry_after_s=int(remaining_s) + 1)


def claim_key(db: str, doc_id: str, state: str, key: str) -> str:
    """Build the item key of a claim.

    The `_rev` is not part of it: an unrelated edit must not run an unsafe transition again.

    Parameters
    ----------
    key : str
        The document's idempotency key; see `Transition.idempotency_key`.
    """
    return f"claim#{db}#{doc_id}#{state}#{key}"
