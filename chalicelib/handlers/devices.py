"""The transitions of devices: new → confirming → confirmed → active → revoking → revoked."""

from datetime import timedelta

from chalicelib.aws.claims import Claim, claim_key
from chalicelib.couch import NotFound
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.credentials import TokenUsed
from chalicelib.domain.device import CheckedDevice, parse_device
from chalicelib.domain.documents import JsonDict, Rejected, generation_of, timestamp
from chalicelib.emails import sending
from chalicelib.emails.sending import HOUR_S
from chalicelib.engine.context import Context
from chalicelib.handlers import answers, logins, owners
from chalicelib.handlers.registry import registry

# The states that can follow ``confirming``, and what causes each of them.
NEXT_STATES = {
    "confirmed": "a right confirm document",
    "rejected": "five wrong codes, or this was not me",
    "expired": "a click after its time, or the daily sweep",
    "undeliverable": "the mail bounced, or somebody complained of it",
}


@registry.unsafe("device", "new", to="confirming")
def request_confirmation(doc: JsonDict, context: Context, claim: Claim) -> JsonDict:
    """Mail the owner a link to confirm the device → ``confirming``.

    Raises
    ------
    Rejected
        If a field is missing or wrong, or a quota for mails is used up.
    """
    device = _checked(doc, context)
    sending.count_from_network(context, doc, claim.pk, device.address)
    sending.count_to_address(context, claim.pk, device.address)
    mail = _mail(device, generation_of(doc), context)
    sending.send(context, claim, doc, device.address, mail, field="owner")
    now = context.clock()
    expires_at = now + timedelta(seconds=context.settings.confirm_ttl_s)
    return {
        "state": "confirming",
        "requested_at": timestamp(now),
        "confirm_expires_at": timestamp(expires_at),
    }


def mail_key(context: Context, doc: JsonDict) -> str:
    """Return the key of the claim under which a registration's mail will be sent."""
    transition = registry.transition("device", "new")
    name = context.settings.control_db
    return claim_key(name, doc["_id"], transition.state, transition.idempotency_key(doc))


def remove_late_login(doc: JsonDict, context: Context) -> None:
    """Remove a login that a late run created after the device had been revoked.

    A: reads confirmed ........................ creates the login, shows the device
    B:                   revoked, with no login to remove
    """
    if context.in_control_database and doc.get("state") in ("revoking", "revoked"):
        logins.remove_login(context.server, doc, context.settings.device_auth)
        _show_revoked(doc, context, doc.get("revoked_at", timestamp(context.clock())))


@registry.safe("device", "confirmed", to="active", on_stale=remove_late_login)
def activate(doc: JsonDict, context: Context) -> JsonDict:
    """Create the owner's control database and the device's login → ``active``.

    Raises
    ------
    Rejected
        ``token_used`` if the login's name, the key or the token belongs to another device.
    """
    device = _checked(doc, context, is_mailed=True)
    database = owners.ensure_database(context, doc["owner"], doc.get("network"))
    try:
        logins.create_login(context, device)
    except TokenUsed as exc:
        raise Rejected(f"token_used: {exc}; register again with new credentials") from exc
    changes = {"state": "active", "activated_at": timestamp(context.clock())}
    owners.show_device(database, doc, changes)
    return changes


@registry.safe("device", "revoking", to="revoked")
def revoke(doc: JsonDict, context: Context) -> JsonDict | None:
    """Remove the device's login → ``revoked``, in both control databases.

    An owner asks for it in the owner's control database. The transition of the device's own
    document, in `<CONTROL_DB>`, removes the login.

    Raises
    ------
    Rejected
        If the owner has no such device, or it is in a state from which it cannot be revoked.
    ForeignLogin
        If the login of the device's name may be somebody else's. The device stays ``revoking``.
    """
    if not context.in_control_database:
        return _ask_to_revoke(doc, context)
    logins.remove_login(context.server, doc, context.settings.device_auth)
    revoked_at = timestamp(context.clock())
    _show_revoked(doc, context, revoked_at)
    return {"state": "revoked", "revoked_at": revoked_at}


def answer(context: Context, device: JsonDict, changes: JsonDict) -> JsonDict:
    """Apply an answer to a registration that still waits for its owner; see `answers.answer`."""
    return answers.answer(context.database, device, "confirming", changes)


def _checked(doc: JsonDict, context: Context, *, is_mailed: bool = False) -> CheckedDevice:
    if not context.in_control_database:
        raise Rejected("devices are registered in the control database, by the cloud alone")
    return parse_device(doc, context.settings.device_auth, is_mailed=is_mailed)


def _show_revoked(doc: JsonDict, context: Context, revoked_at: str) -> None:
    shown_in = owners.database_of(context, owner_id_of(str(doc.get("owner"))))
    changes = {"state": "revoked", "revoked_at": revoked_at}
    owners.change_shown_device(shown_in, doc["_id"], changes)


def _ask_to_revoke(doc: JsonDict, context: Context) -> JsonDict | None:
    """Move the device's own document to ``revoking``.

    The transition of that document then updates both databases.
    """

    def change(device: JsonDict) -> JsonDict:
        if (
            device.get("type") != "device"
            or owner_id_of(str(device.get("owner"))) != context.owner_id
        ):
            raise Rejected("you have no such device")
        may_go = device.get("state") in ("confirmed", "active")
        return {**device, "state": "revoking"} if may_go else device

    try:
        device = context.control_database.update(doc["_id"], change)
    except NotFound:
        raise Rejected("you have no such device") from None
    if device["state"] == "revoked":
        return {"state": "revoked", "revoked_at": device.get("revoked_at")}
    if device["state"] != "revoking":
        raise Rejected(f"a device in state {device['state']} cannot be revoked")
    return None


def _mail(device: CheckedDevice, generation: int, context: Context) -> sending.Mail:
    # Imported here, because only the Lambdas that send mail or show pages need templates.
    from chalicelib.emails import texts

    token = context.confirmation_links.sign(device.device_id, generation)
    return texts.confirmation(
        context.page_url("confirm", token),
        device.name,
        hours=context.settings.confirm_ttl_s / HOUR_S,
    )
