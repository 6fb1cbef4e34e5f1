"""Handles a batch of SQS messages, each message by itself.

Chalice's event source mapping has no partial failures. When the function returns, Lambda deletes
all messages. When it raises, all of them come back. This module works with and without
ReportBatchItemFailures. It deletes the messages that succeeded. It hides those that failed, for
longer with each receive. Then it raises an exception.
"""

import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from zlib import crc32

from aws_lambda_powertools.metrics import MetricUnit

from chalicelib.aws.claims import RunningElsewhere
from chalicelib.couch import CouchError
from chalicelib.engine.docstate import Registry, Transition
from chalicelib.engine.runner import Message, Outcome, handle
from chalicelib.errors import NoEffect, Unfinished
from chalicelib.telemetry import count, logger, put

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from chalicelib.engine.dependencies import Dependencies

# 10, 40, 160, 640 s: a message with five tries survives an outage of about fourteen minutes.
FIRST_BACK_OFF_S = 10
LONGEST_BACK_OFF_S = 900
# After so many tries SQS makes a message a dead letter (`maxReceiveCount` in template.yaml).
MAX_TRIES = 5
# No further message is started with less remaining time than this, because a CouchDB that hangs
# takes 13 s of it. If the Lambda is still killed, its messages come back after their visibility
# timeout.
MIN_TIME_S = 15.0


# One record of a Lambda's SQS event: {messageId, receiptHandle, body, attributes, …}
Record = dict[str, Any]


class BatchFailed(Exception):
    """Raised when some messages of the batch must be retried. The others are already deleted."""


class Work(Protocol):
    """The interface by which `handle_batch` handles messages.

    Attributes
    ----------
    transition : Transition
        The transition that runs for each message of the batch.
    lease_s : int
        How many seconds a claim is kept after a run of unknown effect.
    stage : str
        The deployment's name, for the metrics.
    """

    @property
    def transition(self) -> Transition: ...  # noqa: D102
    @property
    def lease_s(self) -> int: ...  # noqa: D102
    @property
    def stage(self) -> str: ...  # noqa: D102

    def handle(self, message: Message) -> Outcome:
        """Handle one message. An exception concerns that message alone."""
        ...

    def remaining_s(self) -> float:
        """Return how many seconds the Lambda may still run."""
        ...

    def queue(self) -> tuple["SQSClient", str]:
        """Return the SQS client and the queue's URL. Called only if a message failed."""
        ...


@dataclass(frozen=True)
class LambdaWork:
    """The work of one transition in a Lambda.

    Parameters
    ----------
    lambda_context : object
        Has the remaining time of the Lambda.
    """

    dependencies: "Dependencies"
    registry: Registry
    transition: Transition
    lambda_context: Any

    @property
    def lease_s(self) -> int:
        """Return the lease of a claim, in seconds."""
        return self.dependencies.settings.claim_lease_s

    @property
    def stage(self) -> str:
        """Return the deployment's name."""
        return self.dependencies.settings.stage

    def handle(self, message: Message) -> Outcome:
        """Handle one message."""
        with self.dependencies.use() as context:
            return handle(message, self.registry, context, self.dependencies.claims)

    def remaining_s(self) -> float:
        """Return how many seconds the Lambda may still run."""
        return float(self.lambda_context.get_remaining_time_in_millis()) / 1000

    def queue(self) -> tuple["SQSClient", str]:
        """Return the SQS client and the URL of the transition's queue. One request."""
        dependencies, transition = self.dependencies, self.transition
        return dependencies.sqs, dependencies.queue_url(transition.doc_type, transition.state)


def handle_batch(records: Iterable[Record], work: Work) -> None:
    """Handle each record by itself.

    Sends no request of its own if all succeed, because Lambda then deletes them. Otherwise it sends
    two requests.

    Raises
    ------
    BatchFailed
        If some messages failed, or there was no time for them.
    """
    done: list[Record] = []
    again: list[tuple[Record, int]] = []
    for record in records:
        if work.remaining_s() < MIN_TIME_S:
            # This receive was one of the message's five tries. If the message came back at
            # once, its tries would soon be used up. If all such messages came back at the same
            # time, the time would run out again.
            again.append((record, add_jitter_s(back_off_s(record, work, NoEffect()), record)))
            continue
        message: Message | None = None
        try:
            message = Message.parse(record["body"])
            outcome = work.handle(message)
        except Exception as exc:  # noqa: BLE001 - the loop that isolates one message from the next
            log_failure(record, message, work.transition, work.stage, exc)
            if isinstance(exc, Unfinished) and tries_of(record) >= MAX_TRIES:
                done.append(record)
            else:
                again.append((record, back_off_s(record, work, exc)))
        else:
            log_success(record, message, work.transition, work.stage, outcome)
            done.append(record)
    if again:
        _hide_and_delete(*work.queue(), done, again)
        raise BatchFailed(f"{len(again)} of {len(done) + len(again)} messages are tried again")


