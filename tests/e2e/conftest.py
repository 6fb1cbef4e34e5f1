"""The running system as these tests use it, and a browser to look at its pages with."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from local.system import LocalSystem
from tests.e2e import steps
from tests.e2e.looking import Visit, is_only_a_status, origin
from tests.e2e.steps import Registered, Where

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

Register = Callable[..., Registered]


@pytest.fixture(scope="session")
def where(system: LocalSystem) -> Where:
    """Where the running system is."""
    return Where(system.api, system.outbox, system.couch_url, system.control_db)


@pytest.fixture(scope="session")
def register(where: Where) -> Register:
    """Registers a device: `register(name="Ada's phone")`."""

    def register(name: str = "Ada's phone") -> Registered:
        return steps.register(where, name)

    return register


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium; without one the tests are skipped, but never in CI."""
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        why = f"no Chromium on this machine (looked for {', '.join(CHROMIUMS)})"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, where: Where) -> Iterator[Visit]:
    """Opens pages: `visit(link, java_script_enabled=False)`.

    After the test, no page of it has complained or asked anybody but the API for anything.
    """
    complaints: list[str] = []
    asked: set[str] = set()
    contexts = []

    def visit(link: str, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.add(origin(request.url)))
        page.goto(link)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert [text for text in complaints if not is_only_a_status(text)] == []
    assert asked == {origin(where.api)}
