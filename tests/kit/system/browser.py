"""What tests in a browser do again and again: look at a page, and take pictures of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Page, Response, Route

SCREENSHOTS = Path(__file__).parents[2] / "e2e" / "screenshots"
SIZES: dict[str, dict[str, Any]] = {
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
    "desktop": {"viewport": {"width": 1280, "height": 800}},
}
LONG_ADDRESS = f"{'w' * 64}@{'w' * 63}.{'w' * 63}.example.com"
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")

# In how many lines each element's words are set.
LINES_OF_EACH = """elements => elements.map(element => {
  const words = document.createRange();
  words.selectNodeContents(element);
  return new Set([...words.getClientRects()].map(box => box.top)).size;
})"""

Visit = Callable[..., Page]


def main_heading(page: Page) -> Any:
    return page.get_by_role("heading", level=1)


def open_again(page: Page, link: str) -> Response:
    answer = page.goto(link)
    assert answer is not None
    return answer


def fits_in_light_and_dark(page: Page, name: str) -> None:
    """Check that a page that stands still fits its screen in both schemes, and take pictures."""
    papers = {scheme: picture(page, scheme, f"{name}-{scheme}") for scheme in SCHEMES}
    assert papers["light"] != papers["dark"]


def picture(page: Page, scheme: Scheme, name: str) -> str:
    """Check that the page fits, take a picture of it, and tell its background."""
    page.emulate_media(color_scheme=scheme)
    widths = "() => [document.documentElement.scrollWidth, innerWidth]"
    needed, shown = page.evaluate(widths)
    assert page.viewport_size is not None
    assert shown == page.viewport_size["width"]  # not zoomed out, as a page made for desktops is
    assert needed <= shown
    assert set(page.locator("dt").evaluate_all(LINES_OF_EACH)) <= {1}  # no name of a fact is split
    take_picture(page, name)
    return str(page.evaluate("() => getComputedStyle(document.body).backgroundColor"))


def stand_still(page: Page) -> None:
    """From now on a page that reloads itself gets "no content": the browser stays where it is.

    To be said before the page is opened: once it is, it may be in the midst of a reload.
    """

    def answer(route: Route) -> None:
        is_reload = route.request.method == "GET" and route.request.url == page.url
        if is_reload:
            route.fulfill(status=204)
        else:
            route.continue_()

    page.route("**/*", answer)


def take_picture(page: Page, name: str) -> None:
    """For people to look at; as it is, without the changes that Playwright makes to be stable."""
    SCREENSHOTS.mkdir(exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=path, full_page=True, caret="initial", animations="allow")


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def is_only_a_status(complaint: str) -> bool:
    """Whether Chromium only says that the page itself came with a status such as 403."""
    return complaint.startswith("Failed to load resource: the server responded with a status of 4")
