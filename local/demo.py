"""`python -m local.demo`: a device is registered by e-mail, from first document to login."""

import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import requests

from chalicelib.couch import CouchError, JsonDict, Server, Unauthorized
from chalicelib.docstate import timestamp
from device.registration import NewDevice, new_device
from local.browser import submit, visit
from local.errors import LocalError
from local.system import LocalSystem, Options, prepare_process
from local.watch import STEP_LIMIT_S, Watch

OWNER = "ada@example.com"

Value = TypeVar("Value")


class Story:
    """Prints lines, each with the seconds since the story began."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def chapter(self, text: str) -> None:
        """A headline."""
        print(f"\n{text}", flush=True)

    def line(self, who: str, what: str) -> None:
        """Something that happened."""
        print(f"  {time.monotonic() - self._began:6.2f} s  {who:<8} {what}", flush=True)

    def state(self, doc: JsonDict, before: str | None) -> None:
        """A document's step from one state to the next."""
        what = f"{before} → {doc['state']}" if before else str(doc["state"])
        self.line(str(doc["type"]), what)


def main() -> int:
    """Tell the story; return 0, or 1 with the reason on stderr if a step fails."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stderr)
    prepare_process()
    story = Story()
    story.chapter("Syncpoint on this machine")
    story.line("system", "starting: CouchDB, AWS (moto), the Lambdas; some seconds")
    try:
        options = Options(couchdb_url=os.environ.get("COUCHDB_URL") or None)
        with LocalSystem(options) as system:
            Demo(system, story).run()
    except (LocalError, CouchError, requests.RequestException) as exc:
        print(f"\ndemo failed: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    story.chapter("Done; all that was started is stopped, all that was made is removed.")
    return 0


@dataclass
class Demo:
    """The story's steps."""

    system: LocalSystem
    story: Story

    def run(self) -> None:
        """All steps; each fails with a reason, or after its time limit."""
        server = Server(self.system.couch_url)
        self.story.line("system", f"CouchDB {server.url}, database {self.system.control_db}")
        self.story.line("system", f"API {self.system.api}, outbox {self.system.outbox}")
        control = server.database(self.system.control_db)
        watch = Watch(control, self.story.state)

        self.story.chapter(f"A device of {OWNER} registers")
        now = timestamp(datetime.now(UTC))
        device = new_device(OWNER, "Ada's phone", now, sha256=_knows_sha256(server.info()))
        self.story.line("phone", f"its screen shows the device code {device.device_code}")
        control.put(device.doc)
        watch.wait_for(device.device_id, "confirming")
        link = self._find_link(device)

        self.story.chapter("Ada opens the link in the mail, and types what the phone shows")
        self._confirm(link, device)
        watch.wait_for(device.device_id, "active")
        self._page_turns_active(link)

        self.story.chapter("What does not work, and what does")
        self._second_click(link, device)
        self._logins(server, device)

    def _find_link(self, device: NewDevice) -> str:
        def mail() -> JsonDict | None:
            answer = requests.get(f"{self.system.outbox}/outbox.json", timeout=10)
            found: list[JsonDict] = [m for m in answer.json() if device.device_id in m["text"]]
            return found[0] if found else None

        found = _within_limit(mail, "no mail in the outbox")
        self.story.line("mail", f"to {found['to']}: “{found['subject']}”")
        link: str = found["links"][0]
        return link

    def _confirm(self, link: str, device: NewDevice) -> None:
        page = visit(link)
        _expect(page.status == 200, f"the link's page is {page.status}: {page.heading}")
        self.story.line("page", page.heading)
        refused = submit(page, {"device_code": "AAAA-AAAA"})
        _expect(refused.status == 403, f"a wrong code was not refused: {refused.status}")
        self.story.line("page", f"a wrong code: {refused.status}, {refused.problem}")
        accepted = submit(page, {"device_code": device.device_code})
        _expect(accepted.status == 200, f"the right code was refused: {accepted.heading}")
        self.story.line("page", f"the right code: {accepted.heading}")

    def _page_turns_active(self, link: str) -> None:
        def active() -> str | None:
            heading = visit(f"{link}?step=answered").heading
            return heading if "is active" in heading else None

        self.story.line("page", _within_limit(active, "the page did not turn active"))

    def _second_click(self, link: str, device: NewDevice) -> None:
        again = submit(visit(link), {"device_code": device.device_code})
        _expect(again.status == 409, f"a second click was not refused: {again.status}")
        self.story.line("page", f"a second click: {again.status}, {again.heading}")

    def _logins(self, server: Server, device: NewDevice) -> None:
        scheme, _, host = server.url.partition("://")
        login = Server(f"{scheme}://{device.device_id}:{device.password}@{host}")
        user = login.session()["userCtx"]
        _expect(user["name"] == device.device_id, "the device's login does not work")
        self.story.line("login", f"{user['name']} is in, with the role {user['roles'][0]}")
        try:
            Server(f"{scheme}://{device.device_id}:wrong@{host}").session()
        except Unauthorized as exc:
            self.story.line("login", f"with a wrong password: {exc.status}, {exc.reason}")
        else:
            raise LocalError("a wrong password was not refused")


def _knows_sha256(info: dict[str, Any]) -> bool:
    """Whether the server can check a key made with SHA-256; see docs/local.md."""
    version = tuple(int(part) for part in str(info.get("version", "0")).split(".")[:2])
    return "couchdb" in info and version >= (3, 4)


def _within_limit(ask: Callable[[], Value | None], otherwise: str) -> Value:
    deadline = time.monotonic() + STEP_LIMIT_S
    while time.monotonic() < deadline:
        value = ask()
        if value is not None:
            return value
        time.sleep(0.05)
    raise LocalError(f"{otherwise} within {STEP_LIMIT_S:.0f} s")


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise LocalError(otherwise)


if __name__ == "__main__":
    sys.exit(main())
