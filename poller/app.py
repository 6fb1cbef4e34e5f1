"""The poller's Lambda. Wiring only."""

import os
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from chalicelib.couch import Server
from chalicelib.settings import PollerSettings, read_secrets
from poller.checkpoint import Checkpoint, LeaseHeld
from poller.feed import Feed
from poller.follow import follow
from poller.sender import Sender

NAMESPACE = "Syncpoint"

logger = Logger(service="syncpoint-poller", stream=sys.stderr)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Follow the control database's feed for one window.

    Returns
    -------
    dict
        ``{"polled": bool, "changes": int, "sent": int}``; not polled if another poller is at work.
    """
    return run(PollerSettings.read(os.environ))


def run(settings: PollerSettings, stopped: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """One run of the poller.

    Parameters
    ----------
    stopped : callable
        Whether to close the window early; the local system does when it ends.
    """
    checkpoint = Checkpoint(
        _client("dynamodb"), settings.table_name, settings.control_db, settings.lease_s, time.time
    )
    try:
        checkpoint.take()
    except LeaseHeld:
        logger.info("another poller is at work")
        return {"polled": False, "changes": 0, "sent": 0}
    try:
        return _follow(settings, checkpoint, stopped)
    finally:
        checkpoint.release()


def _follow(
    settings: PollerSettings, checkpoint: Checkpoint, stopped: Callable[[], bool]
) -> dict[str, Any]:
    closes_at_s = time.monotonic() + settings.window_s
    db = settings.control_db
    server = Server(read_secrets(_client("secretsmanager"), settings.secret_id).couchdb_url)
    feed = Feed(server.database(db), checkpoint.seq(db), settings.page_size, _warn)
    feed.restart_if_replaced()

    def left_s() -> float:
        return 0.0 if stopped() else closes_at_s - time.monotonic()

    sender = Sender(_client("sqs"), time.sleep)
    window = left_s if settings.window_s else None
    summary = follow(feed, sender, checkpoint, settings.routes, window)
    return {"polled": True, "changes": summary.changes, "sent": summary.sent}


def _warn(what: str, why: str) -> None:
    logger.warning(what, extra={"reason": why})
    metrics = EphemeralMetrics(namespace=NAMESPACE)
    metrics.add_dimension("what", what)
    metrics.add_metric("FeedWarnings", MetricUnit.Count, 1)
    metrics.flush_metrics()


@cache
def _client(service: str) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=3,
        read_timeout=10,
        retries={"total_max_attempts": 3, "mode": "standard"},
    )
    return boto3.client(service, config=config)  # type: ignore[call-overload]
