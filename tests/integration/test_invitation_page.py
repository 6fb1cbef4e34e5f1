"""The guest's page over a real CouchDB: what each link says, and what each answer does."""

import re
from dataclasses import replace

import pytest

from chalicelib.couch import NotFound, Server
from chalicelib.domain.documents import JsonDict
from chalicelib.engine.runner import Outcome
from chalicelib.web import invitation as pages
from chalicelib.web.pages import Page
from tests.kit.basics import FakeDependencies, a_device, an_address, at_once, view_page
from tests.kit.cases.attacks import nested_text
from tests.kit.cloud.access import put_text
from tests.kit.cloud.steps import Owner
from tests.kit.tokens import put_together, take_apart

INVITATION = "invitation-1"
ACCEPT, DECLINE = b"answer=accept", b"answer=decline"
WEEK_S = 7 * 24 * 3600

# What may have become of an invitation: its fields then, the status and the heading of its page.
CLOSED: dict[str, tuple[JsonDict, int, str]] = {
    "accepting": ({"state": "accepting"}, 409, "This invitation was answered"),
    "accepted": ({"state": "accepted"}, 409, "This invitation was answered"),
    "declined": ({"state": "declined"}, 409, "This invitation was answered"),
    "withdrawn": ({"state": "withdrawn"}, 410, "This invitation was withdrawn"),
    "expired": ({"state": "expired"}, 410, "This invitation has expired"),
    "sent again": ({"generation": 1}, 410, "There is a newer link"),
    "asked for again": ({"generation": 1, "state": "new"}, 410, "There is a newer link"),
    "in error": (
        {"state": "error", "error": {"reason": "channel: it is closed"}},
        409,
        "The channel could not be shared",
    ),
    "in no state of ours": ({"state": "strange"}, 404, "This link leads nowhere"),
    "of another type": ({"type": "channel"}, 404, "This link leads nowhere"),
    "to somebody else": ({"email": "eve@example.com"}, 404, "This link leads nowhere"),
    "to nobody": ({"email": None}, 404, "This link leads nowhere"),
}


@pytest.fixture
def ada(ada: Owner) -> Owner:
    """Who invites."""
    ada.channel(name="Photos & films")
    return ada


@pytest.fixture
def code(ada: Owner, guest: str) -> str:
    """The code in the link that the guest got."""
    ada.invite(guest)
    return ada.steps.invitation_code()


def show(ada: Owner, code: str, step: str | None = None) -> Page:
    return pages.show(ada.steps.context, code, step)


def answer(ada: Owner, code: str, body: bytes | str = ACCEPT) -> Page:
    return pages.answer(ada.steps.context, code, body)


def doc_of(ada: Owner) -> JsonDict:
    return ada.control.get(INVITATION)


def heading(page: Page) -> str:
    found = re.search(r"<h1>(.*)</h1>", page.body)
    assert found
    return found[1]


# The form.


def test_the_page_says_who_invites_to_what_and_when_that_was(ada: Owner, code: str) -> None:
    page = show(ada, code)
    assert (page.status, heading(page)) == (200, "You are invited")
    assert f"<bdi>{ada.address}</bdi>" in page.body
    assert "<bdi>Photos &amp; films</bdi>" in page.body
    assert "<dt>Invited</dt><dd>23 November 2026, 06:00&nbsp;UTC</dd>" in page.body


def test_the_page_does_not_show_the_address_that_was_invited(
    ada: Owner, guest: str, code: str
) -> None:
    for page in (show(ada, code), answer(ada, code, b""), answer(ada, code, DECLINE)):
        assert guest not in page.body


def test_a_get_changes_nothing(ada: Owner, code: str) -> None:
    before = doc_of(ada)
    assert {show(ada, code, step).body for step in (None, "answered", "accept")} == {
        show(ada, code).body
    }
    assert doc_of(ada) == before


