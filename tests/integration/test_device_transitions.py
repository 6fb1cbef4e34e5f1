"""What a device does about its owner's documents, over a real CouchDB."""

import base64
from typing import Any

import pytest

from chalicelib.couch import Database, NotFound, Server
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import channel_db
from chalicelib.engine.runner import Outcome
from syncpoint_device.errors import Revoked
from syncpoint_device.transitions import resolve_conflict
from tests.kit.device.by_hand import Kit, MakeKit
from tests.kit.device.profiles import CLOUD, PASSWORD, PHOTOS

REMOTE = f"{CLOUD}/db-0123456789abcdef0123456789abcdef"


@pytest.fixture
def kit(kit: Kit) -> Kit:
    """Its cloud is one that nobody asks."""
    kit.set_cloud(CLOUD)
    return kit


def login_in(end: JsonDict) -> str | None:
    """The login in the header of a replication's end."""
    header = end["headers"].get("Authorization")
    return base64.b64decode(header.removeprefix("Basic ")).decode() if header else None


def remotes(kit: Kit) -> list[JsonDict]:
    """The ends of the device's replications that lie elsewhere."""
    here = kit.device.server.url
    ends = [end for doc in kit.replications() for end in (doc["source"], doc["target"])]
    return [end for end in ends if not end["url"].startswith(here)]


# Channels


def test_a_new_channel_has_a_copy_here_at_once(kit: Kit) -> None:
    doc = kit.put({**PHOTOS, "state": "new"})
    assert kit.obey(doc) is Outcome.UNCHANGED
    assert kit.exists("channel-1")
    kit.device.channel("channel-1").put({"_id": "note"})
    assert kit.obey(doc) is Outcome.UNCHANGED
    assert kit.device.channel("channel-1").get("note")
    assert kit.replications() == []


def test_a_copy_has_the_clouds_name_behind_the_devices_prefix(kit: Kit) -> None:
    own = kit.device.channel("channel-1").name
    assert own == kit.profile.prefix + channel_db(kit.profile.owner_id, "channel-1")
    shared = "db-" + "0123456789abcdef" * 2
    assert kit.device.channel(shared).name == kit.profile.prefix + shared


def test_the_owners_own_channel_is_subscribed_to_under_its_well_known_id(kit: Kit) -> None:
    doc = kit.put({**PHOTOS, "syncpoint": REMOTE})
    kit.obey(doc)
    made = kit.subscription("channel-1") or {}
    assert {name: value for name, value in made.items() if name != "_rev"} == {
        "_id": f"channel-1-sub-{kit.profile.owner_id}",
        "type": "subscription",
        "state": "active",
        "channel": "channel-1",
        "remote": REMOTE,
    }
    kit.obey(doc)
    assert (kit.subscription("channel-1") or {})["_rev"] == made["_rev"]


def test_devices_that_subscribe_by_themselves_write_the_same_revision(make_kit: MakeKit) -> None:
    phone = make_kit(owner="ada@example.com", cloud=CLOUD)
    laptop = make_kit(owner="ada@example.com", cloud=CLOUD)
    for kit in (phone, laptop):
        kit.obey(kit.put({**PHOTOS, "syncpoint": REMOTE}))
    one, other = phone.subscription("channel-1"), laptop.subscription("channel-1")
    assert one
    assert one == other


@pytest.mark.parametrize("state", ["paused", "stopped"])
def test_a_subscription_that_is_there_stays_as_it_is(kit: Kit, state: str) -> None:
    kept = kit.put_subscription("channel-1", state, remote=REMOTE)
    kit.obey(kit.put({**PHOTOS, "syncpoint": REMOTE}))
    assert kit.subscription("channel-1") == kept


def test_a_subscription_that_was_deleted_is_not_made_again(kit: Kit) -> None:
    doc = kit.put({**PHOTOS, "syncpoint": REMOTE})
    kit.obey(doc)
    kit.device.database.remove(kit.subscription("channel-1") or {})
    kit.obey(doc)
    assert kit.subscription("channel-1") is None


