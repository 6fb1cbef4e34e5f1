"""The poller's Lambda. Wiring only."""

import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from chalicelib.couch import Server
from chalicelib.settings import PollerSettings, poller_key, read_secrets
from poller.checkpoint import Checkpoint
from poller.follow import Follower, Summary
from poller.lease import Lease, LeaseHeld, Place
from poller.poll import Poll
from poller.scan import Scan
from poller.sender import Sender
from poller.shard import Shard
from poller.updates import Updates

NAMESPACE = "Syncpoint"

logger = Logger(service="syncpoint-poller", stream=sys.stderr)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Follow the control databases' feeds for one window.

    Returns
    -------
    dict
        ``{"polled": bool, "databases": int, "changes": int, "sent": int}``; not polled if another
        poller is at work.
    """
    return run(PollerSettings.read(os.environ))


def run(settings: PollerSettings, stopped: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """One run of the poller.

    Parameters
    ----------
    stopped : callable
        Whether to close the window early; the local system does when it ends.
    """
    key = poller_key(settings.control_db, settings.shard, settings.shards)
    lease = Lease(_client("dynamodb"), settings.table_name, key, settings.lease_s, time.time)
    try:
        place = lease.take()
    except LeaseHeld:
        logger.info("another poller is at work")
        return {"polled": False, **asdict(Summary())}
    summary, is_settled = Summary(), False
    try:
        is_settled = _poll(settings, lease, place, stopped, summary)
        return {"polled": True, **asdict(summary)}
    finally:
        lease.release(is_settled=is_settled)
        _measure(settings.stage, summary, lease)


def _poll(
    settings: PollerSettings,
    lease: Lease,
    place: Place,
    stopped: Callable[[], bool],
    summary: Summary,
) -> bool:
    """Follow the feeds; whether every database was left at the end of its own."""
    closes_at_s = time.monotonic() + settings.window_s if settings.window_s else math.inf

    def left_s() -> float:
        return 0.0 if stopped() else closes_at_s - time.monotonic()

    def warn(what: str, why: str) -> None:
        _warn(settings.stage, what, why)

    server = Server(read_secrets(_client("secretsmanager"), settings.secret_id).couchdb_url)
    shard = Shard(settings.control_db, settings.shard, settings.shards)
    checkpoint = Checkpoint(_client("dynamodb"), settings.table_name, lease, time.sleep)
    follower = Follower(
        server=server,
        checkpoint=checkpoint,
        sender=Sender(_client("sqs"), time.sleep),
        control_db=settings.control_db,
        routes=settings.routes,
        page_size=settings.page_size,
        left_s=left_s,
        warn=warn,
        summary=summary,
    )
    poll = Poll(
        updates=Updates(server, shard),
        scan=Scan(server, shard),
        follower=follower,
        lease=lease,
        place=place,
        is_one_pass=settings.window_s == 0,
        left_s=left_s,
        pause=time.sleep,
        warn=warn,
    )
    poll.run(settings.control_db if shard.holds(settings.control_db) else None)
    return follower.is_settled


def _measure(stage: str, summary: Summary, lease: Lease) -> None:
    """Say that a poller is at work, what it did, and for how long it has been behind."""
    metrics = EphemeralMetrics(namespace=NAMESPACE)
    metrics.add_dimension("Stage", stage)
    metrics.add_metric("PollerRuns", MetricUnit.Count, 1)
    metrics.add_metric("PollerChanges", MetricUnit.Count, summary.changes)
    metrics.add_metric("PollerSent", MetricUnit.Count, summary.sent)
    seq_age_s = max(0.0, lease.now_s() - lease.settled_at_s)
    metrics.add_metric("PollerSeqAge", MetricUnit.Seconds, seq_age_s)
    metrics.flush_metrics()


def _warn(stage: str, what: str, why: str) -> None:
    logger.warning(what, extra={"reason": why})
    metrics = EphemeralMetrics(namespace=NAMESPACE)
    metrics.add_dimension("Stage", stage)
    metrics.add_dimension("What", what)
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
