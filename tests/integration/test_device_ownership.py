"""Whose the databases on a CouchDB are, where several devices, or the cloud, share it."""

import unicodedata
from pathlib import Path
from typing import Any, Literal

import pytest

from chalicelib.couch import NotFound, Server
from chalicelib.domain.names import channel_db, owner_control_db
from syncpoint_device import channels, lifecycle, texts
from syncpoint_device.databases import Device
from syncpoint_device.errors import DeviceError
from syncpoint_device.home import Home
from tests.kit.basics import FakeClock, an_address
from tests.kit.device.by_hand import Kit, MakeKit
from tests.kit.device.fake_cloud import NOT_FOUND, TOO_MANY, UNAVAILABLE, FakeCloud
from tests.kit.device.profiles import PHOTOS


def test_a_second_device_does_not_take_the_databases_of_the_first(kit: Kit) -> None:
    kit.put(PHOTOS)
    with pytest.raises(DeviceError, match="does not belong to this device; use --prefix"):
        kit.register_another()


def test_a_device_does_not_take_the_databases_of_a_cloud(
    kit: Kit, server: Server, fake_cloud: FakeCloud
) -> None:
    """The cloud's own CouchDB, and no --prefix: nobody has marked what is there."""
    address = an_address()
    prefix = f"{kit.profile.prefix}cloud-"
    clouds = server.database(prefix + owner_control_db("control", kit.owner_of(address)))
    clouds.create()
    clouds.put({"_id": "device-1"})
    with pytest.raises(DeviceError, match="does not belong to this device; use --prefix"):
        kit.register_another(owner=address, prefix=prefix)
    assert clouds.get("device-1")


def test_what_is_anothers_is_neither_replicated_nor_deleted(kit: Kit, make_kit: MakeKit) -> None:
    copy = kit.device.channel("channel-1")
    copy.create()
    copy.put({"_id": "note"})
    kit.set_cloud("http://couch.example")
    kit.obey(kit.put_subscription("channel-1"))
    assert kit.replications() == []
    assert "does not belong to this device" in kit.said[-1][1]
    kit.device.release(copy, delete=True)
    assert copy.get("note")


def test_register_warns_of_another_device_with_the_same_prefix(kit: Kit, tmp_path: Path) -> None:
    """Both could be guests of one channel, whose database has one name for both."""
    asked: Any = {
        "owner": an_address(),
        "registrations": kit.profile.registrations,
        "couch": kit.profile.couch,
        "name": "another",
    }
    for prefix, expected in ((kit.profile.prefix, True), (kit.profile.prefix + "x-", False)):
        home = Home(tmp_path / f"beside-{expected}")
        kit.others.append(home)
        said = lifecycle.register(home, kit.say, FakeClock(), prefix=prefix, trust=False, **asked)
        assert ("beside" in said) is expected
        assert ("Warning: another device uses" in texts.registered(said, "run")) is expected
        device = Device.of(home.load(), kit.say, FakeClock())
        lifecycle.unlink(home, device, purge=True, offline=True)


def test_an_empty_database_is_taken_a_killed_device_may_have_just_made_it(kit: Kit) -> None:
    copy = kit.device.channel("channel-1")
    copy.create()
    assert kit.device.acquire(copy)
    assert kit.device.is_own(copy)


def test_after_unlink_the_next_device_may_have_what_is_here(
    kit: Kit, fake_cloud: FakeCloud
) -> None:
    kit.put(PHOTOS)
    kit.device.acquire(kit.device.channel("channel-1"))
    device = kit.device
    lifecycle.unlink(kit.home, device, purge=False, offline=False)
    kit.home.save(device.profile)  # for what it says of where to register
    another = kit.register_another().device
    assert another.is_own(another.database)
    assert another.acquire(another.channel("channel-1"))


def test_nothing_is_purged_that_has_not_reached_the_cloud(kit: Kit, fake_cloud: FakeCloud) -> None:
    fake_cloud.couch = NOT_FOUND
    kit.put(PHOTOS)
    copy = kit.device.channel("channel-1")
    kit.device.acquire(copy)
    copy.put({"_id": "photo"})
    with pytest.raises(DeviceError, match=r"“Photos”: 1 document.* \(the cloud does not have"):
        lifecycle.unlink(kit.home, kit.device, purge=True, offline=True)
    assert kit.home.is_registered
    lifecycle.unlink(kit.home, kit.device, purge=True, offline=True, force=True)
    with pytest.raises(NotFound):
        copy.get("photo")


