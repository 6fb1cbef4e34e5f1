"""`channel list|rename|close|members|remove` and `invitation …`, as a person types them."""

from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.couch import Conflict, Database
from chalicelib.design import OWNER_CONTROL
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import subscription_id
from syncpoint_device.texts import moment
from tests.kit.device.profiles import PHOTOS
from tests.kit.device.shell import Shell
from tests.kit.validation import Engine, running_engine

pytestmark = pytest.mark.io

BEN, EVE = "ben@example.com", "eve@example.com"
INVITATION: JsonDict = {
    "_id": "invitation-1",
    "type": "invitation",
    "state": "sent",
    "channel": "channel-1",
    "email": BEN,
    "sent_at": "2026-11-23T06:00:00Z",
    "expires_at": "2026-11-30T06:00:00Z",
}
SHARED: JsonDict = {
    "_id": "db-" + "0" * 32,
    "type": "channel",
    "state": "shared",
    "name": "Shared",
    "owner": EVE,
}
CHANNEL_STATES = ["new", "ready", "error", "closing", "closed"]
INVITATION_STATES = [
    *("new", "sent", "accepting", "accepted", "declined", "withdrawn", "expired", "error"),
]
CHANGES = [
    ["channel", "rename", "Photos", "Pictures"],
    ["channel", "close", "Photos", "--yes"],
    ["channel", "remove", "Photos", BEN],
    ["invitation", "withdraw", BEN],
    ["invitation", "resend", BEN],
]


@pytest.fixture
def ada(phone: Shell) -> Shell:
    """A device of Ada's, who shares Photos with Ben and has invited Eve."""
    phone.put({**PHOTOS, "members": [owner_id_of(BEN), "f" * 32], "created_at": "then"})
    phone.put({**INVITATION, "state": "accepted"})
    phone.put({**INVITATION, "_id": "invitation-2", "email": EVE})
    return phone


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with running_engine() as running:
        yield running


def stored(shell: Shell, doc_id: str = "channel-1") -> JsonDict:
    return shell.device.database.get(doc_id)


def changed(before: JsonDict, after: JsonDict) -> JsonDict:
    """The fields that have another value, without the revision."""
    names = before.keys() | after.keys()
    return {
        name: after.get(name)
        for name in names
        if name != "_rev" and before.get(name) != after.get(name)
    }


# What is listed


def test_channel_list_shows_own_and_shared_channels(ada: Shell) -> None:
    ada.put(SHARED)
    ada.put({**PHOTOS, "_id": "channel-2", "state": "error", "name": "", "error": {"reason": "no"}})
    printed = ada.type("channel", "list")
    assert (printed.code, printed.err) == (0, "")
    own = ada.device.channel("channel-1").name
    assert f"“Photos” (channel-1), ready, 2 members, local database {own}\n" in printed.out
    assert f"“Shared” ({SHARED['_id']}), shared with you, local" in printed.out
    assert "“” (channel-2), error, no, local database" in printed.out
    said = ada.type("--json", "channel", "list").json["channels"]
    assert [one["channel"] for one in said] == ["channel-2", "channel-1", SHARED["_id"]]
    assert said[1]["members"] == [BEN, None]
    assert [one["is_shared_with_me"] for one in said] == [False, False, True]
    assert "members" not in said[2]
    assert "subscription" not in said[1]


@pytest.mark.parametrize(
    ("channel", "subscription", "shown"),
    [
        (PHOTOS, "active", "(channel-1), ready, "),
        (PHOTOS, "paused", "(channel-1), paused, "),
        (PHOTOS, "stopped", "(channel-1), stopped, "),
        ({**PHOTOS, "state": "closed"}, "stopped", "(channel-1), closed, "),
        (SHARED, "active", ", shared with you, local"),
        (SHARED, "paused", ", paused, shared with you, local"),
    ],
)
def test_channel_list_shows_what_is_paused_or_stopped(
    phone: Shell, channel: JsonDict, subscription: str, shown: str
) -> None:
    phone.put(channel)
    doc_id = subscription_id(channel["_id"], phone.profile.owner_id)
    doc = {"_id": doc_id, "type": "subscription", "channel": channel["_id"]}
    phone.put({**doc, "state": subscription})
    assert shown in phone.type("channel", "list").out
    [one] = phone.type("--json", "channel", "list").json["channels"]
    assert one["subscription"] == subscription


