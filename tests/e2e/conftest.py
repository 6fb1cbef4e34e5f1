"""The running system as these tests use it, and a browser to look at its pages with.

It ends with the last of them: its threads would go on beside other tests, and log and print there.
"""

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from local.aws import LocalAws
from local.couchdb_process import EmbeddedCouchDB
from local.net import Net
from local.system import LocalSystem, Options
from tests.kit.basics import an_address, looked_for
from tests.kit.device.gadget import Gadget
from tests.kit.device.shell import Shell
from tests.kit.embedded import start_quietly
from tests.kit.planted import plant
from tests.kit.system import registering
from tests.kit.system.browser import Visit, is_only_a_status, origin, stand_still
from tests.kit.system.registering import Registered, Where
from tests.kit.system.sharing import Invited, an_invitation

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

# What a page comes to takes a second; on a loaded machine more than Playwright's five.
expect.set_options(timeout=60_000)

Register = Callable[..., Registered]
MakeGadget = Callable[..., Gadget]


@pytest.fixture(scope="package")
def net() -> Iterator[Net]:
    """The network between devices and the cloud."""
    net = Net()
    yield net
    net.close()


@pytest.fixture(scope="package")
def system(aws: LocalAws, net: Net) -> Iterator[LocalSystem]:
    """The whole local system, running; devices find its CouchDB through the network."""
    public_url, listening = net.reserve()
    couchdb_url = os.environ.get("COUCHDB_URL") or None
    with LocalSystem(Options(couchdb_url, couchdb_public_url=public_url), aws) as system:
        net.forward(listening, system.couch_url)
        plant(looked_for(system.couch_url))
        yield system


@pytest.fixture(scope="package")
def where(system: LocalSystem) -> Where:
    """Where the running system is."""
    return Where(system.api, system.outbox, system.couch_url, system.control_db)


@pytest.fixture(scope="package")
def register(where: Where) -> Register:
    """Registers a device: `register(name="Ada's phone")`."""

    def register(name: str = "Ada's phone") -> Registered:
        return registering.register(where, name)

    return register


@pytest.fixture
def invited(where: Where) -> Invited:
    """An invitation whose guest has the mail."""
    return an_invitation(where)


class Couches:
    """The CouchDBs of devices: an embedded one for each name, or one that is given for all."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._given = os.environ.get("DEVICE_COUCHDB_URL") or os.environ.get("COUCHDB_URL")
        self._folders = folders
        self._started: dict[str, tuple[EmbeddedCouchDB, Path]] = {}

    def __call__(self, name: str) -> str:
        """The URL of the CouchDB of the device of that name, with its login."""
        if self._given:
            return self._given.rstrip("/")
        if name not in self._started:
            folder = self._folders.mktemp(name)
            self._started[name] = start_quietly(folder, uuid.uuid4().hex), folder
        return self._started[name][0].url

    def restart(self, name: str) -> None:
        """End it and start it again; the given one by COUCHDB_RESTART, if that command is given."""
        if self._given:
            command = os.environ.get("COUCHDB_RESTART")
            subprocess.run(["/bin/sh", "-c", command or ":"], check=True)
            return
        couchdb, folder = self._started[name]
        couchdb.stop()
        parts = urlsplit(couchdb.url)
        again = EmbeddedCouchDB(folder, str(parts.password), int(parts.port or 0))
        self._started[name] = again, folder

    def stop(self) -> None:
        for couchdb, _ in self._started.values():
            couchdb.stop()


@pytest.fixture(scope="package")
def couches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Couches]:
    """The CouchDBs of devices: `couches("phone")` is a URL."""
    couches = Couches(tmp_path_factory)
    yield couches
    couches.stop()


@pytest.fixture
def shell(tmp_path: Path, couches: Couches, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """Where the commands of a device are typed that is not registered yet."""
    shell = Shell(tmp_path / "home", couches("shell"), capsys)
    yield shell
    shell.remove()


@pytest.fixture
def phone(shell: Shell) -> Shell:
    """The same for a device that is registered, and whose cloud is not there."""
    assert shell.register().code == 0
    return shell


@pytest.fixture
def gadget(where: Where, net: Net, couches: Couches, tmp_path: Path) -> Iterator[MakeGadget]:
    """Makes a device: `gadget("phone")`, `gadget("laptop", owner=phone.owner)`."""
    made: list[Gadget] = []
    registrations = net.url_to(f"{where.api}/registrations")

    def make(name: str = "phone", owner: str | None = None) -> Gadget:
        one = Gadget(
            where, net, registrations, couches(name), tmp_path, name, owner or an_address()
        )
        made.append(one)
        return one

    yield make
    net.restore()
    for one in made:
        one.remove()


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
    """Opens pages: `visit(link, java_script_enabled=False)`; `still=True`: none reloads itself.

    After the test, no page of it has complained or asked anybody but the API for anything.
    """
    complaints: list[str] = []
    asked: set[str] = set()
    contexts = []

    def visit(link: str, *, still: bool = False, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.add(origin(request.url)))
        if still:
            stand_still(page)
        page.goto(link)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert [text for text in complaints if not is_only_a_status(text)] == []
    assert asked == {origin(where.api)}
