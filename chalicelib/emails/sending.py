"""What mails the cloud sends, and how many of them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from chalicelib.aws.claims import Claim
from chalicelib.aws.rate_limiter import Limit
from chalicelib.aws.ses import AddressRefused
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict, Rejected, generation_of, timestamp
from chalicelib.engine.context import Cloud

HOUR_S, DAY_S = 3600, 24 * 3600

# Subject, text, HTML.
Mail = tuple[str, str, str]


@dataclass(frozen=True)
class MailRef:
    """Which document a mail was about; it travels in the mail's tags, and comes back with a bounce.

    Attributes
    ----------
    owner : str or None
        Whose control database the document is in; None for the control database.
    """

    doc_id: str
    generation: int
    owner: str | None

    @classmethod
    def of(cls, cloud: Cloud, doc: JsonDict) -> Self:
        """The reference to the document at hand."""
        return cls(doc["_id"], generation_of(doc), cloud.owner)

    @classmethod
    def parse(cls, tags: JsonDict) -> Self | None:
        """Read the tags of a notification, each a list; None if they are none of ours."""
        values = {name: str(value[0]) for name, value in tags.items() if value}
        generation = values.get("generation", "")
        if "doc" not in values or not (generation.isascii() and generation.isdigit()):
            return None
        return cls(values["doc"], int(generation), values.get("owner"))

    @property
    def tags(self) -> dict[str, str]:
        """The reference as tags of a mail."""
        owner = {"owner": self.owner} if self.owner else {}
        return {"doc": self.doc_id, "generation": str(self.generation), **owner}


class TooManyMails(Rejected):
    """There were too many mails of late; `retry_at_s` says when there is room, since 1970."""

    def __init__(self, which: str, retry_at_s: int) -> None:
        retry_at = timestamp(datetime.fromtimestamp(retry_at_s, UTC))
        super().__init__(f"too many mails {which}; ask again after {retry_at}")
        self.retry_at_s = retry_at_s


def count_from_network(cloud: Cloud, doc: JsonDict) -> None:
    """Count a mail against the network that its document came from, if the mailbox wrote one."""
    settings, network = cloud.settings, doc.get("network")
    if isinstance(network, str):
        limits = _limits(settings.mails_per_network_hour, settings.mails_per_network_day)
        _count(cloud, f"mails-from#{network}", doc, limits, "from this network")


def count_by_owner(cloud: Cloud, doc: JsonDict, owner: str, about: str) -> None:
    """Count a mail against the owner whose device caused it.

    Parameters
    ----------
    about : str
        What makes it another mail, beside the document and its generation.
    """
    settings = cloud.settings
    limits = _limits(settings.mails_per_owner_hour, settings.mails_per_owner_day)
    _count(cloud, f"mails-by#{owner}", doc, limits, "for this owner", about)


def count_to_address(cloud: Cloud, doc: JsonDict, address: str, about: str = "") -> None:
    """Count a mail against the address that it goes to; `about` as in `count_by_owner`.

    By the address as it is sent to: spellings that differ in their owner may reach one mailbox.
    Last of all counts: whoever has used up their own budget must not use up their victims'.
    """
    settings = cloud.settings
    limits = _limits(settings.mails_per_address_hour, settings.mails_per_address_day)
    _count(
        cloud,
        f"mails-to#{owner_id_of(address)}",
        doc,
        limits,
        "to this address",
        about,
        is_likely_first=True,
    )


def send(cloud: Cloud, claim: Claim, doc: JsonDict, address: str, mail: Mail, field: str) -> None:
    """Send a document's mail. Two requests.

    Parameters
    ----------
    field : str
        The document's field that the address comes from.

    Raises
    ------
    Rejected
        If somebody at this address complained, or the mail service will never send to it.
    """
    if cloud.suppressions.holds(owner_id_of(address)):
        cloud.count_mail("unwanted")
        raise Rejected(f"{field}: somebody at this address wants no mail from here")
    subject, text, html = mail
    try:
        cloud.mail.send(
            address, subject, text, html, message_id=claim.token, tags=MailRef.of(cloud, doc).tags
        )
    except AddressRefused as exc:
        cloud.count_mail("refused")
        raise Rejected(f"{field}: the mail service does not send to this address") from exc
    cloud.count_mail("sent")


def _count(
    cloud: Cloud,
    key: str,
    doc: JsonDict,
    limits: list[Limit],
    which: str,
    about: str = "",
    *,
    is_likely_first: bool = False,
) -> None:
    """Count a mail; a retry of it counts once.

    Raises
    ------
    TooManyMails
        If there were too many of late; the reason says when there is room again.
    """
    member = f"{doc['_id']}.{generation_of(doc)}{about}"
    if not cloud.in_control:
        member = f"{cloud.database.name}/{member}"  # ids are unique within a database only
    admission = cloud.ledger.admit(
        key, member, limits, cloud.clock().timestamp(), is_likely_first=is_likely_first
    )
    if admission.retry_at_s is not None:
        cloud.count_mail("over_budget")
        raise TooManyMails(which, admission.retry_at_s)


def _limits(per_hour: int, per_day: int) -> list[Limit]:
    return [Limit(per_hour, HOUR_S), Limit(per_day, DAY_S)]
