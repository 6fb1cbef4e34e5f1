"""Define what each of Chalice's functions may do, in one table. ops/policies.py writes it. No I/O.

Every function may also read the stage's secret and write its own log.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# Prefixes of keys in the table. Each quota has its own, so that it cannot be used up by another.
TRIES = "quota#tries#*"
MAILS_FROM = "quota#mails-from#*"
MAILS_BY = "quota#mails-by#*"
INVITATIONS_FROM = "quota#invitations-from#*"
MAILS_TO = "quota#mails-to#*"
BOUNCES_OF = "quota#bounces-of#*"
HOURS = "hour#*"
CHANNELS_OF = "quota#channels-of#*"
SUPPRESSED = "suppressed#*"
POLLER = "poller#*"


@dataclass(frozen=True)
class Rights:
    """What one function may do.

    Attributes
    ----------
    queue : str or None
        The route, ``type-state``, whose queue the function reads.
    asks_for_queue : str or None
        The route whose queue URL it may ask for, without reading the queue.
    claims : bool
        Whether it takes claims for unsafe transitions (chalicelib/aws/claims.py).
    counts, reads, writes : tuple of str
        Key prefixes: of quotas that it reads and writes, of items that it only reads, and of items
        that it only writes (also quotas, see `RateLimiter.allow`).
    looks, adds : tuple of str
        Key prefixes: of counters, and quotas beside them, that it reads in one request, and of
        counters that it increments (chalicelib/aws/hour_counters.py).
    mails : bool
        Whether it may send mail, and read the API's public URL for the links in it.
    """

    queue: str | None = None
    asks_for_queue: str | None = None
    claims: bool = False
    counts: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()
    mails: bool = False


RIGHTS: Mapping[str, Rights] = {
    "device_new": Rights(
        queue="device-new",
        claims=True,
        counts=(MAILS_FROM,),
        reads=(SUPPRESSED,),
        writes=(MAILS_TO,),
        looks=(HOURS, BOUNCES_OF),
        adds=(HOURS,),
        mails=True,
    ),
    "device_confirmed": Rights(queue="device-confirmed"),
    "device_revoking": Rights(queue="device-revoking"),
    "confirm_clicked": Rights(queue="confirm-clicked", writes=(TRIES,)),
    "channel_new": Rights(queue="channel-new", counts=(CHANNELS_OF,)),
    "channel_ready": Rights(queue="channel-ready"),
    "channel_closing": Rights(queue="channel-closing"),
    "invitation_new": Rights(
        queue="invitation-new",
        claims=True,
        counts=(MAILS_BY, INVITATIONS_FROM, MAILS_TO),
        reads=(SUPPRESSED,),
        looks=(HOURS, BOUNCES_OF),
        adds=(HOURS,),
        mails=True,
    ),
    "invitation_accepting": Rights(queue="invitation-accepting"),
    "mail_feedback": Rights(counts=(BOUNCES_OF,), writes=(SUPPRESSED,)),
    "sweep_expired": Rights(),
    "upgrade_designs": Rights(),
    # All routes of the API: the pages, the registrations endpoint, /health.
    "api_handler": Rights(
        asks_for_queue="device-new",
        counts=(MAILS_FROM,),
        reads=(MAILS_TO, POLLER),
        writes=(TRIES,),
        looks=(HOURS, BOUNCES_OF),
    ),
}
