"""What each of Chalice's functions may do, as one table. No I/O; ops/policies.py writes it out.

Every function may also read the stage's secret and write its own log.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# What keys in the table begin with. Quotas are apart: who counts codes spends no mail quota.
TRIES = "quota#tries#*"
MAILS_FROM = "quota#mails-from#*"
MAILS_BY = "quota#mails-by#*"
MAILS_TO = "quota#mails-to#*"
SUPPRESSED = "suppressed#*"
POLLER = "poller#*"


@dataclass(frozen=True)
class Rights:
    """What one function may do.

    Attributes
    ----------
    queue : str or None
        The route, ``type-state``, whose queue feeds the function.
    asks_for_queue : str or None
        The route whose queue it may ask SQS for, and no more.
    claims : bool
        Whether it holds claims on unsafe steps (chalicelib/aws/claims.py).
    counts, reads, writes : tuple of str
        What the keys begin with: of quotas that it reads before it counts, of items that
        it reads, of items that it writes (quotas among them: see `RateLimiter.allow`).
    mails : bool
        Whether it may send mail, and read the API's public URL to put into it.
    """

    queue: str | None = None
    asks_for_queue: str | None = None
    claims: bool = False
    counts: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    mails: bool = False


RIGHTS: Mapping[str, Rights] = {
    "device_new": Rights(
        queue="device-new",
        claims=True,
        counts=(MAILS_FROM,),
        reads=(SUPPRESSED,),
        writes=(MAILS_TO,),
        mails=True,
    ),
    "device_confirmed": Rights(queue="device-confirmed"),
    "device_revoking": Rights(queue="device-revoking"),
    "confirm_clicked": Rights(queue="confirm-clicked", writes=(TRIES,)),
    "channel_new": Rights(queue="channel-new"),
    "channel_ready": Rights(queue="channel-ready"),
    "channel_closing": Rights(queue="channel-closing"),
    "invitation_new": Rights(
        queue="invitation-new",
        claims=True,
        counts=(MAILS_BY,),
        reads=(SUPPRESSED,),
        writes=(MAILS_TO,),
        mails=True,
    ),
    "invitation_accepting": Rights(queue="invitation-accepting"),
    "mail_feedback": Rights(writes=(SUPPRESSED,)),
    "sweep_expired": Rights(),
    "upgrade_designs": Rights(),
    # All routes of the API: the pages, the registrations endpoint, /health.
    "api_handler": Rights(
        asks_for_queue="device-new",
        counts=(MAILS_FROM,),
        reads=(POLLER,),
        writes=(TRIES, MAILS_TO),
    ),
}
