"""The people behind a load: they own devices, get mails, and answer them."""

import email
import re
from collections import Counter
from dataclasses import dataclass, field

from bench.load_couch import CheckFailed
from chalicelib.couch import JsonDict
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
    """All of them.

    Attributes
    ----------
    devices_each : int
        How many devices an owner has.
    devices : dict
        ``{device id: (owner's address, device code)}``.
    mailed : Counter
        How many mails went out for each device.
    astray : int
        How many mails went to somebody else, or for no device at all.
    unanswered : list of Answer
        What is to be done with the mails that came.
    """

    devices_each: int
    devices: dict[str, tuple[str, str]] = field(default_factory=dict)
    mailed: Counter[str] = field(default_factory=Counter)
    astray: int = 0
    unanswered: list[Answer] = field(default_factory=list)

    def new_documents(self, count: int) -> list[JsonDict]:
        """The documents of so many new devices, some of each owner's."""
        docs = []
        for number in range(len(self.devices), len(self.devices) + count):
            owner = f"owner-{number // self.devices_each}@example.com"
            device = new_device(owner, "Load", "2026-11-23T06:00:00Z", sha256=False)
            self.devices[device.device_id] = owner, device.device_code
            docs.append(device.doc)
        return docs

    def take_mail(self, mime: bytes) -> None:
        """Read a mail; its link says which device it is about."""
        message = email.message_from_bytes(mime)
        text = next(part for part in message.walk() if part.get_content_type() == "text/plain")
        link = re.search(rb"https?://\S+", bytes(text.get_payload(decode=True)))
        answer = Answer(link[0].decode() if link else "", "")
        device_id = answer.code.partition(".")[0]
        owner, device_code = self.devices.get(device_id, ("", ""))
        if message["To"] != owner:
            self.astray += 1
            return
        self.mailed[device_id] += 1
        self.unanswered.append(Answer(answer.link, device_code))

    def take_unanswered(self) -> list[Answer]:
        """What is to be answered; it is theirs no more."""
        answers, self.unanswered = self.unanswered, []
        return answers

    def check_mails(self) -> None:
        """Raise `CheckFailed` unless there was one mail for each device, and to its owner."""
        wrong = sum(self.mailed[device_id] != 1 for device_id in self.devices)
        if wrong or self.astray:
            raise CheckFailed(
                f"{wrong} devices have no mail or several; {self.astray} mails are astray"
            )

    def check_states(self, states: dict[str, str]) -> None:
        """Raise `CheckFailed` unless all devices are there, no others are, and each is active."""
        if states != dict.fromkeys(self.devices, "active"):
            raise CheckFailed(f"not all devices are active: {dict(Counter(states.values()))}")
