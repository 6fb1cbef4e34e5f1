"""The page behind the link in a device's mail: GET looks and changes nothing, POST answers."""

from chalicelib.couch import Conflict, NotFound
from chalicelib.domain.device import DEFAULT_NAME
from chalicelib.domain.device_codes import DEVICE_CODE_LENGTHS, plain_device_code
from chalicelib.domain.documents import JsonDict, generation_of, timestamp
from chalicelib.domain.link_status import Link, link_of
from chalicelib.domain.names import confirm_id
from chalicelib.engine.context import Context
from chalicelib.handlers import confirmations
from chalicelib.web.answers import (
    ANSWERED,
    COMMON_WORDS,
    STEP_ANSWERED,
    About,
    Closings,
    ending,
    is_overdue,
    or_try_again,
    read_form,
    wait,
)
from chalicelib.web.pages import Page, page, see_other

_GOES_ON = "the device goes on by itself"
_CLOSINGS = Closings(
    {
        **COMMON_WORDS,
        Link.EXPIRED: (
            "This link has expired",
            "Nobody confirmed the device in time. Ask for another mail on the device.",
        ),
        Link.REPLACED: (
            "There is a newer link",
            "The device asked again, and a newer mail is on its way. "
            "Use the link in the newest mail.",
        ),
        Link.REJECTED: (
            "This registration was refused",
            "This device will not get in. "
            "If it is yours after all, start the registration again on the device.",
        ),
        Link.UNDELIVERABLE: (
            "This link does not work any more",
            "The mail with it came back, or somebody reported it as unwanted. "
            "If the device is yours, ask for another mail on the device.",
        ),
        Link.USED: (
            "This link has been used",
            "The device was confirmed before. There is nothing left to do here.",
        ),
        Link.FAILED: (
            "Your device could not be activated",
            "Ask for another mail on the device. "
            "If that does not help, start the registration again on the device.",
        ),
    },
    reader="the maker of the device’s app",
)


@or_try_again
def show(context: Context, code: str, step: str | None) -> Page:
    """What a link's page says now. Changes nothing: mail scanners follow links.

    One request to CouchDB; two while the answer is under way.

    Parameters
    ----------
    step : str or None
        "answered" where the browser comes from giving its answer.
    """
    device, worth = _look_up(context, code)
    if device is None or worth is Link.UNKNOWN:
        return _CLOSINGS.page(Link.UNKNOWN)
    if worth is Link.EARLY:
        return wait("One moment", _about(device), _GOES_ON)
    if step != STEP_ANSWERED or worth not in (Link.OPEN, Link.USED):
        return _form(device) if worth is Link.OPEN else _CLOSINGS.page(worth, device)
    if device["state"] == "active":
        return page(200, "active.html", title="Your device is active", about=_about(device))
    if device["state"] in ("confirming", "confirmed"):
        return _under_way(context, device)
    return _CLOSINGS.page(worth, device)


@or_try_again
def answer(context: Context, code: str, body: bytes | str) -> Page:
    """Take the owner's answer: the device code, or "this wasn't me".

    Parameters
    ----------
    body : bytes or str
        The form as posted: ``device_code``; or ``answer`` = "not-me".
    """
    form = read_form(body)
    device, worth = _look_up(context, code)
    if device is not None and worth is Link.EXPIRED:
        confirmations.expire(context, device)
    if device is None or worth is not Link.OPEN:
        return _CLOSINGS.page(worth, device)
    if form.get("answer") == "not-me":
        return _not_me(context, device)
    return _compare(context, device, code, form.get("device_code", ""))


def _compare(context: Context, device: JsonDict, code: str, device_code: str) -> Page:
    length = len(plain_device_code(device_code))
    if not DEVICE_CODE_LENGTHS.start <= length < DEVICE_CODE_LENGTHS.stop:
        return _form(device, 422, "Type the code that your device shows.")
    left = confirmations.remaining_tries(context, device, device_code)
    if left is None:
        _click(context, device, code, device_code)
        return see_other(ANSWERED)
    if left == 0:
        text = "The device was refused. If it is yours, start the registration again on the device."
        return ending(403, "Too many wrong codes", text)
    tries = "1 try is" if left == 1 else f"{left} tries are"
    problem = f"This is not the code that your device shows. {tries} left."
    return _form(device, 403, problem)


def _click(context: Context, device: JsonDict, code: str, device_code: str) -> None:
    """Write the confirm document; its well-known id makes a second click conflict.

    One that ended in error (it came another way, with a wrong code) gives way to the right one.
    """
    doc = {
        "_id": confirm_id(device["_id"], generation_of(device)),
        "type": "confirm",
        "state": "clicked",
        "confirm_code": code,
        "device_code": device_code,
        "created_at": timestamp(context.clock()),
    }
    try:
        context.database.put(doc)
    except Conflict:
        clicked = context.database.get(doc["_id"])
        if clicked.get("state") == "error":
            context.database.put({**doc, "_rev": clicked["_rev"]})


def _not_me(context: Context, device: JsonDict) -> Page:
    after = confirmations.reject(context, device, "the owner said: this wasn't me")
    if after["state"] != "rejected":
        return _CLOSINGS.page(link_of(after, generation_of(device), context.clock()), after)
    text = "Thank you. The device was refused and did not get to see any of your data."
    return ending(200, "Registration refused", text)


def _under_way(context: Context, device: JsonDict) -> Page:
    """The answer was given, the device is not active yet."""
    answered_at = device.get("confirmed_at")
    if device["state"] == "confirming":
        try:
            confirm = context.database.get(confirm_id(device["_id"], generation_of(device)))
        except NotFound:
            return _form(device)
        if confirm.get("state") == "error":
            return _CLOSINGS.page(Link.FAILED, confirm)
        answered_at = confirm.get("created_at")
    slow = is_overdue(context.clock(), answered_at)
    return wait("Activating your device", _about(device), _GOES_ON, is_slow=slow)


def _look_up(context: Context, code: str) -> tuple[JsonDict | None, Link]:
    link = context.links.verify(code)
    device = context.database.find_one(link.subject) if link else None
    if link is None or device is None:
        return None, Link.UNKNOWN
    return device, link_of(device, link.generation, context.clock())


def _form(device: JsonDict, status: int = 200, problem: str | None = None) -> Page:
    values = {"about": _about(device), "problem": problem}
    return page(status, "confirm_form.html", title="Confirm your device", **values)


def _about(device: JsonDict) -> About:
    facts = {"Device": str(device.get("name", DEFAULT_NAME))}
    return About(facts, "Requested", device.get("requested_at"))
