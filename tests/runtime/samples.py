"""The events in events/, with ids of a test's own in place of the examples."""

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from local.system import ROOT
from tests.kit.basics import an_address
from tests.kit.tokens import put_together

EVENTS = ROOT / "events"

# The examples, as they stand in the files.
OWNER, GUEST = "ada@example.com", "ben@example.com"
DEVICE_ID = "device-0123456789ab4def8123456789abcdef"
MAC = "thisisthemacofthelinkkkkkk"
DEVICE_CODE = "DK5Q-SHRD"
PASSWORD = "the password of the sample device"
CONTROL_DB = "control"
# The tokens of links, by their page.
TOKENS = {
    "confirm": put_together(DEVICE_ID, 0, MAC),
    "invitation": put_together(f"{owner_id_of(OWNER)}.{owner_id_of(GUEST)}.invitation-1", 0, MAC),
}


@dataclass
class Cast:
    """Who plays in one test: what stands in place of each example.

    Attributes
    ----------
    codes : dict
        The tokens of links in mails, by their page.
    """

    control_db: str
    owner: str = field(default_factory=an_address)
    guest: str = field(default_factory=an_address)
    device_id: str = field(default_factory=lambda: f"device-{_a_uuid4()}")
    codes: dict[str, str] = field(default_factory=dict)

    @property
    def owner_id(self) -> str:
        return owner_id_of(self.owner)

    def event(self, name: str) -> JsonDict:
        """A sample event, adapted."""
        event: JsonDict = self.adapt(json.loads(text(name)))
        return event

    def adapt(self, value: Any) -> Any:
        """The same, with the examples replaced; also in JSON that is a text in it."""
        if isinstance(value, dict):
            return {self._text(name): self.adapt(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.adapt(item) for item in value]
        if isinstance(value, str):
            return (
                json.dumps(self.adapt(json.loads(value))) if value[:1] == "{" else self._text(value)
            )
        return value

    def _text(self, text: str) -> str:
        for example, ours in {
            OWNER: self.owner,
            GUEST: self.guest,
            owner_id_of(OWNER): owner_id_of(self.owner),
            owner_id_of(GUEST): owner_id_of(self.guest),
            DEVICE_ID: self.device_id,
        }.items():
            text = text.replace(example, ours)
        for page, code in self.codes.items():
            text = text.replace(TOKENS[page], code)
        if text == CONTROL_DB or text.startswith(f"{CONTROL_DB}-"):
            return self.control_db + text.removeprefix(CONTROL_DB)
        return text


def text(name: str) -> str:
    """A sample event as it is written."""
    return (EVENTS / f"{name}.json").read_text(encoding="utf-8")


def names(folder: Path = EVENTS) -> set[str]:
    """The names of the events in a folder, without what is after a dash: another of the same."""
    return {path.stem.partition("-")[0] for path in folder.glob("*.json")}


def _a_uuid4() -> str:
    return uuid.uuid4().hex