def back_off_s(record: Record, work: Work, exc: Exception) -> int:
    """Return for how many seconds to hide a message that failed."""
    if isinstance(exc, RunningElsewhere):
        return min(exc.retry_after_s, LONGEST_BACK_OFF_S)
    wait_s: int = min(FIRST_BACK_OFF_S * 4 ** min(tries_of(record) - 1, 9), LONGEST_BACK_OFF_S)
    # After an error of unknown effect, the claim is kept. A retry before its lease ends is useless.
    is_claimed = work.transition.unsafe and not isinstance(exc, NoEffect)
    return max(wait_s, work.lease_s + 1) if is_claimed else wait_s


def tries_of(record: Record) -> int:
    """Return how often a message was received, this time included."""
    return int(record["attributes"]["ApproximateReceiveCount"])


def add_jitter_s(wait_s: int, record: Record) -> int:
    """Add jitter: return up to twice `wait_s`, depending on the message's id.

    Messages that are hidden together then come back at different times.

    Source: https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
    """
    return wait_s + crc32(record["messageId"].encode()) % wait_s


def _hide_and_delete(
    sqs: "SQSClient", queue_url: str, done: list[Record], again: list[tuple[Record, int]]
) -> None:
    if done:
        sqs.delete_message_batch(
            QueueUrl=queue_url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": record["receiptHandle"]}
                for number, record in enumerate(done)
            ],
        )
    sqs.change_message_visibility_batch(
        QueueUrl=queue_url,
        Entries=[
            {
                "Id": str(number),
                "ReceiptHandle": record["receiptHandle"],
                "VisibilityTimeout": wait_s,
            }
            for number, (record, wait_s) in enumerate(again)
        ],
    )


def log_success(
    record: Record, message: Message, transition: Transition, stage: str, outcome: Outcome
) -> None:
    """Log and count a message that was handled."""
    _count_transition(record, transition, stage, outcome)
    logger.info("transition", extra=_about(record, message, transition) | {"outcome": outcome})


def log_failure(
    record: Record, message: Message | None, transition: Transition, stage: str, exc: Exception
) -> None:
    """Log and count a message that will be retried.

    The log entry has the error's type and where it was raised. It does not have the error's text,
    which might contain a secret or an address.

    Parameters
    ----------
    message : Message or None
        None if the record could not be parsed.
    """
    outcome = "contended" if isinstance(exc, RunningElsewhere) else "failed"
    _count_transition(record, transition, stage, outcome)
    frames = traceback.extract_tb(exc.__traceback__)[-4:]
    extra = _about(record, message, transition) | {
        "outcome": outcome,
        "exception_type": type(exc).__name__,
        "raised_at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(exc, CouchError):
        extra |= {"couchdb_status": exc.status, "couchdb_error": exc.error}
    logger.warning("the message is tried again", extra=extra)


def _count_transition(record: Record, transition: Transition, stage: str, outcome: str) -> None:
    """Count a message by type, state and outcome, and measure the time since it was sent."""
    count("Transitions", stage, Type=transition.doc_type, State=transition.state, Outcome=outcome)
    sent_ms = record.get("attributes", {}).get("SentTimestamp")
    if sent_ms is not None and outcome in (Outcome.SAVED, Outcome.REJECTED):
        age_ms = max(0.0, time.time() * 1000 - int(sent_ms))
        put({"TransitionAge": (MetricUnit.Milliseconds, age_ms)}, stage)


def _about(record: Record, message: Message | None, transition: Transition) -> dict[str, Any]:
    return {
        "correlation_id": message.doc_id if message else None,
        "doc_type": transition.doc_type,
        "doc_state": transition.state,
        "sqs_message_id": record.get("messageId"),
        "receive_count": record.get("attributes", {}).get("ApproximateReceiveCount"),
    }
