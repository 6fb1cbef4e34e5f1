"""The transition of confirm documents: clicked → used; and the check of device codes."""

from chalicelib.aws.rate_limiter import Quota
from chalicelib.domain import device_codes
from chalicelib.domain.documents import JsonDict, Rejected, generation_of, timestamp
from chalicelib.domain.link_status import WRONG_CODES, LinkStatus, link_status
from chalicelib.emails.sending import DAY_S
from chalicelib.engine.context import Context
from chalicelib.handlers import devices
from chalicelib.handlers.registry import registry

# The reasons why a confirm document goes to error. Other statuses are their own reason.
_REASONS = {
    LinkStatus.EARLY: "the mail is still being sent",
    LinkStatus.UNKNOWN: "no matching device",
    LinkStatus.REPLACED: "replaced by a newer link",
    LinkStatus.USED: "already used",
    LinkStatus.UNDELIVERABLE: "the mail came back",
    LinkStatus.FAILED: "the device could not be activated",
}


@registry.safe("confirm", "clicked", to="used")
def use_confirmation(doc: JsonDict, context: Context) -> JsonDict:
    """Confirm the device that the link token names → ``used``.

    The device's own transition then makes it active. The page (web/confirm.py) has checked the same
    things, but a document may have come another way.

    Raises
    ------
    Rejected
        With the reason: no matching device, expired, already used, wrong device code …
    """
    if not context.in_control_database:
        raise Rejected("devices are confirmed in the control database, by the cloud alone")
    device_code = _text(doc, "device_code")
    link = context.confirmation_links.verify(_text(doc, "confirm_code"))
    device = context.database.find_one(link.subject) if link else None
    if link is None or device is None:
        raise _refusal(LinkStatus.UNKNOWN)
    if device.get("confirmed_by") == doc["_id"]:
        return {"state": "used"}  # an earlier run has already confirmed the device
    status = link_status(device, link.generation, context.clock())
    if status is LinkStatus.EXPIRED:
        expire(context, device)
    if status is not LinkStatus.OPEN:
        raise _refusal(status)
    remaining = check_device_code(context, device, device_code)
    if remaining is not None:
        raise Rejected("wrong device code" if remaining else "too many wrong device codes")
    return _confirm(context, device, doc["_id"])


def check_device_code(context: Context, device: JsonDict, device_code: str) -> int | None:
    """Compare a typed device code with the device's; reject the device after too many wrong ones.

    The code is counted before it is compared. So even simultaneous clicks cannot try more than
    `WRONG_CODES` codes. Different codes are counted: typing the same one again is not a new try.

    Returns
    -------
    int or None
        None if the code is right. Otherwise how many more may be tried; 0 if the device is rejected
        now.
    """
    device_id, generation = device["_id"], generation_of(device)
    right = context.confirmation_links.device_code_ids(device_id, device["device_code"])
    tries = context.rate_limiter.allow(
        f"tries#{context.database.name}#{device_id}#{generation}",
        context.confirmation_links.device_code_ids(device_id, device_code)[0],
        [Quota(WRONG_CODES, context.settings.confirm_ttl_s + DAY_S)],
        context.clock().timestamp(),
        is_likely_first=True,
    )
    if tries.allowed and device_codes.same_device_code(device_code, device["device_code"]):
        return None
    remaining = WRONG_CODES - tries.count_others(right)
    if remaining <= 0:
        reject(context, device, "too many wrong device codes")
    return max(remaining, 0)


def reject(context: Context, device: JsonDict, reason: str) -> JsonDict:
    """Reject a registration, if it still waits; return the current device document."""
    changes = {"state": "rejected", "rejected_reason": reason}
    return devices.answer(context, device, changes)


def expire(context: Context, device: JsonDict) -> JsonDict:
    """Expire a registration, if it still waits; return the current device document."""
    return devices.answer(context, device, {"state": "expired"})


def _confirm(context: Context, device: JsonDict, confirm_doc_id: str) -> JsonDict:
    changes = {
        "state": "confirmed",
        "confirmed_at": timestamp(context.clock()),
        "confirmed_by": confirm_doc_id,
    }
    answered = devices.answer(context, device, changes)
    if answered.get("confirmed_by") != confirm_doc_id:
        raise _refusal(link_status(answered, generation_of(device), context.clock()))
    return {"state": "used"}


def _refusal(status: LinkStatus) -> Rejected:
    return Rejected(_REASONS.get(status, status))


def _text(doc: JsonDict, field: str) -> str:
    value = doc.get(field)
    if not isinstance(value, str):
        raise Rejected(f"{field} must be a text")
    return value
