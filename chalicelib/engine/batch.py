"""Handles a batch of SQS messages, each message by itself.

Chalice's event source mapping has no partial failures. When the function returns, Lambda deletes
all messages. When it raises, all of them come back. This module works with and without
ReportBatchItemFailures. It deletes the messages that succeeded. It hides those that failed, for
longer with each receive. Then it raises an exception.

While CouchDB does not answer or refuses our login, a message must not use up its five receives. So
before the last one it is sent again, as a new message, and deleted (`_send_again`).
"""

import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from zlib import crc32

from aws_lambda_powertools.metrics import MetricUnit
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aws.claims import RunningElsewhere
from chalicelib.couch import LOGIN_REFUSED, CouchError, is_outage
from chalicelib.engine.docstate import Registry, Transition
from chalicelib.engine.runner import InvalidMessage, Message, Outcome, handle
from chalicelib.errors import NoEffect, Unfinished
from chalicelib.telemetry import count, count_refused_login, logger, put

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
# At this try a message is sent again if CouchDB is not there. The last one is left for a Lambda
# that is killed.
SEND_AGAIN_AT_TRY = MAX_TRIES - 1
# A message that was sent again for so long fails like any other: perhaps its document makes CouchDB
# hang. SQS itself deletes messages after 14 days.
MAX_SEND_AGAIN_MS = 12 * 24 * 3600 * 1000
# SQS's limit for the delay of a message.
MAX_DELAY_S = 900


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
    remaining_s : callable
        Returns how many seconds the Lambda may still run.
    """

    dependencies: "Dependencies"
    registry: Registry
    transition: Transition
    remaining_s: Callable[[], float]

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

    def queue(self) -> tuple["SQSClient", str]:
        """Return the SQS client and the URL of the transition's queue. One request."""
        dependencies, transition = self.dependencies, self.transition
        return dependencies.sqs, dependencies.queue_url(transition.doc_type, transition.state)


def handle_batch(records: Iterable[Record], work: Work) -> None:
    """Handle each record by itself.

    Sends no request of its own if all succeed, because Lambda then deletes them. Otherwise it sends
    two requests, or three in an outage of CouchDB.

    Raises
    ------
    BatchFailed
        If some messages failed, or there was no time for them.
    """
    done: list[Record] = []
    failed: list[tuple[Record, Exception | None]] = []
    outage: Exception | None = None
    for record in records:
        if work.remaining_s() < MIN_TIME_S or isinstance(outage, LOGIN_REFUSED):
            failed.append((record, None))
            continue
        message: Message | None = None
        try:
            message = Message.parse(record["body"])
            outcome = work.handle(message)
        except Exception as exc:  # noqa: BLE001 - the loop that isolates one message from the next
            log_failure(record, message, work.transition, work.stage, exc)
            if isinstance(exc, Unfinished) and tries_of(record) >= MAX_TRIES:
                done.append(record)
                continue
            failed.append((record, exc))
            if is_outage(exc):
                outage = exc
        else:
            log_success(record, message, work.transition, work.stage, outcome)
            done.append(record)
    if isinstance(outage, LOGIN_REFUSED):
        count_refused_login(work.stage)
    if failed:
        _retry(done, failed, outage, work)
        raise BatchFailed(f"{len(failed)} of {len(done) + len(failed)} messages are tried again")


def _retry(
    done: list[Record],
    failed: list[tuple[Record, Exception | None]],
    outage: Exception | None,
    work: Work,
) -> None:
    """Hide the messages that failed, or send them again; delete the others.

    Parameters
    ----------
    failed : list of tuple
        Messages with their errors; without an error where there was no time to try.
    outage : Exception or None
        The error that says that CouchDB is not there, if there was one in this batch.
    """
    sqs, queue_url = work.queue()
    hidden: list[tuple[Record, int]] = []
    sent_again: list[tuple[Record, int]] = []
    for record, exc in failed:
        wait_s = back_off_s(record, work, exc or NoEffect())
        if exc is None:
            # If all such messages came back at the same time, there would be no time again.
            wait_s = add_jitter_s(wait_s, record)
        is_blameless = outage is not None and (exc is None or is_outage(exc))
        if is_blameless and _may_be_sent_again(record):
            sent_again.append((record, wait_s))
        else:
            hidden.append((record, wait_s))
    sent = _send_again(sqs, queue_url, sent_again)
    hidden += [each for each in sent_again if each[0] not in sent]
    _delete(sqs, queue_url, done + sent)
    _hide(sqs, queue_url, hidden)