def test_a_get_of_a_link_whose_time_is_over_changes_nothing(ada: Owner, code: str) -> None:
    ada.steps.clock.move(WEEK_S)
    before = doc_of(ada)
    assert show(ada, code).status == 410
    assert show(ada, code, "answered").status == 410
    assert doc_of(ada) == before


def test_while_the_mail_is_being_sent_the_page_waits(ada: Owner, code: str) -> None:
    before = ada.edit(INVITATION, state="new")
    page = show(ada, code)
    assert (page.status, heading(page)) == (200, "One moment")
    assert 'http-equiv="refresh"' in page.body
    early = answer(ada, code)
    assert (early.status, heading(early)) == (409, "One moment")
    assert doc_of(ada) == before


def test_before_the_first_mail_the_page_shows_no_time(ada: Owner, code: str) -> None:
    doc = ada.edit(INVITATION, state="new")
    ada.put({name: value for name, value in doc.items() if name != "sent_at"})
    page = show(ada, code)
    assert (page.status, heading(page)) == (200, "One moment")
    for no_time in ("1970", "UTC", "Invited<"):
        assert no_time not in page.body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"answer=",
        b"answer=ACCEPT",
        b"answer=not-me",
        b"device_code=AAAA-AAAA",
        b"answer=accept\xff",
        b"answer=accept&more=" + b"x" * 5000,
        b"answer=accept" + b"&a=b" * 20,
        '{"answer": "accept"}',
    ],
)
def test_what_is_neither_accept_nor_decline_shows_the_form_again(
    ada: Owner, code: str, body: bytes | str
) -> None:
    before = doc_of(ada)
    page = answer(ada, code, body)
    assert (page.status, heading(page)) == (422, "You are invited")
    assert "Choose whether you accept or decline." in page.body
    assert "<title>Error: " in page.body
    assert doc_of(ada) == before


# The answers.


def test_who_accepts_is_sent_on_and_the_invitation_goes_on(ada: Owner, code: str) -> None:
    page = answer(ada, code)
    assert (page.status, page.headers["Location"]) == (303, "?step=answered")
    doc = doc_of(ada)
    assert (doc["state"], doc["answer_code"]) == ("accepting", ada.steps.receipt())
    assert doc["answered_at"] == "2026-11-23T06:00:00Z"
    waiting = show(ada, code, "answered")
    assert (waiting.status, heading(waiting)) == (200, "Sharing the channel")
    assert ada.run(INVITATION) is Outcome.SAVED
    shared = show(ada, code, "answered")
    assert (shared.status, heading(shared)) == (200, "The channel is shared with you")
    assert "Register one with the address that the mail went to." in shared.body


def test_a_transition_that_is_slow_says_so_and_the_page_asks_less_often(
    ada: Owner, code: str
) -> None:
    answer(ada, code)
    assert 'content="2"' in show(ada, code, "answered").body
    ada.steps.clock.move(61)
    page = show(ada, code, "answered")
    assert 'content="20"' in page.body
    assert "longer than usual" in page.body


def test_an_acceptance_that_failed_says_why(ada: Owner, code: str) -> None:
    answer(ada, code)
    ada.edit("channel-photos", state="closed")
    ada.run(INVITATION)
    page = show(ada, code, "answered")
    assert (page.status, heading(page)) == (409, "The channel could not be shared")
    assert "For whoever invited you: the channel was closed" in page.body


def test_who_declines_is_told_so_and_nothing_is_shared(ada: Owner, guest: str, code: str) -> None:
    page = answer(ada, code, DECLINE)
    assert (page.status, heading(page)) == (200, "Invitation declined")
    doc = doc_of(ada)
    assert (doc["state"], doc["answered_at"]) == ("declined", "2026-11-23T06:00:00Z")
    assert "answer_code" not in doc
    for again in (show(ada, code), show(ada, code, "answered"), answer(ada, code)):
        assert (again.status, heading(again)) == (409, "This invitation was answered")
    assert doc_of(ada) == doc
    with pytest.raises(NotFound):
        ada.steps.control_db_of(guest).info()


