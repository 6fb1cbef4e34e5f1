"""Structured logs and metrics, by Powertools. Never a secret, an address or a document."""

import sys
import traceback
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from chalicelib.couch_errors import CouchError
from chalicelib.docstate import Transition
from chalicelib.runner import Message, Outcome

NAMESPACE = "Syncpoint"

# One record of a Lambda's SQS event: {messageId, receiptHandle, body, attributes, …}
Record = dict[str, Any]

# To stderr: CloudWatch takes both, and on one machine stdout belongs to the command that was typed.
logger = Logger(service="syncpoint", stream=sys.stderr)


def count_outcome(transition: Transition, outcome: Outcome | None) -> None:
    """Count a message by type, state and what became of it (``failed`` if it is tried again)."""
    metrics = EphemeralMetrics(namespace=NAMESPACE)
    metrics.add_dimension("type", transition.doc_type)
    metrics.add_dimension("state", transition.state)
    metrics.add_dimension("outcome", outcome or "failed")
    metrics.add_metric("Transitions", MetricUnit.Count, 1)
    metrics.flush_metrics()


def log_success(record: Record, message: Message, transition: Transition, outcome: Outcome) -> None:
    """Log and count a message that was handled."""
    count_outcome(transition, outcome)
    logger.info("transition", extra=_about(record, message, transition) | {"outcome": outcome})


def log_failure(
    record: Record, message: Message | None, transition: Transition, exc: Exception
) -> None:
    """Log and count a message that is tried again.

    With the error's type and where it came from, not its text: that might hold what a log must not.

    Parameters
    ----------
    message : Message or None
        None if the record could not be read as one.
    """
    count_outcome(transition, None)
    frames = traceback.extract_tb(exc.__traceback__)[-4:]
    extra = _about(record, message, transition) | {
        "outcome": "failed",
        "exception_type": type(exc).__name__,
        "raised_at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(exc, CouchError):
        extra |= {"couchdb_status": exc.status, "couchdb_error": exc.error}
    logger.warning("the message is tried again", extra=extra)


def _about(record: Record, message: Message | None, transition: Transition) -> dict[str, Any]:
    return {
        "doc_type": transition.doc_type,
        "doc_state": transition.state,
        "doc_id": message.doc_id if message else None,
        "sqs_message_id": record.get("messageId"),
        "receive_count": record.get("attributes", {}).get("ApproximateReceiveCount"),
    }