def _may_be_sent_again(record: Record) -> bool:
    try:
        message = Message.parse(record["body"])
    except InvalidMessage:
        return False
    sent_again_for_ms = int(record["attributes"]["SentTimestamp"]) - _sent_ms(record, message)
    return tries_of(record) >= SEND_AGAIN_AT_TRY and sent_again_for_ms < MAX_SEND_AGAIN_MS


def _send_again(
    sqs: "SQSClient", queue_url: str, records: list[tuple[Record, int]]
) -> list[Record]:
    """Send messages again, as new ones with all their receives; return those that SQS accepted.

    They are sent before the old ones are deleted, so that none is lost. One that is there twice
    does no harm. The document is left out, because ten of them might be too large for a batch.
    """
    if not records:
        return []
    entries: list[Any] = []
    for number, (record, wait_s) in enumerate(records):
        message = Message.parse(record["body"])
        body = message.reference(sent_at_ms=_sent_ms(record, message))
        entry = {"Id": str(number), "MessageBody": body, "DelaySeconds": min(wait_s, MAX_DELAY_S)}
        group = record["attributes"].get("MessageGroupId")
        entries.append(entry if group is None else {**entry, "MessageGroupId": group})
    try:
        answer = sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
    except (BotoCoreError, ClientError) as exc:
        logger.warning("messages not sent again", extra={"exception_type": type(exc).__name__})
        return []
    return [records[int(entry["Id"])][0] for entry in answer.get("Successful", [])]


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


def _delete(sqs: "SQSClient", queue_url: str, records: list[Record]) -> None:
    if records:
        sqs.delete_message_batch(
            QueueUrl=queue_url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": record["receiptHandle"]}
                for number, record in enumerate(records)
            ],
        )


def _hide(sqs: "SQSClient", queue_url: str, records: list[tuple[Record, int]]) -> None:
    if records:
        sqs.change_message_visibility_batch(
            QueueUrl=queue_url,
            Entries=[
                {
                    "Id": str(number),
                    "ReceiptHandle": record["receiptHandle"],
                    "VisibilityTimeout": wait_s,
                }
                for number, (record, wait_s) in enumerate(records)
            ],
        )


def log_success(
    record: Record, message: Message, transition: Transition, stage: str, outcome: Outcome
) -> None:
    """Log and count a message that was handled."""
    _count_transition(record, message, transition, stage, outcome)
    logger.info("transition", extra=_about(record, message, transition) | {"outcome": outcome})


def log_failure(
    record: Record, message: Message | None, transition: Transition, stage: str, exc: Exception
) -> None:
    """Log and count a message that was not handled.

    The log entry has the error's type and where it was raised. It does not have the error's text,
    which might contain a secret or an address.

    Parameters
    ----------
    message : Message or None
        None if the record could not be parsed.
    """
    outcome = "contended" if isinstance(exc, RunningElsewhere) else "failed"
    _count_transition(record, message, transition, stage, outcome)
    frames = traceback.extract_tb(exc.__traceback__)[-4:]
    extra = _about(record, message, transition) | {
        "outcome": outcome,
        "exception_type": type(exc).__name__,
        "raised_at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(exc, CouchError):
        extra |= {"couchdb_status": exc.status, "couchdb_error": exc.error}
    logger.warning("the message was not handled", extra=extra)


def _count_transition(
    record: Record, message: Message | None, transition: Transition, stage: str, outcome: str
) -> None:
    """Count a message by type, state and outcome, and measure the time since it was sent."""
    count("Transitions", stage, Type=transition.doc_type, State=transition.state, Outcome=outcome)
    if message is not None and outcome in (Outcome.SAVED, Outcome.REJECTED):
        age_ms = max(0.0, time.time() * 1000 - _sent_ms(record, message))
        put({"TransitionAge": (MetricUnit.Milliseconds, age_ms)}, stage)


def _sent_ms(record: Record, message: Message) -> int:
    """Return when the poller sent a message, in milliseconds since 1970."""
    if message.sent_at_ms is not None:
        return message.sent_at_ms
    return int(record["attributes"]["SentTimestamp"])


def _about(record: Record, message: Message | None, transition: Transition) -> dict[str, Any]:
    return {
        "correlation_id": message.doc_id if message else None,
        "doc_type": transition.doc_type,
        "doc_state": transition.state,
        "sqs_message_id": record.get("messageId"),
        "receive_count": record.get("attributes", {}).get("ApproximateReceiveCount"),
    }
