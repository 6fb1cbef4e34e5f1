"""A guest's pages as programs see them: the routes, the headers, whatever posts a form."""

import requests

from local import browser
from tests.kit.system.registering import ANSWERED, Where, get, post
from tests.kit.system.sharing import Invited


def test_a_program_presses_the_buttons_as_a_person_does(invited: Invited) -> None:
    page = browser.visit(invited.link)
    assert [form.button for form in page.forms] == ["Accept", "Decline"]
    declined = browser.press(page, "Decline")
    assert (declined.status, declined.heading) == (200, "Invitation declined")
    invited.wait_until("declined")
    again = invited.owner.invite(invited.channel_id)
    accepted = browser.press(browser.visit(again.link), "Accept")
    assert accepted.url == again.link + ANSWERED
    again.wait_until("accepted")
    assert browser.visit(accepted.url).heading == "The channel is shared with you"


def test_every_answer_has_the_headers_of_the_confirmations_pages(
    where: Where, invited: Invited
) -> None:
    confirmations = get(f"{where.api}/confirm/nothing").headers
    answers = [
        get(invited.link),
        get(f"{where.api}/invitation/nothing"),
        post(invited.link, answer="perhaps"),
        post(invited.link, answer="accept"),
        get(invited.link),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 422, 303, 409]
    for answer in answers:
        for name in confirmations.keys() - {"Date", "Content-Length", "Content-Type"}:
            assert answer.headers[name] == confirmations[name]
        assert answer.headers["Cache-Control"] == "no-store"


def test_a_redirect_stays_on_the_page_whatever_host_was_asked_for(invited: Invited) -> None:
    answer = requests.post(
        invited.link,
        data={"answer": "accept"},
        headers={"Host": "evil.example.com"},
        allow_redirects=False,
        timeout=30,
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, ANSWERED)


def test_a_scanners_get_changes_nothing(invited: Invited) -> None:
    before = invited.doc()
    pages = {get(invited.link + query).text for query in ("", "?", ANSWERED, "?answer=accept")}
    requests.head(invited.link, timeout=30)
    assert len(pages) == 1
    assert invited.doc() == before


def test_what_is_no_form_is_not_an_answer(invited: Invited) -> None:
    before = invited.doc()
    answer = requests.post(invited.link, json={"answer": "accept"}, timeout=30)
    assert answer.status_code == 415
    assert invited.doc() == before


def test_the_code_of_a_device_opens_no_invitation_nor_the_other_way_round(
    where: Where, invited: Invited
) -> None:
    invitation_code, device_code = invited.link.rpartition("/")[2], invited.owner.device.link_code
    assert get(f"{where.api}/invitation/{device_code}").status_code == 404
    assert get(f"{where.api}/confirm/{invitation_code}").status_code == 404
