"""A click's way: clicked → used; and the rule for the device codes that people type."""

from chalicelib.aws.rate_limiter import Limit
from chalicelib.domain import device_codes
from chalicelib.domain.documents import JsonDict, Rejected, generation_of, timestamp
from chalicelib.domain.link_status import WRONG_CODES, Link, link_of
from chalicelib.emails.sending import DAY_S
from chalicelib.engine.context import Cloud
from chalicelib.handlers import devices
from chalicelib.handlers.registry import control

# Why a click is in error, where the worth of its link does not say it in a word.
_REASONS = {
    Link.EARLY: "the mail is still being sent",
    Link.UNKNOWN: "no matching device",
    Link.REPLACED: "replaced by a newer link",
    Link.USED: "already used",
    Link.UNDELIVERABLE: "the mail came back",
    Link.FAILED: "the device could not be activated",
}


@control.safe("confirm", "clicked", to="used")
def use_confirmation(doc: JsonDict, cloud: Cloud) -> JsonDict:
    """Confirm the device that the code names → ``used``; the device goes on by itself.

    The route has checked all this; here it is checked for documents that came another way.

    Raises
    ------
    Rejected
        With the reason: no matching device, expired, already used, wrong device code …
    """
    if not cloud.in_control:
        raise Rejected("devices are confirmed in the control database, by the cloud alone")
    device_code = _text(doc, "device_code")
    link = cloud.links.verify(_text(doc, "confirm_code"))
    device = cloud.database.find_one(link.subject) if link else None
    if link is None or device is None:
        raise _refusal(Link.UNKNOWN)
    if device.get("confirmed_by") == doc["_id"]:
        return {"state": "used"}  # a run before this one came as far as the device
    worth = link_of(device, link.generation, cloud.clock())
    if worth is Link.EXPIRED:
        expire(cloud, device)
    if worth is not Link.OPEN:
        raise _refusal(worth)
    left = remaining_tries(cloud, device, device_code)
    if left is not None:
        raise Rejected("wrong device code" if left else "too many wrong device codes")
    return _confirm(cloud, device, doc["_id"])


def remaining_tries(cloud: Cloud, device: JsonDict, device_code: str) -> int | None:
    """Compare a typed device code with the device's; the last wrong one rejects the registration.

    The code is counted before it is compared, so no number of clicks at once tries more than
    `WRONG_CODES` of them. What is counted is the code: typing the same one again is no new try.

    Returns
    -------
    int or None
        None if the code is right; else how many more may be tried, 0 if the device is rejected now.
    """
    device_id, generation = device["_id"], generation_of(device)
    right = cloud.links.guess_ids(device_id, device["device_code"])
    tries = cloud.ledger.admit(
        f"tries#{cloud.database.name}#{device_id}#{generation}",
        cloud.links.guess_ids(device_id, device_code)[0],
        [Limit(WRONG_CODES, cloud.settings.confirm_ttl_s + DAY_S)],
        cloud.clock().timestamp(),
        is_likely_first=True,
    )
    if tries.admitted and device_codes.same_device_code(device_code, device["device_code"]):
        return None
    left = WRONG_CODES - len(tries.members.difference(right))
    if left <= 0:
        reject(cloud, device, "too many wrong device codes")
    return max(left, 0)


def reject(cloud: Cloud, device: JsonDict, reason: str) -> JsonDict:
    """Refuse a registration for good, if it still waits; returns the device's document as it is."""
    changes = {"state": "rejected", "rejected_reason": reason}
    return devices.answer(cloud, device, changes)


def expire(cloud: Cloud, device: JsonDict) -> JsonDict:
    """Mark a registration whose time is over; returns the device's document as it is now."""
    return devices.answer(cloud, device, {"state": "expired"})


def _confirm(cloud: Cloud, device: JsonDict, confirm_doc_id: str) -> JsonDict:
    changes = {
        "state": "confirmed",
        "confirmed_at": timestamp(cloud.clock()),
        "confirmed_by": confirm_doc_id,
    }
    answered = devices.answer(cloud, device, changes)
    if answered.get("confirmed_by") != confirm_doc_id:
        raise _refusal(link_of(answered, generation_of(device), cloud.clock()))
    return {"state": "used"}


def _refusal(worth: Link) -> Rejected:
    return Rejected(_REASONS.get(worth, worth))


def _text(doc: JsonDict, field: str) -> str:
    value = doc.get(field)
    if not isinstance(value, str):
        raise Rejected(f"{field} must be a text")
    return value