# A cloud that moves, a registrations endpoint that refuses


def test_channels_follow_a_cloud_that_has_moved(kit: Kit) -> None:
    doc = kit.put_subscription("channel-1", remote="http://old.example/db-1")
    for cloud in ("http://old.example", "http://new.example"):
        kit.set_cloud(cloud)
        kit.obey(doc)
    urls = {end["url"] for doc in kit.replications() for end in (doc["source"], doc["target"])}
    assert f"http://new.example/{channel_db(kit.profile.owner_id, 'channel-1')}" in urls
    assert not [url for url in urls if "old.example" in url]
    assert all(
        end["headers"] for doc in kit.replications() for end in (doc["source"], doc["target"])
    )


def test_another_mail_that_is_one_too_many_is_told_and_not_promised(
    kit: Kit, fake_cloud: FakeCloud
) -> None:
    row = {"id": kit.profile.device_id, "error": "forbidden", "reason": "too many mails"}
    fake_cloud.refusals = (201, [row])
    with pytest.raises(DeviceError, match="sends no other mail: too many mails"):
        lifecycle.resend(kit.home, kit.device)
    fake_cloud.refusals = TOO_MANY
    with pytest.raises(DeviceError, match="sends no other mail"):
        lifecycle.resend(kit.home, kit.device)
    fake_cloud.refusals = UNAVAILABLE
    assert lifecycle.resend(kit.home, kit.device)["sent"] is False
    fake_cloud.refusals = (201, [])
    assert lifecycle.resend(kit.home, kit.device)["sent"] is True
    assert kit.profile.doc["generation"] == 4


@pytest.mark.parametrize(
    "answer", [(200, {"couchdb": "Welcome"}), (404, {"error": "x"}), (200, b"hi")]
)
def test_what_is_no_registrations_is_named_at_once(
    kit: Kit, fake_cloud: FakeCloud, answer: tuple[int, object]
) -> None:
    fake_cloud.registrations = answer
    with pytest.raises(DeviceError, match="is not the registrations endpoint of a"):
        kit.register_another(owner=an_address())


@pytest.mark.parametrize("answer", [UNAVAILABLE, TOO_MANY])
def test_a_registrations_that_does_not_answer_now_is_believed(
    kit: Kit, fake_cloud: FakeCloud, answer: tuple[int, object]
) -> None:
    fake_cloud.registrations = answer
    assert kit.register_another(owner=an_address()).home.is_registered


# Another device


def test_a_lost_device_is_revoked_by_its_name(kit: Kit) -> None:
    lost = {"_id": "device-lost", "type": "device", "state": "active", "name": "Ada's phone"}
    kit.put(lost)
    assert lifecycle.revoke_other(kit.device, "Ada's phone")["device"] == "device-lost"
    assert kit.device.database.get("device-lost")["state"] == "revoking"
    with pytest.raises(DeviceError, match="was revoked already; nothing was changed"):
        lifecycle.revoke_other(kit.device, "device-lost")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_commands_find_names_however_their_letters_are_composed(
    kit: Kit, form: Literal["NFC", "NFD"]
) -> None:
    typed = unicodedata.normalize(form, "Zoë")
    for name in (unicodedata.normalize("NFD", "Zoë"), unicodedata.normalize("NFC", "Zoë")):
        kit.put({"_id": "device-lost", "type": "device", "state": "active", "name": name})
        kit.put({**PHOTOS, "name": name})
        assert lifecycle.revoke_other(kit.device, typed)["device"] == "device-lost"
        assert channels.find(kit.device, typed)["_id"] == "channel-1"


def test_only_one_device_of_the_owners_own_is_revoked(kit: Kit) -> None:
    own = kit.profile.device_id
    kit.put({"_id": own, "type": "device", "state": "active", "name": "laptop"})
    for number in range(2):
        doc = {"_id": f"device-{number}", "type": "device", "state": "active", "name": "phone"}
        kit.put(doc)
    for text, why in (
        ("tablet", "there is no device “tablet”; `status` lists your other devices"),
        ("phone", "use an id instead: device-0, device-1"),
        ("laptop", "“laptop” is this device"),
    ):
        with pytest.raises(DeviceError, match=why):
            lifecycle.revoke_other(kit.device, text)
    assert channels.own_state(kit.device) == "active"
