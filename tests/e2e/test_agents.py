"""Devices with agents, and a network between them and the cloud that can be cut."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import subscription_id
from local.net import Net
from syncpoint_device import channels, lifecycle
from syncpoint_device.errors import CloudFailed, DeviceError, Revoked
from syncpoint_device.refusals import undo
from syncpoint_device.replications import count_missing
from tests.e2e.conftest import MakeGadget
from tests.kit.basics import an_address, wait_for
from tests.kit.device.gadget import (
    Gadget,
    a_shared_channel,
    control_in_cloud,
    in_cloud,
    is_gone,
    share_with,
    wait_for_rev,
    wait_for_state,
    wait_for_sync,
    wait_for_word,
    wait_until_obeyed,
)
from tests.kit.device.trap import Trap
from tests.kit.system.registering import post

REFUSING = "function (doc) { if (doc._id === 'refused') throw({ forbidden: 'by a test' }); }"


@pytest.fixture
def phone(gadget: MakeGadget) -> Gadget:
    """An active device."""
    return gadget("phone").become_active()


@pytest.fixture
def laptop(gadget: MakeGadget, phone: Gadget) -> Gadget:
    """Another active device of the same owner."""
    return gadget("laptop", owner=phone.owner).become_active()


# Three endpoints.


def test_a_photo_goes_from_device_to_device_and_then_to_the_cloud(
    phone: Gadget, laptop: Gadget, net: Net
) -> None:
    """A laptop, a phone and the cloud: whichever meet, exchange what they have."""
    channel_id = a_shared_channel(phone, laptop)
    on_phone, on_laptop, cloud = (
        phone.copy(channel_id),
        laptop.copy(channel_id),
        in_cloud(phone, channel_id),
    )
    net.cut()
    image = {"content_type": "image/jpeg", "data": "/9j/4AAQSkZJRg=="}
    on_phone.put({"_id": "photo-1", "of": "a fery", "_attachments": {"photo.jpg": image}})
    on_phone.put({**on_phone.get("photo-1"), "of": "a ferry"})
    phone.exchange(laptop, channel_id)
    assert on_laptop.get("photo-1")["of"] == "a ferry"
    on_laptop.put({**on_laptop.get("photo-1"), "seen": True})
    assert cloud.find_one("photo-1") is None
    net.restore()
    last = on_laptop.get("photo-1")["_rev"]
    histories = []
    for database in (on_phone, on_laptop, cloud):
        wait_for_rev(database, "photo-1", last)
        params = {"conflicts": "true", "revs": "true"}
        doc = database.request("GET", "photo-1", params=params)
        assert "_conflicts" not in doc
        assert set(doc["_attachments"]) == {"photo.jpg"}
        histories.append(doc["_revisions"])
    assert histories[0]["start"] == 3
    assert histories[0] == histories[1] == histories[2]


# Offline first.


def test_all_that_was_done_without_a_network_happens_when_there_is_one(
    gadget: MakeGadget, net: Net
) -> None:
    net.cut()
    phone = gadget("phone")
    phone.register()
    phone.start()
    channel_id = phone.create("Photos")
    wait_for(lambda: phone.copy(channel_id).put({"_id": "photo-1"}), "a place for the photo")
    wait_for_word(phone, "cloud", "cannot be reached")
    assert phone.link() is None
    net.restore()
    phone.confirm()
    wait_for_sync(phone, channel_id)
    wait_for(lambda: in_cloud(phone, channel_id).find_one("photo-1"), "the photo in the cloud")
    assert phone.control.get(phone.id)["state"] == "active"


def test_a_registration_that_no_agent_follows_still_reaches_the_cloud(gadget: MakeGadget) -> None:
    """The replicator brings it: `register` alone, and then the mail is there."""
    phone = gadget("phone")
    phone.register()
    wait_for(phone.link, "the mail with the link")


def test_two_devices_make_channels_offline_and_both_get_both(
    phone: Gadget, laptop: Gadget, net: Net
) -> None:
    net.cut()
    made = [phone.create("Photos"), laptop.create("Photos")]
    net.restore()
    for one in (phone, laptop):
        for channel_id in made:
            wait_for_sync(one, channel_id)
    for channel_id in made:
        doc_id = subscription_id(channel_id, owner_id_of(phone.owner))
        wait_for_state(control_in_cloud(phone), doc_id, "active")
        assert "_conflicts" not in control_in_cloud(phone).get(doc_id, conflicts=True)


def test_after_an_outage_the_agent_restarts_all_replications_at_once(
    phone: Gadget, net: Net
) -> None:
    channel_id = phone.create()
    wait_for_sync(phone, channel_id)
    before = {one.doc["_id"] for one in phone.device.replications.all()}
    said = len(phone.said)  # a busy machine may have had an outage of its own
    net.cut()
    wait_for_word(phone, "cloud", "cannot be reached", said)
    said = len(phone.said)
    net.restore()
    wait_for_word(phone, "cloud", "reached again", said)
    wait_for(
        lambda: not before & {one.doc["_id"] for one in phone.device.replications.all()},
        "new replications",
    )
    phone.copy(channel_id).put({"_id": "note"})
    wait_for(lambda: in_cloud(phone, channel_id).find_one("note"), "the note in the cloud")


# Refusals.


def test_a_refused_edit_is_told_once_and_undone_while_all_goes_on(
    phone: Gadget, laptop: Gadget
) -> None:
    channel_id = a_shared_channel(phone, laptop)
    laptop.control.update(channel_id, lambda doc: {**doc, "name": ""})
    wait_for_word(laptop, "cloud", f"refused {channel_id}: name must be a text of 1 to 80")
    phone.control.update(channel_id, lambda doc: {**doc, "name": "Holidays"})
    wait_for(lambda: control_in_cloud(phone).get(channel_id)["name"] == "Holidays", "the name")
    assert undo(laptop.home, laptop.device, channel_id)["undone"] is True
    assert laptop.control.get(channel_id)["name"] == "Holidays"
    laptop.control.update(channel_id, lambda doc: {**doc, "name": "Letters"})
    wait_for(lambda: phone.control.get(channel_id)["name"] == "Letters", "the name here")
    assert "_conflicts" not in phone.control.get(channel_id, conflicts=True)
    told = [what for _, what in laptop.said if what.startswith("refused ")]
    assert len(told) == 1


def test_without_a_network_nothing_is_called_refused_nor_undone(phone: Gadget, net: Net) -> None:
    channel_id = phone.create()
    wait_for_sync(phone, channel_id)
    net.cut()
    phone.control.update(channel_id, lambda doc: {**doc, "name": ""})
    before = phone.control.get(channel_id)
    wait_for_word(phone, "cloud", "cannot be reached")
    with pytest.raises(CloudFailed, match="the cloud cannot be asked"):
        undo(phone.home, phone.device, channel_id)
    assert phone.control.get(channel_id) == before
    assert phone.heard("cloud", "refused ") is None
    net.restore()
    wait_for_word(phone, "cloud", f"refused {channel_id}")


# Subscriptions.


def test_a_paused_channel_stands_still_on_all_devices_and_goes_on_when_resumed(
    phone: Gadget, laptop: Gadget
) -> None:
    channel_id = a_shared_channel(phone, laptop)
    channels.change_subscription(phone.device, "Photos", "pause")
    for one in (phone, laptop):
        wait_for_word(one, "Photos", "paused")
        assert not one.replicates(channel_id)
    laptop.copy(channel_id).put({"_id": "note"})
    channels.change_subscription(laptop.device, channel_id, "resume")
    phone.wait_for_doc(phone.copy(channel_id), "note")


def test_a_stopped_channel_stays_here_unless_it_is_purged(phone: Gadget, laptop: Gadget) -> None:
    channel_id = a_shared_channel(phone, laptop)
    phone.copy(channel_id).put({"_id": "note"})
    laptop.wait_for_doc(laptop.copy(channel_id), "note")
    channels.change_subscription(phone.device, "Photos", "stop", purge=True)
    wait_for_word(laptop, "Photos", "stopped")
    assert laptop.copy(channel_id).get("note")
    assert is_gone(phone.copy(channel_id))
    for one in (phone, laptop):
        assert not one.replicates(channel_id)


def test_what_is_not_in_the_cloud_yet_is_purged_by_force_only(phone: Gadget, net: Net) -> None:
    channel_id = phone.create()
    wait_for_sync(phone, channel_id)
    net.cut()
    phone.copy(channel_id).put({"_id": "note"})
    with pytest.raises(DeviceError, match="--force"):
        channels.change_subscription(phone.device, "Photos", "stop", purge=True)
    phone.copy(channel_id).put({"_id": "refused"})
    in_cloud(phone, channel_id).put({"_id": "_design/refusing", "validate_doc_update": REFUSING})
    net.restore()
    wait_for(lambda: in_cloud(phone, channel_id).find_one("note"), "the note in the cloud")
    with pytest.raises(DeviceError, match=r"“Photos”: 1 document \(not sent yet, or refused\)"):
        channels.change_subscription(phone.device, "Photos", "stop", purge=True)
    assert phone.copy(channel_id).get("refused")
    phone.stop()
    phone.end_replications()
    channels.change_subscription(phone.device, "Photos", "stop", purge=True, force=True)
    assert is_gone(phone.copy(channel_id))


def test_a_channel_whose_subscription_was_deleted_is_not_taken_up_again(phone: Gadget) -> None:
    channel_id = phone.create()
    wait_for_sync(phone, channel_id)
    phone.control.remove(phone.subscription(channel_id) or {})
    wait_for(lambda: not phone.both_ways(channel_id), "the end of its replication")
    phone.stop()
    phone.start()
    other = phone.create("Others")
    wait_for_sync(phone, other)
    assert phone.subscription(channel_id) is None
    assert not phone.both_ways(channel_id)


@pytest.mark.parametrize("changes", [("pause", "resume"), ("stop", "pause")])
def test_both_devices_follow_the_winner_of_two_offline_changes(
    phone: Gadget, laptop: Gadget, net: Net, changes: tuple[str, str]
) -> None:
    channel_id = a_shared_channel(phone, laptop)
    if "resume" in changes:
        channels.change_subscription(phone.device, "Photos", "stop")
        for one in (phone, laptop):
            wait_for_word(one, "Photos", "stopped")
    net.cut()
    for one, what in zip((phone, laptop), changes, strict=True):
        channels.change_subscription(one.device, "Photos", what)
        wait_until_obeyed(one, channel_id)
    net.restore()
    doc_id = subscription_id(channel_id, owner_id_of(phone.owner))

    def one_state() -> str | None:
        docs = [
            # Each device writes it by itself: before the cut, the cloud may have had none.
            database.find_one(doc_id, conflicts=True) or {}
            for database in (phone.control, laptop.control, control_in_cloud(phone))
        ]
        states = {doc.get("state") for doc in docs}
        is_reconciled = len(states) == 1 and not any("_conflicts" in doc for doc in docs)
        return states.pop() if is_reconciled else None

    state = wait_for(one_state, "one state everywhere")
    for one in (phone, laptop):
        wait_until_obeyed(one, channel_id)
        assert one.both_ways(channel_id) == (state == "active")
    said = [
        f"{channels.STATES[what]} (by {name})"
        for name, what in zip(("phone", "laptop"), changes, strict=True)
    ]
    winner, loser = said if said[0].startswith(state) else said[::-1]
    overruled = laptop if winner.endswith("phone)") else phone
    wait_for_word(overruled, "Photos", f"{winner} wins over {loser}")


def test_what_the_cloud_has_stopped_no_offline_change_outweighs(
    gadget: MakeGadget, phone: Gadget, net: Net
) -> None:
    guest = gadget("tablet").become_active()
    channel_id, db = share_with(phone, guest)
    net.cut()
    for what in ("pause", "resume", "pause", "resume"):  # so many that its revision wins
        channels.change_subscription(guest.device, db, what)
    cloud = control_in_cloud(phone)
    cloud.update(channel_id, lambda doc: {**doc, "members": []})
    stopped = control_in_cloud(guest)
    wait_for_state(stopped, subscription_id(db, owner_id_of(guest.owner)), "stopped")
    net.restore()
    wait_for_word(guest, "Photos", "by the cloud: you are no longer")
    wait_for(lambda: not guest.both_ways(db), "the end of replication")

    def is_one() -> bool:
        doc = stopped.get(subscription_id(db, owner_id_of(guest.owner)), conflicts=True)
        return doc["state"] == "stopped" and "_conflicts" not in doc

    wait_for(is_one, "the cloud's word alone")


# The password.


@pytest.fixture
def trap() -> Iterator[Trap]:
    """A server that is not the cloud's, and keeps all that it is told."""
    trap = Trap()
    yield trap
    trap.close()


