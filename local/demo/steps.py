"""The steps of the demo: register devices, read mails, answer pages, and watch documents."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from chalicelib.couch import CouchError, Database, NotFound, Server
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_control_db
from local.browser import submit, visit
from local.demo.device_process import DeviceProcess
from local.errors import LocalError
from local.net import Net
from local.system import LocalSystem, Options

# Longer than the lease of a claim, because a step may need a second try.
STEP_LIMIT_S = 120.0
_LONGPOLL_S = 5.0
_PAGE = 100


class Story:
    """Prints lines, each with the seconds since the start."""

    def __init__(self) -> None:
        self._started_s = time.monotonic()
        self._printing = threading.Lock()

    def chapter(self, text: str) -> None:
        """Print a headline."""
        self._print(f"\n{text}\n")

    def line(self, who: str, what: str) -> None:
        """Print something that happened."""
        self._print(f"  {time.monotonic() - self._started_s:6.2f} s  {who:<12} {what}\n")

    def state(self, doc: JsonDict, before: str | None) -> None:
        """Print a document's change of state."""
        what = f"{before} → {doc['state']}" if before else str(doc["state"])
        self.line(str(doc["type"]), what)

    def _print(self, text: str) -> None:
        # The watches print from threads of their own, so a line is written in one piece.
        with self._printing:
            print(text, end="", flush=True)


class Watch:
    """Reads a database's changes in a thread, from now on.

    Parameters
    ----------
    database : Database
        With a `Server` that nothing else uses, because the watch keeps its connection busy.
    tell : callable
        Called with a document and its state before, or None, for each change of state.
    """

    def __init__(self, database: Database, tell: Callable[[JsonDict, str | None], None]) -> None:
        self._database = database
        self._tell = tell
        self._docs: dict[str, JsonDict] = {}
        self._changed = threading.Condition()
        self._failure: CouchError | None = None
        self._since = str(database.info()["update_seq"])
        threading.Thread(target=self._read, name="watch", daemon=True).start()

    def wait_for(self, doc_id: str, state: str) -> JsonDict:
        """Wait until a document is in a state, and return the document.

        Raises
        ------
        LocalError
            If it is not in that state within the limit, or ends in state ``error``.
        """
        deadline = time.monotonic() + STEP_LIMIT_S
        with self._changed:
            while (doc := self._docs.get(doc_id, {})).get("state") != state:
                self._check(doc, state, deadline)
                self._changed.wait(timeout=0.5)
            return doc

    def _check(self, doc: JsonDict, state: str, deadline: float) -> None:
        """Raise an error if waiting any longer is of no use."""
        if self._failure is not None:
            raise LocalError(f"the changes feed ended: {self._failure}")
        if doc.get("state") == "error":
            raise LocalError(f"the {doc['type']} ended in error: {doc['error']['reason']}")
        if time.monotonic() > deadline:
            raise LocalError(
                f"no document in state {state} within {STEP_LIMIT_S:.0f} s; "
                f"its state is {doc.get('state', 'unknown')}"
            )

    def _read(self) -> None:
        try:
            while True:
                page = self._database.changes(self._since, limit=_PAGE, wait_s=_LONGPOLL_S)
                self._since = page["last_seq"]
                with self._changed:
                    for row in page["results"]:
                        self._take(row.get("doc") or {})
                    self._changed.notify_all()
        except CouchError as exc:  # the server has ended
            with self._changed:
                self._failure = exc
                self._changed.notify_all()

    def _take(self, doc: JsonDict) -> None:
        before = self._docs.get(doc.get("_id", ""), {}).get("state")
        if doc.get("state") not in (None, before):
            self._tell(doc, before)
        self._docs[doc.get("_id", "")] = doc


