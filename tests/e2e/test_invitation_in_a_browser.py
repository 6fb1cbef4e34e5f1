"""A guest's pages as people see them: in a real browser, with and without JavaScript."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.channel import CHANNEL_NAME_LENGTH
from chalicelib.domain.names import subscription_id
from tests.kit.system.browser import (
    LONG_ADDRESS,
    SIZES,
    Visit,
    fits_in_light_and_dark,
    main_heading,
    open_again,
)
from tests.kit.system.registering import ANSWERED, LONG_AGO, Where, post
from tests.kit.system.sharing import Invited, an_invitation

ADDRESS_OF_ANOTHER_SCRIPT = f"{'w' * 64}@\u0430pple-{'ö' * 30}.example"

scripts_or_not = pytest.mark.parametrize(
    "scripts", [True, False], ids=["with scripts", "without scripts"]
)


@pytest.mark.parametrize("size", SIZES)
@scripts_or_not
def test_who_accepts_has_the_channel(
    *, scripts: bool, size: str, visit: Visit, invited: Invited
) -> None:
    page = visit(invited.link, java_script_enabled=scripts, **SIZES[size])
    expect(main_heading(page)).to_have_text("You are invited")
    expect(fact(page, "From")).to_have_text(invited.owner.address)
    expect(fact(page, "Channel")).to_have_text("Ada's photos")
    press(page, "Accept")
    expect(main_heading(page)).to_have_text("The channel is shared with you")
    expect(page.get_by_role("status")).to_contain_text("on all your devices by itself")
    assert invited.doc()["state"] == "accepted"
    guest = owner_id_of(invited.guest)
    assert invited.owner.control.get(invited.channel_id)["members"] == [guest]
    db = invited.owner.control.get(invited.channel_id)["syncpoint"].rpartition("/")[2]
    assert invited.guest_control.get(subscription_id(db, guest))["state"] == "active"


@scripts_or_not
def test_the_page_waits_and_goes_on_by_itself(
    *, scripts: bool, visit: Visit, invited: Invited
) -> None:
    invited.hold_acceptance()
    page = visit(invited.link, java_script_enabled=scripts)
    press(page, "Accept")
    expect(main_heading(page)).to_have_text("Sharing the channel")
    with page.expect_event("response") as reloaded:
        expect(page.get_by_role("status")).to_contain_text("goes on by itself")
    assert reloaded.value.url == invited.link + ANSWERED
    invited.release_acceptance()
    expect(main_heading(page)).to_have_text("The channel is shared with you")


@pytest.mark.parametrize("size", SIZES)
@scripts_or_not
def test_who_declines_has_nothing(
    *, scripts: bool, size: str, visit: Visit, invited: Invited
) -> None:
    page = visit(invited.link, java_script_enabled=scripts, **SIZES[size])
    press(page, "Decline")
    expect(main_heading(page)).to_have_text("Invitation declined")
    assert invited.doc()["state"] == "declined"
    assert open_again(page, invited.link).status == 409
    expect(main_heading(page)).to_have_text("This invitation was answered")
    assert "members" not in invited.owner.control.get(invited.channel_id)


def test_a_reload_after_the_answer_posts_nothing_again(visit: Visit, invited: Invited) -> None:
    page = visit(invited.link)
    press(page, "Accept")
    expect(main_heading(page)).to_have_text("The channel is shared with you")
    before = invited.doc()
    methods: list[str] = []
    page.on("request", lambda request: methods.append(request.method))
    page.reload()
    expect(main_heading(page)).to_have_text("The channel is shared with you")
    assert methods == ["GET"]
    assert invited.doc() == before


def test_opening_the_page_changes_nothing(visit: Visit, invited: Invited) -> None:
    before = invited.doc()
    for query in ("", ANSWERED):
        expect(main_heading(visit(invited.link + query))).to_have_text("You are invited")
    assert invited.doc() == before


def test_a_page_that_was_left_open_says_that_it_was_answered(
    visit: Visit, invited: Invited
) -> None:
    page, left_open = visit(invited.link), visit(invited.link)
    press(page, "Accept")
    expect(main_heading(page)).to_have_text("The channel is shared with you")
    press(left_open, "Decline")
    expect(main_heading(left_open)).to_have_text("This invitation was answered")
    assert invited.doc()["state"] == "accepted"


def test_an_expired_link_says_so_and_an_answer_to_it_expires_the_invitation(
    visit: Visit, invited: Invited
) -> None:
    left_open = visit(invited.link)
    invited.edit(expires_at=LONG_AGO)
    page = visit(invited.link)
    expect(main_heading(page)).to_have_text("This invitation has expired")
    assert open_again(page, invited.link).status == 410
    assert invited.doc()["state"] == "sent"
    press(left_open, "Accept")
    expect(main_heading(left_open)).to_have_text("This invitation has expired")
    assert invited.doc()["state"] == "expired"


def test_a_withdrawn_invitation_says_so_and_takes_no_answer(visit: Visit, invited: Invited) -> None:
    left_open = visit(invited.link)
    invited.edit(state="withdrawn")
    page = visit(invited.link)
    expect(main_heading(page)).to_have_text("This invitation was withdrawn")
    assert open_again(page, invited.link).status == 410
    press(left_open, "Accept")
    expect(main_heading(left_open)).to_have_text("This invitation was withdrawn")
    assert invited.doc()["state"] == "withdrawn"


def test_a_link_that_was_cut_off_says_so(visit: Visit, invited: Invited) -> None:
    page = visit(invited.link[:-3])
    expect(main_heading(page)).to_have_text("This link leads nowhere")
    expect(page.get_by_role("button")).to_have_count(0)


def test_both_buttons_can_be_reached_by_keyboard(visit: Visit, invited: Invited) -> None:
    page = visit(invited.link)
    for name in ("Accept", "Decline"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name=name)).to_be_focused()
    page.keyboard.press("Enter")
    expect(main_heading(page)).to_have_text("Invitation declined")


def test_a_name_written_from_right_to_left_stays_in_its_place(visit: Visit, where: Where) -> None:
    name = "2026 תמונות!"
    page = visit(an_invitation(where, name).link)
    expect(fact(page, "Channel")).to_have_text(name)
    expect(page.locator("dd bdi").nth(1)).to_have_css("unicode-bidi", "isolate")
    names = [page.get_by_text(fact, exact=True).bounding_box() for fact in ("From", "Channel")]
    assert len({name["x"] for name in names if name}) == 1


def a_form_of_long_names(where: Where) -> Invited:
    invited = an_invitation(where, "W" * CHANNEL_NAME_LENGTH)
    invited.edit(invited_by=LONG_ADDRESS)
    return invited


def a_form_from_right_to_left(where: Where) -> Invited:
    return an_invitation(where, "תמונות מהחופשה 2026")


def a_wait(where: Where) -> Invited:
    invited = a_form_of_long_names(where)
    invited.hold_acceptance()
    post(invited.link, answer="accept")
    return invited


def an_accepted_invitation(where: Where) -> Invited:
    invited = an_invitation(where)
    post(invited.link, answer="accept")
    invited.wait_until("accepted")
    return invited


def a_changed_one(**changes: Any) -> Callable[[Where], Invited]:
    def make(where: Where) -> Invited:
        invited = an_invitation(where)
        invited.edit(**changes)
        return invited

    return make


def press_neither(page: Page) -> None:
    """Post the form as a broken program does."""
    page.locator("input[name=answer]").first.evaluate("field => { field.value = 'perhaps' }")
    press(page, "Accept")


# What to open, with which query, the page's heading, and what to do once it is open.
LAYOUTS: dict[str, tuple[Callable[[Where], Invited], str, str, Callable[[Page], None] | None]] = {
    "form": (an_invitation, "", "You are invited", None),
    "form-of-long-names": (a_form_of_long_names, "", "You are invited", None),
    "form-right-to-left": (a_form_from_right_to_left, "", "You are invited", None),
    "form-of-another-script": (
        a_changed_one(invited_by=ADDRESS_OF_ANOTHER_SCRIPT),
        "",
        "You are invited",
        None,
    ),
    "neither": (an_invitation, "", "You are invited", press_neither),
    "waiting": (a_wait, ANSWERED, "Sharing the channel", None),
    "shared": (an_accepted_invitation, ANSWERED, "The channel is shared with you", None),
    "answered": (an_accepted_invitation, "", "This invitation was answered", None),
    "declined": (an_invitation, "", "Invitation declined", lambda page: press(page, "Decline")),
    "expired": (a_changed_one(expires_at=LONG_AGO), "", "This invitation has expired", None),
    "withdrawn": (a_changed_one(state="withdrawn"), "", "This invitation was withdrawn", None),
    "replaced": (a_changed_one(state="held", generation=1), "", "There is a newer link", None),
    "failed": (
        a_changed_one(state="error", error={"reason": "channel: " + "W" * 80, "at": LONG_AGO}),
        "",
        "The channel could not be shared",
        None,
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_page_fits_the_screen_in_light_and_dark(name: str, visit: Visit, where: Where) -> None:
    make, query, title, act = LAYOUTS[name]
    links = [make(where).link for _ in SIZES] if act else [make(where).link] * len(SIZES)
    for size, link in zip(SIZES, links, strict=True):
        page = visit(link + query, still=True, **SIZES[size])
        if act:
            act(page)
        expect(main_heading(page)).to_have_text(title)
        fits_in_light_and_dark(page, f"invitation-{name}-{size}")


def press(page: Page, button: str) -> None:
    page.get_by_role("button", name=button).click()


def fact(page: Page, name: str) -> Any:
    """What the page shows under this name."""
    return page.locator("dl div", has=page.get_by_text(name, exact=True)).get_by_role("definition")
