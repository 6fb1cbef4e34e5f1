"""Sends the cloud's mails, and counts them against quotas.

Every mail is counted against the address that it goes to, and against its sender. That is the
network that a registration came from, or the owner who invites, and the network that this owner's
first device came from. These limits are hard. A busy hour of the whole installation, or of one
recipient domain, is a matter of fairness: from then on each sender gets a small share. So nobody
can use up what others need, and newcomers still get through.

A mail that did not arrive for good, or was reported as spam, counts against its sender as well. A
sender with too many of them gets no further mail until there is room: SES stops an account of which
too many mails bounce.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from chalicelib.aws.claims import Claim
from chalicelib.aws.rate_limiter import Quota, key_hash, room_at_s
from chalicelib.aws.ses import AddressRefused
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict, Rejected, generation_of, timestamp
from chalicelib.domain.names import is_owner_id
from chalicelib.engine.context import Context
from chalicelib.settings import MAX_QUOTA

HOUR_S, DAY_S = 3600, 24 * 3600

_TOO_MANY = "too many mails"
_TO_ADDRESS = f"{_TOO_MANY} to this address"
UNWANTED = "somebody at this address wants no mail from here"
NOT_SENT = "the mail service does not send to this address"
_FAILED = "did not arrive or were reported as spam"

# Subject, text, HTML.
Mail = tuple[str, str, str]


@dataclass(frozen=True)
class MailRef:
    """A reference from a mail to its document.

    It is stored in the mail's tags, and SES returns those with a bounce or a complaint.

    Attributes
    ----------
    owner_id : str or None
        The owner whose control database has the document; None for the installation's own control
        database.
    network : str or None
        The hash of the network that a registration came from; None for other mails.
    """

    doc_id: str
    generation: int
    owner_id: str | None
    network: str | None = None

    @classmethod
    def of(cls, context: Context, doc: JsonDict) -> Self:
        """Build the reference to a document in the context's database."""
        network = doc.get("network") if context.in_control_database else None
        of_network = _network_hash(network) if isinstance(network, str) else None
        return cls(doc["_id"], generation_of(doc), context.owner_id, of_network)

    @classmethod
    def parse(cls, tags: JsonDict) -> Self | None:
        """Read the tags of a notification, each a list; return None if they are not ours."""
        values = {name: str(value[0]) for name, value in tags.items() if value}
        generation = values.get("generation", "")
        if "doc" not in values or not (generation.isascii() and generation.isdigit()):
            return None
        return cls(values["doc"], int(generation), values.get("owner"), values.get("network"))

    @property
    def tags(self) -> dict[str, str]:
        """Return the reference as tags for a mail."""
        senders = {"owner": self.owner_id, "network": self.network}
        known = {name: sender for name, sender in senders.items() if sender}
        return {"doc": self.doc_id, "generation": str(self.generation), **known}

    @property
    def sender(self) -> str | None:
        """Return whom a bounce counts against; None if that is not known."""
        sender = self.owner_id or self.network
        # Both are 32 hex digits; no mail of ours has another tag.
        return sender if sender and is_owner_id(sender) else None


class TooManyMails(Rejected):
    """Raised when a quota is used up.

    `retry_at_s` is the time when there is room again, in seconds since 1970.
    """

    def __init__(self, what: str, retry_at_s: int) -> None:
        retry_at = timestamp(datetime.fromtimestamp(retry_at_s, UTC))
        super().__init__(f"{what}; ask again after {retry_at}")
        self.retry_at_s = retry_at_s


def count_from_network(context: Context, doc: JsonDict, key: str, address: str) -> None:
    """Count a mail against the network that its document came from, if that is known.

    Two or three requests.

    Parameters
    ----------
    key : str
        The key of the claim under which the mail is sent. A claim sends one mail, whatever the
        document says by then, so a retry has the same key and any other mail another one.
    address : str
        The address that the mail goes to. A busy hour of its domain makes the quota smaller.

    Raises
    ------
    TooManyMails
        If a quota is used up; the reason says when there is room again. So in all functions here.
    """
    settings, network = context.settings, doc.get("network")
    if isinstance(network, str):
        per_hour, per_day = settings.mails_per_network_hour, settings.mails_per_network_day
        failed = f"{_TOO_MANY} from this network {_FAILED}"
        busy = _look(context, _network_hash(network), failed, key, address)
        bucket, which = f"mails-from#{network}", "from this network"
        _count_sender(context, bucket, key, per_hour, per_day, which, busy)


def count_by_owner(
    context: Context, owner_id: str, network: str | None, key: str, address: str
) -> None:
    """Count a mail against the owner whose device caused it; as `count_from_network`.

    And against the owner's network, if that is known. One network's registrations and the
    invitations of its owners do not count together: neither uses up the other's quota. Only a mail
    that its address has room for counts against the network, because that is shared with others.

    Three requests; up to six with a network.
    """
    settings = context.settings
    per_hour, per_day = settings.mails_per_owner_hour, settings.mails_per_owner_day
    failed = f"too many of your mails {_FAILED}"
    busy = _look(context, owner_id, failed, key, address)
    bucket, which = f"mails-by#{owner_id}", "for this owner"
    _count_sender(context, bucket, key, per_hour, per_day, which, busy)
    if network is not None:
        check_room_for_address(context, key, address)
        per_hour, per_day = settings.mails_per_network_hour, settings.mails_per_network_day
        bucket, which = f"invitations-from#{network}", "from the network that you registered from"
        _count_sender(context, bucket, key, per_hour, per_day, which, busy)


