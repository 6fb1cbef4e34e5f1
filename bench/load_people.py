"""The people behind a load: they own devices, get mails, and answer them."""

import email
import re
from collections import Counter
from dataclasses import dataclass, field

from bench.load_couch import CheckFailed
from chalicelib.domain.documents import JsonDict
from device.registration import new_device


@dataclass(frozen=True)
class Answer:
    """What a person does with a mail: opens its link, and types the code that the device shows."""

    link: str
    device_code: str

    @property
    def code(self) -> str:
        """The code in the link."""
        return self.link.rpartition("/")[2]


@dataclass
class People:
    """All of them. Nothing is kept of a device whose mail has come and was answered.

    Attributes
    ----------
    devices_each : int
        How many devices an owner has.
    registered : int
        How many devices they have.
    mails : int
        How many mails came that were expected.
    astray : int
        How many came that were not: a second one for a device, to somebody else, about nothing.
    unanswered : list of Answer
        What is to be done with the mails that came.
    """

    devices_each: int
    registered: int = 0
    mails: int = 0
    astray: int = 0
    unanswered: list[Answer] = field(default_factory=list)
    _expected: dict[str, tuple[str, str]] = field(default_factory=dict)

    def new_documents(self, count: int) -> list[JsonDict]:
        """The documents of so many new devices, some of each owner's."""
        docs = []
        for number in range(self.registered, self.registered + count):
            owner = f"owner-{number // self.devices_each}@example.com"
            device = new_device(owner, "Load", "2026-11-23T06:00:00Z", sha256=False)
            self._expected[device.device_id] = owner, device.device_code
            docs.append(device.doc)
        self.registered += count
        return docs

    def take_mail(self, mime: bytes) -> None:
        """Read a mail; its link says which device it is about."""
        message = email.message_from_bytes(mime)
        text = next(part for part in message.walk() if part.get_content_type() == "text/plain")
        found = re.search(rb"https?://\S+", bytes(text.get_payload(decode=True)))
        link = found[0].decode() if found else ""
        device_id = link.rpartition("/")[2].partition(".")[0]
        owner, device_code = self._expected.pop(device_id, ("", ""))
        if message["To"] != owner:
            self.astray += 1
            return
        self.mails += 1
        self.unanswered.append(Answer(link, device_code))

    def take_unanswered(self) -> list[Answer]:
        """What is to be answered; it is theirs no more."""
        answers, self.unanswered = self.unanswered, []
        return answers

    def check_mails(self) -> None:
        """Raise `CheckFailed` unless there was one mail for each device, and to its owner."""
        if self.mails != self.registered or self.astray:
            raise CheckFailed(
                f"{self.mails} of {self.registered} mails came, and {self.astray} that are astray"
            )

    def check_states(self, states: dict[str, str]) -> None:
        """Raise `CheckFailed` unless all devices are there, no others are, and each is active."""
        counts = Counter(states.values())
        if counts != {"active": self.registered}:
            raise CheckFailed(f"not all devices are active: {dict(counts)}")
