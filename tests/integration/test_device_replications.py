"""A device's documents in a real server's `_replicator`, and how far databases are apart."""

import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from chalicelib.couch import Conflict, Database, Forbidden, Server
from chalicelib.domain.documents import JsonDict
from syncpoint_device.databases import CONTROL, Device
from syncpoint_device.endpoints import endpoint
from syncpoint_device.replications import Direction, Replication, Replications, count_missing
from tests.kit.basics import wait_for
from tests.kit.device.by_hand import Kit, MakeKit
from tests.kit.device.profiles import CLOUD, PASSWORD


@pytest.fixture
def ours(kit: Kit) -> Replications:
    return kit.device.replications


@pytest.fixture
def strangers(server: Server) -> Iterator[list[JsonDict]]:
    """Documents of others in `_replicator`, some of which look like ours."""
    replicator = server.database("_replicator")
    replicator.create()
    ids = [
        f"someones-{uuid.uuid4().hex}",
        f"syncpoint-{uuid.uuid4().hex}",
        f"syncpoint-device-{uuid.uuid4().hex}-1",
    ]
    nowhere = {"source": "http://127.0.0.1:9/a", "target": "http://127.0.0.1:9/b"}
    for doc_id in ids:
        replicator.put({"_id": doc_id, "syncpoint": CONTROL, "continuous": True, **nowhere})
    yield [replicator.get(doc_id) for doc_id in ids]
    for doc_id in ids:
        replicator.update(doc_id, lambda doc: {**doc, "_deleted": True})


def are_there(server: Server, docs: list[JsonDict]) -> bool:
    """Whether documents say what they said; what the replicator itself notes does not count."""
    replicator = server.database("_replicator")
    return all(_own(replicator.find_one(doc["_id"]) or {}) == _own(doc) for doc in docs)


def _own(doc: JsonDict) -> JsonDict:
    return {name: value for name, value in doc.items() if name == "_id" or name[0] != "_"}


def ways(device: Device, number: int = 1) -> list[Direction]:
    """Both ways between databases that are not there: nothing comes of them."""
    local, remote = device.channel(f"channel-{number}"), f"http://127.0.0.1:9/db-{number}"
    here, there = device.here(local), endpoint(remote)
    return [Direction(here, there), Direction(there, here)]


def ids(kit: Kit) -> set[str]:
    return {str(doc["_id"]) for doc in kit.replications()}


def wait_until_stalled(kit: Kit) -> Replication:
    def stalled() -> Replication | None:
        return next((one for one in kit.device.replications.all() if one.is_stalled), None)

    return wait_for(stalled, "a stalled replication")


# Without https: whether the server checks certificates does not matter here.
PLAIN_REGISTRATIONS = "http://sync.example/registrations"


# What is kept


def test_what_is_to_be_replicated_is_and_asking_again_changes_nothing(
    kit: Kit, ours: Replications
) -> None:
    assert ours.reconcile("a", ways(kit.device)) is True
    made = ids(kit)
    assert len(made) == 2
    assert ours.reconcile("a", ways(kit.device)) is False
    assert kit.device.replications.reconcile("a", ways(kit.device)) is False
    assert ids(kit) == made


def test_what_was_done_by_half_is_completed(kit: Kit, ours: Replications) -> None:
    there, back = ways(kit.device)
    assert ours.reconcile("a", [there])
    first = ids(kit)
    assert ours.reconcile("a", [there, back])
    assert len(ids(kit)) == 2
    assert first < ids(kit)


def test_what_is_there_twice_is_there_once_afterwards(
    kit: Kit, ours: Replications, server: Server
) -> None:
    ours.reconcile("a", ways(kit.device))
    for doc in kit.replications():
        copy = {k: v for k, v in doc.items() if not k.startswith("_")}
        server.database("_replicator").put({**copy, "_id": doc["_id"][:-1] + "x"})
    assert len(ids(kit)) == 4
    assert ours.reconcile("a", ways(kit.device)) is True
    assert len(ids(kit)) == 2
    assert ours.reconcile("a", ways(kit.device)) is False