def count_to_address(context: Context, key: str, address: str) -> None:
    """Count a mail against the address that it goes to, and for its domain and the installation.

    One to four requests. All spellings of an address have one quota. Call this after the other
    counts: a sender whose own quota is used up must not use up the quota of somebody else's
    address.
    """
    now_s = context.clock().timestamp()
    decision = context.rate_limiter.allow(
        _to_address(address), key, _of_address(context), now_s, is_likely_first=True, is_moved=True
    )
    if decision.retry_at_s is not None:
        raise _refused(context, _TO_ADDRESS, decision.retry_at_s)
    if decision.is_new:
        context.hour_counters.increment(list(_counters(address)), now_s)


def check_room_for_address(context: Context, key: str, address: str) -> None:
    """Check that `count_to_address` has room for a mail, and count nothing. One request."""
    retry_at_s = context.rate_limiter.retry_at_s(
        _to_address(address), key, _of_address(context), context.clock().timestamp()
    )
    if retry_at_s is not None:
        raise _refused(context, _TO_ADDRESS, retry_at_s)


def send(
    context: Context, claim: Claim, doc: JsonDict, address: str, mail: Mail, field: str
) -> None:
    """Send a document's mail. Two requests.

    Parameters
    ----------
    field : str
        The document's field that has the address.

    Raises
    ------
    Rejected
        If somebody at this address complained, or SES never sends to it.
    """
    if context.suppressions.holds(owner_id_of(address)):
        context.count_mail("unwanted")
        raise Rejected(f"{field}: {UNWANTED}")
    subject, text, html = mail
    try:
        context.mail.send(
            address, subject, text, html, message_id=claim.token, tags=MailRef.of(context, doc).tags
        )
    except AddressRefused as exc:
        context.count_mail("refused")
        raise Rejected(f"{field}: {NOT_SENT}") from exc
    context.count_mail("sent")


def count_failed(context: Context, sender: str, key: str) -> None:
    """Count a mail that did not arrive, or was reported as spam. Two requests.

    Parameters
    ----------
    sender : str
        The `MailRef.sender`.
    key : str
        SES's id of the mail. A notification that comes twice counts once.
    """
    # Also above the limit: a sender of many such mails waits until all but some are a day old.
    quotas, now_s = [Quota(MAX_QUOTA, DAY_S)], context.clock().timestamp()
    context.rate_limiter.allow(_failed_of(sender), key, quotas, now_s)


def _look(context: Context, sender: str, failed: str, key: str, address: str) -> str:
    """Check that not too many of a sender's mails failed, and whether the hour is busy.

    One request.

    Parameters
    ----------
    failed : str
        What to say if too many failed.

    Returns
    -------
    str
        The words for a mail that is refused because the hour is busy; empty if it is not.
    """
    settings, now_s = context.settings, context.clock().timestamp()
    names = _counters(address)
    counts, item = context.hour_counters.read(list(names), now_s, _failed_of(sender))
    retry_at_s = room_at_s(item, key, [Quota(settings.bounces_per_sender_day, DAY_S)], now_s)
    if retry_at_s is not None:
        raise _refused(context, failed, retry_at_s)
    limits = (settings.mails_busy_hour, settings.mails_busy_domain_hour)
    busy = ""
    for (outcome, where), count, limit in zip(names.values(), counts, limits, strict=True):
        if count >= limit:
            context.count_mail(outcome)
            busy = busy or where
    return busy


def _count_sender(
    context: Context,
    bucket: str,
    key: str,
    per_hour: int,
    per_day: int,
    which: str,
    busy: str,
) -> None:
    """Count a mail against its sender, who gets only a small share while the hour is busy."""
    if busy and context.settings.mails_share_hour < per_hour:
        per_hour = context.settings.mails_share_hour
        which += busy
    decision = context.rate_limiter.allow(
        bucket, key, _quotas(per_hour, per_day), context.clock().timestamp(), is_moved=True
    )
    if decision.retry_at_s is not None:
        raise _refused(context, f"{_TOO_MANY} {which}", decision.retry_at_s)


def _counters(address: str) -> dict[str, tuple[str, str]]:
    """Return the counters of a mail: of the installation and of the address's domain.

    Each with the outcome that is counted, and the words for a refused mail, when it is busy.
    """
    domain = hashlib.sha256(address.rpartition("@")[2].encode()).hexdigest()[:32]
    return {
        "all": ("busy", " in this busy hour"),
        f"domain#{domain}": ("busy_domain", " in this busy hour of the address's domain"),
    }


def _refused(context: Context, what: str, retry_at_s: int) -> TooManyMails:
    context.count_mail("over_quota")
    return TooManyMails(what, retry_at_s)


def _network_hash(network: str) -> str:
    """Return a network in the form that a mail's tag may have."""
    return key_hash(network)


def _failed_of(sender: str) -> str:
    """Return the bucket of a sender's mails that failed."""
    return f"bounces-of#{sender}"


def _to_address(address: str) -> str:
    """Return the bucket of an address."""
    return f"mails-to#{owner_id_of(address)}"


def _of_address(context: Context) -> list[Quota]:
    """Return the quotas of an address."""
    settings = context.settings
    return _quotas(settings.mails_per_address_hour, settings.mails_per_address_day)


def _quotas(per_hour: int, per_day: int) -> list[Quota]:
    return [Quota(per_hour, HOUR_S), Quota(per_day, DAY_S)]
