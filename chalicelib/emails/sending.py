"""Sends the cloud's mails, and counts them against quotas."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from chalicelib.aws.claims import Claim
from chalicelib.aws.rate_limiter import Quota
from chalicelib.aws.ses import AddressRefused
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict, Rejected, generation_of, timestamp
from chalicelib.engine.context import Context

HOUR_S, DAY_S = 3600, 24 * 3600

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
    """

    doc_id: str
    generation: int
    owner_id: str | None

    @classmethod
    def of(cls, context: Context, doc: JsonDict) -> Self:
        """Build the reference to a document in the context's database."""
        return cls(doc["_id"], generation_of(doc), context.owner_id)

    @classmethod
    def parse(cls, tags: JsonDict) -> Self | None:
        """Read the tags of a notification, each a list; return None if they are not ours."""
        values = {name: str(value[0]) for name, value in tags.items() if value}
        generation = values.get("generation", "")
        if "doc" not in values or not (generation.isascii() and generation.isdigit()):
            return None
        return cls(values["doc"], int(generation), values.get("owner"))

    @property
    def tags(self) -> dict[str, str]:
        """Return the reference as tags for a mail."""
        owner_id = {"owner": self.owner_id} if self.owner_id else {}
        return {"doc": self.doc_id, "generation": str(self.generation), **owner_id}


class TooManyMails(Rejected):
    """Raised when a quota is used up.

    `retry_at_s` is the time when there is room again, in seconds since 1970.
    """

    def __init__(self, which: str, retry_at_s: int) -> None:
        retry_at = timestamp(datetime.fromtimestamp(retry_at_s, UTC))
        super().__init__(f"too many mails {which}; ask again after {retry_at}")
        self.retry_at_s = retry_at_s


def count_from_network(context: Context, doc: JsonDict) -> None:
    """Count a mail against the network that its document came from, if that is known."""
    settings, network = context.settings, doc.get("network")
    if isinstance(network, str):
        quotas = _quotas(settings.mails_per_network_hour, settings.mails_per_network_day)
        _count(context, f"mails-from#{network}", doc, quotas, "from this network")


def count_by_owner(context: Context, doc: JsonDict, owner_id: str, about: str) -> None:
    """Count a mail against the owner whose device caused it.

    Parameters
    ----------
    about : str
        Distinguishes mails of the same document and generation: another guest is another mail.
    """
    settings = context.settings
    quotas = _quotas(settings.mails_per_owner_hour, settings.mails_per_owner_day)
    _count(context, f"mails-by#{owner_id}", doc, quotas, "for this owner", about)


def count_to_address(context: Context, doc: JsonDict, address: str, about: str = "") -> None:
    """Count a mail against the address that it goes to; `about` as in `count_by_owner`.

    All spellings of an address have one quota. Call this after the other counts: a sender whose own
    quota is used up must not use up the quota of somebody else's address.
    """
    settings = context.settings
    quotas = _quotas(settings.mails_per_address_hour, settings.mails_per_address_day)
    _count(
        context,
        f"mails-to#{owner_id_of(address)}",
        doc,
        quotas,
        "to this address",
        about,
        is_likely_first=True,
    )


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
        raise Rejected(f"{field}: somebody at this address wants no mail from here")
    subject, text, html = mail
    try:
        context.mail.send(
            address, subject, text, html, message_id=claim.token, tags=MailRef.of(context, doc).tags
        )
    except AddressRefused as exc:
        context.count_mail("refused")
        raise Rejected(f"{field}: the mail service does not send to this address") from exc
    context.count_mail("sent")


def _count(
    context: Context,
    bucket: str,
    doc: JsonDict,
    quotas: list[Quota],
    which: str,
    about: str = "",
    *,
    is_likely_first: bool = False,
) -> None:
    """Count a mail; a retry of the same mail counts once.

    Raises
    ------
    TooManyMails
        If a quota is used up; the reason says when there is room again.
    """
    key = f"{doc['_id']}.{generation_of(doc)}{about}"
    if not context.in_control_database:
        key = f"{context.database.name}/{key}"  # two databases may have the same document ids
    decision = context.rate_limiter.allow(
        bucket, key, quotas, context.clock().timestamp(), is_likely_first=is_likely_first
    )
    if decision.retry_at_s is not None:
        context.count_mail("over_quota")
        raise TooManyMails(which, decision.retry_at_s)


def _quotas(per_hour: int, per_day: int) -> list[Quota]:
    return [Quota(per_hour, HOUR_S), Quota(per_day, DAY_S)]
