"""What another site can make a browser do: posts across sites, frames, caches, sniffing."""

import re
from typing import Any

import pytest
from chalice.test import HTTPResponse

from chalicelib.couch import CouchError
from chalicelib.domain.documents import JsonDict
from local.lambdas import load_app
from local.system import ROOT
from syncpoint_device.registration import NewDevice
from tests.kit.basics import a_device, an_address
from tests.kit.cases.attacks import BARE_CONTENT_TYPES, SLY_CONTENT_TYPES
from tests.kit.cloud.access import contents
from tests.kit.cloud.site import FORM, Site
from tests.kit.cloud.steps import Owner
from tests.kit.tokens import MAC_LENGTH, put_together, take_apart

# What a browser says of a form on another site that was sent here.
FROM_ELSEWHERE = {
    "Origin": "https://evil.example",
    "Sec_Fetch_Site": "cross-site",
    "Sec_Fetch_Mode": "navigate",
    "Referer": "https://evil.example/",
}
NO_FRAMES = "frame-ancestors 'none'"


def routes() -> dict[str, dict[str, Any]]:
    """The routes by path and method, as app.py names them."""
    found: dict[str, dict[str, Any]] = load_app(ROOT).app.routes
    return found


def every_route() -> list[tuple[str, str]]:
    """Method and path of each route, with something in place of what is variable."""
    pairs = ((method, path) for path, methods in routes().items() for method in methods)
    return [(method, re.sub(r"\{\w+\}", "x", path)) for method, path in pairs]


def check_least(answer: HTTPResponse, what: object) -> None:
    """What holds of every answer of every route."""
    headers = answer.headers
    assert headers["Cache-Control"] == "no-store", what
    assert NO_FRAMES in headers["Content-Security-Policy"], what
    assert headers["Content-Security-Policy"].startswith("default-src 'none'"), what
    assert headers["Referrer-Policy"] == "no-referrer", what
    assert headers["X-Content-Type-Options"] == "nosniff", what
    assert "Access-Control-Allow-Origin" not in headers, what
    assert "Set-Cookie" not in headers, what


def test_no_answer_of_any_route_is_kept_framed_or_read_by_another_site(site: Site) -> None:
    asked = every_route()
    assert len(asked) > 20
    for method, path in asked:
        for body, content_type in ((b"", FORM), (b"{", "application/json"), (b"", "text/x")):
            answer = site.ask(method, path, body, Content_Type=content_type, **FROM_ELSEWHERE)
            check_least(answer, (method, path, content_type))
            check_least(site.ask(method, f"{path}?step=answered"), (method, path))


