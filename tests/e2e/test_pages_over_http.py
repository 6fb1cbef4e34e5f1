"""The pages as programs see them: mail scanners, double clicks, whatever posts a form."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from threading import Barrier
from urllib.parse import urlsplit

import pytest
import requests

from chalicelib.domain.link_status import WRONG_CODES
from tests.e2e.conftest import Register
from tests.kit.basics import wait_for
from tests.kit.system.registering import (
    ANSWERED,
    FORM,
    LONG_AGO,
    Registered,
    Where,
    get,
    mails_to,
    post,
    wrong_code,
)
from tests.kit.tokens import put_together, take_apart

Answers = dict[str, requests.Response]

# Each page or redirect there is, and its status.
STATUS = {
    "form": 200,
    "wrong code": 403,
    "no code": 422,
    "too many": 403,
    "rejected": 410,
    "not me": 200,
    "redirect": 303,
    "waiting": 200,
    "active": 200,
    "used": 409,
    "expired": 410,
    "replaced": 410,
    "failed": 409,
    "unknown": 404,
}


@pytest.fixture(scope="module")
def devices(register: Register) -> list[Registered]:
    """The devices whose links show all of the pages."""
    return [register() for _ in range(6)]


@pytest.fixture(scope="module")
def answers(where: Where, devices: list[Registered]) -> Answers:
    """Each page or redirect there is."""
    first, second, third, fourth, fifth, sixth = devices
    answers = {"unknown": get(f"{where.api}/confirm/nothing"), "form": get(first.link)}
    answers["no code"] = post(first.link, device_code="")
    answers["wrong code"] = post(first.link, device_code=wrong_code())
    for number in range(2, WRONG_CODES + 1):
        answers["too many"] = post(first.link, device_code=wrong_code(number))
    answers["rejected"] = get(first.link)
    answers["not me"] = post(second.link, answer="not-me")
    third.hold_click()
    answers["redirect"] = post(third.link, device_code=third.code)
    answers["waiting"] = get(third.link + ANSWERED)
    third.release_click()
    third.wait_until("active")
    answers["active"] = get(third.link + ANSWERED)
    answers["used"] = get(third.link)
    fourth.edit(confirm_expires_at=LONG_AGO)
    answers["expired"] = get(fourth.link)
    fifth.ask_again()
    answers["replaced"] = get(fifth.link)
    sixth.edit(state="error", error={"reason": "token_used: taken", "at": LONG_AGO})
    answers["failed"] = get(sixth.link)
    return answers


@pytest.mark.parametrize("name", STATUS)
def test_every_page_has_its_own_status(name: str, answers: Answers) -> None:
    assert answers[name].status_code == STATUS[name]


@pytest.mark.parametrize("name", STATUS)
def test_every_page_and_redirect_is_kept_by_nobody_and_framed_by_nobody(
    name: str, answers: Answers
) -> None:
    headers = answers[name].headers
    policy = dict(rule.strip().split(" ", 1) for rule in csp(answers[name]).split(";"))
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert "unsafe" not in csp(answers[name])


@pytest.mark.parametrize("name", STATUS)
def test_no_page_shows_the_owners_address_or_the_device_code(
    name: str, answers: Answers, devices: list[Registered]
) -> None:
    answer = answers[name]
    shown = (answer.text + str(answer.headers)).lower()
    for device in devices:
        assert device.owner.partition("@")[0] not in shown
        assert device.code.lower() not in shown
        assert device.code.lower().replace("-", "") not in shown


def test_a_redirect_stays_on_the_page_whatever_host_was_asked_for(register: Register) -> None:
    device = register()
    data, headers = {"device_code": device.code}, {"Host": "evil.example.com"}
    answer = requests.post(
        device.link, data=data, headers=headers, allow_redirects=False, timeout=30
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, ANSWERED)


def test_a_scanners_get_changes_nothing(register: Register) -> None:
    device = register()
    before = device.doc()
    pages = [get(device.link + query).text for query in ("", "", "?", ANSWERED)]
    for _ in range(2):
        requests.head(device.link, timeout=30)
    assert set(pages) == {pages[0]}
    assert device.doc() == before
    assert device.clicks() == []


def test_a_scanners_get_of_an_expired_link_changes_nothing(register: Register) -> None:
    device = register()
    device.edit(confirm_expires_at=LONG_AGO)
    before = device.doc()
    assert get(device.link).status_code == 410
    assert device.doc() == before


def test_codes_that_lead_nowhere_give_the_very_same_page(where: Where, register: Register) -> None:
    device, gone = register(), register()
    gone.control.remove(gone.doc())
    device_id, generation, mac = take_apart(device.link_code)
    codes = {
        "no code at all": "nothing",
        "another MAC": put_together(device_id, 0, f"{'aa' if mac[:2] != 'aa' else 'bb'}{mac[2:]}"),
        "another generation": put_together(device_id, 1, mac),
        "cut off": device.link_code[:-5],
        "cut off before the MAC": put_together(device_id, generation, ""),
        "one character too many": f"{device.link_code}a",
        "a device that is gone": gone.link_code,
        "a device that never was": put_together(f"device-{'0' * 32}", 0, mac),
    }
    answers = {name: get(f"{where.api}/confirm/{code}") for name, code in codes.items()}
    answers |= {
        f"{name}, posted": post(f"{where.api}/confirm/{code}", device_code=device.code)
        for name, code in codes.items()
    }
    assert {answer.status_code for answer in answers.values()} == {404}
    assert {answer.content for answer in answers.values()} == {answers["cut off"].content}
    assert {csp(answer) for answer in answers.values()} == {csp(answers["cut off"])}
    assert device.doc()["state"] == "confirming"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_link_in_capitals_and_percent_encoded_leads_to_its_page(
    method: str, register: Register
) -> None:
    """As it goes over the wire: `requests` would undo the encoding."""
    device = register()
    url = urlsplit(device.link)
    encoded = "".join(f"%{ord(letter):02x}" for letter in device.link_code.upper())
    connection = HTTPConnection(url.netloc, timeout=30)
    body, headers = (f"device_code={device.code}", FORM) if method == "POST" else (None, {})
    connection.request(method, f"{url.path.rpartition('/')[0]}/{encoded}", body, headers)
    assert connection.getresponse().status == (303 if method == "POST" else 200)
    connection.close()


def test_only_the_newest_link_works(where: Where, register: Register) -> None:
    device = register()
    device.ask_again()
    newest = wait_for(lambda: list(mails_to(where, device.owner))[1:], "a second mail")[0]
    assert post(device.link, device_code=device.code).status_code == 410
    assert device.doc()["state"] == "confirming"
    assert post(newest["links"][0], device_code=device.code).status_code == 303
    device.wait_until("active")


def test_a_code_posted_twice_is_one_confirmation(register: Register) -> None:
    device = register()
    first = post(device.link, device_code=device.code)
    second = post(device.link, device_code=device.code)
    assert first.status_code == 303
    assert second.status_code in (303, 409)  # 409 where the device was confirmed in between
    assert_was_confirmed_once(device)


def test_simultaneous_answers_activate_the_device_once(register: Register) -> None:
    device, at_once = register(), 4
    barrier = Barrier(at_once)

    def answer(_: int) -> int:
        barrier.wait(timeout=30)
        return post(device.link, device_code=device.code).status_code

    with ThreadPoolExecutor(at_once) as threads:
        statuses = set(threads.map(answer, range(at_once)))
    assert 303 in statuses
    assert statuses <= {303, 409}
    assert_was_confirmed_once(device)


def test_the_same_wrong_code_again_is_no_new_try(register: Register) -> None:
    device = register()
    pages = [post(device.link, device_code=wrong_code()) for _ in range(10)]
    assert {page.status_code for page in pages} == {403}
    assert all("4 tries are left" in page.text for page in pages)
    assert device.doc()["state"] == "confirming"
    assert post(device.link, device_code=device.code).status_code == 303


def test_each_other_wrong_code_is_a_try_and_the_last_one_rejects(register: Register) -> None:
    device = register()
    for number, left in enumerate(("4 tries are", "3 tries are", "2 tries are", "1 try is")):
        assert f"{left} left" in post(device.link, device_code=wrong_code(number)).text
    assert "Too many wrong codes" in post(device.link, device_code=wrong_code(9)).text
    assert device.doc()["state"] == "rejected"
    assert post(device.link, device_code=device.code).status_code == 410
    assert device.clicks() == []


def test_wrong_codes_at_once_are_not_more_than_five_tries(register: Register) -> None:
    device, guesses = register(), 8
    barrier = Barrier(guesses + 1)

    def guess(device_code: str) -> int:
        barrier.wait(timeout=30)
        return post(device.link, device_code=device_code).status_code

    codes = [wrong_code(number) for number in range(guesses)]
    with ThreadPoolExecutor(guesses + 1) as threads:
        waiting = [threads.submit(guess, code) for code in codes]
        barrier.wait(timeout=30)
        statuses = {answer.result() for answer in waiting}
    assert statuses <= {403, 410}
    assert device.wait_until("rejected")
    assert device.clicks() == []


FORMS = {
    "empty": b"",
    "of 100 kB": b"device_code=" + b"A" * 100_000,
    "of 100 kB after the right code": b"device_code=%s&more=" + b"A" * 100_000,
    "of invalid UTF-8": b"device_code=\xff\xfe",
    "of invalid UTF-8 after the right code": b"device_code=%s&more=\xff\xfe",
    "of too many fields after the right code": b"device_code=%s" + b"&a=b" * 20,
    "without the code": b"another=%s",
    "of a code that is too long": b"device_code=" + b"A" * 300,
    "of blanks": b"device_code=+++",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_is_none_of_ours_changes_nothing_and_is_no_try(
    form: str, register: Register
) -> None:
    device = register()
    before, body = device.doc(), FORMS[form].replace(b"%s", device.code.encode())
    page = requests.post(device.link, data=body, headers=FORM, timeout=30)
    assert page.status_code == 422
    assert "Type the code that your device shows." in page.text
    assert device.doc() == before
    assert device.clicks() == []
    assert "4 tries are left" in post(device.link, device_code=wrong_code()).text


@pytest.mark.parametrize(
    "body", [b"device_code=%ff%fe", b"device_code=%00", b"device_code=%F0%9F%98%80", b"%=%&;"]
)
def test_a_form_of_odd_characters_changes_nothing(body: bytes, register: Register) -> None:
    device = register()
    before = device.doc()
    page = requests.post(device.link, data=body, headers=FORM, timeout=30)
    assert page.status_code in (403, 422)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert device.doc() == before
    assert device.clicks() == []


def test_what_is_no_form_is_not_an_answer(register: Register) -> None:
    device = register()
    before = device.doc()
    answer = requests.post(device.link, json={"device_code": device.code}, timeout=30)
    assert answer.status_code == 415
    assert device.doc() == before
    assert device.clicks() == []


PERSIAN_DIGITS = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
TYPED: dict[str, Callable[[str], str]] = {
    "in lower case": str.lower,
    "without the dash": lambda code: code.replace("-", ""),
    "with spaces": lambda code: f" {code[:2]} {code[2:4]}  {code[5:7]} {code[7:]} ",
    "in Persian digits": lambda code: code.translate(PERSIAN_DIGITS),
    "in wide letters": lambda code: "".join(chr(ord(c) + 0xFEE0) for c in code),
}


@pytest.mark.parametrize("how", TYPED)
def test_a_device_code_counts_however_it_was_typed(how: str, register: Register) -> None:
    device = register()
    assert post(device.link, device_code=TYPED[how](device.code)).status_code == 303
    device.wait_until("active")


def test_html_in_a_devices_name_is_text(where: Where, register: Register) -> None:
    device = register(name="""<script>alert(1)</script>{{7*7}}<img src=x>'"&amp;""")
    mail = next(mails_to(where, device.owner))
    pages = [get(device.link).text, post(device.link, device_code=wrong_code()).text, mail["html"]]
    for page in (page.replace("\u2060", "") for page in pages):
        assert "&lt;script&gt;alert(1)&lt;/script&gt;{{7*7}}&lt;img src=x&gt;" in page
        assert "&#39;&#34;&amp;amp;" in page
        assert "<script" not in page
        assert "<img" not in page


def test_health_is_well_once_the_poller_was_seen(where: Where) -> None:
    def healthy() -> requests.Response | None:
        answer = get(f"{where.api}/health")
        return answer if answer.status_code == 200 else None

    answer = wait_for(healthy, "health")
    body = answer.json()
    assert body["ok"] is True
    assert body["poller_age_s"] >= 0
    assert answer.headers["Cache-Control"] == "no-store"
    assert {body[part] for part in ("couchdb", "dynamodb", "sqs", "poller")} == {"ok"}


def csp(answer: requests.Response) -> str:
    return answer.headers["Content-Security-Policy"]


def assert_was_confirmed_once(device: Registered) -> None:
    """New, confirming, confirmed, active: four revisions; clicked, used: two."""
    doc = device.wait_until("active")
    clicks = wait_for(lambda: [c for c in device.clicks() if c["state"] == "used"], "the click")
    assert revision(doc["_rev"]) == 4
    assert [revision(click["_rev"]) for click in clicks] == [2]
    assert device.clicks() == clicks


def revision(rev: str) -> int:
    return int(rev.partition("-")[0])
