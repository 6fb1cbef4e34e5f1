"""Structured logs and metrics, by Powertools. They have no secret, no address and no document."""

import sys
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

NAMESPACE = "Syncpoint"


def make_logger(service: str) -> Logger:
    """Make the logger for one part of the system.

    It writes to stderr. CloudWatch collects stdout and stderr alike. On a developer's machine,
    stdout has the output of the command.
    """
    return Logger(service=service, stream=sys.stderr)


logger = make_logger("syncpoint")


def count(name: str, stage: str, **dimensions: str) -> None:
    """Count one event, by stage and by further dimensions."""
    put({name: (MetricUnit.Count, 1)}, stage, **dimensions)


def count_mail(stage: str, outcome: str) -> None:
    """Count a mail by its outcome."""
    count("Mails", stage, Outcome=outcome)


def count_feedback(stage: str, kind: str) -> None:
    """Count a notification from SES by its kind: ``bounce``, ``complaint``, ``other``."""
    count("MailFeedback", stage, Kind=kind)


def count_refused_login(stage: str) -> None:
    """Count that CouchDB refused the cloud's login; an alarm watches this."""
    count("LoginRefused", stage)


def put(metrics: dict[str, tuple[MetricUnit, float]], stage: str, **dimensions: str) -> None:
    """Print metrics in CloudWatch's embedded metric format.

    Parameters
    ----------
    metrics : dict
        The unit and the value of each metric, by its name.
    dimensions : str
        Further dimensions of the metrics, beside the stage.
    """
    batch: Any = EphemeralMetrics(namespace=NAMESPACE)
    for dimension, text in {"Stage": stage, **dimensions}.items():
        batch.add_dimension(dimension, text)
    for name, (unit, value) in metrics.items():
        batch.add_metric(name, unit, value)
    batch.flush_metrics()