class Demo:
    """The running system and its devices. `close` ends the devices."""

    def __init__(self, system: LocalSystem, story: Story, net: Net, options: Options) -> None:
        self.system, self.story, self.net, self._options = system, story, net, options
        self.server = Server(system.couch_url)
        self.control = self.server.database(system.control_db)
        self._exits = ExitStack()
        self._folder = Path(self._exits.enter_context(TemporaryDirectory(prefix="syncpoint-")))
        self._registrations = net.url_to(f"{system.api}/registrations")
        self._watch = self.watch_database(self.control)
        self._found_links: set[str] = set()

    def close(self) -> None:
        """End all devices."""
        self._exits.close()

    def watch_database(self, database: Database) -> Watch:
        """Print the states of a database's documents from now on."""
        return Watch(Server(self.system.couch_url).database(database.name), self.story.state)

    def control_of(self, owner: str) -> Database:
        """Return an owner's control database, as the administrator sees it."""
        return self.server.database(owner_control_db(self.control.name, owner_id_of(owner)))

    def new_device(self, owner: str, name: str) -> tuple[DeviceProcess, str]:
        """Register a device and start its agent. Return the device, and the link in the mail."""

        def say(about: str, what: str) -> None:
            self.story.line(name, f"{about}: {what}")

        prefix = f"{self.control.name}-{name}-"
        process = DeviceProcess(name, self._folder / name, self._options.couchdb_url, prefix, say)
        self._exits.callback(process.close)
        registered = process.register(owner, self._registrations)
        code = registered["device_code"]
        self.story.line(name, f"shows the device code {code} on its screen")
        process.start()
        self._watch.wait_for(registered["device"], "confirming")
        return process, self.find_link(owner, "/confirm/")

    def confirm(self, process: DeviceProcess, link: str) -> None:
        """Open the link and type the code. Wait until the device is active and has its document."""
        profile = process.device.profile
        accepted = submit(visit(link), {"device_code": profile.doc["device_code"]})
        expect(accepted.status == 200, f"the right code was refused: {accepted.heading}")
        self.story.line("page", f"the right code is accepted: {accepted.heading}")
        self._watch.wait_for(profile.device_id, "active")
        self._show_answered(link, "is active")
        self.wait_for_doc(process.device.database, profile.device_id)

    def _show_answered(self, link: str, part: str) -> None:
        """Wait until the page of an answered link has a text in its heading, and print that."""
        limit = Limit(f"no page with “{part}”")
        while part not in (page := visit(f"{link}?step=answered")).heading:
            limit.pause()
        self.story.line("page", page.heading)

    def wait_for_doc(self, database: Database, doc_id: str) -> JsonDict:
        """Wait until a document was replicated to a database, and return the document."""
        limit = Limit(f"no {doc_id} in {database.name}")
        while True:
            with suppress(NotFound):  # the database may not exist yet
                if doc := database.find_one(doc_id):
                    return doc
            limit.pause()

    def find_link(self, address: str, page: str) -> str:
        """Return the link to a page in a new mail to an address: one that was not found before."""
        limit = Limit(f"no mail to {address} in the outbox")
        while True:
            mails = requests.get(f"{self.system.outbox}/outbox.json", timeout=10).json()
            for mail in mails:
                link = str(mail["links"][0])
                if mail["to"] == address and page in link and link not in self._found_links:
                    self._found_links.add(link)
                    self.story.line("mail", f"to {address}: “{mail['subject']}”")
                    return link
            limit.pause()

    def show_refusal(self, who: str, what: str, attempt: Callable[[], object]) -> None:
        """Try something until the cloud refuses it, and print the reason."""
        limit = Limit(f"{who} was not refused: {what},")
        while True:
            try:
                attempt()
            except CouchError as exc:
                expect(exc.status in (401, 403), f"{what}: {exc}")
                self.story.line(who, f"{what}: {exc.status}, {exc.reason}")
                return
            limit.pause()


class Limit:
    """The time limit of a step that is tried again and again.

    Parameters
    ----------
    failure : str
        The reason of the `LocalError` that ends the step.
    """

    def __init__(self, failure: str) -> None:
        self._failure, self._deadline_s = failure, time.monotonic() + STEP_LIMIT_S

    def pause(self) -> None:
        """Wait before the next try. After the limit, raise the error instead."""
        if time.monotonic() > self._deadline_s:
            raise LocalError(f"{self._failure} within {STEP_LIMIT_S:.0f} s")
        time.sleep(0.05)


def expect(condition: bool, failure: str) -> None:
    """End the demo with a reason if a condition does not hold."""
    if not condition:
        raise LocalError(failure)
