"""What the tests of sharing do again and again: an owner, a channel, an invitation, its link."""

import uuid
from dataclasses import dataclass
from typing import Any

from chalicelib.couch import Database, Server
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_control_db
from tests.kit.basics import an_address, wait_for
from tests.kit.system import registering
from tests.kit.system.registering import Registered, Where, mails_to, post


@dataclass(frozen=True)
class SystemOwner:
    """An owner with an active device; what the device would write is written for it."""

    where: Where
    device: Registered
    control: Database

    @property
    def address(self) -> str:
        return self.device.owner

    def channel(self, name: str = "Ada's photos", **fields: Any) -> JsonDict:
        """A new channel, ready."""
        doc_id = f"channel-{uuid.uuid4().hex}"
        self.control.put({"_id": doc_id, "type": "channel", "state": "new", "name": name, **fields})
        return wait_until(self.control, doc_id, "ready")

    def invite(self, channel_id: str, guest: str | None = None) -> "Invited":
        """An invitation to a channel, sent; the guest is somebody new if nobody is named."""
        doc_id, guest = f"invitation-{uuid.uuid4().hex}", guest or an_address()
        doc = {"_id": doc_id, "type": "invitation", "state": "new"}
        self.control.put({**doc, "email": guest, "channel": channel_id})
        wait_until(self.control, doc_id, "sent")
        return Invited(self, doc_id, channel_id, guest, link_to(self.where, guest))


@dataclass(frozen=True)
class Invited:
    """An invitation whose guest has the mail with the link."""

    owner: SystemOwner
    doc_id: str
    channel_id: str
    guest: str
    link: str

    @property
    def guest_control(self) -> Database:
        """The guest's control database; it is there once they have accepted."""
        return control_of(self.owner.where, self.guest)

    def doc(self) -> JsonDict:
        return self.owner.control.get(self.doc_id)

    def edit(self, **changes: Any) -> None:
        self.owner.control.update(self.doc_id, lambda doc: {**doc, **changes})

    def wait_until(self, state: str) -> JsonDict:
        return wait_until(self.owner.control, self.doc_id, state)

    def hold_acceptance(self) -> None:
        """Let no invitation of this owner become accepted, until `release_acceptance`."""
        self.owner.control.put({"_id": HOLD_ID, "validate_doc_update": HOLD})

    def release_acceptance(self) -> None:
        """Let it, and have the invitation looked at again."""
        self.owner.control.remove(self.owner.control.get(HOLD_ID))
        self.edit(released=True)


HOLD_ID = "_design/hold"
HOLD = "function (doc) { if (doc.state === 'accepted') throw({ forbidden: 'held by a test' }); }"


def an_owner(where: Where) -> SystemOwner:
    """A new owner with one active device."""
    device = registering.register(where)
    assert post(device.link, device_code=device.code).status_code == 303
    device.wait_until("active")
    return SystemOwner(where, device, control_of(where, device.owner))


def an_invitation(where: Where, name: str = "Ada's photos") -> Invited:
    """A new owner's invitation of somebody new to a new channel of that name."""
    owner = an_owner(where)
    return owner.invite(owner.channel(name)["_id"])


def control_of(where: Where, address: str) -> Database:
    """An owner's control database, as the administrator sees it."""
    name = owner_control_db(where.control_db, owner_id_of(address))
    return Server(where.couch).database(name)


def link_to(where: Where, address: str) -> str:
    """The link in the newest mail to an address."""
    mails = wait_for(lambda: list(mails_to(where, address)), "a mail")
    return str(mails[-1]["links"][0])


def wait_until(database: Database, doc_id: str, state: str) -> JsonDict:
    """The document as soon as it is in that state."""

    def found() -> JsonDict | None:
        doc = database.get(doc_id)
        return doc if doc["state"] == state else None

    return wait_for(found, f"{doc_id} {state}")