def planted(doc_id: str, channel_id: str, remote: str) -> JsonDict:
    """A subscription as a stolen device writes it: a revision that outweighs all others."""
    digest = "f" * 32
    return {
        "_id": doc_id,
        "_rev": f"99-{digest}",
        "_revisions": {"start": 99, "ids": [digest]},
        "type": "subscription",
        "state": "active",
        "channel": channel_id,
        "remote": remote,
    }


def test_a_stolen_device_leads_no_channel_to_a_server_of_its_own(phone: Gadget, trap: Trap) -> None:
    """It has reached the owner's other device by replication in the local network."""
    channel_id, owner = phone.create(), owner_id_of(phone.owner)
    wait_for_sync(phone, channel_id)
    ways = phone.replicated()
    lures = [trap.url, trap.lookalike(phone)]
    for number, remote in enumerate(lures):
        doc_id = subscription_id(f"channel-{number}", owner)
        phone.control.put_revision(planted(doc_id, f"channel-{number}", f"{remote}/db-x"))
    doc_id = subscription_id(channel_id, owner)
    phone.control.put_revision(planted(doc_id, channel_id, f"{trap.url}/db-x"))
    assert phone.control.get(doc_id)["remote"] == f"{trap.url}/db-x"
    wait_for(lambda: len(phone.replicated()) == len(ways) + 2 * len(lures), "all replications")
    phone.copy(channel_id).put({"_id": "photo"})
    wait_for(lambda: in_cloud(phone, channel_id).find_one("photo"), "the photo in the cloud")
    assert trap.heard == []
    assert set(ways) < set(phone.replicated())
    for running in phone.device.replications.all():
        urls = running.doc["source"]["url"] + running.doc["target"]["url"]
        assert phone.device.profile.password not in urls