# Subscriptions


def test_an_active_subscription_replicates_both_ways_by_the_devices_login(
    kit: Kit,
) -> None:
    kit.put(PHOTOS)
    doc = kit.put_subscription("channel-1", remote=REMOTE)
    assert kit.obey(doc) is Outcome.UNCHANGED
    local = kit.device.channel("channel-1")
    remote = f"{CLOUD}/{channel_db(kit.profile.owner_id, 'channel-1')}"
    out, back = kit.replications()
    assert (out["source"]["url"], out["target"]["url"]) == (local.url, remote)
    assert (back["source"]["url"], back["target"]["url"]) == (remote, local.url)
    assert out["continuous"] is back["continuous"] is True
    assert out["source"] == back["target"]
    login = f"{kit.profile.device_id}:{PASSWORD}"
    assert [login_in(end) for end in remotes(kit)] == [login, login]
    assert PASSWORD not in f"{login_in(out['source'])}"
    assert kit.exists("channel-1")
    assert kit.said == [("Photos", f"is being replicated; its database here is {local.name}")]


def test_an_active_subscription_that_is_obeyed_already_is_not_told_of_again(kit: Kit) -> None:
    doc = kit.put_subscription("channel-1", remote=REMOTE)
    kit.obey(doc)
    before, said = kit.replications(), list(kit.said)
    kit.obey(doc)
    ids = {one["_id"] for one in kit.replications()}
    assert ids == {one["_id"] for one in before}
    assert kit.said == said


@pytest.mark.parametrize("state", ["paused", "stopped"])
def test_what_is_paused_or_stopped_stands_still_and_its_copy_stays(kit: Kit, state: str) -> None:
    kit.put(PHOTOS)
    kit.obey(kit.put_subscription("channel-1", remote=REMOTE))
    kit.device.channel("channel-1").put({"_id": "note"})
    kit.said.clear()
    doc = kit.put_subscription("channel-1", state, remote=REMOTE)
    kit.obey(doc)
    kit.obey(doc)
    assert kit.replications() == []
    assert kit.device.channel("channel-1").get("note")
    assert kit.said == [("Photos", state)]


def test_what_is_resumed_goes_on(kit: Kit) -> None:
    for state in ("active", "paused", "active"):
        kit.obey(kit.put_subscription("channel-1", state, remote=REMOTE))
    assert len(kit.replications()) == 2


def test_a_subscription_that_no_channel_goes_with_is_obeyed(kit: Kit) -> None:
    """The channel may come later, with the next page of documents."""
    kit.obey(kit.put_subscription("channel-1", remote=REMOTE))
    assert kit.said[0][0] == "a channel without a name"
    assert len(kit.replications()) == 2


# Which database in the cloud

SHARED = "db-" + "0123456789abcdef" * 2
# What a stolen device may write into `remote` and `syncpoint`.
LURES: list[Any] = [
    *("https://evil.example/db", f"https://evil.example/{SHARED}", "https://couch.example/db"),
    *("https://couch.example.evil.example/db", "http://couch.example:444/db"),
    *(f"{CLOUD}/db-another", f"{CLOUD}/control-another", f"{CLOUD}/db/../_users"),
    *("https://couch.example@evil.example/db", "https://couch.example\\@evil/db", f"{REMOTE}\n"),
    *(None, 5, True, [], {"url": "https://evil.example/db"}, "", "db", "/db", "http://[::1/db"),
]


@pytest.mark.parametrize("lure", LURES)
def test_no_document_says_where_a_channel_is_replicated(kit: Kit, lure: Any) -> None:
    for channel_id, state in (("channel-1", "ready"), (SHARED, "shared")):
        kit.put({**PHOTOS, "_id": channel_id, "state": state, "syncpoint": lure})
        kit.obey(kit.put_subscription(channel_id, remote=lure))
    own = channel_db(kit.profile.owner_id, "channel-1")
    ends = sorted((end["url"], login_in(end)) for end in remotes(kit))
    login = f"{kit.profile.device_id}:{PASSWORD}"
    assert ends == sorted(2 * [(f"{CLOUD}/{own}", login), (f"{CLOUD}/{SHARED}", login)])