def test_what_changes_is_replaced(kit: Kit, ours: Replications) -> None:
    ours.reconcile("a", ways(kit.device, 1))
    before = ids(kit)
    assert ours.reconcile("a", ways(kit.device, 2)) is True
    assert len(ids(kit)) == 2
    assert not ids(kit) & before
    assert "http://127.0.0.1:9/db-2" in {doc["target"]["url"] for doc in kit.replications()}


def test_another_password_is_another_replication(kit: Kit, ours: Replications) -> None:
    here, there = endpoint("http://127.0.0.1:9/a"), "http://127.0.0.1:9/b"
    ours.reconcile("a", [Direction(here, endpoint(there, ("ada", "old")))])
    assert ours.reconcile("a", [Direction(here, endpoint(there, ("ada", "new")))]) is True
    (doc,) = kit.replications()
    assert doc["target"] == endpoint(there, ("ada", "new"))


def test_what_is_not_wanted_any_more_is_removed(kit: Kit, ours: Replications) -> None:
    ours.reconcile("a", ways(kit.device, 1))
    ours.reconcile("b", ways(kit.device, 2))
    assert ours.reconcile("a", []) is True
    assert {running.group for running in ours.all()} == {"b"}
    assert ours.reconcile("a", []) is False


def test_orphans_are_the_groups_not_reconciled_since_the_start(
    kit: Kit, ours: Replications
) -> None:
    for of in ("a", "b", "c"):
        ours.reconcile(of, ways(kit.device))
    again = kit.device.replications
    again.reconcile("a", ways(kit.device))
    again.reconcile("b", [])
    again.remove_orphans()
    assert {running.group for running in again.all()} == {"a"}
    ours.remove_orphans()
    assert len(ids(kit)) == 2


def test_nothing_is_left_when_all_is_removed(kit: Kit, ours: Replications) -> None:
    ours.reconcile("a", ways(kit.device, 1))
    ours.reconcile("b", ways(kit.device, 2))
    ours.remove_all()
    assert ours.all() == []
    ours.remove_all()


# Others


def test_devices_on_one_server_touch_neither_each_others_nor_a_strangers(
    make_kit: MakeKit, server: Server, strangers: list[JsonDict]
) -> None:
    phone, laptop = make_kit(), make_kit()
    for kit in (phone, laptop):
        kit.device.replications.reconcile(CONTROL, ways(kit.device))
    laptops = ids(laptop)
    assert not ids(phone) & laptops
    phone.device.replications.reconcile(CONTROL, ways(phone.device, 2))
    phone.device.replications.reconcile(CONTROL, [])
    phone.device.replications.reconcile("a", ways(phone.device))
    phone.device.replications.remove_orphans()
    phone.device.replications.remove_all()
    assert ids(phone) == set()
    assert ids(laptop) == laptops
    assert are_there(server, strangers)


def test_the_outbox_is_a_devices_own(make_kit: MakeKit) -> None:
    """It is deleted with all it holds: nobody else's documents may ever lie in it."""
    phone = make_kit()
    laptop = make_kit(prefix=phone.profile.prefix)
    assert phone.device.outbox.name != laptop.device.outbox.name
    assert phone.profile.device_id in phone.device.outbox.name


# Restarts


def test_a_restarted_replication_is_another_document_that_says_the_same(
    kit: Kit, ours: Replications
) -> None:
    ours.reconcile("a", ways(kit.device))
    before = ours.all()
    ours.restart(before[0])
    after = ours.all()
    assert len(after) == 2
    assert before[0].doc["_id"] not in ids(kit)
    assert before[1].doc["_id"] in ids(kit)
    # To CouchDB's scheduler the two are one: begun too early, the second would fail for good.
    assert "failed" not in {one.state for one in after}
    assert ours.reconcile("a", ways(kit.device)) is False