# Guests.


def test_a_guest_who_accepts_gets_the_channel_on_the_device(
    gadget: MakeGadget, phone: Gadget
) -> None:
    guest = gadget("tablet").become_active()
    channel_id, db = share_with(phone, guest)
    phone.copy(channel_id).put({"_id": "photo-1"})
    guest.wait_for_doc(guest.copy(db), "photo-1")
    guest.copy(db).put({"_id": "photo-2"})
    phone.wait_for_doc(phone.copy(channel_id), "photo-2")
    with pytest.raises(DeviceError, match="only its owner can invite"):
        channels.invite(guest.device, "Photos", an_address())


# Revoking, unlinking, refusals.


def test_a_revoked_device_says_so_and_stops_trying(
    phone: Gadget, laptop: Gadget, trap: Trap
) -> None:
    channel_id = a_shared_channel(phone, laptop)
    laptop.control.put({**laptop.control.get(phone.id), "state": "revoking"})
    wait_for(lambda: not phone.is_running(), "the end of the agent")
    assert isinstance(phone.failure, Revoked)
    assert "was revoked. Its data stays here" in str(phone.failure)
    assert phone.replicated() == []
    assert phone.copy(channel_id).info()
    laptop.copy(channel_id).put({"_id": "note"})
    wait_for(lambda: in_cloud(laptop, channel_id).find_one("note"), "the laptop goes on")
    phone.home.update(
        lambda kept: replace(kept, registrations=f"{trap.url}/registrations", cloud=trap.url)
    )
    phone.failure = None
    phone.start()
    wait_for(lambda: not phone.is_running(), "the end of the agent")
    assert isinstance(phone.failure, Revoked)
    assert phone.replicated() == []
    assert trap.heard == []