@pytest.mark.parametrize(
    "channel_id", ["db-1", "db-photos", SHARED.upper(), SHARED[:-1], SHARED + "0", "channel-x"]
)
def test_a_shared_channel_under_an_odd_id_is_not_replicated_and_that_is_told(
    kit: Kit, channel_id: str
) -> None:
    kit.put({**PHOTOS, "_id": channel_id, "state": "shared", "syncpoint": REMOTE})
    kit.obey(kit.put_subscription(channel_id, remote=REMOTE))
    why = "not in sync: its id is not the name of a shared channel's database"
    assert kit.said == [("Photos", why)]
    assert kit.replications() == []


def test_a_channel_that_gets_an_odd_id_is_replicated_no_longer(kit: Kit) -> None:
    doc = kit.put_subscription("db-1", remote=REMOTE)
    kit.obey(doc)
    assert len(kit.replications()) == 2
    kit.put({**PHOTOS, "_id": "db-1", "state": "shared"})
    kit.obey(doc)
    assert kit.replications() == []


def test_while_the_cloud_is_unknown_nothing_is_replicated_and_nothing_is_told(
    make_kit: MakeKit,
) -> None:
    """As after `unlink` and `register`: the documents are still here, the new device knows none."""
    kit = make_kit()
    kit.put(PHOTOS)
    kit.obey(kit.put_subscription("channel-1", remote=REMOTE))
    assert kit.replications() == []
    assert kit.said == []


# Odd documents


@pytest.mark.parametrize("channel", [None, 5, True, [], {}])
def test_a_subscription_to_nothing_is_left_alone(kit: Kit, channel: Any) -> None:
    kit.put_subscription("channel-1", remote=REMOTE)
    kit.obey({**(kit.subscription("channel-1") or {})})
    before = kit.replications()
    doc = kit.put({"_id": "odd", "type": "subscription", "state": "active", "channel": channel})
    assert kit.obey(doc) is Outcome.UNCHANGED
    assert len(kit.replications()) == len(before)


def test_a_document_that_is_gone_is_not_obeyed(kit: Kit) -> None:
    doc = kit.put_subscription("channel-1", remote=REMOTE)
    kit.device.database.remove(doc)
    assert kit.obey(doc) is Outcome.STALE
    assert kit.replications() == []


def test_a_document_that_has_moved_on_is_not_obeyed(kit: Kit) -> None:
    doc = kit.put_subscription("channel-1", remote=REMOTE)
    kit.put_subscription("channel-1", "paused", remote=REMOTE)
    assert kit.obey(doc) is Outcome.STALE
    assert kit.replications() == []


# Devices


def test_another_device_that_is_revoked_is_none_of_ours(kit: Kit) -> None:
    doc = kit.put({"_id": "device-other", "type": "device", "state": "revoked"})
    assert kit.obey(doc) is Outcome.UNCHANGED


def test_a_revoked_device_is_told_so(kit: Kit) -> None:
    doc = kit.put({"_id": kit.profile.device_id, "type": "device", "state": "revoked"})
    with pytest.raises(Revoked, match=r"was revoked\. Its data stays here"):
        kit.obey(doc)


# Conflicting changes

# What CouchDB picks: the longer history, then the greater digest.
WINNER, LOSER, THIRD = "2-" + "f" * 32, "2-" + "a" * 32, "2-" + "0" * 32


@pytest.fixture
def control(kit: Kit) -> Database:
    return kit.device.database