def test_a_replication_that_was_removed_is_not_restarted(kit: Kit, ours: Replications) -> None:
    ours.reconcile("a", ways(kit.device))
    before = ours.all()
    ours.reconcile("a", [])
    for running in before:
        ours.restart(running)
    assert ours.all() == []


def test_a_replication_whose_document_changed_meanwhile_is_restarted(
    kit: Kit, ours: Replications, server: Server
) -> None:
    """The revision that we know is not the last any more."""
    ours.reconcile("a", ways(kit.device))
    replicator = server.database("_replicator")

    def changed() -> Replication | None:
        with suppress(Conflict, Forbidden):  # PouchDB Server writes itself, and lets nobody else
            replicator.put({**replicator.get(ours.all()[0].doc["_id"]), "note": 1})
        written = (one for one in ours.all() if not one.doc["_rev"].startswith("1-"))
        return next(written, None)

    first = wait_for(changed, "a note of the replicator's")
    params = {"revs": "true"}
    revisions = replicator.request("GET", first.doc["_id"], params=params)
    first_rev = f"1-{revisions['_revisions']['ids'][-1]}"
    ours.restart(replace(first, doc={**first.doc, "_rev": first_rev}))
    assert len(ids(kit)) == 2
    assert first.doc["_id"] not in ids(kit)


# How they fare


@pytest.fixture
def pair(kit: Kit) -> tuple[Database, Database]:
    """Two databases here; one plays the one elsewhere."""
    one, other = kit.device.channel("one"), kit.device.channel("other")
    one.create()
    other.create()
    return one, other


def here(kit: Kit, database: Database) -> JsonDict:
    """A database here as an end of a replication, with the administrator's login."""
    return kit.device.here(database)


def test_a_replication_replicates_and_does_not_stand(
    kit: Kit, ours: Replications, pair: tuple[Database, Database]
) -> None:
    one, other = pair
    one.put({"_id": "note"})
    ours.reconcile("a", [Direction(here(kit, one), here(kit, other))])
    wait_for(lambda: other.find_one("note"), "the note")
    one.put({"_id": "another"})
    wait_for(lambda: other.find_one("another"), "another note: it goes on")
    (running,) = ours.all()
    assert running.group == "a"
    assert not running.is_stalled
    ours.reconcile("a", [])
    assert ours.all() == []


def test_a_wrong_password_is_told_as_a_state_and_shown_nowhere(
    kit: Kit, ours: Replications, pair: tuple[Database, Database]
) -> None:
    one, other = pair
    ours.reconcile("a", [Direction(here(kit, one), endpoint(other.url, ("nobody-here", PASSWORD)))])
    running = wait_until_stalled(kit)
    assert running.state in ("error", "failed", "crashing")
    assert PASSWORD not in f"{running.reason}"


def test_a_replication_to_an_unreachable_host_can_be_restarted(
    kit: Kit, ours: Replications, pair: tuple[Database, Database]
) -> None:
    """PouchDB Server tries for ever and calls that triggered; CouchDB says what is wrong."""
    ours.reconcile("a", [Direction(here(kit, pair[0]), endpoint("http://127.0.0.1:9/db"))])
    wait_for(lambda: ours.all()[0].state != "new", "a state")
    (first,) = ours.all()
    assert first.is_stalled or first.state in ("triggered", "initializing", "pending", "running")
    ours.restart(first)
    (second,) = ours.all()
    assert second.doc["_id"] != first.doc["_id"]
    assert second.doc["target"] == first.doc["target"]


# Credentials


def test_passwords_are_in_headers_and_in_no_url(make_kit: MakeKit) -> None:
    kit = make_kit(cloud=CLOUD, control_db="control", registrations=PLAIN_REGISTRATIONS)
    device = kit.device
    device.replications.reconcile(CONTROL, device.control_both_ways())
    device.replications.reconcile("a", device.both_ways(device.channel("a"), "db-a"))
    device.replications.reconcile("registrations", device.to_registrations())
    docs = kit.replications()
    assert len(docs) == 5
    for doc in docs:
        for end in (doc["source"], doc["target"]):
            assert set(end) == {"url", "headers"}
            assert "@" not in end["url"]
            of_the_cloud = end["url"].startswith(CLOUD)
            of_this_server = end["url"].startswith(device.server.url)
            assert ("Authorization" in end["headers"]) == (of_the_cloud or of_this_server)
        assert PASSWORD not in json.dumps(doc)
        # A password may be in base64, in a header; `status` shows URLs.
        assert PASSWORD not in f"{doc['source']['url']} {doc['target']['url']}"


