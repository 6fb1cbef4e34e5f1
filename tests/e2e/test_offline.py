"""Devices that write while they are offline, and replicate later: by the real replicator."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from chalicelib.couch import Database, Server
from chalicelib.domain.addresses import owner_id_of
from syncpoint_device.registration import NewDevice
from tests.kit.basics import a_device, wait_for
from tests.kit.system.registering import Where, mails_about, post, replicate_once
from tests.kit.system.sharing import SystemOwner, an_owner, wait_until


@dataclass
class Local:
    """A device with its own copy of its owner's control database."""

    where: Where
    owner: SystemOwner
    device: NewDevice
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        self.database = Server(self.where.couch).database(f"test-device-{uuid.uuid4().hex}")
        self.database.create()

    def write(self, doc_id: str, **fields: object) -> None:
        """Change a document of the device's own copy, or make it; the cloud hears nothing."""
        self.database.update(doc_id, lambda doc: {**doc, **fields}, default={"_id": doc_id})

    def replicate(self) -> int:
        """Push, then pull, with the device's own login; how many documents the cloud refused."""
        scheme, _, host = self.owner.control.url.partition("://")
        cloud = f"{scheme}://{self.device.device_id}:{self.device.password}@{host}"
        here = f"{self.where.couch}/{self.database.name}"
        refused = self._replicate(here, cloud)
        self._replicate(cloud, here)
        return refused

    def _replicate(self, source: str, target: str) -> int:
        said = replicate_once(self.where.couch, source, target)
        # CouchDB counts in the history, express-pouchdb beside it.
        counts = (said.get("history") or [said])[0]
        return int(counts.get("doc_write_failures", 0))


@pytest.fixture
def devices(where: Where) -> Iterator[tuple[Local, Local]]:
    """A laptop and a phone of one owner, each with its own copy."""
    owner = an_owner(where)
    with ExitStack() as stack:
        both = [Local(where, owner, device) for device in (owner.device.device, another(owner))]
        for one in both:
            stack.callback(one.database.delete)
            one.replicate()
        yield both[0], both[1]


def another(owner: SystemOwner) -> NewDevice:
    """One more device of an owner, active."""
    device = a_device(owner=owner.address)
    owner.device.control.put(device.doc)

    wait_until(owner.device.control, device.device_id, "confirming")

    def link() -> str | None:
        mails = mails_about(owner.where, owner.address, device.device_id)
        return str(mails[0]["links"][0]) if mails else None

    post(wait_for(link, "the mail"), device_code=device.device_code)
    wait_until(owner.device.control, device.device_id, "active")
    return device


def test_two_devices_write_channels_offline_and_both_see_both_ready(
    devices: tuple[Local, Local],
) -> None:
    laptop, phone = devices
    laptop.write("channel-1", type="channel", state="new", name="Photos")
    phone.write("channel-2", type="channel", state="new", name="Photos")
    for one in devices:
        assert one.replicate() == 0
    for channel_id in ("channel-1", "channel-2"):
        wait_until(laptop.owner.control, channel_id, "ready")
    for one in devices:
        one.replicate()
        seen = [one.database.get(channel_id) for channel_id in ("channel-1", "channel-2")]
        assert [doc["state"] for doc in seen] == ["ready", "ready"]
        assert seen[0]["syncpoint"] != seen[1]["syncpoint"]


def test_the_devices_of_one_owner_see_one_another(devices: tuple[Local, Local]) -> None:
    for one in devices:
        one.replicate()
        for other in devices:
            assert one.database.get(other.device.device_id)["state"] == "active"


def test_what_a_device_may_not_write_stays_on_the_device(devices: tuple[Local, Local]) -> None:
    laptop, phone = devices
    laptop.write("channel-forged", type="channel", state="ready", name="Photos")
    laptop.write(phone.device.device_id, name="Not my phone")
    laptop.write("channel-fine", type="channel", state="new", name="Photos")
    assert laptop.replicate() == 2
    wait_until(laptop.owner.control, "channel-fine", "ready")
    phone.replicate()
    shown = phone.database.get(phone.device.device_id)
    assert shown["name"] == phone.device.doc["name"]
    rows = phone.database.changes("0", limit=100)["results"]
    assert "channel-forged" not in {row["id"] for row in rows}


def test_a_channel_renamed_offline_keeps_the_guest_who_joined_meanwhile(
    devices: tuple[Local, Local],
) -> None:
    laptop, phone = devices
    channel = laptop.owner.channel("Photos")
    laptop.replicate()
    invited = laptop.owner.invite(channel["_id"])
    for number in range(5):  # so many edits that the device's revision wins
        laptop.write(channel["_id"], name=f"Holidays {number}")
    assert post(invited.link, answer="accept").status_code == 303
    invited.wait_until("accepted")
    assert laptop.replicate() == 0

    def is_merged() -> bool:
        doc = laptop.owner.control.get(channel["_id"], conflicts=True)
        return "_conflicts" not in doc and doc.get("members") == [owner_id_of(invited.guest)]

    wait_for(is_merged, "one revision with the name and the guest")
    phone.replicate()
    doc = phone.database.get(channel["_id"])
    assert (doc["name"], doc["members"]) == ("Holidays 4", [owner_id_of(invited.guest)])