def put_leaves(kit: Kit, server: Server, leaves: dict[str, JsonDict]) -> JsonDict:
    """A subscription with conflicting revisions, as replication brings them; CouchDB's choice."""
    kit.put(PHOTOS)
    first = kit.put_subscription("channel-1", remote=REMOTE)
    docs = []
    for rev, changes in leaves.items():
        number, _, digest = rev.partition("-")
        digests = [digest, *("b" * 31 + str(n) for n in range(int(number) - 2))]
        ids = [*digests, first["_rev"].partition("-")[2]]
        revisions = {"start": int(number), "ids": ids}
        docs.append({**first, **changes, "_rev": rev, "_revisions": revisions})
    control = kit.device.database
    body = {"docs": docs, "new_edits": False}
    server.http.request("POST", f"/{control.name}/_bulk_docs", body=body)
    return control.get(first["_id"])


def leaves_of(kit: Kit) -> list[str]:
    """The revisions of the subscription that are there, CouchDB's choice first."""
    doc = kit.device.database.get(kit.subscription_id("channel-1"), conflicts=True)
    return [doc["_rev"], *doc.get("_conflicts", [])]


def a_change(state: str, by: str | None = None, **more: Any) -> JsonDict:
    return {"state": state, **({"changed_by": by} if by else {}), **more}


def put_device(kit: Kit, device_id: str, state: str = "active") -> None:
    """Another device of the owner's."""
    kit.put({"_id": device_id, "type": "device", "state": state, "name": device_id})


def test_without_a_conflict_nothing_is_told(kit: Kit) -> None:
    doc = kit.put_subscription("channel-1", remote=REMOTE)
    assert resolve_conflict(doc, kit.device) == doc
    assert kit.said == []


def test_the_device_whose_change_lost_reports_and_removes_it(kit: Kit, server: Server) -> None:
    laptop = "device-laptop"
    kit.put({"_id": laptop, "type": "device", "state": "active", "name": "Ada's laptop"})
    kit.put({"_id": kit.profile.device_id, "type": "device", "state": "active", "name": "phone"})
    leaves = {
        WINNER: a_change("stopped", laptop),
        LOSER: a_change("paused", kit.profile.device_id),
    }
    doc = put_leaves(kit, server, leaves)
    assert doc["_rev"] == WINNER
    assert resolve_conflict(doc, kit.device)["state"] == "stopped"
    assert leaves_of(kit) == [WINNER]
    told = "stopped (by Ada's laptop) wins over paused (by phone)"
    assert kit.said == [("Photos", f"changed on two devices at the same time: {told}")]


def test_a_device_whose_change_wins_says_so_and_keeps_the_other(kit: Kit, server: Server) -> None:
    """Its user must hear of it there."""
    put_device(kit, "device-laptop")
    leaves = {
        WINNER: a_change("stopped", kit.profile.device_id),
        LOSER: a_change("paused", "device-laptop"),
    }
    doc = put_leaves(kit, server, leaves)
    resolve_conflict(doc, kit.device)
    assert leaves_of(kit) == [WINNER, LOSER]
    assert "stopped (by another device) wins over paused (by device-laptop)" in kit.said[0][1]


@pytest.mark.parametrize("state", [None, "revoked"])
def test_a_change_of_a_device_that_is_gone_is_removed_by_whoever_finds_it(
    kit: Kit, server: Server, state: str | None
) -> None:
    if state:
        put_device(kit, "device-laptop", state)
    leaves = {
        WINNER: a_change("stopped", kit.profile.device_id),
        LOSER: a_change("paused", "device-laptop"),
    }
    resolve_conflict(put_leaves(kit, server, leaves), kit.device)
    assert leaves_of(kit) == [WINNER]


def test_a_change_that_nobody_signed_is_removed_by_whoever_finds_it(
    kit: Kit, server: Server
) -> None:
    leaves = {WINNER: a_change("paused"), LOSER: a_change("active")}
    resolve_conflict(put_leaves(kit, server, leaves), kit.device)
    assert leaves_of(kit) == [WINNER]
    assert "paused wins over active" in kit.said[0][1]