def test_an_unlinked_device_is_revoked_and_forgotten(phone: Gadget) -> None:
    channel_id = phone.create()
    wait_for_sync(phone, channel_id)
    with pytest.raises(DeviceError, match="agent of this device runs"):
        lifecycle.unlink(phone.home, phone.device, purge=False, offline=False)
    phone.stop()
    device = phone.as_administrator
    wait_for(
        lambda: count_missing(device.database, device.cloud_control, stop_at=1) == 0,
        "the cloud has all documents of the control database",
    )
    said = lifecycle.unlink(phone.home, phone.device, purge=True, offline=False)
    assert (said["revoked"], said["purged"]) == (True, True)
    assert not phone.home.is_registered
    assert device.replications.all() == []
    for database in (device.database, device.channel(channel_id)):
        assert is_gone(database)
    shown = control_in_cloud(phone).get(device.profile.device_id)
    assert shown["state"] == "revoked"


def test_without_a_network_a_device_is_unlinked_only_if_that_is_said(
    phone: Gadget, net: Net
) -> None:
    phone.stop()
    net.cut()
    device = phone.as_administrator
    with pytest.raises(DeviceError, match="--offline"):
        lifecycle.unlink(phone.home, phone.device, purge=False, offline=False)
    assert phone.home.is_registered
    said = lifecycle.unlink(phone.home, phone.device, purge=False, offline=True)
    assert said["revoked"] is False
    assert device.replications.all() == []
    assert device.database.info()