def test_accepting_twice_counts_once(ada: Owner, code: str) -> None:
    assert answer(ada, code).status == 303
    before = doc_of(ada)
    assert answer(ada, code).status == 409
    ada.run(INVITATION)
    after = doc_of(ada)
    assert [answer(ada, code, body).status for body in (ACCEPT, DECLINE)] == [409, 409]
    assert (before["state"], after["state"]) == ("accepting", "accepted")
    assert doc_of(ada) == after


def test_a_link_works_up_to_the_last_second(ada: Owner, code: str) -> None:
    ada.steps.clock.move(WEEK_S - 1)
    assert show(ada, code).status == 200
    assert answer(ada, code).status == 303


@pytest.mark.parametrize("body", [ACCEPT, DECLINE, b""])
def test_an_answer_that_comes_too_late_expires_the_invitation(
    ada: Owner, code: str, body: bytes
) -> None:
    ada.steps.clock.move(WEEK_S)
    page = answer(ada, code, body)
    assert (page.status, heading(page)) == (410, "This invitation has expired")
    assert doc_of(ada)["state"] == "expired"


def test_an_invitation_without_an_end_is_over(ada: Owner, code: str) -> None:
    ada.edit(INVITATION, expires_at=None)
    assert show(ada, code).status == 410
    assert answer(ada, code).status == 410


# Links on which there is nothing to answer.


@pytest.mark.parametrize("became", CLOSED)
def test_each_closed_link_says_what_became_of_it_and_takes_no_answer(
    ada: Owner, code: str, became: str
) -> None:
    fields, status, title = CLOSED[became]
    before = ada.edit(INVITATION, **fields)
    for page in (
        show(ada, code),
        answer(ada, code),
        answer(ada, code, DECLINE),
        answer(ada, code, b""),
    ):
        assert (page.status, heading(page)) == (status, title)
        assert "<form" not in page.body
        assert 'http-equiv="refresh"' not in page.body
    assert doc_of(ada) == before


@pytest.mark.parametrize("became", sorted(set(CLOSED) - {"accepting", "accepted"}))
def test_a_closed_link_says_the_same_where_the_answer_was_given(
    ada: Owner, code: str, became: str
) -> None:
    ada.edit(INVITATION, **CLOSED[became][0])
    assert show(ada, code, "answered") == show(ada, code)


def test_an_invitation_that_cannot_be_read_is_answered_as_one_that_is_gone(
    ada: Owner, code: str
) -> None:
    rev = doc_of(ada)["_rev"]
    text = f'{{"_rev":"{rev}","type":"invitation","x":{nested_text(2_000)}}}'
    put_text(ada.control, INVITATION, text)
    unreadable = show(ada, code)
    ada.control.remove(ada.control.stub(INVITATION))
    assert unreadable == show(ada, code)


def forged_invitation_codes(code: str, other: str, device_code: str) -> dict[str, str]:
    head, generation, mac = take_apart(code)
    owner, guest, invitation_id = head.split(".")
    turned = "a" if mac[0] != "a" else "b"
    return {
        "nothing": "nothing",
        "empty": "",
        "of another MAC": put_together(head, generation, f"{turned}{mac[1:]}"),
        "cut off": code[:-5],
        "too long": f"{code}a",
        "of another generation": put_together(head, 1, mac),
        "of another guest": put_together(f"{owner}.{'0' * 32}.{invitation_id}", 0, mac),
        "of another invitation": put_together(f"{owner}.{guest}.{invitation_id}2", 0, mac),
        "with the MAC of another": put_together(head, generation, take_apart(other)[2]),
        "of a device": device_code,
    }


