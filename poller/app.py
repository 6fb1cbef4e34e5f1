"""The poller's Lambda function: its handler, and how its parts are put together."""

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
from chalicelib.couch import LOGIN_REFUSED, Server
from chalicelib.settings import PollerSettings, poller_key, read_secrets
from chalicelib.telemetry import count, count_refused_login, make_logger, put
from poller.checkpoint import Checkpoints
from poller.databases import DbUpdates, Scan, Shard
from poller.forward import Forwarder, Summary
from poller.lease import Cursor, Lease, LeaseHeld
from poller.messages import Sender
from poller.poll import Poll

logger = make_logger("syncpoint-poller")

# Fewer than the ten connections of a boto3 client.
MAX_REQUESTS_AT_ONCE = 8

# Clients are kept from one run to the next, in the same Lambda environment.
kept_client = cache(make_client)


@dataclass(frozen=True)
class PollerDependencies:
    """The services and the clock that a run uses; tests pass their own.

    Attributes
    ----------
    client : callable
        Returns the AWS client for the name of a service.
    server : callable
        Returns the CouchDB server for its URL.
    now_s, monotonic_s : callable
        Return the time in seconds, since 1970 and since an arbitrary moment.
    pause : callable
        Waits for a number of seconds.
    executor : callable
        Returns the executor of requests that need not wait for each other.
    """

    client: Callable[[str], Any] = kept_client
    server: Callable[[str], Server] = Server
    now_s: Callable[[], float] = time.time
    monotonic_s: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    executor: Callable[[], Executor] = partial(ThreadPoolExecutor, MAX_REQUESTS_AT_ONCE)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Run the poller for one window; see `run`."""
    return run(PollerSettings.read(os.environ))


def run(
    settings: PollerSettings,
    stopped: Callable[[], bool] = lambda: False,
    dependencies: PollerDependencies | None = None,
) -> dict[str, Any]:
    """Run the poller for one window.

    Parameters
    ----------
    stopped : callable
        Returns whether to end the window early. The local system uses it to stop.
    dependencies : PollerDependencies, optional
        The real ones if not given.

    Returns
    -------
    dict
        ``{"polled": bool, "databases": int, "changes": int, "sent": int}``. `polled` is False if
        another poller holds the lease; then nothing was done.
    """
    dependencies = dependencies or PollerDependencies()
    lease = Lease(
        dependencies.client("dynamodb"),
        settings.table_name,
        poller_key(settings.control_db, settings.shard, settings.shards),
        settings.lease_s,
        dependencies.now_s,
    )
    try:
        cursor = lease.take()
    except LeaseHeld:
        logger.info("another poller holds the lease; this run does nothing")
        return {"polled": False, **asdict(Summary())}
    summary, is_caught_up = Summary(), False
    try:
        with dependencies.executor() as executor:
            is_caught_up = _poll(settings, dependencies, executor, lease, cursor, stopped, summary)
        return {"polled": True, **asdict(summary)}
    except LOGIN_REFUSED as exc:
        _warn(settings.stage, "CouchDB refuses the cloud's login", f"{exc.status} {exc.reason}")
        count_refused_login(settings.stage)
        raise
    finally:
        lease.release(is_caught_up=is_caught_up)
        _put_metrics(settings.stage, summary, lease)


def _poll(
    settings: PollerSettings,
    dependencies: PollerDependencies,
    executor: Executor,
    lease: Lease,
    cursor: Cursor,
    stopped: Callable[[], bool],
    summary: Summary,
) -> bool:
    """Forward changes for one window; return whether all feeds were read to their ends."""
    ends_at_s = dependencies.monotonic_s() + settings.window_s if settings.window_s else math.inf

    def remaining_s() -> float:
        return 0.0 if stopped() else ends_at_s - dependencies.monotonic_s()

    warn = partial(_warn, settings.stage)
    secrets = read_secrets(dependencies.client("secretsmanager"), settings.secret_id)
    server = dependencies.server(secrets.couchdb_url)
    shard = Shard(settings.control_db, settings.shard, settings.shards)
    forwarder = Forwarder(
        server=server,
        checkpoints=Checkpoints(
            dependencies.client("dynamodb"), settings.table_name, lease, dependencies.pause
        ),
        sender=Sender(dependencies.client("sqs"), dependencies.pause, executor),
        control_db=settings.control_db,
        routes=settings.routes,
        page_size=settings.page_size,
        remaining_s=remaining_s,
        monotonic_s=dependencies.monotonic_s,
        warn=warn,
        executor=executor,
        max_messages=settings.max_messages,
        summary=summary,
    )
    poll = Poll(
        db_updates=DbUpdates(server, shard),
        scan=Scan(server, shard),
        forwarder=forwarder,
        lease=lease,
        cursor=cursor,
        is_one_pass=settings.window_s == 0,
        remaining_s=remaining_s,
        pause=dependencies.pause,
        warn=warn,
    )
    poll.run(settings.control_db if shard.holds(settings.control_db) else None)
    return forwarder.is_caught_up


def _put_metrics(stage: str, summary: Summary, lease: Lease) -> None:
    """Put the metrics of a run: that it took place, its counts, and how long the poller lags."""
    lag_s = max(0.0, lease.now_s() - lease.caught_up_at_s)
    put(
        {
            "PollerRuns": (MetricUnit.Count, 1),
            "PollerChanges": (MetricUnit.Count, summary.changes),
            "PollerMessages": (MetricUnit.Count, summary.sent),
            "PollerLag": (MetricUnit.Seconds, lag_s),
        },
        stage,
    )


def _warn(stage: str, warning: str, reason: str) -> None:
    logger.warning(warning, extra={"reason": reason})
    count("FeedWarnings", stage, Warning=warning)
