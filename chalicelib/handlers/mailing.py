"""What mails the cloud sends, and how many of them."""

from datetime import UTC, datetime

from chalicelib.claims import Claim
from chalicelib.cloud import Cloud
from chalicelib.docstate import JsonDict, Rejected, generation_of, timestamp
from chalicelib.identity import owner_id
from chalicelib.ledger import Limit
from chalicelib.mail import AddressRefused

HOUR_S, DAY_S = 3600, 24 * 3600


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


def count_by_owner(cloud: Cloud, doc: JsonDict, owner: str) -> None:
    """Count a mail against the owner whose device caused it."""
    settings = cloud.settings
    limits = _limits(settings.mails_per_owner_hour, settings.mails_per_owner_day)
    _count(cloud, f"mails-by#{owner}", doc, limits, "for this owner")


def count_to_address(cloud: Cloud, doc: JsonDict, address: str) -> None:
    """Count a mail against the address that it goes to.

    By the address as it is sent to: spellings that differ in their owner may reach one mailbox.
    Last of all counts: whoever has used up their own budget must not use up their victims'.
    """
    settings = cloud.settings
    limits = _limits(settings.mails_per_address_hour, settings.mails_per_address_day)
    _count(cloud, f"mails-to#{owner_id(address)}", doc, limits, "to this address")


def send(cloud: Cloud, claim: Claim, address: str, mail: tuple[str, str, str], field: str) -> None:
    """Send a mail: subject, text, HTML. One request.

    Parameters
    ----------
    field : str
        The document's field that the address comes from.

    Raises
    ------
    Rejected
        If the mail service will never send to this address.
    """
    subject, text, html = mail
    try:
        cloud.mail.send(address, subject, text, html, message_id=claim.token)
    except AddressRefused as exc:
        raise Rejected(f"{field}: the mail service does not send to this address") from exc


def _count(cloud: Cloud, key: str, doc: JsonDict, limits: list[Limit], which: str) -> None:
    """Count a mail; a retry of it counts once.

    Raises
    ------
    TooManyMails
        If there were too many of late; the reason says when there is room again.
    """
    member = f"{doc['_id']}.{generation_of(doc)}"
    if not cloud.in_control:
        member = f"{cloud.database.name}/{member}"  # ids are unique within a database only
    retry_at_s = cloud.ledger.admit(key, member, limits, cloud.clock().timestamp()).retry_at_s
    if retry_at_s is not None:
        raise TooManyMails(which, retry_at_s)


def _limits(per_hour: int, per_day: int) -> list[Limit]:
    return [Limit(per_hour, HOUR_S), Limit(per_day, DAY_S)]
