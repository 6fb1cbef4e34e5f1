"""The pages as people see them: in a real browser, with and without JavaScript, large and small."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from chalicelib.domain.device import DEVICE_NAME_LENGTH
from chalicelib.domain.link_status import WRONG_CODES
from tests.e2e.conftest import Register
from tests.kit.system.browser import SIZES, Visit, fits_in_light_and_dark, main_heading, open_again
from tests.kit.system.registering import ANSWERED, LONG_AGO, post, wrong_code

CODE_FIELD = "Device code"


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_the_owner_types_the_code_and_the_device_is_active(
    *, scripts: bool, visit: Visit, register: Register
) -> None:
    device = register(name="Ada's phone")
    page = visit(device.link, java_script_enabled=scripts)
    expect(main_heading(page)).to_have_text("Confirm your device")
    expect(page.get_by_role("definition").first).to_have_text("Ada's phone")
    expect(page.get_by_label(CODE_FIELD)).to_be_focused()
    page.keyboard.type(device.code.lower())
    page.keyboard.press("Enter")
    expect(main_heading(page)).to_have_text("Your device is active")
    assert device.doc()["state"] == "active"
    assert device.login().json()["userCtx"]["name"] == device.device.device_id


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_the_page_waits_and_goes_on_by_itself(
    *, scripts: bool, visit: Visit, register: Register
) -> None:
    device = register()
    device.hold_click()
    page = visit(device.link, java_script_enabled=scripts)
    answer(page, device.code)
    expect(main_heading(page)).to_have_text("Activating your device")
    with page.expect_event("response") as reloaded:
        expect(page.get_by_role("status")).to_contain_text("goes on by itself")
    assert reloaded.value.url == device.link + ANSWERED
    device.release_click()
    expect(main_heading(page)).to_have_text("Your device is active")
    expect(page.get_by_role("status")).to_contain_text("You can close this page")


def test_the_login_does_not_work_before_the_code_is_typed(register: Register) -> None:
    assert register().login().status_code == 401


def test_a_reload_of_the_active_page_posts_nothing_again(visit: Visit, register: Register) -> None:
    device = register()
    page = visit(device.link)
    answer(page, device.code)
    expect(main_heading(page)).to_have_text("Your device is active")
    methods: list[str] = []
    page.on("request", lambda request: methods.append(request.method))
    page.reload()
    expect(main_heading(page)).to_have_text("Your device is active")
    assert methods == ["GET"]


def test_a_wrong_code_is_told_with_the_tries_that_are_left(
    visit: Visit, register: Register
) -> None:
    device = register()
    page = visit(device.link)
    assert described_by(page) == ["hint"]
    answer(page, wrong_code())
    expect(page.get_by_role("alert")).to_contain_text("not the code that your device shows")
    expect(page.get_by_role("alert")).to_contain_text("4 tries are left")
    field = page.get_by_label(CODE_FIELD)
    expect(field).to_be_focused()
    expect(field).to_have_value("")
    expect(field).to_have_attribute("aria-invalid", "true")
    assert described_by(page) == ["hint", "problem"]
    answer(page, device.code)
    expect(main_heading(page)).to_have_text("Your device is active")


def test_five_wrong_codes_refuse_the_device(visit: Visit, register: Register) -> None:
    device = register()
    page = visit(device.link)
    for number in range(1, WRONG_CODES):
        answer(page, wrong_code(number))
        expect(page.get_by_role("alert")).to_be_visible()
    answer(page, wrong_code(WRONG_CODES))
    expect(main_heading(page)).to_have_text("Too many wrong codes")
    expect(page.get_by_role("textbox")).to_have_count(0)
    assert device.doc()["state"] == "rejected"
    assert open_again(page, device.link).status == 410
    expect(main_heading(page)).to_have_text("This registration was refused")


def test_a_link_that_was_used_says_so(visit: Visit, register: Register) -> None:
    device = register()
    page, left_open = visit(device.link), visit(device.link)
    answer(page, device.code)
    expect(main_heading(page)).to_have_text("Your device is active")
    before = device.doc()
    assert open_again(page, device.link).status == 409
    expect(main_heading(page)).to_have_text("This link has been used")
    answer(left_open, device.code)
    expect(main_heading(left_open)).to_have_text("This link has been used")
    assert device.doc() == before


def test_this_was_not_me_refuses_the_device(visit: Visit, register: Register) -> None:
    device = register()
    page = visit(device.link)
    page.get_by_role("button", name="This wasn’t me").click()
    expect(main_heading(page)).to_have_text("Registration refused")
    assert device.doc()["state"] == "rejected"
    assert open_again(page, device.link).status == 410
    assert post(device.link, device_code=device.code).status_code == 410
    assert device.doc()["state"] == "rejected"
    assert device.login().status_code == 401


def test_an_expired_link_says_so_and_an_answer_to_it_expires_the_device(
    visit: Visit, register: Register
) -> None:
    device = register()
    left_open = visit(device.link)
    device.edit(confirm_expires_at=LONG_AGO)
    page = visit(device.link)
    expect(main_heading(page)).to_have_text("This link has expired")
    assert open_again(page, device.link).status == 410
    assert device.doc()["state"] == "confirming"
    assert post(device.link, device_code=device.code).status_code == 410
    assert device.doc()["state"] == "expired"
    answer(left_open, device.code)
    expect(main_heading(left_open)).to_have_text("This link has expired")
    assert device.clicks() == []


def test_all_of_the_form_can_be_reached_by_keyboard(visit: Visit, register: Register) -> None:
    page = visit(register().link)
    expect(page.get_by_label(CODE_FIELD)).to_be_focused()
    for name in ("Confirm this device", "This wasn’t me"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name=name)).to_be_focused()


def test_an_empty_field_is_not_sent(visit: Visit, register: Register) -> None:
    page = visit(register().link)
    methods: list[str] = []
    page.on("request", lambda request: methods.append(request.method))
    page.get_by_role("button", name="Confirm this device").click()
    expect(page.locator("input:invalid")).to_be_focused()
    assert methods == []


def a_form(register: Register) -> str:
    return register().link


def a_form_of_a_long_name(register: Register) -> str:
    return register(name="W" * DEVICE_NAME_LENGTH).link


def a_wait(register: Register) -> str:
    device = register(name="W" * DEVICE_NAME_LENGTH)
    device.hold_click()
    post(device.link, device_code=device.code)
    return device.link + ANSWERED


def an_active_device(register: Register) -> str:
    device = register(name="W" * DEVICE_NAME_LENGTH)
    post(device.link, device_code=device.code)
    device.wait_until("active")
    return device.link + ANSWERED


def a_used_link(register: Register) -> str:
    return an_active_device(register).removesuffix(ANSWERED)


def an_expired_link(register: Register) -> str:
    device = register()
    device.edit(confirm_expires_at=LONG_AGO)
    return device.link


def a_refused_device(register: Register) -> str:
    device = register()
    post(device.link, answer="not-me")
    return device.link


def a_failed_device(register: Register) -> str:
    device = register()
    device.edit(state="error", error={"reason": "token_used: " + "W" * 80, "at": LONG_AGO})
    return device.link


# What to open, the page's heading, and what to press once it is open.
LAYOUTS: dict[str, tuple[Callable[[Register], str], str, Callable[[Page], None] | None]] = {
    "form": (a_form, "Confirm your device", None),
    "form-of-a-long-name": (a_form_of_a_long_name, "Confirm your device", None),
    "wrong-code": (
        a_form_of_a_long_name,
        "Confirm your device",
        lambda page: answer(page, wrong_code()),
    ),
    "waiting": (a_wait, "Activating your device", None),
    "active": (an_active_device, "Your device is active", None),
    "used": (a_used_link, "This link has been used", None),
    "expired": (an_expired_link, "This link has expired", None),
    "refused": (a_refused_device, "This registration was refused", None),
    "failed": (a_failed_device, "Your device could not be activated", None),
    "not-me": (
        a_form,
        "Registration refused",
        lambda page: page.get_by_role("button", name="This wasn’t me").click(),
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_page_fits_the_screen_in_light_and_dark(
    name: str, visit: Visit, register: Register
) -> None:
    make, title, press = LAYOUTS[name]
    links = [make(register) for _ in SIZES] if press else [make(register)] * len(SIZES)
    for size, link in zip(SIZES, links, strict=True):
        page = visit(link, still=True, **SIZES[size])
        if press:
            press(page)
        expect(main_heading(page)).to_have_text(title)
        fits_in_light_and_dark(page, f"{name}-{size}")


def answer(page: Page, device_code: str) -> None:
    page.get_by_label(CODE_FIELD).fill(device_code)
    page.keyboard.press("Enter")


def described_by(page: Page) -> list[str]:
    """The ids that describe the field; each is on the page, once, with words in it."""
    ids = (page.get_by_label(CODE_FIELD).get_attribute("aria-describedby") or "").split()
    for element_id in ids:
        expect(page.locator(f"#{element_id}")).to_have_text(re.compile(r"\w"))
    return ids
