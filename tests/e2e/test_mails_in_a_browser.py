"""The mails as people see them: on a phone and on a large screen, with the longest of names."""

import pytest
from playwright.sync_api import Browser

from chalicelib.domain import channel, device
from chalicelib.emails import texts
from tests.kit.system.browser import LONG_ADDRESS, SIZES, main_heading, picture
from tests.kit.tokens import LONGEST_TOKEN

LINK = f"https://sync.example.com/api/invitation/{'m' * LONGEST_TOKEN}"

MAILS = {
    "confirmation": texts.confirmation(LINK, "W" * device.DEVICE_NAME_LENGTH, hours=24),
    "invitation": texts.invitation(
        LINK, LONG_ADDRESS, "W" * channel.CHANNEL_NAME_LENGTH, hours=168
    ),
    "invitation-of-another-script": texts.invitation(
        LINK, "ada@\u0430pple.example", "Photos", hours=168
    ),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MAILS)
def test_a_mail_fits_the_screen_and_shows_its_link(name: str, size: str, browser: Browser) -> None:
    subject, _, html = MAILS[name]
    with browser.new_context(**SIZES[size], java_script_enabled=False) as context:
        page = context.new_page()
        page.set_content(html)
        # A mail is there at once: nothing to wait for.
        assert (page.title(), main_heading(page).inner_text()) == (subject, subject)
        assert page.get_by_text(LINK).is_visible()
        assert page.get_by_role("link").get_attribute("href") == LINK
        picture(page, "light", f"mail-{name}-{size}")
