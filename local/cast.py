"""What the people of the demo do: register devices, read mails, answer pages, use databases."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import requests

from chalicelib.couch import CouchError, Database, JsonDict, Server
from chalicelib.docstate import timestamp
from chalicelib.identity import owner_control_db, owner_id
from device.registration import NewDevice, new_device
from local.browser import Seen, submit, visit
from local.errors import LocalError
from local.system import LocalSystem
from local.watch import STEP_LIMIT_S, Watch

Value = TypeVar("Value")


class Story:
    """Prints lines, each with the seconds since the story began."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._printing = threading.Lock()

    def chapter(self, text: str) -> None:
        """A headline."""
        self._print(f"\n{text}\n")

    def line(self, who: str, what: str) -> None:
        """Something that happened."""
        self._print(f"  {time.monotonic() - self._began:6.2f} s  {who:<12} {what}\n")

    def state(self, doc: JsonDict, before: str | None) -> None:
        """A document's step from one state to the next."""
        what = f"{before} → {doc['state']}" if before else str(doc["state"])
        self.line(str(doc["type"]), what)

    def _print(self, text: str) -> None:
        # In one piece: the watches tell their lines from threads of their own.
        with self._printing:
            print(text, end="", flush=True)


@dataclass
class Device:
    """A device that somebody has registered, with what it can do at the cloud's CouchDB."""

    server: Server
    new: NewDevice
    link: str = ""

    def database(self, name: str) -> Database:
        """A database as this device sees it, with the login of its own."""
        scheme, _, host = self.server.url.partition("://")
        url = f"{scheme}://{self.new.device_id}:{self.new.password}@{host}"
        return Server(url).database(name)


@dataclass
class Cast:
    """All that the chapters share."""

    system: LocalSystem
    story: Story
    server: Server = field(init=False)
    control: Database = field(init=False)
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.server = Server(self.system.couch_url)
        self.control = self.server.database(self.system.control_db)
        self.watch = self.watch_database(self.control)

    def watch_database(self, database: Database) -> Watch:
        """Tell the story of a database's documents from now on."""
        server = Server(self.system.couch_url)  # a connection of its own: it is held open
        return Watch(server.database(database.name), self.story.state)

    def control_of(self, owner: str) -> Database:
        """An owner's control database, as an administrator sees it."""
        return self.server.database(owner_control_db(self.control.name, owner_id(owner)))

    def new_device(self, owner: str, name: str) -> Device:
        """Write a device's document, and wait until its owner has the mail with the link."""
        now = timestamp(datetime.now(UTC))
        new = new_device(owner, name, now, sha256=_knows_sha256(self.server.info()))
        self.story.line(name, f"its screen shows the device code {new.device_code}")
        self.control.put(new.doc)
        self.watch.wait_for(new.device_id, "confirming")
        return Device(self.server, new, self.find_link(owner, new.device_id))

    def confirm(self, device: Device) -> Seen:
        """Open the link, type the code, wait until the device is active; the page after that."""
        accepted = submit(visit(device.link), {"device_code": device.new.device_code})
        expect(accepted.status == 200, f"the right code was refused: {accepted.heading}")
        self.story.line("page", f"the right code: {accepted.heading}")
        self.watch.wait_for(device.new.device_id, "active")
        return self.wait_for_page(device.link, "is active")

    def find_link(self, address: str, part: str) -> str:
        """The link in the newest mail to an address that has a certain text in it."""

        def mail() -> JsonDict | None:
            answer = requests.get(f"{self.system.outbox}/outbox.json", timeout=10)
            found = [m for m in answer.json() if m["to"] == address and part in m["text"]]
            return found[-1] if found else None

        found = within_limit(mail, f"no mail to {address} in the outbox")
        self.story.line("mail", f"to {found['to']}: “{found['subject']}”")
        link: str = found["links"][0]
        return link

    def wait_for_page(self, link: str, part: str) -> Seen:
        """The page behind a link that was answered, once its heading says so."""

        def ready() -> Seen | None:
            seen = visit(f"{link}?step=answered")
            return seen if part in seen.heading else None

        seen = within_limit(ready, f"no page said “{part}”")
        self.story.line("page", seen.heading)
        return seen

    def refused(self, who: str, what: str, attempt: Callable[[], object]) -> None:
        """Something that must not work, or not any more in a moment; tell how it was refused."""

        def refusal() -> CouchError | None:
            try:
                attempt()
            except CouchError as exc:
                return exc
            return None

        exc = within_limit(refusal, f"{who} was not refused: {what},")
        expect(exc.status in (401, 403), f"{what}: {exc}")
        self.story.line(who, f"{what}: {exc.status}, {exc.reason}")


def within_limit(ask: Callable[[], Value | None], otherwise: str) -> Value:
    """What `ask` returns as soon as it is something; a `LocalError` after the limit."""
    deadline = time.monotonic() + STEP_LIMIT_S
    while time.monotonic() < deadline:
        value = ask()
        if value is not None:
            return value
        time.sleep(0.05)
    raise LocalError(f"{otherwise} within {STEP_LIMIT_S:.0f} s")


def expect(condition: bool, otherwise: str) -> None:
    """Fail the demo with a reason if something is not as it should be."""
    if not condition:
        raise LocalError(otherwise)


def _knows_sha256(info: dict[str, Any]) -> bool:
    """Whether the server can check a key made with SHA-256; see docs/local.md."""
    version = tuple(int(part) for part in str(info.get("version", "0")).split(".")[:2])
    return "couchdb" in info and version >= (3, 4)