def test_the_administrators_password_does_not_go_to_the_cloud(
    make_kit: MakeKit,
) -> None:
    kit = make_kit(cloud=CLOUD, control_db="control", registrations=PLAIN_REGISTRATIONS)
    device = kit.device
    local, remote = device.database, f"{CLOUD}/control-{kit.profile.owner_id}"
    out, back = device.control_both_ways()
    assert out.target == back.source == endpoint(remote, (kit.profile.device_id, PASSWORD))
    assert out.source == back.target
    assert out.source["url"] == local.url
    assert out.source["headers"] != out.target["headers"]
    assert device.to_registrations()[0].target["headers"] == {}


# How far they are apart


def test_what_one_database_has_and_the_other_has_not_is_counted(
    pair: tuple[Database, Database],
) -> None:
    one, other = pair
    assert count_missing(one, other) == count_missing(other, one) == 0
    for number in range(3):
        one.put({"_id": f"note-{number}"})
    assert count_missing(one, other) == 3
    assert count_missing(other, one) == 0
    other.put({"_id": "note-0"})  # the same revision
    other.put({"_id": "theirs", "by": "them"})
    assert count_missing(one, other) == 2
    assert count_missing(other, one) == 1


def test_changes_deletions_and_conflicts_count_but_no_design_documents(
    server: Server, pair: tuple[Database, Database]
) -> None:
    one, other = pair
    for database in pair:
        for name in ("changed", "deleted", "conflicting", "same"):
            database.put({"_id": name})
    assert count_missing(one, other) == 0
    one.put({"_id": "_design/theirs", "language": "javascript"})
    assert count_missing(one, other) == 0
    one.put({**one.get("changed"), "text": "a"})
    one.remove(one.get("deleted"))
    rev = one.get("conflicting")["_rev"].partition("-")[2]
    for digest, databases in (("b" * 32, pair), ("a" * 32, (one,))):
        revisions = {"start": 2, "ids": [digest, rev]}
        doc = {"_id": "conflicting", "_rev": f"2-{digest}", "_revisions": revisions}
        for database in databases:
            put_leaf(server, database, doc)
    assert one.get("conflicting") == other.get("conflicting")
    assert count_missing(one, other) == 3
    assert count_missing(other, one) == 0


def put_leaf(server: Server, database: Database, doc: JsonDict) -> None:
    """Write a revision as a replicator does, whatever else is there."""
    body = {"docs": [doc], "new_edits": False}
    server.http.request("POST", f"/{database.name}/_bulk_docs", body=body)


def test_what_is_missing_is_found_however_many_newer_changes_are_not(
    pair: tuple[Database, Database],
) -> None:
    """Pull is faster than push: a page of changes came after the one that was not sent."""
    one, other = pair
    one.put({"_id": "photo"})
    docs = [{"_id": f"note-{number}", "_rev": "1-a"} for number in range(1100)]
    for database in pair:
        body = {"docs": docs, "new_edits": False}
        database._http.request("POST", f"/{database.name}/_bulk_docs", body=body)
    assert count_missing(one, other) == 1
    assert count_missing(other, one) == 0


def test_counting_stops_when_enough_is_known(pair: tuple[Database, Database]) -> None:
    one, other = pair
    docs = [{"_id": f"note-{number:04}"} for number in range(1100)]
    one._http.request("POST", f"/{one.name}/_bulk_docs", body={"docs": docs})
    assert count_missing(one, other) == 1100
    assert count_missing(one, other, stop_at=1) == 1000