def test_a_closed_channel_has_a_database_only_while_it_is_there(ada: Shell) -> None:
    ada.put({"_id": "channel-1", "state": "closed"})
    copy = ada.device.channel("channel-1")
    assert ada.type("channel", "list").out.endswith("closed, 2 members, no local database\n")
    assert copy.name not in ada.type("status").out
    for command in (["channel", "list"], ["status"]):
        assert "database" not in ada.type("--json", *command).json["channels"][0]
    copy.create()
    assert ada.type("channel", "list").out.endswith(f", local database {copy.name}\n")
    assert f"database {copy.name}\n" in ada.type("status").out


OUTDATED = [
    ("sent", "closed", [], "the channel is closed"),
    ("new", "closing", [], "the channel is closed"),
    ("accepted", "closed", [BEN], "the channel is closed"),
    ("accepted", "ready", [], "no longer a member"),
    ("accepted", "ready", [BEN], None),
    ("accepting", "ready", [], None),
    ("sent", "ready", [], None),
    ("declined", "closed", [], None),
]


@pytest.mark.parametrize(("state", "channel", "members", "outdated"), OUTDATED)
def test_what_became_of_an_invitation_after_its_state_is_told(
    ada: Shell, state: str, channel: str, members: list[str], outdated: str | None
) -> None:
    ids = [owner_id_of(member) for member in members]
    ada.put({"_id": "channel-1", "state": channel, "members": ids})
    ada.put({"_id": "invitation-1", "state": state})
    for words in (["invitation", "list"], ["status"]):
        listed = ada.type("--json", *words).json["invitations"]
        [found] = [one for one in listed if one["invitation"] == "invitation-1"]
        assert found.get("outdated") == outdated
        [line] = [line for line in ada.type(*words).out.splitlines() if f"{BEN} to “Pho" in line]
        assert (f", {outdated}" in line) == (outdated is not None)


def test_channel_members_shows_addresses_and_who_is_invited(ada: Shell) -> None:
    printed = ada.type("channel", "members", "Photos")
    assert printed.out.splitlines() == [
        f"{BEN}, {owner_id_of(BEN)}",
        f"{'f' * 32}, whose address this device does not know",
        f"{EVE}, invited",
    ]
    said = ada.type("--json", "channel", "members", "Photos").json
    assert said["members"] == [{"member": owner_id_of(BEN), "email": BEN}, {"member": "f" * 32}]
    assert [one["invitation"] for one in said["invited"]] == ["invitation-2"]


def test_invitation_list_shows_the_state_and_what_is_wrong(ada: Shell) -> None:
    ada.put({**INVITATION, "_id": "invitation-3", "state": "error", "error": {"reason": "bounced"}})
    assert ada.type("invitation", "list").out.splitlines() == [
        f"{BEN} to “Photos”, accepted (invitation-1)",
        f"{BEN} to “Photos”, error: bounced (invitation-3)",
        f"{EVE} to “Photos”, sent, open until {moment(INVITATION['expires_at'])} (invitation-2)",
    ]


@pytest.mark.parametrize("words", [["channel", "list"], ["invitation", "list"]], ids=" ".join)
def test_an_empty_list_says_so_and_what_to_do(phone: Shell, words: list[str]) -> None:
    printed = phone.type(*words)
    assert printed.code == 0
    assert printed.out.startswith(f"There are no {words[0]}s. `channel ")


# What is changed


