"""Structured logs and metrics, by Powertools. Never a secret, an address or a document."""

import sys
import time
import traceback
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from chalicelib.aws.claims import RunningElsewhere
from chalicelib.couch import CouchError
from chalicelib.engine.docstate import Transition
from chalicelib.engine.runner import Message, Outcome

NAMESPACE = "Syncpoint"

# One record of a Lambda's SQS event: {messageId, receiptHandle, body, attributes, …}
Record = dict[str, Any]

# To stderr: CloudWatch takes both, and on one machine stdout belongs to the command that was typed.
logger = Logger(service="syncpoint", stream=sys.stderr)


def count_mail(stage: str, outcome: str) -> None:
    """Count a mail by what became of it."""
    _count("Mails", stage, Outcome=outcome)


def count_feedback(stage: str, kind: str) -> None:
    """Count a notification of SES's by its kind: ``bounce``, ``complaint``, ``other``."""
    _count("MailFeedback", stage, Kind=kind)


def log_success(
    record: Record, message: Message, transition: Transition, stage: str, outcome: Outcome
) -> None:
    """Log and count a message that was handled."""
    _count_transition(record, transition, stage, outcome)
    logger.info("transition", extra=_about(record, message, transition) | {"outcome": outcome})


def log_failure(
    record: Record, message: Message | None, transition: Transition, stage: str, exc: Exception
) -> None:
    """Log and count a message that is tried again.

    With the error's type and where it came from, not its text: that might hold what a log must not.

    Parameters
    ----------
    message : Message or None
        None if the record could not be read as one.
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
    """Count a message by type, state and outcome, and measure how long it was on its way."""
    what = {"Type": transition.doc_type, "State": transition.state}
    _count("Transitions", stage, **what, Outcome=outcome)
    sent_ms = record.get("attributes", {}).get("SentTimestamp")
    if sent_ms is not None and outcome in (Outcome.SAVED, Outcome.REJECTED):
        metrics = EphemeralMetrics(namespace=NAMESPACE)
        metrics.add_dimension("Stage", stage)
        age_ms = max(0.0, time.time() * 1000 - int(sent_ms))
        metrics.add_metric("TransitionAge", MetricUnit.Milliseconds, age_ms)
        metrics.flush_metrics()


def _count(name: str, stage: str, **dimensions: str) -> None:
    metrics = EphemeralMetrics(namespace=NAMESPACE)
    for dimension, value in {"Stage": stage, **dimensions}.items():
        metrics.add_dimension(dimension, value)
    metrics.add_metric(name, MetricUnit.Count, 1)
    metrics.flush_metrics()


def _about(record: Record, message: Message | None, transition: Transition) -> dict[str, Any]:
    return {
        "correlation_id": message.doc_id if message else None,
        "doc_type": transition.doc_type,
        "doc_state": transition.state,
        "sqs_message_id": record.get("messageId"),
        "receive_count": record.get("attributes", {}).get("ApproximateReceiveCount"),
    }
