"""The poller's Lambda: its entry point. No rule and no storage lives here."""

import math
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from chalicelib.aws.clients import make_client
from chalicelib.couch import Server
from chalicelib.settings import PollerSettings, poller_key, read_secrets
from chalicelib.telemetry import count, make_logger, put
from poller.checkpoint import Checkpoint
from poller.databases import Scan, Shard, Updates
from poller.forward import Follower, Summary
from poller.lease import Cursor, Lease, LeaseHeld
from poller.messages import Sender
from poller.poll import Poll

logger = make_logger("syncpoint-poller")

# Below the ten connections that a boto3 client keeps.
MAX_REQUESTS_AT_ONCE = 8

# Kept from one run to the next, while the Lambda lives.
kept_client = cache(make_client)


@dataclass(frozen=True)
class PollerDependencies:
    """What a poller finds around it.

    Attributes
    ----------
    client, server : callable
        Makes the AWS client of a service's name, the CouchDB server of its URL.
    now_s, monotonic_s : callable
        The time in seconds, since 1970 and since some moment.
    pause : callable
        Waits for so many seconds.
    executor : callable
        Makes the executor of the requests that need not wait for one another.
    """

    client: Callable[[str], Any] = kept_client
    server: Callable[[str], Server] = Server
    now_s: Callable[[], float] = time.time
    monotonic_s: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    executor: Callable[[], Executor] = partial(ThreadPoolExecutor, MAX_REQUESTS_AT_ONCE)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Follow the control databases' feeds for one window.

    Returns
    -------
    dict
        ``{"polled": bool, "databases": int, "changes": int, "sent": int}``; not polled if another
        poller is at work.
    """
    return run(PollerSettings.read(os.environ))


def run(
    settings: PollerSettings,
    stopped: Callable[[], bool] = lambda: False,
    dependencies: PollerDependencies | None = None,
) -> dict[str, Any]:
    """One run of the poller.

    Parameters
    ----------
    stopped : callable
        Whether to close the window early; the local system does when it ends.
    dependencies : PollerDependencies, optional
        AWS, CouchDB and the time; the real ones if not given.
    """
    dependencies = dependencies or PollerDependencies()
    lease = _lease(settings, dependencies)
    try:
        cursor = lease.take()
    except LeaseHeld:
        logger.info("another poller is at work")
        return {"polled": False, **asdict(Summary())}
    summary, is_caught_up = Summary(), False
    try:
        with dependencies.executor() as executor:
            is_caught_up = _poll(settings, dependencies, executor, lease, cursor, stopped, summary)
        return {"polled": True, **asdict(summary)}
    finally:
        lease.release(is_caught_up=is_caught_up)
        _measure(settings.stage, summary, lease)


def _lease(settings: PollerSettings, dependencies: PollerDependencies) -> Lease:
    return Lease(
        dependencies.client("dynamodb"),
        settings.table_name,
        poller_key(settings.control_db, settings.shard, settings.shards),
        settings.lease_s,
        dependencies.now_s,
    )


def _poll(
    settings: PollerSettings,
    dependencies: PollerDependencies,
    executor: Executor,
    lease: Lease,
    cursor: Cursor,
    stopped: Callable[[], bool],
    summary: Summary,
) -> bool:
    """Follow the feeds; whether every database was left at the end of its own."""
    closes_at_s = dependencies.monotonic_s() + settings.window_s if settings.window_s else math.inf

    def remaining_s() -> float:
        return 0.0 if stopped() else closes_at_s - dependencies.monotonic_s()

    def warn(what: str, why: str) -> None:
        _warn(settings.stage, what, why)

    secrets = read_secrets(dependencies.client("secretsmanager"), settings.secret_id)
    server = dependencies.server(secrets.couchdb_url)
    shard = Shard(settings.control_db, settings.shard, settings.shards)
    checkpoint = Checkpoint(
        dependencies.client("dynamodb"), settings.table_name, lease, dependencies.pause
    )
    follower = Follower(
        server=server,
        checkpoint=checkpoint,
        sender=Sender(dependencies.client("sqs"), dependencies.pause, executor),
        control_db=settings.control_db,
        routes=settings.routes,
        page_size=settings.page_size,
        remaining_s=remaining_s,
        warn=warn,
        executor=executor,
        summary=summary,
    )
    poll = Poll(
        updates=Updates(server, shard),
        scan=Scan(server, shard),
        follower=follower,
        lease=lease,
        cursor=cursor,
        is_one_pass=settings.window_s == 0,
        remaining_s=remaining_s,
        pause=dependencies.pause,
        warn=warn,
    )
    poll.run(settings.control_db if shard.holds(settings.control_db) else None)
    return follower.is_caught_up


def _measure(stage: str, summary: Summary, lease: Lease) -> None:
    """Say that a poller is at work, what it did, and for how long it has been behind."""
    seq_age_s = max(0.0, lease.now_s() - lease.caught_up_at_s)
    put(
        {
            "PollerRuns": (MetricUnit.Count, 1),
            "PollerChanges": (MetricUnit.Count, summary.changes),
            "PollerSent": (MetricUnit.Count, summary.sent),
            "PollerSeqAge": (MetricUnit.Seconds, seq_age_s),
        },
        stage,
    )


def _warn(stage: str, what: str, why: str) -> None:
    logger.warning(what, extra={"reason": why})
    count("FeedWarnings", stage, What=what)
