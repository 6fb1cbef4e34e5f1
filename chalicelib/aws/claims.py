"""Claims in DynamoDB: racing workers run an unsafe transition only once.

A claim is one item, ``pk = claim#{db}#{id}#{state}#{idempotency key}``. This is its life cycle:

    (none) ── take ──> running ── finish ──> done, with the changes to save
      ^                  │  │
      └──── release ─────┘  └── lease ends ── another worker takes it ──> running (attempt + 1)

Every write is conditional. Each take writes a new random `holder`. So a worker whose claim was
taken over after its lease can neither finish nor release the claim of the other worker:

    A: take ........ (stalls, lease ends) ................ finish → refused
    B:                                     take, run, finish

The `token` is the same in every attempt. A transition derives values from it, such as the mail's
Message-ID, and a retry must derive the same ones. So releasing a later attempt does not delete the
item: it ends the lease and keeps the token.
"""

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.errors import NoEffect

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# The longest key that DynamoDB takes.
MAX_KEY_BYTES = 2048

# Longer than SQS keeps a message (14 days), so that a replayed message still finds its claim.
CLAIM_TTL_S = 15 * 24 * 3600


@dataclass(frozen=True)
class Claim:
    """A claim on an unsafe transition, held by this worker.

    Attributes
    ----------
    attempt : int
        1 for the first run, more after a crash or an error of unknown effect.
    token : str
        A random text that is the same in every attempt.
    """

    pk: str
    holder: str
    attempt: int
    token: str


@dataclass(frozen=True)
class Done:
    """The result of a run that was finished before.

    Its `changes` may not have been saved in the document yet.
    """

    changes: dict[str, Any]


class RunningElsewhere(NoEffect):
    """Raised when another worker holds the claim. Its lease ends in `retry_after_s` seconds."""

    def __init__(self, pk: str, retry_after_s: int) -> None:
        super().__init__(f"{pk} is running elsewhere")
        self.retry_after_s = retry_after_s


class Overtaken(Exception):
    """Raised when this worker's lease has ended and another worker has taken the claim."""


@dataclass
class Claims:
    """The claims in one DynamoDB table.

    Parameters
    ----------
    client : DynamoDBClient
    table_name : str
    lease_s : int
        How long a worker may run before another worker may take its claim. It must be longer than
        the handler's timeout, so that no two running workers hold the same claim.
    """

    client: "DynamoDBClient"
    table_name: str
    lease_s: int

    def take(self, pk: str, now_s: float) -> Claim | Done:
        """Take the claim, or return the result of a run that was finished before. One request.

        Parameters
        ----------
        now_s : float
            The current time, in seconds since 1970.

        Raises
        ------
        RunningElsewhere
            If another worker holds the claim and its lease has not ended.
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
        """Mark the run as done and store its changes. One request.

        The runner calls this before it saves the changes in CouchDB. So a retry after a crash finds
        them here.

        Raises
        ------
        Overtaken
            If another worker has taken the claim.
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
        """Release the claim, if this worker still holds it. One request.

        Then the transition may run again at once. Releasing the first attempt deletes the item.
        Releasing a later one keeps the token, because an earlier attempt may have had its effect.
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

    The key does not contain the `_rev`, because an unrelated edit must not run an unsafe
    transition again.

    Parameters
    ----------
    key : str
        The document's idempotency key; see `Transition.idempotency_key`.

    Returns
    -------
    str
        The key in plain text; a hash of it if the document's id is too long for DynamoDB.
    """
    plain = f"claim#{db}#{doc_id}#{state}#{key}"
    encoded = plain.encode("utf-8", "surrogatepass")
    if len(encoded) > MAX_KEY_BYTES:
        return f"claim#{hashlib.sha256(encoded).hexdigest()}"
    return plain
