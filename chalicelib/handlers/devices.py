"""A device's way: new → confirming → confirmed → active."""

from datetime import UTC, datetime, timedelta

from chalicelib import identity, registration
from chalicelib.claims import Claim
from chalicelib.cloud import Cloud
from chalicelib.couch import JsonDict
from chalicelib.credentials import TokenUsed
from chalicelib.docstate import Rejected, generation_of, timestamp
from chalicelib.handlers import logins
from chalicelib.handlers.registry import control
from chalicelib.ledger import Limit
from chalicelib.mail import AddressRefused
from chalicelib.registration import Registration

HOUR_S, DAY_S = 3600, 24 * 3600

# Where a registration goes from ``confirming``, and on whose word.
ANSWERS = {
    "confirmed": "a right confirm document",
    "rejected": "five wrong codes, or this was not me",
    "expired": "a click after its time",
}


@control.unsafe("device", "new", to="confirming")
def request_confirmation(doc: JsonDict, cloud: Cloud, claim: Claim) -> JsonDict:
    """Mail the owner a link to confirm the device → ``confirming``.

    Raises
    ------
    Rejected
        If a field is missing or wrong, or there were too many mails to this address of late.
    """
    device = _checked(doc, cloud)
    _keep_mail_budget(doc, device, cloud)
    _send_link(device, generation_of(doc), cloud, claim)
    now = cloud.clock()
    expires_at = now + timedelta(seconds=cloud.settings.confirm_ttl_s)
    return {
        "state": "confirming",
        "requested_at": timestamp(now),
        "confirm_expires_at": timestamp(expires_at),
    }


@control.safe("device", "confirmed", to="active")
def activate(doc: JsonDict, cloud: Cloud) -> JsonDict:
    """Make the owner's control database and the device's login → ``active``.

    Raises
    ------
    Rejected
        ``token_used`` if the login's name, the key or the token belongs to another device.
    """
    device = _checked(doc, cloud)
    logins.create_owner_database(cloud, device.owner)
    try:
        logins.create_login(cloud, device)
    except TokenUsed as exc:
        raise Rejected(f"token_used: {exc}; register again with new credentials") from exc
    return {"state": "active", "activated_at": timestamp(cloud.clock())}


def answer(cloud: Cloud, device_id: str, generation: int, changes: JsonDict) -> JsonDict:
    """Move a registration on that waits for its owner's answer; leave any other as it is.

    A request to read it and one to write it; more if others write it at the same time.

    Returns
    -------
    dict
        The device's document as it is now, whoever wrote it.
    """

    def change(device: JsonDict) -> JsonDict:
        waits = device.get("state") == "confirming" and generation_of(device) == generation
        return {**device, **changes} if waits else device

    return cloud.database.update(device_id, change)


def _checked(doc: JsonDict, cloud: Cloud) -> Registration:
    if not cloud.in_control:
        raise Rejected("devices are registered in the control database, by the cloud alone")
    return registration.check(doc, cloud.settings.device_auth)


def _keep_mail_budget(doc: JsonDict, device: Registration, cloud: Cloud) -> None:
    """Count this mail against its network and its address; a retry of it counts once.

    The network comes first: a flood from one network must not use up its victims' own budgets.
    """
    settings = cloud.settings
    network = doc.get("network")  # written by the mailbox, which knows it
    if isinstance(network, str):
        limits = _limits(settings.mails_per_network_hour, settings.mails_per_network_day)
        _count_mail(cloud, f"mails-from#{network}", doc, limits, "from this network")
    limits = _limits(settings.mails_per_address_hour, settings.mails_per_address_day)
    # By the address as it is sent to: spellings that differ in their owner may reach one mailbox.
    mailbox = identity.owner_id(device.address)
    _count_mail(cloud, f"mails-to#{mailbox}", doc, limits, "to this owner's address")


def _count_mail(cloud: Cloud, key: str, doc: JsonDict, limits: list[Limit], which: str) -> None:
    member = f"{doc['_id']}.{generation_of(doc)}"
    retry_at_s = cloud.ledger.admit(key, member, limits, cloud.clock().timestamp()).retry_at_s
    if retry_at_s is not None:
        retry_at = timestamp(datetime.fromtimestamp(retry_at_s, UTC))
        raise Rejected(f"too many mails {which}; register again after {retry_at}")


def _limits(per_hour: int, per_day: int) -> list[Limit]:
    return [Limit(per_hour, HOUR_S), Limit(per_day, DAY_S)]


def _send_link(device: Registration, generation: int, cloud: Cloud, claim: Claim) -> None:
    # Imported here: of all Lambdas, only those that send mail or show pages need templates.
    from chalicelib.web import mails

    code = cloud.links.sign(device.device_id, generation)
    subject, text, html = mails.confirmation(
        f"{cloud.settings.public_url.rstrip('/')}/confirm/{code}",
        device.name,
        hours=cloud.settings.confirm_ttl_s / HOUR_S,
    )
    try:
        cloud.mail.send(device.address, subject, text, html, message_id=claim.token)
    except AddressRefused as exc:
        raise Rejected("owner: the mail service does not send to this address") from exc
