"""The page behind the link in the mail: GET looks and changes nothing, POST answers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Concatenate, ParamSpec
from urllib.parse import parse_qsl

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.cloud import Cloud
from chalicelib.couch import Conflict, CouchError, JsonDict, NotFound
from chalicelib.docstate import generation_of, timestamp
from chalicelib.errors import NoEffect
from chalicelib.handlers import confirms
from chalicelib.identity import DEVICE_CODE_LENGTHS, confirm_id, plain_device_code
from chalicelib.link import Link, link_of
from chalicelib.registration import DEFAULT_NAME
from chalicelib.settings import InvalidSettings
from chalicelib.telemetry import logger
from chalicelib.web.pages import Page, page, see_other

# The page's own address with this query: the answer was given, what came of it?
ANSWERED = "?step=answered"
EPOCH = datetime.fromtimestamp(0, UTC)
# An activation takes a second or two; past this, the page says that something is slow.
_SLOW = timedelta(seconds=60)
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


# Calls what it is given with the tools, and returns what that returns; `Wiring.use`.
Use = Callable[[Callable[[Cloud], Page]], Page]
Rest = ParamSpec("Rest")


def _or_try_again(
    view: Callable[Concatenate[Cloud, Rest], Page], /
) -> Callable[Concatenate[Use, Rest], Page]:
    """Where CouchDB or AWS does not answer, say so, instead of a stack trace."""

    @wraps(view)
    def guarded(use: Use, /, *args: Rest.args, **kwargs: Rest.kwargs) -> Page:
        try:
            return use(lambda cloud: view(cloud, *args, **kwargs))
        except (CouchError, NoEffect, BotoCoreError, ClientError, InvalidSettings) as exc:
            logger.warning("a page failed", extra={"exception_type": type(exc).__name__})
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
        return _wait("One moment", device, is_slow=False)
    if step != "answered" or worth not in (Link.OPEN, Link.USED):
        return _form(device) if worth is Link.OPEN else _closed(worth, device)
    if device["state"] == "active":
        return page(200, "active.html", title="Your device is active", device=_shown(device))
    if device["state"] in ("confirming", "confirmed"):
        return _under_way(cloud, device)
    return _closed(worth, device)


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
    length = len(plain_device_code(device_code))
    if not DEVICE_CODE_LENGTHS.start <= length < DEVICE_CODE_LENGTHS.stop:
        return _form(device, 422, "Type the code that your device shows.")
    left = confirms.wrong_codes_left(cloud, device, device_code)
    if left is None:
        _click(cloud, device, code, device_code)
        return see_other(ANSWERED)
    if left == 0:
        return page(403, "closed.html", title="Too many wrong codes", worth="too_many")
    tries = "1 try is" if left == 1 else f"{left} tries are"
    problem = f"This is not the code that your device shows. {tries} left."
    return _form(device, 403, problem)


def _click(cloud: Cloud, device: JsonDict, code: str, device_code: str) -> None:
    """Write the confirm document; its well-known id makes a second click conflict.

    One that ended in error (it came another way, with a wrong code) gives way to the right one.
    """
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
        clicked = cloud.database.get(doc["_id"])
        if clicked.get("state") == "error":
            cloud.database.put({**doc, "_rev": clicked["_rev"]})


def _not_me(cloud: Cloud, device: JsonDict) -> Page:
    after = confirms.reject(cloud, device, "the owner said: this wasn't me")
    if after["state"] != "rejected":
        return _closed(link_of(after, generation_of(device), cloud.clock()), after)
    return page(200, "closed.html", title="Registration refused", worth="not_me")


def _under_way(cloud: Cloud, device: JsonDict) -> Page:
    """The answer was given, the device is not active yet."""
    answered_at = device.get("confirmed_at")
    if device["state"] == "confirming":
        try:
            confirm = cloud.database.get(confirm_id(device["_id"], generation_of(device)))
        except NotFound:
            return _form(device)
        if confirm.get("state") == "error":
            return _closed(Link.FAILED, confirm)
        answered_at = confirm.get("created_at")
    is_slow = cloud.clock() - _moment(answered_at, cloud.clock()) > _SLOW
    return _wait("Activating your device", device, is_slow=is_slow)


def _read_form(body: bytes | str) -> dict[str, str]:
    """The fields of a posted form; none if it is larger or odder than any form of ours."""
    if len(body) > _LONGEST_FORM_BYTES:
        return {}
    try:
        text = body.decode("utf-8") if isinstance(body, bytes) else body
        fields = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=_FORM_FIELDS
        )
        return dict(fields)
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


def _wait(title: str, device: JsonDict, *, is_slow: bool) -> Page:
    return page(200, "wait.html", title=title, device=_shown(device), is_slow=is_slow)


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
        "since": f"{_moment(device.get('requested_at'), EPOCH):%d %B %Y, %H:%M}".lstrip("0"),
    }


def _moment(text: object, otherwise: datetime) -> datetime:
    """A document's time in UTC, `otherwise` if it has none."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return otherwise