def test_changes_that_say_the_same_are_made_one_without_a_word(kit: Kit, server: Server) -> None:
    own = kit.profile.device_id
    leaves = {WINNER: a_change("paused", "device-laptop"), LOSER: a_change("paused", own)}
    assert resolve_conflict(put_leaves(kit, server, leaves), kit.device)["state"] == "paused"
    assert leaves_of(kit) == [WINNER]
    assert kit.said == []


def test_of_three_changes_one_wins_and_only_the_devices_own_is_removed(
    kit: Kit, server: Server
) -> None:
    put_device(kit, "device-tablet")
    leaves = {
        WINNER: a_change("stopped", "device-laptop"),
        LOSER: a_change("paused", kit.profile.device_id),
        THIRD: a_change("active", "device-tablet"),
    }
    resolve_conflict(put_leaves(kit, server, leaves), kit.device)
    assert leaves_of(kit) == [WINNER, THIRD]
    assert len(kit.said) == 2


@pytest.mark.parametrize("number", [2, 5])
def test_what_the_cloud_stopped_wins_whatever_couchdb_picks(
    kit: Kit, server: Server, number: int
) -> None:
    winner = f"{number}-" + "f" * 32
    reason = "you are no longer a member"
    leaves = {
        winner: a_change("active", "device-laptop"),
        LOSER: a_change("stopped", reason=reason),
        THIRD: a_change("paused", kit.profile.device_id),
    }
    doc = put_leaves(kit, server, leaves)
    assert doc["_rev"] == winner
    assert resolve_conflict(doc, kit.device)["reason"] == reason
    assert leaves_of(kit) == [LOSER]
    assert (kit.subscription("channel-1") or {})["reason"] == reason


def test_the_conflict_winner_is_applied_and_not_couchdbs_winner(kit: Kit, server: Server) -> None:
    kit.obey(kit.put_subscription("channel-1", remote=REMOTE))
    assert len(kit.replications()) == 2
    kit.device.database.remove(kit.subscription("channel-1") or {})
    leaves = {WINNER: a_change("active"), LOSER: a_change("stopped", reason="the channel closed")}
    kit.obey(put_leaves(kit, server, leaves))
    assert kit.replications() == []


def test_a_change_that_another_device_has_removed_meanwhile_is_no_failure(
    kit: Kit, server: Server
) -> None:
    leaves = {WINNER: a_change("paused"), LOSER: a_change("active")}
    doc = put_leaves(kit, server, leaves)
    device = kit.device

    def remove_it_first(about: str, what: str) -> None:
        device.database.remove({"_id": doc["_id"], "_rev": LOSER})

    object.__setattr__(device, "say", remove_it_first)
    assert resolve_conflict(doc, device)["state"] == "paused"
    assert leaves_of(kit) == [WINNER]


# What another device may have brought as a losing revision.
ODD_LEAVES: dict[str, JsonDict] = {
    "too large": a_change("paused", more=["x" * 1000] * 1100),
    "by a device with an invalid id": a_change("paused", by="_all_docs"),
    "by a device with a long id": a_change("paused", by="d" * 9000),
    "without a state": {"state": None},
}


@pytest.mark.parametrize("leaf", ODD_LEAVES.values(), ids=ODD_LEAVES)
def test_no_losing_revision_keeps_a_subscription_from_being_applied(
    kit: Kit, server: Server, leaf: JsonDict
) -> None:
    doc = put_leaves(kit, server, {WINNER: a_change("active"), LOSER: leaf})
    assert kit.obey(doc) is Outcome.UNCHANGED
    assert len(kit.replications()) == 2
    assert leaves_of(kit) == [WINNER]


def test_a_subscription_that_is_deleted_in_this_very_moment_is_not_obeyed(kit: Kit) -> None:
    doc = kit.put_subscription("channel-1", remote=REMOTE)
    kit.device.database.remove(doc)
    with pytest.raises(NotFound):
        resolve_conflict(doc, kit.device)
