"""The cloud and the people and devices around it, who repeat what failed for them."""

import email
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from functools import cache
from typing import Protocol, TypeVar, cast
from urllib.parse import urlencode

from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_control_db
from chalicelib.engine.context import Context
from chalicelib.jobs import mail_feedback
from chalicelib.jobs.sweep import sweep
from chalicelib.web import confirm, invitation, registrations
from chalicelib.web.pages import Page
from chalicelib.web.unavailable import ServiceUnavailable, context_of
from tests.kit.basics import PUBLIC_URL
from tests.kit.tokens import subject_of, take_apart
from tests.world.faults import Killed
from tests.world.gate import Process
from tests.world.region import CONTROL, HANDLER_TIMEOUT_S, SCHEDULE_S, Region

# Nobody is so unlucky for longer: only one process in a story is hit.
TRIES = 6
DAY_S = 24 * 3600.0
SOURCE_IP = "192.0.2.1"
_LINK = re.compile(rb"^" + re.escape(PUBLIC_URL.encode()) + rb"\S+", re.MULTILINE)


class Answered(Protocol):
    @property
    def status(self) -> int: ...


SomeAnswer = TypeVar("SomeAnswer", bound=Answered)
View = Callable[[Context], SomeAnswer]


@dataclass(frozen=True)
class Views:
    """What is shown behind a link, and what takes the answer."""

    show: Callable[[Context, str, str | None], Page]
    answer: Callable[[Context, str, str], Page]


CONFIRM = Views(confirm.show, confirm.answer)
INVITATION = Views(invitation.show, invitation.answer)


class NotAnswered(AssertionError):
    """Somebody got a 5xx, or nothing, where no fault was."""


@dataclass(frozen=True)
class Device:
    """A device that somebody registers; all that is said of it follows from its name."""

    owner: str
    name: str

    @property
    def device_id(self) -> str:
        digits = hashlib.sha256(f"{self.owner} {self.name}".encode()).hexdigest()
        return f"device-{digits[:12]}4{digits[12:15]}8{digits[15:30]}"

    @property
    def code(self) -> str:
        return self.device_id[-8:].upper()

    def asks(self, generation: int = 0) -> JsonDict:
        """The document that it sends to the registrations endpoint."""
        return {
            "_id": self.device_id,
            "_rev": f"{generation + 1}-{'0' * 32}",
            "type": "device",
            "state": "new",
            "owner": self.owner,
            "name": self.name,
            "device_code": self.code,
            "created_at": "2026-11-23T06:00:00Z",
            "generation": generation,
            "credentials": {
                "password_scheme": "pbkdf2",
                "salt": self.device_id[-16:],
                "iterations": 10,
                "derived_key": hashlib.sha1(self.name.encode()).hexdigest(),
            },
        }


@dataclass(frozen=True)
class SentMail:
    """A mail that SES took."""

    to: str
    message_id: str
    link: str

    @property
    def code(self) -> str:
        return self.link.rpartition("/")[2]

    @property
    def page(self) -> Views:
        """The views of the page that the link leads to."""
        return INVITATION if "/invitation/" in self.link else CONFIRM