def test_a_channel_is_renamed(ada: Shell) -> None:
    before = stored(ada)
    printed = ada.type("channel", "rename", "Photos", "Pictures")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out.startswith("“Photos” is called “Pictures” now.")
    assert changed(before, stored(ada)) == {"name": "Pictures"}


def test_a_rejected_channel_is_handed_in_again_under_its_new_name(ada: Shell) -> None:
    ada.put({"_id": "channel-1", "state": "error", "name": "\u202e"})
    before = stored(ada)
    assert ada.type("channel", "rename", "channel-1", "Pictures").code == 0
    assert changed(before, stored(ada)) == {"name": "Pictures", "state": "new"}


def test_a_channel_is_closed_only_after_it_was_confirmed(ada: Shell) -> None:
    before = stored(ada)
    printed = ada.type("--json", "channel", "close", "Photos")
    assert (printed.code, printed.out) == (1, "")
    assert '"unconfirmed"' in printed.err
    assert "with everything in it, and ends it for its 2 members" in printed.err
    assert stored(ada) == before
    printed = ada.type("channel", "close", "Photos", "--yes")
    assert (printed.code, printed.err) == (0, "")
    assert ada.device.channel("channel-1").name in printed.out
    assert changed(before, stored(ada)) == {"state": "closing"}


def test_who_closes_a_channel_without_members_hears_of_none(phone: Shell) -> None:
    phone.put(PHOTOS)
    assert (
        "everything in it. Copies on devices stay" in phone.type("channel", "close", "Photos").err
    )


@pytest.mark.parametrize("member", [BEN, " Ben@Example.com ", owner_id_of(BEN)])
def test_a_member_is_removed_by_address_or_id(ada: Shell, member: str) -> None:
    before = stored(ada)
    assert ada.type("channel", "remove", "Photos", member).code == 0
    assert changed(before, stored(ada)) == {"members": ["f" * 32]}


@pytest.mark.parametrize("text", [EVE, "invitation-2"])
def test_an_invitation_is_withdrawn(ada: Shell, text: str) -> None:
    before = stored(ada, "invitation-2")
    printed = ada.type("invitation", "withdraw", text)
    assert (printed.code, printed.err) == (0, "")
    assert EVE in printed.out
    assert changed(before, stored(ada, "invitation-2")) == {"state": "withdrawn"}


@pytest.mark.parametrize("state", ["sent", "withdrawn", "declined", "expired", "error"])
def test_an_invitation_is_sent_again(ada: Shell, state: str) -> None:
    ada.put({"_id": "invitation-2", "state": state, "generation": 4})
    before = stored(ada, "invitation-2")
    printed = ada.type("invitation", "resend", EVE)
    assert printed.code == 0
    is_revived = state in ("withdrawn", "declined")
    assert (f"was {state}, and can be accepted again." in printed.out) == is_revived
    after = stored(ada, "invitation-2")
    assert (after["state"], after["generation"]) == ("new", 5)
    assert set(changed(before, after)) == {"state", "generation"}


