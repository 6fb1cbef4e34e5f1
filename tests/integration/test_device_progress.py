"""What waits between a device and the cloud, and what is called in sync, over a real server."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from chalicelib.couch import CouchError, Database
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from syncpoint_device import texts
from syncpoint_device.databases import OWNER_DOC
from syncpoint_device.errors import AgentRunning
from syncpoint_device.home import Home
from syncpoint_device.known import Known
from syncpoint_device.progress import (
    MAX_PAGES,
    MAX_SIZED,
    Notes,
    compare,
    instance_of,
    unsent,
    waiting_here,
)
from syncpoint_device.replications import Direction, Replication, Replications
from syncpoint_device.status import status
from syncpoint_device.sync_watch import SyncWatch
from tests.kit.basics import wait_for
from tests.kit.device.by_hand import Kit
from tests.kit.device.fake_cloud import NOT_FOUND, UNAVAILABLE, FakeCloud
from tests.kit.device.profiles import PHOTOS

# The changes in a page: fewer than usual, so that a test has several pages of them.
PAGE = 20
IN_SYNC = {"to_send": 0, "to_receive": 0, "is_estimate": False}
Pair = tuple[Database, Database]


@pytest.fixture
def pair(kit: Kit) -> Pair:
    """Two databases here; the second one plays the one in the cloud."""
    one, other = kit.device.channel("one"), kit.device.channel("other")
    one.create()
    other.create()
    return one, other


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncpoint_device.replications._CHANGES_PAGE", PAGE)


def fill(*databases: Database, count: int, name: str = "note") -> None:
    """Write the same documents, in the same revisions, into some databases."""
    docs = [{"_id": f"{name}-{number:05}", "_rev": f"1-{number:032x}"} for number in range(count)]
    for database in databases:
        path = f"/{database.name}/_bulk_docs"
        database._http.request("POST", path, body={"docs": docs, "new_edits": False})


def replicate(kit: Kit, pair: Pair) -> list[Replication]:
    """Replicate the two both ways, and return the replications."""
    ends = [kit.device.both_ways(database, "http://127.0.0.1:9/x")[0].source for database in pair]
    ways = [Direction(ends[0], ends[1]), Direction(ends[1], ends[0])]
    kit.device.replications.reconcile(pair[0].name, ways)
    return kit.device.replications.all()


@contextmanager
def counted() -> Iterator[list[str]]:
    """The requests while this lasts."""
    sent: list[str] = []
    send = HTTPAdapter.send

    def sending(self: HTTPAdapter, request: Any, **kwargs: Any) -> Any:
        sent.append(f"{request.method} {request.url}")
        return send(self, request, **kwargs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(HTTPAdapter, "send", sending)
        yield sent


# What waits


def test_what_waits_is_counted_in_each_direction(pair: Pair) -> None:
    one, other = pair
    notes: Notes = {}
    assert compare(one, other, [], notes) == IN_SYNC
    fill(one, other, count=5, name="both")
    fill(one, count=2, name="here")
    fill(other, count=3, name="there")
    said = compare(one, other, [], notes)
    assert (said["to_send"], said["to_receive"], said["is_estimate"]) == (2, 3, False)


def test_a_document_that_was_refused_does_not_wait(pair: Pair) -> None:
    one, other = pair
    fill(one, count=2)
    said = compare(one, other, [], {}, refused={"note-00000"})
    assert said["to_send"] == 1


@pytest.mark.parametrize(
    ("sizes", "least", "most"),
    [
        ([10], 50, 150),
        ([10] * 6, 300, 900),
        ([10, 200_000], 200_000, 200_300),  # of a database of small documents
        ([10] * (MAX_SIZED + 1), None, None),
        ([300_000] * 4, None, None),  # too long to read
    ],
)
def test_the_size_of_what_waits_is_that_of_the_documents_or_not_told(
    pair: Pair, sizes: list[int], least: int | None, most: int | None
) -> None:
    """An average would be wrong: one document may be a million times as large as another."""
    one, other = pair
    fill(*pair, count=10)
    notes: Notes = {}
    compare(one, other, [], notes)
    for number, size in enumerate(sizes):
        one.put({"_id": f"new-{number:04}", "text": "x" * size})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("syncpoint_device.progress.MAX_PAGES", 99)
        said = compare(one, other, [], notes, with_sizes=True)
        back = compare(other, one, [], {}, with_sizes=True)
    assert said["to_send"] == back["to_receive"] == len(sizes)
    assert "bytes_to_receive" not in said
    for told in (said.get("bytes_to_send"), back.get("bytes_to_receive")):
        assert told is None if least is None or most is None else least <= (told or 0) <= most


def test_attachments_count_for_the_size_of_what_waits(pair: Pair) -> None:
    one, other = pair
    data = base64.b64encode(b"x" * 500_000).decode()
    files = {"a.jpg": {"content_type": "image/jpeg", "data": data}}
    one.put({"_id": "photo", "_attachments": files})
    said = compare(one, other, [], {}, with_sizes=True)
    assert 500_000 <= said["bytes_to_send"] <= 501_000
    assert waiting_here(one, [], {})["bytes_to_send"] == said["bytes_to_send"]


@pytest.mark.parametrize("count", [1, MAX_PAGES * PAGE + 50])
def test_a_comparison_is_a_few_requests_however_many_documents_there_are(
    pair: Pair, count: int
) -> None:
    one, other = pair
    fill(*pair, count=count)
    notes: Notes = {}
    with counted() as sent:
        compare(one, other, [], notes)
    assert len(sent) <= 4 * MAX_PAGES + 6


def test_what_was_not_compared_yet_is_an_estimate_and_comes_to_an_end(pair: Pair) -> None:
    """On PouchDB Server nobody says how far its replicator is, so each comparison goes further."""
    one, other = pair
    fill(*pair, count=MAX_PAGES * PAGE + 10)
    notes: Notes = {}
    said = compare(one, other, [], notes)
    assert (said["to_send"], said["is_estimate"]) == (10, True)
    assert compare(one, other, [], notes) == IN_SYNC
    fill(one, count=1, name="new")
    with counted() as sent:
        assert compare(one, other, [], notes)["to_send"] == 1
    assert len(sent) <= 8


def test_what_was_compared_counts_for_that_database_only(pair: Pair) -> None:
    """A database of the same name that was created again is compared from its beginning."""
    one, other = pair
    fill(*pair, count=10)
    notes: Notes = {}
    assert compare(one, other, [], notes) == IN_SYNC
    one.delete()
    one.create()
    fill(one, count=15, name="new")
    assert compare(one, other, [], notes)["to_send"] == 15


def test_an_exact_comparison_reads_all(pair: Pair) -> None:
    one, other = pair
    fill(*pair, count=50)
    fill(one, count=1, name="new")
    said = compare(one, other, [], {}, is_exact=True)
    assert said == {"to_send": 1, "to_receive": 0, "is_estimate": False}


def test_a_comparison_begins_where_the_replicator_is(kit: Kit, pair: Pair) -> None:
    one, other = pair
    fill(one, count=MAX_PAGES * PAGE + 10)
    replicate(kit, pair)
    notes: Notes = {}

    def is_in_sync() -> bool:
        return compare(one, other, kit.device.replications.all(), notes) == IN_SYNC

    wait_for(is_in_sync, "an end of the replication")
    found = kit.device.replications.all()
    if all("through_seq" in one.info for one in found):  # of CouchDB's scheduler
        with counted() as sent:
            assert compare(one, other, found, {}) == IN_SYNC
        assert len(sent) <= 6


def test_without_the_cloud_what_was_not_sent_yet_is_known(kit: Kit, pair: Pair) -> None:
    one, other = pair
    fill(*pair, count=10)
    notes: Notes = {}
    assert compare(one, other, [], notes) == IN_SYNC
    assert waiting_here(one, [], notes) == {"to_send": 0, "is_estimate": False}
    fill(one, count=3, name="new")
    said = waiting_here(one, [], notes)
    assert (said["to_send"], said["is_estimate"]) == (3, True)


# What is called in sync


@pytest.fixture
def kit(kit: Kit, fake_cloud: FakeCloud) -> Kit:
    """Active there."""
    fake_cloud.state = "active"
    kit.put({**kit.profile.doc, "state": "active"})
    return kit


def photos(kit: Kit, fake_cloud: FakeCloud, state: str = "active", **more: Any) -> None:
    kit.put(PHOTOS)
    kit.device.acquire(kit.device.channel("channel-1"))
    kit.put_subscription("channel-1", state, remote=f"{fake_cloud.couch_url}/db-1", **more)


@pytest.mark.parametrize(
    ("channel", "subscription", "why"),
    [
        ({"state": "new"}, None, "the cloud has not created it yet"),
        ({"state": "ready"}, None, "this device has not subscribed to it yet"),
        ({"state": "ready"}, {"state": "paused"}, "paused"),
        (
            {"state": "ready"},
            {"state": "stopped", "reason": "you are no longer a member"},
            "stopped: you are no longer a member",
        ),
        ({"state": "closing"}, {"state": "active"}, "it is being closed"),
        (
            {"state": "closed"},
            {"state": "stopped", "reason": "the channel was closed"},
            "the channel was closed",
        ),
        (
            {"state": "closed", "reason": "you are no longer a member"},
            {"state": "active"},
            "you are no longer a member",
        ),
        ({"state": "closed"}, {"state": "stopped"}, "it is closed"),
        (
            {"state": "error", "error": {"reason": "name is missing"}},
            {"state": "active"},
            "the cloud cannot use it: name is missing",
        ),
        (
            {"state": "ready"},
            {"state": "active"},
            "nothing replicates it; start the agent with `run`",
        ),
    ],
)
def test_what_is_not_replicated_is_not_in_sync(
    kit: Kit, channel: JsonDict, subscription: JsonDict | None, why: str
) -> None:
    kit.put({**PHOTOS, **channel})
    if subscription is not None:
        kit.put_subscription("channel-1", **subscription)
    said = status(kit.device, kit.home)
    [one] = said["channels"]
    assert (one["sync"], one["why"]) == ("off", why)
    assert f"“Photos”: not replicated: {why}" in texts.status(said)


@pytest.mark.parametrize("is_running", [True, False])
@pytest.mark.parametrize("cause", ["anothers", "odd id"])
def test_a_channel_that_the_agent_refuses_is_shown_with_the_reason(
    kit: Kit, cause: str, is_running: bool
) -> None:
    """Not as one that the agent replicates soon."""
    channel_id = "channel-1" if cause == "anothers" else "db-odd"
    kit.put({**PHOTOS, "_id": channel_id, "state": "ready" if cause == "anothers" else "shared"})
    if cause == "anothers":
        local = kit.device.channel(channel_id)
        local.create()
        local.put({"_id": OWNER_DOC, "device": "device-other"})
    kit.obey(kit.put_subscription(channel_id))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Home, "running_agent", lambda _: {"pid": 1} if is_running else None)
        [one] = status(kit.device, kit.home)["channels"]
    assert kit.said == [("Photos", f"not in sync: {one['why']}")]
    assert one["sync"] == "off"
    assert ("with another --prefix" in one["why"]) is (cause == "anothers")


@pytest.mark.parametrize("is_running", [True, False])
@pytest.mark.parametrize(
    ("channel", "subscription", "why"),
    [
        ({}, {"state": "paused"}, "paused"),
        ({}, {"state": "stopped"}, "stopped"),
        ({"state": "closing"}, {"state": "active"}, "it is being closed"),
        ({"state": "error"}, {"state": "active"}, "the cloud cannot use it: no reason is given"),
    ],
)
def test_what_couchdb_still_replicates_is_not_called_off(
    kit: Kit,
    fake_cloud: FakeCloud,
    channel: JsonDict,
    subscription: JsonDict,
    why: str,
    is_running: bool,
) -> None:
    """As when it was paused on another device, and the agent here does not run."""
    photos(kit, fake_cloud)
    kit.obey(kit.put_subscription("channel-1"))
    kit.put({**PHOTOS, **channel})
    kit.put_subscription("channel-1", **subscription)
    running = [
        Replication(one.doc, one.group, "running", None) for one in kit.device.replications.all()
    ]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Replications, "all", lambda _: running)
        patched.setattr(Home, "running_agent", lambda _: {"pid": 1} if is_running else None)
        said = status(kit.device, kit.home)
    [one] = said["channels"]
    assert one["sync"] == "ending"
    line = f"“Photos”: still replicated: {why}"
    advice = ". The agent would end that, but does not run; start it with `run`"
    assert f"{line}{'' if is_running else advice}\n" in texts.status(said)


@pytest.mark.parametrize("state", [None, "new", "confirming", "confirmed", "expired", "rejected"])
def test_nothing_is_in_sync_before_the_registration_is_confirmed(
    kit: Kit, fake_cloud: FakeCloud, state: str | None
) -> None:
    photos(kit, fake_cloud)
    kit.obey(kit.put_subscription("channel-1", remote=f"{fake_cloud.couch_url}/db-1"))
    kit.device.database.remove(kit.device.database.get(kit.profile.device_id))
    fake_cloud.state = state
    said = status(kit.device, kit.home)
    parts = [said["control"], *said["channels"]]
    assert [one["why"] for one in parts] == ["the registration is not confirmed"] * 2
    assert "in sync" not in texts.status(said)


@pytest.mark.parametrize(
    ("channel", "subscription"),
    [
        ("closed", {"state": "stopped", "reason": "the channel was closed"}),
        ("closed", {"state": "stopped", "reason": "you are no longer a member"}),
        ("closing", {"state": "active"}),
        ("closed", {"state": "active"}),
        ("ready", {"state": "stopped"}),
    ],
)
@pytest.mark.parametrize("is_up", [True, False])
def test_what_was_never_sent_of_a_channel_that_ended_is_counted(
    kit: Kit, fake_cloud: FakeCloud, channel: str, subscription: JsonDict, is_up: bool
) -> None:
    photos(kit, fake_cloud)
    local = kit.device.channel("channel-1")
    fill(local, count=3)
    assert status(kit.device, kit.home)["channels"][0].keys().isdisjoint({"unsent"})
    kit.put({**PHOTOS, "state": channel})
    kit.put_subscription("channel-1", **subscription)
    local.put({"_id": "offline"})
    fake_cloud.registrations = None if is_up else UNAVAILABLE
    fake_cloud.answers = {"_changes": NOT_FOUND, "_revs_diff": NOT_FOUND}
    said = status(kit.device, kit.home)
    assert said["channels"][0]["unsent"] == 1
    told = "up to 1 document may be on this device only; save them with `export`"
    assert told in texts.status(said)
    local.delete()
    said = status(kit.device, kit.home)
    assert "unsent" not in said["channels"][0]
    assert "on this device only" not in texts.status(said)


def test_what_a_refusal_note_knows_counts_for_what_was_never_sent(kit: Kit, pair: Pair) -> None:
    """The agent compares a page at each check, also while all is in sync."""
    one, _ = pair
    fill(one, count=5)
    note = {"instance": instance_of(one), "since": one.info()["update_seq"], "lacking": {}}
    fill(one, count=2, name="new")
    assert unsent(one, [], {}, note) == 2
    note["lacking"] = {"note-00000": ["1-a"]}
    assert unsent(one, [], {}, note) == 3
    assert unsent(one, [], {}, {**note, "instance": "another"}) == 8


def test_a_revoked_device_tells_what_it_never_sent(kit: Kit, fake_cloud: FakeCloud) -> None:
    photos(kit, fake_cloud)
    kit.device.channel("channel-1").put({"_id": "note"})
    kit.home.update(lambda kept: replace(kept, is_revoked=True))
    [one] = status(kit.device, kit.home)["channels"]
    assert (one["why"], one["to_send"]) == ("this device is revoked", 1)


def test_a_cloud_that_is_away_is_told_with_what_was_known(kit: Kit, fake_cloud: FakeCloud) -> None:
    photos(kit, fake_cloud)
    name = kit.device.channel("channel-1").name
    known = Known(kit.home)
    known.reach(kit.device.clock())
    known.remember(name, {"to_receive": 7, "is_estimate": False}, kit.device.clock())
    known.save()
    kit.device.channel("channel-1").put({"_id": "photo"})
    fake_cloud.registrations = UNAVAILABLE
    kit.obey(kit.put_subscription("channel-1", remote=f"{fake_cloud.couch_url}/db-1"))
    said = status(kit.device, kit.home)
    [one] = said["channels"]
    assert one["sync"] != "in_sync"
    assert (one["to_send"], one["to_receive"], one["is_estimate"]) == (1, 7, True)
    assert "up to 1 document to send" in texts.status(said)  # it may have come from the cloud
    assert one["as_of"] == said["cloud"]["reached_at"] == "2026-11-23T06:00:00Z"
    assert "503" in said["cloud"]["details"]
    assert "7 documents to receive as of 2026-11-23" in texts.status(said)


def test_no_raw_error_and_no_url_of_a_request_is_shown(kit: Kit, fake_cloud: FakeCloud) -> None:
    photos(kit, fake_cloud)
    fake_cloud.couch = UNAVAILABLE
    said = texts.status(status(kit.device, kit.home))
    assert "answers with an error (503)" in said
    assert "GET /" not in said
    assert "service_unavailable" not in said


def test_who_shares_a_channel_is_told_by_the_addresses_of_invitations(kit: Kit) -> None:
    members = [owner_id_of("ben@example.com"), "0" * 32]
    kit.put({**PHOTOS, "members": members})
    kit.put({"_id": "i", "type": "invitation", "state": "accepted", "email": "Ben@Example.com"})
    kit.put({**PHOTOS, "_id": "db-" + "1" * 32, "state": "shared", "name": "Hers"})
    hers, mine = sorted(status(kit.device)["channels"], key=lambda one: str(one["name"]))
    assert mine["members"] == ["Ben@Example.com", None]
    assert (mine["is_shared_with_me"], hers["is_shared_with_me"]) == (False, True)
    assert "members" not in hers


def test_a_status_is_a_constant_number_of_requests_for_each_channel(
    kit: Kit, fake_cloud: FakeCloud
) -> None:
    photos(kit, fake_cloud)
    with counted() as few:
        status(kit.device, kit.home)
    fill(kit.device.channel("channel-1"), count=MAX_PAGES * PAGE + 50)
    with counted() as many:
        status(kit.device, kit.home)
    assert len(many) - len(few) <= 2 * MAX_PAGES


# Whether the agent runs


def test_a_running_agent_is_told_with_its_start_and_an_ended_one_is_not(kit: Kit) -> None:
    note = {"pid": 1, "since": "2026-11-23T06:00:00Z"}
    assert kit.home.running_agent() is None
    with kit.home.only_agent():
        kit.home.write_note("agent", note)
        assert kit.home.running_agent() == note
        said = status(kit.device, kit.home)["agent"]
        assert said == {"running": True, "since": note["since"]}
        with pytest.raises(AgentRunning), kit.home.only_agent():
            pass
    assert kit.home.running_agent() is None  # it was killed, and its note is still there
    assert status(kit.device, kit.home)["agent"] == {"running": False}


@pytest.mark.parametrize(
    "text", ["", "[]", "5", "{", "[" * 100_000, '{"positions": [], "reached_at": 5}']
)
def test_notes_that_cannot_be_read_do_no_harm(kit: Kit, text: str) -> None:
    for name in ("agent", "cloud"):
        (kit.home.path.parent / f"note-{name}.json").write_text(text)
    said = status(kit.device, kit.home)
    assert said["agent"] == {"running": False}
    assert texts.status(said)


# What the agent says


def test_the_agent_says_in_sync_once_when_it_is_and_again_after_an_outage(
    kit: Kit, fake_cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(kit, fake_cloud)
    local = kit.device.channel("channel-1")
    kit.obey(kit.put_subscription("channel-1", remote=f"{fake_cloud.couch_url}/db-1"))
    running = [
        Replication(one.doc, one.group, "running", None) for one in kit.device.replications.all()
    ]
    kit.said.clear()
    apart = {"to_send": 1, "to_receive": 0, "is_estimate": False}
    answers: list[JsonDict | CouchError] = []

    def compared(*args: object) -> JsonDict:
        answer = answers.pop(0)
        if isinstance(answer, CouchError):
            raise answer
        return answer

    monkeypatch.setattr("syncpoint_device.sync_watch.compare", compared)
    watch = SyncWatch(kit.home, kit.say, 0, 0)
    watch.look(kit.device, running[:1])  # one direction only
    stalled = [running[0], Replication(running[1].doc, local.name, "crashing", "x")]
    watch.look(kit.device, stalled)
    answers += [apart, {**IN_SYNC, "is_estimate": True}, CouchError(0, "unreachable", "x")]
    for _ in range(3):
        watch.look(kit.device, running)
    assert kit.said == []
    answers.append(IN_SYNC)
    for _ in range(2):
        watch.look(kit.device, running)
    assert kit.said == [("Photos", f"in sync; its database here is {local.name}")]
    watch.look(kit.device, stalled)
    answers.append(IN_SYNC)
    watch.look(kit.device, running)
    watch.start_over()
    answers.append(IN_SYNC)
    watch.look(kit.device, running)
    assert len(kit.said) == 3
    assert answers == []


def test_two_that_mark_a_database_at_once_agree_on_the_mark(
    pair: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = pair
    put = Database.put

    def put_second(self: Database, doc: JsonDict) -> str:
        put(self, {**doc, "mark": "the first"})
        return put(self, doc)

    monkeypatch.setattr(Database, "put", put_second)
    first = instance_of(one)
    assert first == instance_of(one)  # CouchDB lets the second win, PouchDB Server the first
