"""Structured logs and metrics, by Powertools. Never a secret, an address or a document."""

import sys

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from chalicelib.docstate import Transition
from chalicelib.runner import Outcome

NAMESPACE = "Syncpoint"

# To stderr: CloudWatch takes both, and on one machine stdout belongs to the command that was typed.
logger = Logger(service="syncpoint", stream=sys.stderr)


def count_outcome(transition: Transition, outcome: Outcome | None) -> None:
    """Count a message by type, state and what became of it (``failed`` if it is tried again)."""
    with single_metric("Transitions", MetricUnit.Count, 1, namespace=NAMESPACE) as metric:
        metric.add_dimension("type", transition.doc_type)
        metric.add_dimension("state", transition.state)
        metric.add_dimension("outcome", outcome or "failed")
