"""What the people of the demo do: register devices, read mails, answer pages, use databases."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import requests

from chalicelib.couch import CouchError, Database, NotFound, Server
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_control_db
from local.browser import Seen, submit, visit
from local.demo.device_process import DeviceProcess
from local.errors import LocalError
from local.net import Net
from local.system import LocalSystem, Options

Value = TypeVar("Value")

# Longer than a claim's lease: a step may need a second try.
STEP_LIMIT_S = 120.0
_LONGPOLL_S = 5.0
_PAGE = 100


class Watch:
    """Follows the changes feed in a thread, from where it stands when the watch is made.

    Parameters
    ----------
    database : Database
        With a `Server` of the watch's own: it holds a connection open.
    tell : callable
        Given (document, state before or None) for each change of state.
    """

    def __init__(self, database: Database, tell: Callable[[JsonDict, str | None], None]) -> None:
        self._database = database
        self._tell = tell
        self._docs: dict[str, JsonDict] = {}
        self._changed = threading.Condition()
        self._failure: CouchError | None = None
        self._since = str(database.info()["update_seq"])
        threading.Thread(target=self._follow, name="watch", daemon=True).start()

    def wait_for(self, doc_id: str, state: str) -> JsonDict:
        """The document, as soon as it is in `state`.

        Raises
        ------
        LocalError
            If it is not there within the limit, or ends in ``error``.
        """
        deadline = time.monotonic() + STEP_LIMIT_S
        with self._changed:
            while True:
                doc = self._docs.get(doc_id, {})
                if doc.get("state") == state:
                    return doc
                self._fail_if_hopeless(doc, state, deadline)
                self._changed.wait(timeout=0.5)

    def wait_for_error(self, doc_id: str) -> JsonDict:
        """The error of a document, ``{reason, at}``, as soon as it has one.

        Raises
        ------
        LocalError
            If it has none within the limit.
        """
        deadline = time.monotonic() + STEP_LIMIT_S
        with self._changed:
            while "error" not in (doc := self._docs.get(doc_id, {})):
                self._fail_if_hopeless(doc, "error", deadline)
                self._changed.wait(timeout=0.5)
        error: JsonDict = doc["error"]
        return error

    def _fail_if_hopeless(self, doc: JsonDict, state: str, deadline: float) -> None:
        if self._failure is not None:
            raise LocalError(f"the changes feed ended: {self._failure}")
        if doc.get("state") == "error":
            raise LocalError(f"the {doc['type']} ended in error: {doc['error']['reason']}")
        if time.monotonic() > deadline:
            raise LocalError(
                f"no document in state {state} within {STEP_LIMIT_S:.0f} s; "
                f"its state is {doc.get('state', 'unknown')}"
            )

    def _follow(self) -> None:
        try:
            while True:
                page = self._database.changes(self._since, limit=_PAGE, wait_s=_LONGPOLL_S)
                self._since = str(page["last_seq"])
                with self._changed:
                    for row in page["results"]:
                        self._take(row.get("doc") or {})
                    self._changed.notify_all()
        except CouchError as exc:  # when the server ends, so does the watch
            with self._changed:
                self._failure = exc
                self._changed.notify_all()

    def _take(self, doc: JsonDict) -> None:
        before = self._docs.get(doc.get("_id", ""), {}).get("state")
        if doc.get("state") not in (None, before):
            self._tell(doc, before)
        self._docs[doc.get("_id", "")] = doc


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
class Cast:
    """All that the chapters share; closing it ends every device."""

    system: LocalSystem
    story: Story
    net: Net
    options: Options
    server: Server = field(init=False)
    control: Database = field(init=False)
    watch: Watch = field(init=False)
    _exits: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.server = Server(self.system.couch_url)
        self.control = self.server.database(self.system.control_db)
        self.watch = self.watch_database(self.control)
        self._folder = Path(self._exits.enter_context(TemporaryDirectory(prefix="syncpoint-")))
        self._registrations = self.net.url_to(f"{self.system.api}/registrations")

    def close(self) -> None:
        """End all devices."""
        self._exits.close()

    def watch_database(self, database: Database) -> Watch:
        """Tell the story of a database's documents from now on."""
        server = Server(self.system.couch_url)  # a connection of its own: it is held open
        return Watch(server.database(database.name), self.story.state)

    def control_of(self, owner: str) -> Database:
        """An owner's control database, as an administrator sees it."""
        return self.server.database(owner_control_db(self.control.name, owner_id_of(owner)))

    def new_device(self, owner: str, name: str) -> tuple[DeviceProcess, str]:
        """Register a device, and wait until its owner has the mail; the device, and the link."""

        def tell(about: str, what: str) -> None:
            self.story.line(name, what if about == "registration" else f"{about}: {what}")

        prefix = f"{self.control.name}-{name}-"
        gadget = DeviceProcess(name, self._folder / name, self.options.couchdb_url, prefix, tell)
        self._exits.callback(gadget.close)
        said = gadget.register(owner, self._registrations)
        self.story.line(name, f"its screen shows the device code {said['device_code']}")
        gadget.start()
        self.watch.wait_for(said["device"], "confirming")
        return gadget, self.find_link(owner, said["device"])

    def confirm(self, gadget: DeviceProcess, link: str) -> None:
        """Open the link, type the code, wait until the device is active and has its documents."""
        code = gadget.device.profile.doc["device_code"]
        accepted = submit(visit(link), {"device_code": code})
        expect(accepted.status == 200, f"the right code was refused: {accepted.heading}")
        self.story.line("page", f"the right code: {accepted.heading}")
        self.watch.wait_for(gadget.device.profile.device_id, "active")
        self.wait_for_page(link, "is active")
        self.wait_for_doc(gadget.device.database, gadget.device.profile.device_id)

    def wait_for_doc(self, database: Database, doc_id: str) -> JsonDict:
        """A document, as soon as it has been replicated to a database."""

        def found() -> JsonDict | None:
            try:
                return database.find_one(doc_id)
            except NotFound:  # the database itself is still to come
                return None

        return within_limit(found, f"no {doc_id} in {database.name}")

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
