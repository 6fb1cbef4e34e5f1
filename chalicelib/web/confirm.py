"""The page behind the link in a confirmation mail: GET changes nothing, POST takes the answer."""

from chalicelib.couch import Conflict, NotFound
from chalicelib.domain.device import DEFAULT_NAME
from chalicelib.domain.device_codes import DEVICE_CODE_LENGTHS, plain_device_code
from chalicelib.domain.documents import JsonDict, generation_of, timestamp
from chalicelib.domain.link_status import LinkStatus, link_status
from chalicelib.domain.names import confirm_id
from chalicelib.engine.context import Context
from chalicelib.handlers import confirmations
from chalicelib.web.link_pages import (
    ANSWERED,
    COMMON_WORDS,
    STEP_ANSWERED,
    Summary,
    TerminalPages,
    is_overdue,
    read_form,
    terminal_page,
    wait,
)
from chalicelib.web.pages import Page, page, see_other

_GOES_ON = "the device goes on by itself"
_TERMINAL_PAGES = TerminalPages(
    {
        **COMMON_WORDS,
        LinkStatus.EXPIRED: (
            "This link has expired",
            "Nobody confirmed the device in time. Ask for another mail on the device.",
        ),
        LinkStatus.REPLACED: (
            "There is a newer link",
            "The device asked again, and a newer mail is on its way. "
            "Use the link in the newest mail.",
        ),
        LinkStatus.REJECTED: (
            "This registration was refused",
            "This device will not get in. "
            "If it is yours after all, start the registration again on the device.",
        ),
        LinkStatus.UNDELIVERABLE: (
            "This link does not work any more",
            "The mail with it came back, or somebody reported it as unwanted. "
            "If the device is yours, ask for another mail on the device.",
        ),
        LinkStatus.USED: (
            "This link has been used",
            "The device was confirmed before. There is nothing left to do here.",
        ),
        LinkStatus.FAILED: (
            "Your device could not be activated",
            "Ask for another mail on the device. "
            "If that does not help, start the registration again on the device.",
        ),
    },
    reader="the maker of the device’s app",
)


def show(context: Context, token: str, step: str | None) -> Page:
    """Return the page for the link's current status. Changes nothing: mail scanners open links.

    One request to CouchDB; two while an answer is being handled.

    Parameters
    ----------
    step : str or None
        "answered" if the browser was redirected after the owner's answer.
    """
    device, status = _look_up(context, token)
    if device is None or status is LinkStatus.UNKNOWN:
        return _TERMINAL_PAGES.page(LinkStatus.UNKNOWN)
    if status is LinkStatus.EARLY:
        return wait("One moment", _summary(device), _GOES_ON)
    if step != STEP_ANSWERED or status not in (LinkStatus.OPEN, LinkStatus.USED):
        return _form(device) if status is LinkStatus.OPEN else _TERMINAL_PAGES.page(status, device)
    if device["state"] == "active":
        return page(200, "active.html", title="Your device is active", summary=_summary(device))
    if device["state"] in ("confirming", "confirmed"):
        return _under_way(context, device)
    return _TERMINAL_PAGES.page(status, device)


def answer(context: Context, token: str, body: bytes | str) -> Page:
    """Take the owner's answer: the device code, or "this wasn't me".

    Parameters
    ----------
    body : bytes or str
        The posted form: ``device_code``; or ``answer`` = "not-me".
    """
    form = read_form(body)
    device, status = _look_up(context, token)
    if device is not None and status is LinkStatus.EXPIRED:
        confirmations.expire(context, device)
    if device is None or status is not LinkStatus.OPEN:
        return _TERMINAL_PAGES.page(status, device)
    if form.get("answer") == "not-me":
        return _not_me(context, device)
    return _compare(context, device, token, form.get("device_code", ""))


def _compare(context: Context, device: JsonDict, token: str, device_code: str) -> Page:
    length = len(plain_device_code(device_code))
    if not DEVICE_CODE_LENGTHS.start <= length < DEVICE_CODE_LENGTHS.stop:
        return _form(device, 422, "Type the code that your device shows.")
    remaining = confirmations.check_device_code(context, device, device_code)
    if remaining is None:
        _click(context, device, token, device_code)
        return see_other(ANSWERED)
    if remaining == 0:
        text = "The device was refused. If it is yours, start the registration again on the device."
        return terminal_page(403, "Too many wrong codes", text)
    tries = "1 try is" if remaining == 1 else f"{remaining} tries are"
    problem = f"This is not the code that your device shows. {tries} left."
    return _form(device, 403, problem)


def _click(context: Context, device: JsonDict, token: str, device_code: str) -> None:
    """Write the confirm document. A second click has the same id, and so conflicts.

    A confirm document in state ``error`` is replaced: it came another way, with a wrong code.
    """
    doc = {
        "_id": confirm_id(device["_id"], generation_of(device)),
        "type": "confirm",
        "state": "clicked",
        "confirm_code": token,
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
        return _TERMINAL_PAGES.page(
            link_status(after, generation_of(device), context.clock()), after
        )
    text = "Thank you. The device was refused and did not get to see any of your data."
    return terminal_page(200, "Registration refused", text)


def _under_way(context: Context, device: JsonDict) -> Page:
    """Return the page for a device whose owner has answered, but which is not active yet."""
    answered_at = device.get("confirmed_at")
    if device["state"] == "confirming":
        try:
            confirm = context.database.get(confirm_id(device["_id"], generation_of(device)))
        except NotFound:
            return _form(device)
        if confirm.get("state") == "error":
            return _TERMINAL_PAGES.page(LinkStatus.FAILED, confirm)
        answered_at = confirm.get("created_at")
    slow = is_overdue(context.clock(), answered_at)
    return wait("Activating your device", _summary(device), _GOES_ON, is_slow=slow)


def _look_up(context: Context, token: str) -> tuple[JsonDict | None, LinkStatus]:
    link = context.confirmation_links.verify(token)
    device = context.database.find_one(link.subject) if link else None
    if link is None or device is None:
        return None, LinkStatus.UNKNOWN
    return device, link_status(device, link.generation, context.clock())


def _form(device: JsonDict, status: int = 200, problem: str | None = None) -> Page:
    values = {"summary": _summary(device), "problem": problem}
    return page(status, "confirm_form.html", title="Confirm your device", **values)


def _summary(device: JsonDict) -> Summary:
    facts = {"Device": str(device.get("name", DEFAULT_NAME))}
    return Summary(facts, "Requested", device.get("requested_at"))