def test_no_answer_of_a_route_that_fails_is_kept_or_framed_either(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where CouchDB is out of reach, nor where our own code is wrong: no stack trace."""
    failures: list[Exception] = [
        CouchError(500, "hunter2", "hunter2"),
        ZeroDivisionError("hunter2"),
    ]
    for failure in failures:

        def fail(*_: object, failure: Exception = failure, **__: object) -> object:
            raise failure

        monkeypatch.setattr(site.recorder, "send", fail)
        code = site.steps.context.confirmation_links.sign(a_device().device_id, 0)
        for path in (f"/confirm/{code}", f"/registrations/{a_device().device_id}"):
            answer = site.get(path)
            check_least(answer, (path, failure))
            assert answer.status_code in (500, 503)
            assert b"hunter2" not in answer.body
            assert b"Traceback" not in answer.body


def test_a_pages_every_answer_is_framed_by_nobody_and_loads_nothing(
    site: Site, device: NewDevice, ada: Owner
) -> None:
    ada.invite(an_address())
    invitation = f"/invitation/{site.steps.invitation_code()}"
    confirm = f"/confirm/{site.steps.context.confirmation_links.sign(device.device_id, 0)}"
    right = f"device_code={device.device_code}".encode()
    for path, body in ((confirm, right), (invitation, b"answer=accept")):
        answers = [site.get(path), site.post(path, b""), site.post(path, body), site.get(path)]
        answers += [site.get(f"{path}?step=answered"), site.post(path, body)]
        assert answers[2].status_code == 303
        for answer in answers:
            check_least(answer, path)
            policy = answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert "form-action 'self'" in policy
            assert "base-uri 'none'" in policy
            assert "unsafe" not in policy
            assert "script" not in policy
            assert b"<script" not in answer.body
            assert not re.search(rb"(?:src|action|href)=\"?(?:https?:)?//", answer.body)


def test_only_a_form_is_an_answer(site: Site, device: NewDevice) -> None:
    """Of the types that a page can post to another site without asking, one."""
    path, before = f"/confirm/{site.steps.code()}", contents(site.steps.control)
    for content_type in (*BARE_CONTENT_TYPES, "application/json"):
        for body in (f"device_code={device.device_code}".encode(), b"answer=not-me"):
            answer = site.post(path, body, Content_Type=content_type, **FROM_ELSEWHERE)
            assert answer.status_code == 415, content_type
            check_least(answer, content_type)
    assert contents(site.steps.control) == before


def test_no_page_makes_its_visitors_browser_register_a_device(site: Site) -> None:
    """JSON is what a browser asks for leave to post, and it gets none: there is no CORS here."""
    device = a_device(owner=an_address())
    for content_type in (*BARE_CONTENT_TYPES, *SLY_CONTENT_TYPES, FORM):
        answer = site.bring(device.doc, Content_Type=content_type, **FROM_ELSEWHERE)
        assert answer.status_code == 415, content_type
    assert contents(site.steps.control) == {}


def test_no_route_gives_another_site_leave_to_ask() -> None:
    entries = [entry for methods in routes().values() for entry in methods.values()]
    assert len(entries) > 20
    assert [entry.view_name for entry in entries if entry.cors] == []


def test_a_post_across_sites_confirms_nothing_without_the_device_code(
    site: Site, device: NewDevice
) -> None:
    """Whoever has the link from somewhere, and lures the owner's browser into posting to it."""
    path = f"/confirm/{site.steps.code()}"
    for body in (b"", b"device_code=", b"answer=accept", b"answer=confirm", b"device_code=%00"):
        assert site.post(path, body, **FROM_ELSEWHERE).status_code == 422
    for guess in range(5):
        site.post(path, f"device_code=0000-000{guess}".encode(), **FROM_ELSEWHERE)
    doc = site.steps.control.get(device.device_id)
    assert doc["state"] == "rejected"  # so that a sixth guess is none
    assert [each["type"] for each in contents(site.steps.control).values()] == ["device"]


def test_a_cross_site_post_answers_only_an_invitation_whose_link_it_knows(
    site: Site, ada: Owner
) -> None:
    """The link is the proof, and nobody but the guest has it; the one who invites does not."""
    ada.invite(an_address())
    link = site.steps.invitation_code()
    known: JsonDict = contents(ada.control)
    subject, generation, mac = take_apart(link)
    assert mac not in str(known)
    rev = str(ada.control.get("invitation-1")["_rev"])
    for guess in ("a" * MAC_LENGTH, "", link[:MAC_LENGTH], rev):
        forged = put_together(subject, generation, guess)
        answer = site.post(f"/invitation/{forged}", b"answer=accept", **FROM_ELSEWHERE)
        assert answer.status_code == 404
    assert contents(ada.control) == known


def test_who_invites_cannot_answer_for_a_guest_who_accepted_once(site: Site, ada: Owner) -> None:
    """The owner's devices read all that the cloud writes down of an answer.

    An invitation that is made again under its old id has the old link: with the link's code in its
    document, its owner would share any other channel with the guest, who would not be asked.
    """
    guest = an_address()
    ada.channel("channel-other")
    ada.invite(guest)
    link = site.steps.invitation_code()
    assert site.post(f"/invitation/{link}", b"answer=accept").status_code == 303
    seen = ada.control.get("invitation-1")
    assert ada.after("invitation-1")["state"] == "accepted"
    assert take_apart(link)[2] not in str(contents(ada.control))
    ada.control.remove(ada.control.get("invitation-1"))
    ada.invite(guest, "channel-other")
    subject, generation, mac = take_apart(seen["answer_code"])
    without_accepted = put_together(subject.partition(".")[2], generation, mac)
    for code in (seen["answer_code"], without_accepted):
        for body in (b"answer=accept", b"answer=decline"):
            assert site.post(f"/invitation/{code}", body).status_code == 404
    assert "members" not in ada.control.get("channel-other")


def test_a_get_across_sites_changes_nothing(site: Site, device: NewDevice, ada: Owner) -> None:
    ada.invite(an_address())
    before = contents(site.steps.control), contents(ada.control)
    code = site.steps.context.confirmation_links.sign(device.device_id, 0)
    for query in ("", "?answer=not-me", f"?device_code={device.device_code}", "?step=answered"):
        site.get(f"/confirm/{code}{query}", **FROM_ELSEWHERE)
        site.get(f"/invitation/{site.steps.invitation_code()}{query}", **FROM_ELSEWHERE)
    assert (contents(site.steps.control), contents(ada.control)) == before
