"""Counts an owner's new channels, each of which is a database, against the owner's quota."""

from datetime import UTC, datetime

from chalicelib.aws.rate_limiter import Quota
from chalicelib.domain.documents import JsonDict, Rejected, timestamp
from chalicelib.emails.sending import DAY_S, HOUR_S
from chalicelib.engine.context import Context


def count_channel(context: Context, doc: JsonDict) -> None:
    """Count a channel that is about to get its database. Two requests.

    A retry of the same revision counts once. A channel that was deleted and is made again, or that
    is made again after an error, is another revision, and counts again. In `<CONTROL_DB>` only the
    cloud's administrators write, so nothing is counted there.

    Raises
    ------
    Rejected
        If the quota is used up; the reason says when there is room again.
    """
    if context.owner_id is None:
        return
    settings = context.settings
    quotas = [
        Quota(settings.channels_per_owner_hour, HOUR_S),
        Quota(settings.channels_per_owner_day, DAY_S),
    ]
    key = f"{doc['_id']} {doc['_rev']}"
    bucket, now_s = f"channels-of#{context.owner_id}", context.clock().timestamp()
    decision = context.rate_limiter.allow(bucket, key, quotas, now_s)
    if decision.retry_at_s is not None:
        retry_at = timestamp(datetime.fromtimestamp(decision.retry_at_s, UTC))
        raise Rejected(
            f"too many new channels for this owner; set the state to new again after {retry_at}"
        )
