"""The agent over a real CouchDB and a cloud that is played; what enrols, unlinks and tells."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from chalicelib.couch import Server
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import channel_db
from syncpoint_device import channels, lifecycle, texts
from syncpoint_device.cloud import fill_outbox
from syncpoint_device.errors import DeviceError, Revoked
from syncpoint_device.home import Home
from syncpoint_device.status import status
from tests.kit.basics import looked_for, wait_for
from tests.kit.cases.attacks import nested_text
from tests.kit.cloud.access import put_text
from tests.kit.device.by_hand import Kit, MakeKit, agent
from tests.kit.device.fake_cloud import UNAUTHORIZED, UNAVAILABLE, FakeCloud
from tests.kit.device.gadget import is_gone
from tests.kit.device.profiles import ADMIN_PASSWORD, PASSWORD, PHOTOS

Running = Callable[[Kit], AbstractContextManager[list[Exception]]]


@pytest.fixture
def kit(kit: Kit, fake_cloud: FakeCloud) -> Kit:
    """Active there."""
    fake_cloud.state = "active"
    return kit


def asked_by_the_device(fake_cloud: FakeCloud) -> int:
    """How many requests came; those of replicators, which end a moment later, do not count."""
    return len([one for one in fake_cloud.asked if not one.is_by_a_replicator])


# Documents of all kinds

ODD_DOCS: list[JsonDict] = [
    {"_id": "odd-1", "type": "channel", "state": {}},
    {"_id": "odd-2", "type": "channel", "state": []},
    {"_id": "odd-3", "type": [], "state": "new"},
    {"_id": "odd-4", "type": {}, "state": {}},
    {"_id": "odd-5", "type": None, "state": None},
    {"_id": "odd-6", "type": "channel"},
    {"_id": "odd-7", "state": "new"},
    {"_id": "odd-8", "type": "subscription", "state": "active"},
    {"_id": "odd-9", "type": "subscription", "state": "active", "channel": {}},
    {"_id": "odd-10", "type": "subscription", "state": "active", "channel": ""},
    {"_id": "odd-11", "type": "subscription", "state": "active", "channel": "..", "remote": "x"},
    {"_id": "odd-12", "type": "subscription", "state": "paused", "channel": "_design/x"},
    {"_id": "odd-13", "type": "device", "state": "revoked", "name": {}},
    {"_id": "odd-14", "type": "channel", "state": "ready", "name": [], "syncpoint": {}},
    {"_id": "odd 15/é?#%", "type": "channel", "state": "new"},
    {"_id": "odd-16" + "x" * 300, "type": "channel", "state": "ready"},
]


def test_no_document_keeps_the_agent_from_the_others(kit: Kit, fake_cloud: FakeCloud) -> None:
    for doc in ODD_DOCS:
        kit.put(doc)
    kit.put_subscription("channel-z")
    with agent(kit) as failures:
        wait_for(lambda: kit.exists("channel-z"), "the copy of the last channel")
        for doc in ODD_DOCS:
            kit.put({**doc, "again": True})
        kit.put_subscription("channel-y")
        wait_for(lambda: kit.exists("channel-y"), "another one")
        assert failures == []
    assert any("cannot be handled" in what for about, what in kit.said)


DEEP = f'{{"type":"channel","state":"ready","name":{nested_text(2_000)}}}'


def test_a_document_that_cannot_be_read_keeps_the_agent_from_no_other(
    kit: Kit, fake_cloud: FakeCloud
) -> None:
    put_text(kit.device.database, "deep-1", DEEP)
    kit.put_subscription("channel-z")
    with agent(kit) as failures:
        wait_for(lambda: kit.exists("channel-z"), "the copy of the channel")
        put_text(kit.device.database, "deep-2", DEEP)
        kit.put_subscription("channel-y")
        wait_for(lambda: kit.exists("channel-y"), "another one")
        assert failures == []
    for doc_id in ("deep-1", "deep-2"):
        assert (doc_id, "cannot be read: it is nested too deeply") in kit.said


def test_a_document_whose_id_is_too_long_to_ask_for_is_passed_over(
    kit: Kit, server: Server, fake_cloud: FakeCloud
) -> None:
    """It comes by replication: an ordinary request could not have written it."""
    body = {"docs": [{"_id": "x" * 40_000, "type": "channel", "state": "new"}]}
    server.http.request("POST", f"/{kit.device.database.name}/_bulk_docs", body=body)
    kit.put_subscription("channel-z")
    with agent(kit) as failures:
        wait_for(lambda: kit.exists("channel-z"), "the copy of the other channel")
        assert failures == []


def test_all_documents_are_looked_at_however_many(kit: Kit, fake_cloud: FakeCloud) -> None:
    for number in range(120):
        kit.device.database.put({"_id": f"doc-{number:03}"})
    kit.put_subscription("channel-1")
    with agent(kit):
        wait_for(lambda: kit.exists("channel-1"), "the copy of the channel")


def test_at_its_start_replications_are_made_to_agree_with_the_documents(
    kit: Kit, fake_cloud: FakeCloud
) -> None:
    device = kit.device
    device.replications.reconcile("a", device.both_ways(device.channel("a"), "a"))
    kit.put_subscription("channel-1")
    kit.put_subscription("channel-2", "paused")
    local = device.channel("channel-1").name
    with agent(kit):

        def agree() -> bool:
            of = sorted(one.group for one in kit.device.replications.all())
            return of == sorted(["control"] * 2 + [local] * 2)

        wait_for(agree, "replications of the control database and one channel")


# From a registration to an active device


def test_a_waiting_registration_becomes_active_when_the_endpoint_says_so(
    make_kit: MakeKit, fake_cloud: FakeCloud
) -> None:
    fake_cloud.state = "confirming"
    kit = make_kit(registrations=fake_cloud.registrations_url)
    with agent(kit):
        wait_for(lambda: len(kit.said) == 1, "word of the registration")
        assert kit.device.outbox.get(kit.profile.device_id)
        fake_cloud.state = "active"
        wait_for(
            lambda: ("registration", "confirmed; this device is active") in kit.said,
            "an active device",
        )
        control = f"{fake_cloud.couch_url}/control-{kit.profile.owner_id}"
        both = {control, kit.device.database.url}

        def agree() -> bool:
            docs = kit.replications()
            ends = {end["url"] for doc in docs for end in (doc["source"], doc["target"])}
            return (len(docs), ends) == (2, both)

        wait_for(agree, "replication of the control database alone, each way once")
    assert is_gone(kit.device.outbox)


def test_a_device_that_another_calls_active_asks_where_the_cloud_is(
    make_kit: MakeKit, fake_cloud: FakeCloud
) -> None:
    """Its document came from device to device, before its agent had ever reached the endpoint."""
    fake_cloud.state = "active"
    kit = make_kit(registrations=fake_cloud.registrations_url)
    kit.put({**kit.profile.doc, "state": "active"})
    with agent(kit) as failures:
        wait_for(lambda: kit.profile.cloud, "word of the cloud")
        wait_for(lambda: len(kit.replications()) == 2, "replication of the control database")
        assert failures == []


def test_local_channels_wait_for_the_cloud_after_unlink_and_register(
    make_kit: MakeKit, fake_cloud: FakeCloud
) -> None:
    fake_cloud.registrations = UNAVAILABLE
    kit = make_kit(registrations=fake_cloud.registrations_url)
    kit.put({"_id": "device-former", "type": "device", "state": "revoked"})
    kit.put(PHOTOS)
    kit.put_subscription("channel-1")
    with agent(kit):
        wait_for(lambda: kit.said, "word of the outage")
        assert [one.group for one in kit.device.replications.all()] == ["outbox"]
        fake_cloud.registrations, fake_cloud.state = None, "active"
        wait_for(lambda: len(kit.replications()) == 4, "replication of the channel")


# The end


def test_a_revoked_device_replicates_nothing_any_more_and_stays_revoked(
    kit: Kit, fake_cloud: FakeCloud
) -> None:
    kit.put_subscription("channel-1")
    with agent(kit) as failures:
        wait_for(lambda: len(kit.replications()) == 4, "replication")
        fake_cloud.couch, fake_cloud.state = UNAUTHORIZED, "revoked"
        wait_for(lambda: failures, "the end of the agent")
    assert isinstance(failures[0], Revoked)
    assert kit.replications() == []
    assert kit.profile.is_revoked
    asked = asked_by_the_device(fake_cloud)
    with agent(kit) as failures:
        wait_for(lambda: failures, "the end of the agent")
    assert isinstance(failures[0], Revoked)
    assert asked_by_the_device(fake_cloud) == asked


def test_a_device_whose_own_document_says_revoked_believes_it(kit: Kit) -> None:
    kit.put({**kit.profile.doc, "state": "revoked"})
    with agent(kit) as failures:
        wait_for(lambda: failures, "the end of the agent")
    assert isinstance(failures[0], Revoked)
    assert kit.profile.is_revoked


def test_there_is_no_second_agent_and_the_first_goes_on(kit: Kit) -> None:
    with agent(kit) as first:
        wait_for(lambda: kit.said, "the first agent")
        with agent(kit) as second:
            wait_for(lambda: second, "the end of the second")
        assert "the agent of this device runs" in str(second[0])
        assert first == []
        wait_for(lambda: len(kit.replications()) == 2, "replication")


def test_no_agent_says_a_password(kit: Kit, fake_cloud: FakeCloud) -> None:
    kit.put_subscription("channel-1")
    with agent(kit):
        wait_for(lambda: kit.exists("channel-1"), "the copy")
        fake_cloud.couch = UNAUTHORIZED
        wait_for(lambda: any(about == "cloud" for about, _ in kit.said), "word of the cloud")
    said = str(kit.said)
    assert PASSWORD not in said
    assert ADMIN_PASSWORD not in said
    assert looked_for(kit.profile.couch) not in said


# Unlink


def unlink(kit: Kit, **how: bool) -> JsonDict:
    flags = {"purge": False, "offline": False} | how
    return lifecycle.unlink(kit.home, kit.device, **flags)


@pytest.fixture
def unlinked(make_kit: MakeKit, fake_cloud: FakeCloud) -> Iterator[Kit]:
    """A device to unlink: its file goes, and so its databases are removed here."""
    kit = make_kit(registrations=fake_cloud.registrations_url)
    profile, device = kit.profile, kit.device
    yield kit
    device.replications.remove_all()
    Home(kit.home.path.parent).save(profile)


def test_a_document_that_cannot_be_read_stops_no_command(
    unlinked: Kit, fake_cloud: FakeCloud
) -> None:
    kit = unlinked
    put_text(kit.device.database, "deep-1", DEEP)
    kit.put(PHOTOS)
    kit.put({"_id": "device-2", "type": "device", "state": "active", "name": "Old phone"})
    said = status(kit.device)
    assert [channel["name"] for channel in said["channels"]] == ["Photos"]
    assert lifecycle.revoke_other(kit.device, "Old phone")["device"] == "device-2"
    assert kit.device.database.get("device-2")["state"] == "revoking"
    assert channels.find(kit.device, "Photos")["_id"] == "channel-1"
    fake_cloud.state = "revoked"
    assert unlink(kit)["revoked"] is True
    assert not kit.home.is_registered


def test_a_device_is_revoked_even_if_its_agent_has_never_run(
    unlinked: Kit, fake_cloud: FakeCloud
) -> None:
    """The replicator alone has brought its registration, and its owner has confirmed it."""
    fake_cloud.state = "active"
    device_id, owner = unlinked.profile.device_id, unlinked.profile.owner_id
    assert unlink(unlinked) == {
        "device": device_id,
        "revoked": True,
        "known": True,
        "purged": False,
        "left": [],
    }
    put = next(one for one in fake_cloud.asked if one.method == "PUT")
    assert put.path == f"/couch/control-{owner}/{device_id}"
    assert put.body["state"] == "revoking"
    assert not unlinked.home.is_registered


@pytest.mark.parametrize("state", ["revoking", "revoked"])
def test_a_device_that_is_revoked_already_is_just_forgotten(
    unlinked: Kit, fake_cloud: FakeCloud, state: str
) -> None:
    fake_cloud.state = state
    assert unlink(unlinked)["revoked"] is True
    assert [one for one in fake_cloud.asked if one.method == "PUT"] == []


@pytest.mark.parametrize("state", [None, "new", "confirming", "expired", "rejected"])
def test_a_device_without_a_login_is_forgotten_and_nothing_is_revoked(
    unlinked: Kit, fake_cloud: FakeCloud, state: str | None
) -> None:
    fake_cloud.state = state
    assert unlink(unlinked)["revoked"] is False
    assert not unlinked.home.is_registered


def test_a_cloud_that_cannot_be_told_keeps_the_device(unlinked: Kit, fake_cloud: FakeCloud) -> None:
    fake_cloud.registrations = UNAVAILABLE
    with pytest.raises(DeviceError, match=r"cannot be reached: .* `unlink --offline`"):
        unlink(unlinked)
    assert unlinked.home.is_registered
    asked = asked_by_the_device(fake_cloud)
    assert unlink(unlinked, offline=True)["revoked"] is False
    assert asked_by_the_device(fake_cloud) == asked


def test_what_is_purged_is_the_devices_own(
    unlinked: Kit, make_kit: MakeKit, server: Server, fake_cloud: FakeCloud
) -> None:
    other = make_kit(registrations=fake_cloud.registrations_url)
    for kit in (unlinked, other):
        fill_outbox(kit.device)
        kit.put(PHOTOS)
        kit.device.acquire(kit.device.channel("channel-1"))
    prefix = unlinked.profile.prefix
    assert unlink(unlinked, purge=True, force=True)["purged"] is True
    left = server.all_dbs(prefix, prefix + "~", 10)
    assert left == []
    assert other.exists("channel-1")
    assert other.device.outbox.get(other.profile.device_id)
    assert len(other.replications()) == 1


def test_without_purge_the_data_stays(unlinked: Kit) -> None:
    unlinked.put(PHOTOS)
    unlinked.device.acquire(unlinked.device.channel("channel-1"))
    device = unlinked.device
    unlink(unlinked, offline=True)
    assert device.database.get("channel-1")
    assert device.channel("channel-1").info()


# Status


def test_a_device_whose_agent_has_never_run_tells_how_it_stands(
    make_kit: MakeKit, fake_cloud: FakeCloud
) -> None:
    fake_cloud.state = "active"
    kit = make_kit(registrations=fake_cloud.registrations_url)
    said = status(kit.device)
    assert said["registration"] == "active"
    assert set(said["cloud"]) == {"reached_at"}
    assert said["control"]["sync"] == "off"
    assert texts.status(said)


def test_a_waiting_registration_tells_its_device_code(
    make_kit: MakeKit, fake_cloud: FakeCloud
) -> None:
    kit = make_kit(registrations=fake_cloud.registrations_url)
    said = status(kit.device)
    assert said["registration"] == "waiting to be sent"
    assert said["device_code"] == kit.profile.doc["device_code"]
    fake_cloud.state = "rejected"
    assert "device_code" not in status(kit.device)


def test_a_cloud_that_cannot_be_reached_is_told_and_what_is_known_here(
    kit: Kit, fake_cloud: FakeCloud
) -> None:
    fake_cloud.registrations = UNAVAILABLE
    assert status(kit.device)["registration"] is None
    kit.put({**kit.profile.doc, "state": "active"})
    said = status(kit.device)
    assert said["registration"] == "active"
    assert "cannot be reached" in said["cloud"]["problem"]
    assert said["control"]["sync"] == "off"
    assert "to_receive" not in said["control"]
    assert "device_code" not in said


def test_a_cloud_that_does_not_let_it_in_is_told(kit: Kit, fake_cloud: FakeCloud) -> None:
    fake_cloud.couch = UNAUTHORIZED
    said = status(kit.device)
    assert "refuses this device's login" in said["cloud"]["problem"]
    assert said["control"]["sync"] == "off"


@pytest.mark.parametrize("remote", [None, 5, [], "", "https://evil.example/db"])
def test_a_channel_is_compared_with_its_own_database_whatever_its_remote(
    kit: Kit, fake_cloud: FakeCloud, remote: Any
) -> None:
    kit.put(PHOTOS)
    kit.device.acquire(kit.device.channel("channel-1"))
    kit.put_subscription("channel-1", remote=remote)
    (channel,) = status(kit.device)["channels"]
    assert (channel["to_send"], channel["to_receive"]) == (0, 0)
    own = channel_db(kit.profile.owner_id, "channel-1")
    assert any(one.path.startswith(f"/couch/{own}/_changes") for one in fake_cloud.asked)


@pytest.mark.parametrize("doc", ODD_DOCS, ids=lambda doc: doc["_id"][:8])
def test_no_document_keeps_the_status_from_being_told(kit: Kit, doc: JsonDict) -> None:
    kit.put(doc)
    kit.put({"_id": f"{doc['_id']}-sub-{kit.profile.owner_id}", "odd": True})
    kit.put(PHOTOS)
    said = status(kit.device)
    assert "Photos" in [channel["name"] for channel in said["channels"]]
    assert "“Photos”: not replicated" in texts.status(said)


@pytest.mark.parametrize(
    "answer", [{}, {"results": None}, {"results": [{}]}, {"results": [5]}, {"results": 5}]
)
def test_a_cloud_that_is_no_couchdb_is_told(
    kit: Kit, fake_cloud: FakeCloud, answer: JsonDict
) -> None:
    kit.put(PHOTOS)
    kit.device.acquire(kit.device.channel("channel-1"))
    kit.put_subscription("channel-1")
    fake_cloud.couch = (200, answer)
    said = status(kit.device)
    assert "does not answer as a CouchDB" in said["channels"][0]["problem"]
    assert "in sync" not in texts.status(said)


def test_an_error_of_a_channel_is_told_whatever_it_is(kit: Kit) -> None:
    errors = [{"reason": "name is missing", "at": "now"}, "odd", {}, 5, None]
    for number, error in enumerate(errors):
        kit.put({**PHOTOS, "_id": f"channel-{number}", "state": "error", "error": error})
    said = status(kit.device)
    assert said["channels"][0]["error"] == "name is missing"
    assert texts.status(said)


def test_a_status_has_no_password(kit: Kit, fake_cloud: FakeCloud) -> None:
    kit.put(PHOTOS)
    kit.obey(kit.put_subscription("channel-1"))
    said = str(status(kit.device))
    assert len(kit.replications()) == 2
    assert PASSWORD not in said
    assert "Authorization" not in said
    assert kit.profile.couch.partition("@")[0].rpartition(":")[2] not in said


# Channels


def test_a_channels_name_that_is_closed_may_be_given_again(kit: Kit) -> None:
    kit.put({**PHOTOS, "state": "closed"})
    made = channels.create(kit.device, "Photos")["channel"]
    assert channels.find(kit.device, "Photos")["_id"] == made