class World(Region):
    """The story's people, by the endpoint, the pages, and the documents that they write."""

    def register(self, device: Device, generation: int = 0) -> None:
        """A replicator brings the device's document to the endpoint, which accepts it."""
        answer = self.bring(device, generation)
        assert (answer.status, answer.body) == (201, []), answer.body

    def bring(self, device: Device, generation: int = 0) -> registrations.Answer:
        """A replicator brings the device's document to the endpoint, until it is answered."""
        doc = device.asks(generation)
        headers = {"content-type": "application/json"}
        diff = json.dumps({device.device_id: [doc["_rev"]]})
        docs = json.dumps({"new_edits": False, "docs": [doc]})
        self.ask("revs_diff", lambda context: registrations.revs_diff(headers, diff))
        return self.ask(
            "bulk_docs", lambda context: registrations.bulk_docs(context, headers, docs, SOURCE_IP)
        )

    def look(self, mail: SentMail, step: str | None = None) -> Page:
        """Somebody opens the link in a mail."""
        return self.ask("GET page", lambda context: mail.page.show(context, mail.code, step))

    def post(self, mail: SentMail, **form: str) -> Page:
        """Somebody answers on the page behind a link."""
        body = urlencode(form)
        return self.ask("POST page", lambda context: mail.page.answer(context, mail.code, body))

    def click(self, device: Device, mail: int = -1, code: str | None = None) -> Page:
        """The owner types the device's code, or another, on the page of one of its mails."""
        link = self.mails_to(device.owner, device.device_id)[mail]
        return self.post(link, device_code=device.code if code is None else code)

    def edit(self, db: str, doc_id: str, changes: Mapping[str, object]) -> JsonDict:
        """A device writes a document, which its replication brings to the cloud."""
        return self.server.database(db).update(
            doc_id, lambda doc: {**doc, **changes}, default={"_id": doc_id}
        )

    def edit_own(self, owner: str, doc_id: str, **changes: object) -> JsonDict:
        """A device writes a document into its owner's control database."""
        return self.edit(control_name(owner), doc_id, changes)

    def bounce(self, mail: SentMail) -> None:
        """SES tells that a mail did not arrive."""
        doc_id, generation, _ = take_apart(mail.code)
        tags = {"doc": [doc_id], "generation": [generation]}
        message = json.dumps(
            {
                "eventType": "Bounce",
                "bounce": {"bounceType": "Permanent", "bounceSubType": "General"},
                "mail": {"destination": [mail.to], "tags": tags},
            }
        )
        self.call(
            "mail_feedback", lambda context: mail_feedback.handle_notification(context, message)
        )

    def sweep(self) -> None:
        """The daily sweep, until one has left nothing for the next day."""
        result = self.call("sweep", lambda context: sweep(context, lambda: HANDLER_TIMEOUT_S))
        if result["failed"] or not result["complete"]:
            self.clock.move(DAY_S)
            self.sweep()

    def ask(self, name: str, view: View[SomeAnswer]) -> SomeAnswer:
        """Ask the API; ask again while there is no answer, or it is a 5xx."""
        for _ in range(TRIES):
            process = self.begin(name)
            answer = self._answer(process, view)
            if answer is not None and answer.status < 500:
                return answer
            if not process.was_hit:
                raise NotAnswered(name)
        raise NotAnswered(f"{name}: {TRIES} times")

    def call(self, name: str, act: Callable[[Context], JsonDict | str]) -> JsonDict:
        """An event that calls a Lambda, which is called again after a minute if it fails."""
        for _ in range(TRIES):
            process = self.begin(name)
            result = self._result(process, act)
            if result is not None:
                return result if isinstance(result, dict) else {}
            if not process.was_hit:
                raise NotAnswered(name)
            self.clock.move(SCHEDULE_S)
        raise NotAnswered(f"{name}: {TRIES} times")

    def mails(self) -> list[SentMail]:
        """All mails that SES took, oldest first."""
        return [_mail(mime) for mime in self.aws.mails]

    def mails_to(self, address: str, about: str = "") -> list[SentMail]:
        """Those to an address whose link is about something."""
        mails = [mail for mail in self.mails() if mail.to == address]
        return [mail for mail in mails if about in subject_of(mail.code)]

    def doc(self, doc_id: str, owner: str | None = None) -> JsonDict:
        """A document of the control database, or of an owner's own; empty if there is none."""
        db = CONTROL if owner is None else control_name(owner)
        database = self.couch.databases.get(db)
        return database.docs().get(doc_id, {}) if database else {}

    def _answer(self, process: Process, view: View[SomeAnswer]) -> SomeAnswer | None:
        try:
            with context_of(self.dependencies(process)) as context:
                return view(context)
        except (ServiceUnavailable, Killed):
            return None

    def _result(
        self, process: Process, act: Callable[[Context], JsonDict | str]
    ) -> JsonDict | str | None:
        try:
            with self.dependencies(process).use() as context:
                return act(context)
        except (Exception, Killed):
            if not process.was_hit:
                raise
            return None


def control_name(owner: str) -> str:
    """The name of an owner's control database."""
    return owner_control_db(CONTROL, owner_id_of(owner))


@cache
def _mail(mime: bytes) -> SentMail:
    message = email.message_from_bytes(mime)  # with the policy that parses least: it is quick
    text = message.get_payload(0)
    assert isinstance(text, Message)
    [link] = _LINK.findall(cast(bytes, text.get_payload(decode=True)))
    return SentMail(message["To"], message["X-Syncpoint-Id"], link.decode())
