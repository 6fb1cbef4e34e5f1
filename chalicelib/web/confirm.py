"""The page behind the link in the mail: GET looks and changes nothing, POST answers."""

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import ParamSpec
from urllib.parse import parse_qsl

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.cloud import Cloud
from chalicelib.confirmation import Link, link_of
from chalicelib.couch import Conflict, CouchError, JsonDict, NotFound
from chalicelib.docstate import generation_of, timestamp
from chalicelib.errors import NoEffect
from chalicelib.handlers import confirms
from chalicelib.identity import confirm_id
from chalicelib.registration import DEFAULT_NAME
from chalicelib.telemetry import logger
from chalicelib.web.pages import Page, page, see_other

# The page's own address with this query: the answer was given, what came of it?
ANSWERED = "?step=answered"
_LONGEST_CODE = 200
_LONGEST_FORM_BYTES = 4096
_FORM_FIELDS = 8

_STATUS = {
    Link.UNKNOWN: 404,
    Link.EXPIRED: 410,
    Link.REPLACED: 410,
    Link.REJECTED: 410,
    Link.USED: 409,
    Link.FAILED: 409,
}


Given = ParamSpec("Given")


def _or_try_again(view: Callable[Given, Page]) -> Callable[Given, Page]:
    """Where CouchDB or AWS does not answer, say so, instead of a stack trace."""

    @wraps(view)
    def guarded(*args: Given.args, **kwargs: Given.kwargs) -> Page:
        try:
            return view(*args, **kwargs)
        except (CouchError, NoEffect, BotoCoreError, ClientError) as exc:
            logger.warning("a page failed", extra={"exception": type(exc).__name__})
            return page(503, "closed.html", title="Not now", worth="unavailable")

    return guarded


@_or_try_again
def show(cloud: Cloud, code: str, step: str | None) -> Page:
    """What a link's page says now. Changes nothing: mail scanners follow links.

    One request to CouchDB; two while the answer is under way.

    Parameters
    ----------
    step : str or None
        "answered" where the browser comes from giving its answer.
    """
    device, worth = _look_up(cloud, code)
    if device is None or worth is Link.UNKNOWN:
        return _closed(Link.UNKNOWN, device)
    if worth is Link.EARLY:
        return page(200, "wait.html", title="One moment", device=_shown(device))
    if step != "answered" or worth not in (Link.OPEN, Link.USED):
        return _form(device) if worth is Link.OPEN else _closed(worth, device)
    if worth is Link.USED and device["state"] != "confirmed":
        return page(200, "active.html", title="Your device is active", device=_shown(device))
    return _under_way(cloud, device)


@_or_try_again
def answer(cloud: Cloud, code: str, body: bytes | str) -> Page:
    """Take the owner's answer: the device code, or "this wasn't me".

    Parameters
    ----------
    body : bytes or str
        The form as posted: ``device_code``; or ``answer`` = "not-me".
    """
    form = _read_form(body)
    device, worth = _look_up(cloud, code)
    if device is not None and worth is Link.EXPIRED:
        confirms.expire(cloud, device)
    if device is None or worth is not Link.OPEN:
        return _closed(worth, device)
    if form.get("answer") == "not-me":
        return _not_me(cloud, device)
    return _compare(cloud, device, code, form.get("device_code", ""))


def _compare(cloud: Cloud, device: JsonDict, code: str, device_code: str) -> Page:
    if not device_code.strip() or len(device_code) > _LONGEST_CODE:
        return _form(device, 422, "Type the code that your device shows.")
    left = confirms.wrong_codes_left(cloud, device, device_code)
    if left is None:
        _click(cloud, device, code, device_code)
        return see_other(ANSWERED)
    if left == 0:
        return page(403, "closed.html", title="Too many wrong codes", worth="too_many")
    tries = "1 try is" if left == 1 else f"{left} tries are"
    return _form(device, 403, f"This is not the code that your device shows. {tries} left.")


def _click(cloud: Cloud, device: JsonDict, code: str, device_code: str) -> None:
    """Write the confirm document; its well-known id makes a second click conflict."""
    doc = {
        "_id": confirm_id(device["_id"], generation_of(device)),
        "type": "confirm",
        "state": "clicked",
        "confirm_code": code,
        "device_code": device_code,
        "created_at": timestamp(cloud.clock()),
    }
    try:
        cloud.database.put(doc)
    except Conflict:
        return


def _not_me(cloud: Cloud, device: JsonDict) -> Page:
    after = confirms.reject(cloud, device, "the owner said: this wasn't me")
    if after["state"] != "rejected":
        return _closed(link_of(after, generation_of(device), cloud.clock()), after)
    return page(200, "closed.html", title="Registration refused", worth="not_me")


def _under_way(cloud: Cloud, device: JsonDict) -> Page:
    """The answer was given, the device is not active yet."""
    if device["state"] == "confirming":
        try:
            confirm = cloud.database.get(confirm_id(device["_id"], generation_of(device)))
        except NotFound:
            return _form(device)
        if confirm.get("state") == "error":
            return _closed(Link.FAILED, confirm)
    return page(200, "wait.html", title="Activating your device", device=_shown(device))


def _read_form(body: bytes | str) -> dict[str, str]:
    """The fields of a posted form; none if it is larger or odder than any form of ours."""
    if len(body) > _LONGEST_FORM_BYTES:
        return {}
    try:
        text = body.decode("utf-8") if isinstance(body, bytes) else body
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_FORM_FIELDS))
    except ValueError:
        return {}


def _look_up(cloud: Cloud, code: str) -> tuple[JsonDict | None, Link]:
    link = cloud.links.verify(code)
    device = confirms.find_device(cloud, link.device_id) if link else None
    if link is None or device is None:
        return None, Link.UNKNOWN
    return device, link_of(device, link.generation, cloud.clock())


def _form(device: JsonDict, status: int = 200, problem: str | None = None) -> Page:
    title = "Confirm your device"
    return page(status, "form.html", title=title, device=_shown(device), problem=problem)


def _closed(worth: Link, doc: JsonDict | None) -> Page:
    title = {
        Link.UNKNOWN: "This link leads nowhere",
        Link.EXPIRED: "This link has expired",
        Link.REPLACED: "There is a newer link",
        Link.REJECTED: "This registration was refused",
        Link.USED: "This link has been used",
        Link.FAILED: "Your device could not be activated",
        Link.EARLY: "One moment",
    }[worth]
    reason = (doc or {}).get("error", {}).get("reason") if worth is Link.FAILED else None
    status = _STATUS.get(worth, 409)
    return page(status, "closed.html", title=title, worth=worth.name.lower(), reason=reason)


def _shown(device: JsonDict) -> dict[str, str]:
    return {
        "name": str(device.get("name", DEFAULT_NAME)),
        "since": _readable(str(device.get("created_at", ""))),
    }


def _readable(moment: str) -> str:
    try:
        return datetime.fromisoformat(moment).strftime("%d %B %Y, %H:%M UTC").lstrip("0")
    except ValueError:
        return "an unknown time"