def test_codes_that_lead_nowhere_give_the_very_same_page(ada: Owner, guest: str) -> None:
    device_code = ada.steps.context.confirmation_links.sign(ada.device.device_id, 0)
    ada.invite(an_address(), invitation_id="invitation-2")
    other = ada.steps.invitation_code()
    ada.invite(guest)
    before = doc_of(ada)
    forged = forged_invitation_codes(ada.steps.invitation_code(), other, device_code)
    for name, code in forged.items():
        for page in (show(ada, code), answer(ada, code), show(ada, code, "answered")):
            assert (page.status, heading(page)) == (404, "This link leads nowhere"), name
            assert page == show(ada, "nothing")
    assert doc_of(ada) == before


@pytest.mark.parametrize("subject", ["x", "device-1", "a.b", "a.b.c.d"])
def test_a_code_of_ours_that_is_about_no_invitation_leads_nowhere(ada: Owner, subject: str) -> None:
    assert show(ada, ada.steps.context.invitation_links.sign(subject, 0)).status == 404


def test_the_link_of_a_deleted_invitation_leads_nowhere(ada: Owner, code: str) -> None:
    ada.control.remove(doc_of(ada))
    assert (show(ada, code).status, answer(ada, code).status) == (404, 404)


def test_a_link_into_a_database_that_is_gone_leads_nowhere(ada: Owner, code: str) -> None:
    ada.channel_database().delete()  # nothing would lead to it afterwards
    ada.control.delete()
    assert (show(ada, code).status, answer(ada, code).status) == (404, 404)


def test_the_link_of_a_newer_mail_works_and_the_older_does_not(ada: Owner, code: str) -> None:
    ada.edit(INVITATION, state="new", generation=1)
    ada.run(INVITATION)
    newer = ada.steps.invitation_code()
    assert newer != code
    assert (answer(ada, code).status, answer(ada, newer).status) == (410, 303)


# Answers and others' writes at the same time.


@pytest.mark.parametrize("body", [ACCEPT, DECLINE])
@pytest.mark.parametrize(
    ("meanwhile", "status", "title"),
    [
        ({"state": "withdrawn"}, 410, "This invitation was withdrawn"),
        ({"state": "new", "generation": 1}, 410, "There is a newer link"),
        ({"state": "expired"}, 410, "This invitation has expired"),
        ({"state": "accepted"}, 409, "This invitation was answered"),
    ],
    ids=["withdrawn", "sent again", "expired", "accepted"],
)
def test_what_came_in_between_counts_and_the_answer_does_not(
    ada: Owner, code: str, body: bytes, meanwhile: JsonDict, status: int, title: str
) -> None:
    with ada.steps.meanwhile(ada.control, "put", lambda: ada.edit(INVITATION, **meanwhile)):
        page = answer(ada, code, body)
    assert (page.status, heading(page)) == (status, title)
    doc = doc_of(ada)
    assert doc | meanwhile == doc
    assert "answered_at" not in doc


def test_an_unrelated_edit_in_between_is_kept_and_so_is_the_answer(ada: Owner, code: str) -> None:
    with ada.steps.meanwhile(ada.control, "put", lambda: ada.edit(INVITATION, note="hello")):
        assert answer(ada, code).status == 303
    doc = doc_of(ada)
    assert (doc["state"], doc["note"]) == ("accepting", "hello")


def test_of_accepting_and_withdrawing_at_once_one_wins(ada: Owner, code: str) -> None:
    seen = at_once(lambda: answer(ada, code).status, lambda: withdraw(ada))
    doc = doc_of(ada)
    assert (doc["state"], *seen) in [
        ("accepting", 303, "kept"),
        ("withdrawn", 410, "withdrawn"),
    ]


def test_four_answers_at_once_are_one(ada: Owner, code: str) -> None:
    statuses = at_once(*[lambda: answer(ada, code).status for _ in range(4)])
    assert set(statuses) <= {303, 409}
    assert 303 in statuses
    doc = doc_of(ada)
    assert (doc["state"], doc["_rev"].split("-")[0]) == ("accepting", "3")  # new, sent, accepting


