"""Structured logs and metrics, by Powertools. Never a secret, an address or a document."""

import sys

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from chalicelib.docstate import Transition
from chalicelib.runner import Outcome

NAMESPACE = "Syncpoint"

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