def test_a_registration_is_asked_for_again_with_the_same_device_code(gadget: MakeGadget) -> None:
    phone = gadget("phone")
    phone.register()
    phone.start()
    first, code = wait_for(phone.link, "the mail with the link"), phone.code
    wait_for_word(phone, "registration", f"type the device code {code}")
    lifecycle.resend(phone.home, phone.device)

    def another() -> str | None:
        link = phone.link()  # asked for once: between two answers the second mail may come
        return None if link == first else link

    second = wait_for(another, "another mail")
    assert post(first, device_code=code).status_code == 410
    assert post(second, device_code=code).status_code == 303
    wait_for_word(phone, "registration", "active")


def test_a_refused_registration_ends_the_agent_with_what_to_do(gadget: MakeGadget) -> None:
    phone = gadget("phone")
    phone.register()
    phone.start()
    post(wait_for(phone.link, "the mail with the link"), answer="not-me")
    wait_for(lambda: not phone.is_running(), "the end of the agent")
    assert "was rejected; run `unlink`, and then `register`" in str(phone.failure)
    assert phone.replicated() == []


def test_what_the_registrations_does_not_take_is_told_with_its_reason(
    gadget: MakeGadget, net: Net
) -> None:
    phone = gadget("phone")
    net.cut()  # or the registrations endpoint may have the registration before it is spoiled
    phone.register()
    device = phone.device
    device.outbox.update(phone.id, lambda doc: {**doc, "generation": 1, "surname": "x"})
    net.restore()
    phone.start()
    wait_for(lambda: not phone.is_running(), "the end of the agent")
    assert "the cloud refused the registration" in str(phone.failure)
    assert "surname" in str(phone.failure)