def withdraw(ada: Owner) -> str:
    def change(doc: JsonDict) -> JsonDict:
        return {**doc, "state": "withdrawn"} if doc["state"] == "sent" else doc

    after = ada.control.update(INVITATION, change)
    return "withdrawn" if after["state"] == "withdrawn" else "kept"


# Whatever a stranger writes.


NAMES = {
    "HTML": (
        """<script>alert(1)</script>{{7*7}}'"&""",
        "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;{{7*7}}&#39;&#34;&amp;</bdi>",
    ),
    "right to left": ("תמונות 2026", "<bdi>תמונות 2026</bdi>"),
    "an address": ("https://evil.example/login", "<bdi>https://evil.example/login</bdi>"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_channels_name_is_text_on_every_page_that_shows_it(
    ada: Owner, guest: str, name: str
) -> None:
    written, shown = NAMES[name]
    ada.channel("channel-odd", name=written)
    ada.invite(guest, "channel-odd")
    code = ada.steps.invitation_code()
    form, again = show(ada, code), answer(ada, code, b"")
    answer(ada, code)
    waiting = show(ada, code, "answered")
    ada.run(INVITATION)
    for page in (form, again, waiting, show(ada, code, "answered")):
        assert shown in page.body
        assert "<script" not in page.body
        assert "href" not in page.body


def test_an_inviters_address_in_another_script_is_shown_in_both_forms(
    ada: Owner, guest: str
) -> None:
    address = "eve@\u0430pple.example"
    device = a_device(owner=address)
    ada.steps.activate(device)
    eve = Owner(ada.steps, address, device, ada.steps.control_db_of(address))
    eve.channel()
    assert eve.invite(guest)["invited_by"] == "eve@xn--pple-43d.example"
    shown = "<bdi>eve@\u0430pple.example (eve@xn--pple-43d.example)</bdi>"
    assert shown in show(eve, eve.steps.invitation_code()).body
    assert shown in eve.steps.mailer.sent[-1].html.replace("\u2060", "")


def test_an_inviters_address_is_text(ada: Owner, code: str) -> None:
    ada.edit(INVITATION, invited_by="<img src=x>@example.com")
    page = show(ada, code)
    assert "<bdi>&lt;img src=x&gt;@example.com</bdi>" in page.body
    assert "<img" not in page.body


def test_a_reason_is_text(ada: Owner, code: str) -> None:
    ada.edit(INVITATION, state="error", error={"reason": "<b>no</b>"})
    assert "For whoever invited you: &lt;b&gt;no&lt;/b&gt;" in show(ada, code).body


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\u200f", "\n"])
def test_no_channel_has_a_name_that_turns_the_page_around(
    ada: Owner, guest: str, character: str
) -> None:
    ada.channel("channel-odd", name=f"Photos{character}2026")
    assert ada.invite(guest, "channel-odd")["state"] == "error"


# Every answer.


def test_every_answer_is_kept_by_nobody_and_framed_by_nobody(ada: Owner, code: str) -> None:
    answers = [show(ada, code), show(ada, "nothing"), answer(ada, code, b""), answer(ada, code)]
    answers += [show(ada, code, "answered"), answer(ada, code)]
    assert [page.status for page in answers] == [200, 404, 422, 303, 200, 409]
    for page in answers:
        policy = page.headers["Content-Security-Policy"]
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in policy
        assert "form-action 'self'" in policy
        assert "unsafe" not in policy


def test_when_couchdb_does_not_answer_the_page_says_so(ada: Owner, code: str) -> None:
    dependencies = FakeDependencies(replace(ada.steps.context, server=Server("http://127.0.0.1:9")))
    for page in (
        view_page(dependencies, lambda context: pages.show(context, code, None)),
        view_page(dependencies, lambda context: pages.answer(context, code, ACCEPT)),
    ):
        assert (page.status_code, "<h1>Not now</h1>" in page.body) == (503, True)
        assert "Nothing is lost" in page.body
