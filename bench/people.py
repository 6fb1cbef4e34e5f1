"""The owners of a load's devices: they register devices, get mails and answer them."""

from collections import Counter
from dataclasses import dataclass, field

from bench.setup import CREATED_AT
from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from local.outbox import read_mail
from syncpoint_device.registration import new_device
from tests.kit.tokens import subject_of_link


class CheckFailed(Exception):
    """Something does not hold that must hold under any load."""


@dataclass(frozen=True)
class Answer:
    """The answer to a mail: open its link, type the code that the device shows."""

    link: str
    device_code: str

    @property
    def token(self) -> str:
        """The last part of the link."""
        return self.link.rpartition("/")[2]


@dataclass
class People:
    """All owners. A device is forgotten once its mail was answered, so that memory stays flat."""

    devices_each: int
    registered: int = 0
    mails: int = 0  # without those that are astray: a second one, or to somebody else
    astray: int = 0
    unanswered: list[Answer] = field(default_factory=list)
    _expected: dict[str, tuple[str, str]] = field(default_factory=dict)

    def register(self, server: Server, control: Database, count: int) -> None:
        """Write the documents of new devices, with one request."""
        docs: list[JsonDict] = []
        for number in range(self.registered, self.registered + count):
            owner = f"owner-{number // self.devices_each}@example.com"
            device = new_device(owner, "Load", CREATED_AT, sha256=False)
            self._expected[device.device_id] = owner, device.device_code
            docs.append(device.doc)
        self.registered += count
        rows = server.http.request("POST", f"/{control.name}/_bulk_docs", body={"docs": docs})
        if len(rows) != count or any("rev" not in row for row in rows):
            raise CheckFailed("CouchDB did not take all documents")

    def take_mail(self, mime: bytes) -> None:
        """Read a mail and prepare its answer; the link names the device."""
        mail = read_mail(mime)
        link = mail["links"][0] if mail["links"] else ""
        device_id = subject_of_link(link) if link else ""
        owner, device_code = self._expected.pop(device_id, ("", ""))
        if mail["to"] != owner:
            self.astray += 1
            return
        self.mails += 1
        self.unanswered.append(Answer(link, device_code))

    def take_unanswered(self) -> list[Answer]:
        """Return the answers that are due, and forget them."""
        answers, self.unanswered = self.unanswered, []
        return answers

    def check(self, states: dict[str, str]) -> None:
        """Raise `CheckFailed` unless every device is active and had one mail, to its owner."""
        counts = Counter(states.values())
        if counts != {"active": self.registered}:
            raise CheckFailed(f"not all devices are active: {dict(counts)}")
        if self.mails != self.registered or self.astray:
            raise CheckFailed(f"{self.mails} of {self.registered} mails came, {self.astray} astray")


def device_states(control: Database, since: str = "0") -> tuple[dict[str, str], str]:
    """Read the states of the devices that changed since then, and the new `since`."""
    states: dict[str, str] = {}
    while True:
        page = control.changes(since, limit=1000)
        since = str(page["last_seq"])
        docs = [row["doc"] for row in page["results"]]
        states |= {doc["_id"]: doc["state"] for doc in docs if doc.get("type") == "device"}
        if not docs:
            return states, since
