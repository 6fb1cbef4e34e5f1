"""By hand, what the poller and the queues do: for tests of transitions over a real CouchDB."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib.aws.claims import Claims
from chalicelib.couch import BadRequest, Database, Server
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict, timestamp
from chalicelib.domain.link_tokens import InvitationRef
from chalicelib.domain.names import confirm_id, owner_control_db
from chalicelib.engine.context import Context
from chalicelib.engine.runner import Message, Outcome, handle
from chalicelib.handlers.all import registry
from syncpoint_device.registration import NewDevice
from tests.kit.basics import PUBLIC_URL, FakeClock, FakeMailer, a_device, an_address


@dataclass
class Steps:
    """Does by hand what the poller and the queues do: a message for a document as it is now."""

    context: Context
    claims: Claims
    mailer: FakeMailer
    clock: FakeClock
    messages: list[Message] = field(default_factory=list)

    @property
    def control(self) -> Database:
        return self.context.database

    def message(self, doc_id: str, database: Database | None = None) -> Message:
        database = database or self.control
        doc = database.get(doc_id)
        return Message(database.name, doc_id, doc["type"], doc["state"], doc)

    def run(self, doc_id: str, database: Database | None = None) -> Outcome:
        """Run the transition that a document waits for; in the control database, if not another."""
        message = self.message(doc_id, database)
        self.messages.append(message)
        return self.deliver(message)

    def deliver(self, message: Message) -> Outcome:
        return handle(message, registry, self.context, self.claims)

    def register(self, device: NewDevice, **fields: Any) -> JsonDict:
        """Write the device's document and run its first transition; the document after it."""
        self.control.put({**device.doc, **fields})
        self.run(device.device_id)
        return self.control.get(device.device_id)

    def code(self) -> str:
        """The code in the newest mail's link."""
        return self.mailer.links()[-1].removeprefix(f"{PUBLIC_URL}/confirm/")

    def invitation_code(self) -> str:
        """The code in the newest mail's link, an invitation's."""
        return self.mailer.links()[-1].removeprefix(f"{PUBLIC_URL}/invitation/")

    def receipt(self) -> str:
        """What the page writes down when the guest of the newest mail accepts."""
        links = self.context.invitation_links
        link = links.verify(self.invitation_code())
        ref = InvitationRef.parse(link.subject) if link else None
        assert link is not None
        assert ref is not None
        return links.sign(ref.acceptance, link.generation)

    def click(self, device: NewDevice, **fields: Any) -> JsonDict:
        """Write the confirm document by hand and run its transition; the document after it."""
        doc_id = confirm_id(device.device_id, 0)
        doc = {
            "_id": doc_id,
            "type": "confirm",
            "state": "clicked",
            "confirm_code": self.code(),
            "device_code": device.device_code,
            **fields,
        }
        self.control.put(doc)
        self.run(doc["_id"])
        return self.control.get(doc["_id"])

    def activate(self, device: NewDevice, **fields: Any) -> JsonDict:
        """All steps, to the active (or refused) device."""
        self.register(device, **fields)
        self.click(device)
        self.run(device.device_id)
        return self.control.get(device.device_id)

    def an_owner(self, **fields: Any) -> "Owner":
        """A new owner with one active device; `fields` are further ones of its document."""
        device = a_device(owner=an_address())
        self.activate(device, **fields)
        address = str(device.doc["owner"])
        return Owner(self, address, device, self.control_db_of(address))

    @contextmanager
    def meanwhile(
        self, database: Database, method: str, action: Callable[[], object]
    ) -> Iterator[None]:
        """While this lasts: do something, once, just before a method of a database is called."""
        before = self.context
        server = Meanwhile(before.server, database, method, action)
        self.context = replace(before, server=server, database=server.database(self.control.name))
        try:
            yield
        finally:
            self.context = before

    def control_db_of(self, address: str) -> Database:
        """The control database of an owner, whether it exists or not."""
        return self.context.server.database(
            owner_control_db(self.control.name, owner_id_of(address))
        )


class Meanwhile(Server):
    """The same server, but once, just before one method of one database, something happens."""

    def __init__(
        self, server: Server, database: Database, method: str, action: Callable[[], object]
    ) -> None:
        self.http, self.url = server.http, server.url
        self._place = (database.name, method)
        self._action: Callable[[], object] | None = action

    def database(self, name: str) -> Database:
        database, (db, method) = super().database(name), self._place
        if name == db:
            setattr(database, method, self._after_the_action(getattr(database, method)))
        return database

    def _after_the_action(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            action, self._action = self._action, None
            if action is not None:
                action()
            return method(*args, **kwargs)

        return run


@dataclass
class Owner:
    """An owner with an active device, and what they do with their channels."""

    steps: Steps
    address: str
    device: NewDevice
    control: Database

    @property
    def id(self) -> str:
        return owner_id_of(self.address)

    def put(self, doc: JsonDict) -> JsonDict:
        """Write a document into the owner's control database; the document with its revision."""
        return {**doc, "_rev": self.control.put(doc)}

    def is_stored(self, doc: JsonDict) -> bool:
        """Write a document; whether CouchDB took it. It takes no text that is not UTF-8."""
        try:
            self.control.put(doc)
        except BadRequest as exc:
            if exc.reason != "invalid UTF-8 JSON":
                raise
            return False
        return True

    def edit(self, doc_id: str, **fields: Any) -> JsonDict:
        return self.put({**self.control.get(doc_id), **fields})

    def run(self, doc_id: str) -> Outcome:
        """Run the transition that a document waits for."""
        return self.steps.run(doc_id, self.control)

    def after(self, doc_id: str) -> JsonDict:
        """Run it; the document after it."""
        self.run(doc_id)
        return self.control.get(doc_id)

    def channel(self, channel_id: str = "channel-photos", **fields: Any) -> JsonDict:
        """A channel, ready."""
        self.put({"_id": channel_id, "type": "channel", "state": "new", "name": "Photos", **fields})
        return self.after(channel_id)

    def channel_database(self, channel_id: str = "channel-photos") -> Database:
        name = self.control.get(channel_id)["syncpoint"].rpartition("/")[2]
        return self.steps.context.server.database(name)

    def invite(
        self, email: str, channel_id: str = "channel-photos", invitation_id: str = "invitation-1"
    ) -> JsonDict:
        """An invitation, sent."""
        doc = {"_id": invitation_id, "type": "invitation", "state": "new", "email": email}
        self.put({**doc, "channel": channel_id})
        return self.after(invitation_id)

    def accepted(self, invitation_id: str = "invitation-1") -> JsonDict:
        """The invitation after its guest has clicked and all its transitions have run."""
        receipt, now = self.steps.receipt(), timestamp(self.steps.clock())
        self.edit(invitation_id, state="accepting", answer_code=receipt, answered_at=now)
        return self.after(invitation_id)

    def share(self, email: str, channel_id: str = "channel-photos", number: int = 1) -> JsonDict:
        """Invite a guest, who accepts, and let the channel follow."""
        invitation_id = f"invitation-{number}"
        self.invite(email, channel_id, invitation_id)
        return self.accepted(invitation_id)