# What is not done


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["channel", "rename", "Photos", "Photos"], "nothing_to_do", "is “Photos” already"),
        (["channel", "rename", "Photos", "Films"], "not_allowed", "another channel is called"),
        (["channel", "rename", "Photos", ""], "failed", "name must have 1 to 80 characters"),
        (["channel", "rename", "Fotos", "x"], "unknown", "there is no channel “Fotos”"),
        (["channel", "rename", "Shared", "x"], "not_allowed", "only its owner can rename it"),
        (["channel", "close", "Shared", "--yes"], "not_allowed", "only its owner can close it"),
        (["channel", "close", "Closed", "--yes"], "nothing_to_do", "“Closed” is closed already"),
        (["channel", "members", "Shared"], "not_allowed", "only its owner can see its members"),
        (["channel", "remove", "Shared", BEN], "not_allowed", "only its owner can remove a member"),
        (["channel", "remove", "Photos", EVE], "unknown", "`invitation withdraw invitation-2`"),
        (["channel", "remove", "Photos", "ben"], "unknown", "ben is no member of “Photos”"),
        (["invitation", "withdraw", BEN], "not_allowed", "has accepted already; run `channel rem"),
        (["invitation", "withdraw", "x@y.example"], "unknown", "there is no invitation “x@y"),
        (["invitation", "resend", BEN], "nothing_to_do", "has accepted already"),
        (["invitation", "resend", "cy@example.com"], "nothing_to_do", "has not sent the first"),
        (["invitation", "resend", "dan@example.com"], "nothing_to_do", "“Closed” is closed"),
        (["invitation", "withdraw", "two@example.com"], "unknown", "use an id instead: invit"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_what_nothing_would_come_of_is_told_and_not_done(
    ada: Shell, words: list[str], code: str, part: str
) -> None:
    ada.put(SHARED)
    ada.put({**PHOTOS, "_id": "channel-2", "name": "Films"})
    ada.put({**PHOTOS, "_id": "channel-3", "name": "Closed", "state": "closed"})
    for number, (name, more) in enumerate(
        [
            ("cy", {"state": "new"}),
            ("dan", {"channel": "channel-3"}),
            ("two", {}),
            ("two", {"channel": "channel-2"}),
        ]
    ):
        mail = f"{name}@example.com"
        ada.put({**INVITATION, "_id": f"invitation-{name}-{number}", "email": mail, **more})
    before = list(ada.device.database.documents())
    printed = ada.type("--json", *words)
    assert (printed.code, printed.out) == (1, "")
    error = printed.error
    assert error["code"] == code
    assert part in error["message"]
    assert list(ada.device.database.documents()) == before


@pytest.mark.parametrize("words", CHANGES, ids=" ".join)
def test_a_revoked_device_changes_nothing(ada: Shell, words: list[str]) -> None:
    ada.put({"_id": ada.profile.device_id, "type": "device", "state": "revoked"})
    before = list(ada.device.database.documents())
    printed = ada.type("--json", *words)
    assert (printed.code, printed.error["code"]) == (3, "revoked")
    assert list(ada.device.database.documents()) == before


@pytest.mark.parametrize("words", CHANGES[:3], ids=" ".join)
def test_what_somebody_else_changes_meanwhile_is_not_overwritten(
    ada: Shell, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Database.put

    def late(self: Database, doc: JsonDict) -> str:
        if doc["_id"] == "channel-1":
            raise Conflict(409, "conflict", "Document update conflict.")
        return put(self, doc)

    monkeypatch.setattr(Database, "put", late)
    printed = ada.type("--json", *words)
    assert (printed.code, printed.error["code"]) == (1, "changed")
    assert "try again" in printed.error["message"]


@pytest.mark.parametrize("words", CHANGES, ids=" ".join)
@pytest.mark.parametrize(
    "state", [*CHANNEL_STATES, *INVITATION_STATES[1:-1], "shared", 7, None, ["new"], {}]
)
def test_in_no_state_is_written_what_the_rules_refuse(
    ada: Shell, words: list[str], state: Any, engine: Engine
) -> None:
    """By the rules that CouchDB runs in the cloud. What they refuse would stay for ever."""
    doc_id = "channel-1" if words[0] == "channel" else "invitation-1"
    ada.put({"_id": doc_id, "state": state})
    before = stored(ada, doc_id)
    printed = ada.type("--json", *words)
    after = stored(ada, doc_id)
    assert (after == before) == (printed.code != 0), "success says that something was written"
    if printed.code == 0:
        role = f"owner-{ada.profile.owner_id}"
        security = {"members": {"names": [], "roles": [role]}, "syncpoint": {}}
        assert (
            engine.refusal(
                OWNER_CONTROL.doc["validate_doc_update"], after, before, (role,), security
            )
            is None
        )
