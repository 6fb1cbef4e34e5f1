"""What the tests of the whole system do again and again: register, look, edit, answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests

from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import confirm_id
from syncpoint_device.registration import NewDevice
from tests.kit.basics import a_device, an_address, wait_for
from tests.kit.tokens import subject_of_link

ANSWERED = "?step=answered"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
LONG_AGO = "2020-01-01T00:00:00Z"


@dataclass(frozen=True)
class Where:
    """Where a running system is, as its ready line says."""

    api: str
    outbox: str
    couch: str
    control_db: str


@dataclass(frozen=True)
class Registered:
    """A device whose owner has the mail with the link."""

    device: NewDevice
    link: str
    control: Database

    @property
    def owner(self) -> str:
        return str(self.device.doc["owner"])

    @property
    def code(self) -> str:
        """What the device shows on its screen."""
        return self.device.device_code

    def doc(self) -> JsonDict:
        return self.control.get(self.device.device_id)

    def edit(self, **changes: Any) -> None:
        self.control.update(self.device.device_id, lambda doc: {**doc, **changes})

    def wait_until(self, state: str) -> JsonDict:
        return wait_for(lambda: _in_state(self.doc(), state), f"device/{state}")

    def clicks(self) -> list[JsonDict]:
        """All confirm documents of this device."""
        prefix = confirm_id(self.device.device_id, 0)[:-1]
        return [doc for doc in self.control.documents() if doc["_id"].startswith(prefix)]

    @property
    def link_code(self) -> str:
        """The code in the link."""
        return self.link.rpartition("/")[2]

    def ask_again(self) -> None:
        """Make the device ask for another mail, and wait until that is sent."""
        self.edit(state="new", generation=1)
        self.wait_until("confirming")

    def hold_click(self) -> None:
        """Keep the place of the click by a document that no transition takes: activation waits."""
        doc_id = confirm_id(self.device.device_id, 0)
        self.control.put({"_id": doc_id, "type": "confirm", "state": "held"})

    def release_click(self) -> None:
        """Make the held document the click that it stands for."""
        held = self.control.get(confirm_id(self.device.device_id, 0))
        codes = {"confirm_code": self.link_code, "device_code": self.code}
        self.control.put({**held, "state": "clicked", **codes})

    def login(self) -> requests.Response:
        """Log in at CouchDB as the device does."""
        url = f"{self.control.url.rpartition('/')[0]}/_session"
        return requests.get(url, auth=(self.device.device_id, self.device.password), timeout=30)


def replicate_once(couch: str, source: str, target: str) -> JsonDict:
    """Let a CouchDB replicate from one URL to another, to the end of what is there; its answer.

    The same replication may still be ending. CouchDB would let us wait for that one, which has
    answered already, and never answer. It may also log in over a connection that has just ended,
    and does not try that again.
    """
    name = source.rpartition("/")[2]
    wait_for(lambda: not _is_replicating(couch, name), f"the end of a replication of {name}")
    body = {"source": source, "target": target}
    return wait_for(lambda: _replicate(couch, body), f"a replication of {name}")


def _replicate(couch: str, body: JsonDict) -> JsonDict | None:
    answer = requests.post(f"{couch}/_replicate", json=body, timeout=60)
    if not answer.ok and "sel_conn_closed" in answer.text:
        return None
    assert answer.ok, answer.text
    said: JsonDict = answer.json()
    return said


def _is_replicating(couch: str, name: str) -> bool:
    answer = requests.get(f"{couch}/_scheduler/jobs?limit=1000", timeout=30)
    jobs = answer.json()["jobs"] if answer.ok else []  # the embedded server has no scheduler
    return any(name in job["source"] and job["doc_id"] is None for job in jobs)


def register(where: Where, name: str = "Ada's phone") -> Registered:
    """A new device of a new owner, its mail, and the link in it; waits until both are there."""
    device = a_device(owner=an_address(), name=name)
    control = Server(where.couch).database(where.control_db)
    control.put(device.doc)
    mail = wait_for(lambda: next(mails_to(where, str(device.doc["owner"])), None), "the mail")
    registered = Registered(device, mail["links"][0], control)
    registered.wait_until("confirming")
    return registered


def mails_to(where: Where, address: str) -> Iterator[JsonDict]:
    return (mail for mail in all_mails(where) if mail["to"] == address)


def mails_about(where: Where, address: str, subject: str) -> list[JsonDict]:
    """Those whose link stands for a device."""
    return [
        mail for mail in mails_to(where, address) if subject_of_link(mail["links"][0]) == subject
    ]


def all_mails(where: Where) -> list[JsonDict]:
    mails: list[JsonDict] = requests.get(f"{where.outbox}/outbox.json", timeout=30).json()
    return mails


def get(link: str) -> requests.Response:
    return requests.get(link, allow_redirects=False, timeout=30)


def post(link: str, **form: str) -> requests.Response:
    return requests.post(link, data=form, allow_redirects=False, timeout=30)


def wrong_code(number: int = 1) -> str:
    """A code that no device has: there is no 0 among their letters."""
    return f"0000-000{number}"


def _in_state(doc: JsonDict, state: str) -> JsonDict | None:
    return doc if doc["state"] == state else None
