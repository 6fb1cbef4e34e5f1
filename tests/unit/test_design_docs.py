"""The rules that CouchDB itself enforces: who may write what into which database.

The functions of the design documents are run as they are, row by row of the tables below.
"""

import hashlib
import itertools
from collections.abc import Iterator

import pytest
from hypothesis import Phase, assume, find, given, settings
from hypothesis import strategies as st

from chalicelib.design import DESIGN_ID, OWNER_CONTROL, PUBLIC_CHANNEL, DesignDoc
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.moves import TYPES
from chalicelib.handlers.all import registry
from tests.kit import moves
from tests.kit.basics import without, without_private
from tests.kit.cases.names import NAMES as NAMES_OF_PEOPLE
from tests.kit.cases.names import NameCase
from tests.kit.earlier import VERSIONS, text_of_version
from tests.kit.moves import NOTHING
from tests.kit.validation import ADMIN_ROLES, Engine, ValidationFailed, running_engine

pytestmark = pytest.mark.io

OWNER = "0123456789abcdef" * 2
GUEST = "f" * 32
ROLE = f"owner-{OWNER}"
SECURITY = {"members": {"names": [], "roles": [ROLE]}, "syncpoint": {"owner": "ada@example.com"}}
# The states of each type, those too that no device may write or change.
STATES_OF = {
    "channel": ["new", "ready", "error", "closing", "closed", "shared"],
    "subscription": ["active", "paused", "stopped"],
    "invitation": [
        *("new", "sent", "accepting", "accepted", "declined", "withdrawn", "expired", "error"),
    ],
    "device": [
        *("new", "confirming", "confirmed", "active", "revoking", "revoked"),
        *("expired", "rejected", "undeliverable", "error"),
    ],
    "confirm": ["clicked", "used", "error"],
}
# What a device may write over what, by one step or by several; of single steps: TYPES.
WRITES = {
    doc_type: {state: moves.states_after(doc_type, state) for state in [NOTHING, *states]}
    for doc_type, states in STATES_OF.items()
}
# Where a device may delete a document.
DELETES = {doc_type: moves.states_before_deletion(doc_type) for doc_type in STATES_OF}
# What only the cloud writes; of a device's document everything.
CLOUDS = {
    "channel": {"error", "syncpoint", "ready_at", "closed_at", "reason", "joined"},
    "subscription": {"error", "reason"},
    "invitation": {
        *("error", "guest", "invited_by", "channel_name"),
        *("sent_at", "sent_rev", "expires_at", "answered_at", "answer_code"),
    },
    "device": {
        *("error", "owner", "name", "created_at", "confirmed_at", "activated_at", "revoked_at"),
        *("credentials", "device_code", "generation", "anything"),
    },
}
IDS = {
    "channel": "holidays",
    "subscription": f"holidays-sub-{OWNER}",
    "invitation": "to-ben",
    "device": "device-1",
    "confirm": "confirm-device-1-0",
}
# What a device writes of its own accord.
OWN_FIELDS: dict[str, JsonDict] = {
    "channel": {"name": "Holidays", "public": False},
    "subscription": {"channel": "holidays", "remote": "https://couch.example.com/db-1"},
    "invitation": {"channel": "holidays", "email": "ben@example.com", "generation": 2},
    "device": {},
    "confirm": {"confirm_code": "code", "device_code": "AAAA-BBBB"},
}
ROWS = [(doc_type, state) for doc_type, states in WRITES.items() for state in states]
STATES = sorted({str(state) for _, state in ROWS if state} | {"elsewhere", ""})


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with running_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def device(engine: Engine) -> "Device":
    return Device(engine)


class Device:
    """Writes into its owner's control database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def refusal(
        self,
        new: JsonDict,
        old: JsonDict | None = None,
        security: JsonDict | None = SECURITY,
        copied: bool = False,
    ) -> str | None:
        text = text_of(OWNER_CONTROL)
        return self.engine.refusal(text, new, old, (ROLE,), security, copied)

    def may(self, new: JsonDict, old: JsonDict | None = None) -> bool:
        return self.refusal(new, old) is None


def text_of(design: DesignDoc) -> str:
    text: str = design.doc["validate_doc_update"]
    return text


def a_doc(doc_type: str, state: str | None, **fields: object) -> JsonDict:
    """A document as devices write it."""
    own = {"_id": IDS[doc_type], "type": doc_type, **OWN_FIELDS[doc_type]}
    return {**own, "state": state, **fields}


def stored(doc_type: str, state: str | None, **fields: object) -> JsonDict:
    """A document as the cloud left it, with every field that the cloud writes."""
    clouds: JsonDict = {name: f"the cloud's {name}" for name in CLOUDS.get(doc_type, ())}
    if doc_type == "subscription":
        del clouds["reason"]  # with one it stays stopped
    if "error" in clouds:
        clouds["error"] = {"reason": "name is missing", "at": "2026-11-23T06:00:00Z"}
    return {**a_doc(doc_type, state), **clouds, "_rev": "1-a", **fields}


def written_over(old: JsonDict, state: object) -> JsonDict:
    """The document as a device moves it on, in the right way."""
    rules = TYPES.get(old["type"])
    is_plain = rules is None or state in (old["state"], *rules.direct(old["state"]))
    again = old["type"] == "invitation" and not is_plain
    return {**old, "state": state, **({"generation": old["generation"] + 1} if again else {})}


# Moves.


@pytest.mark.parametrize(("doc_type", "before"), ROWS)
def test_a_device_moves_a_document_as_the_table_says_and_not_otherwise(
    device: Device, doc_type: str, before: str | None
) -> None:
    old = stored(doc_type, before) if before else None
    news = {to: written_over(old, to) if old else a_doc(doc_type, to) for to in STATES}
    allowed = {to for to, new in news.items() if device.may(new, old)}
    assert allowed == writes_and_same(doc_type, before)


def writes_and_same(doc_type: str, before: str | None) -> set[str]:
    """What a device may write, and what says the same as before."""
    same = {before} if before and doc_type in ("channel", "subscription", "invitation") else set()
    return WRITES[doc_type][before] | same - {"accepting"}


@pytest.mark.parametrize(("doc_type", "before"), ROWS)
def test_a_refused_move_says_what_was_refused(
    device: Device, doc_type: str, before: str | None
) -> None:
    old = stored(doc_type, before) if before else None
    for to in set(STATES) - writes_and_same(doc_type, before):
        reason = device.refusal(written_over(old, to) if old else a_doc(doc_type, to), old)
        names = {"device": "device", "confirm": "devices write documents of the types"}
        assert reason is not None
        assert names.get(doc_type, f"{doc_type}/{to} is not for a device to write") in reason


@pytest.mark.parametrize("state", [None, 1, ["new"], {"toString": 1, "valueOf": 1}, True], ids=repr)
@pytest.mark.parametrize("doc_type", ["channel", "subscription", "invitation"])
def test_a_state_is_one_of_the_texts_in_the_table(
    device: Device, doc_type: str, state: object
) -> None:
    assert not device.may({**a_doc(doc_type, "new"), "state": state})
    for before in set(WRITES[doc_type]) - {NOTHING}:
        old = stored(doc_type, before)
        assert not device.may({**old, "state": state}, old)


def test_a_document_must_have_a_state(device: Device) -> None:
    new = a_doc("channel", "new")
    del new["state"]
    reason = device.refusal(new)
    assert reason is not None
    assert "is not for a device to write" in reason


def test_no_step_of_a_device_leads_to_a_state_that_only_the_cloud_writes() -> None:
    clouds = {(each.doc_type, state) for each in registry for state in each.to}
    clouds |= {("invitation", state) for state in ("accepting", "declined", "expired")}
    clouds |= {("channel", "shared"), ("channel", "error"), ("device", "confirmed")}
    asked_for = {("invitation", "new"), ("invitation", "withdrawn")}  # and the cloud undoes itself
    for doc_type, rules in TYPES.items():
        steps = {(before, after) for before, afters in rules.moves.items() for after in afters}
        written = {after for before, after in steps if before != after} | set(rules.made)
        forbidden = {state for each, state in clouds - asked_for if each == doc_type}
        assert not written & forbidden


@pytest.mark.parametrize("doc_type", ["channel", "subscription", "invitation"])
def test_over_a_deleted_document_a_device_writes_as_where_there_was_none(
    device: Device, doc_type: str
) -> None:
    old = {"_id": IDS[doc_type], "_rev": "2-b", "_deleted": True, "error": "an old one"}
    allowed = {state for state in STATES if device.may(a_doc(doc_type, state), old)}
    assert allowed == WRITES[doc_type][NOTHING]


@pytest.mark.parametrize(("doc_type", "before"), ROWS)
def test_an_administrator_writes_everything(
    engine: Engine, doc_type: str, before: str | None
) -> None:
    old = stored(doc_type, before) if before else None
    odd = {"__proto__": 1, "_attachments": {}, "anything": "x" * 70_000}
    for new in (*(stored(doc_type, state) for state in STATES), odd, {"_deleted": True}):
        assert engine.refusal(text_of(OWNER_CONTROL), new, old, (ROLE, *ADMIN_ROLES)) is None


def test_every_transition_of_the_registry_is_in_the_table() -> None:
    for transition in registry:
        assert transition.state in WRITES[transition.doc_type]
        assert set(transition.to) <= set(WRITES[transition.doc_type])


def test_a_device_is_revoked_by_a_new_revision(device: Device) -> None:
    """CouchDB's own fields are no part of what must stay as it is."""
    old = stored("device", "active", _revisions={"start": 1, "ids": ["a"]})
    history = {"_rev": "2-b", "_revisions": {"start": 2, "ids": ["b", "a"]}}
    assert device.may({**old, **history, "state": "revoking"}, old)


# Deletion.


@pytest.mark.parametrize("doc_type", WRITES)
def test_a_device_deletes_only_what_nothing_comes_of_any_more(
    device: Device, doc_type: str
) -> None:
    def may_delete(state: str) -> bool:
        old = stored(doc_type, state)
        gone = {"_id": old["_id"], "_rev": old["_rev"], "_deleted": True}
        # It says of itself what it likes: what counts is what was there.
        dressed_up = {**gone, "type": "subscription", "state": "stopped"}
        assert device.may(gone, old) == device.may(dressed_up, old)
        return device.may(gone, old)

    assert {state for state in STATES if may_delete(state)} == DELETES[doc_type]


def test_what_is_not_over_yet_says_so(device: Device) -> None:
    reason = device.refusal({"_id": "holidays", "_deleted": True}, stored("channel", "ready"))
    assert reason == "channel/ready is not over yet: it cannot be deleted"


def test_a_document_that_came_and_went_on_the_device_may_be_gone_here_too(device: Device) -> None:
    gone = {"_id": "holidays", "_rev": "2-b", "_deleted": True}
    assert device.may(gone)
    assert device.may(gone, {"_id": "holidays", "_rev": "1-a", "_deleted": True})


# Types.


@pytest.mark.parametrize(
    "doc_type",
    [
        *("confirm", "expiry", "description", "", "constructor", "__proto__", "toString"),
        *("hasOwnProperty", "Channel", None, 0, 1, True, ["channel"], {}, {"toString": 1}),
    ],
    ids=repr,
)
def test_devices_write_documents_of_four_types(device: Device, doc_type: object) -> None:
    reason = device.refusal({"_id": "x", "type": doc_type, "state": "new"})
    assert reason is not None
    assert "channel, subscription, invitation and device" in reason


def test_a_document_must_have_a_type(device: Device) -> None:
    assert not device.may({"_id": "x", "state": "new"})
    assert not device.may({"_id": "x"})


@pytest.mark.parametrize(("doc_type", "before"), ROWS)
def test_the_type_of_a_document_does_not_change(
    device: Device, doc_type: str, before: str | None
) -> None:
    for other in set(WRITES) - {doc_type}:
        old = stored(doc_type, before)
        for state in STATES:
            assert not device.may({**old, "type": other, "state": state}, old)


def test_a_device_is_not_registered_here(device: Device) -> None:
    reason = device.refusal(a_doc("device", "new"))
    assert reason == "a device registers at the registrations endpoint, not here"


@pytest.mark.parametrize("doc_type", ["channel", "subscription", "invitation"])
def test_a_device_cannot_hide_its_document_behind_another_type(
    device: Device, doc_type: str
) -> None:
    """With new_edits=false it could start it again, and so not be found when it is revoked."""
    fields = {"_id": "device-1", "channel": "device-1"}
    reason = device.refusal(a_doc(doc_type, min(WRITES[doc_type][NOTHING]), **fields))
    assert reason == "an _id that begins with device- is for a device"


# What only the cloud writes.


CLOUD_FIELDS = [
    (doc_type, field) for doc_type, fields in CLOUDS.items() for field in sorted(fields)
]
FORGED: list[object] = ["forged", None, [], {}, 7, False, {"reason": "forged"}]


@pytest.mark.parametrize(("doc_type", "field"), CLOUD_FIELDS)
def test_what_the_cloud_writes_a_device_does_not_add(
    device: Device, doc_type: str, field: str
) -> None:
    for before, after in moves_of(doc_type):
        old = without(stored(doc_type, before), field) if before else None
        new = written_over(old, after) if old else a_doc(doc_type, after)
        for value in FORGED:
            reason = reason_of(device, {**new, field: value}, old)
            assert reason == f"{field} is for the cloud to write"


@pytest.mark.parametrize(("doc_type", "field"), CLOUD_FIELDS)
def test_what_the_cloud_writes_a_device_does_not_change(
    device: Device, doc_type: str, field: str
) -> None:
    for before, after in moves_of(doc_type):
        if before:
            old = {field: f"the cloud's {field}", **stored(doc_type, before)}
            for value in FORGED:
                reason = reason_of(device, {**written_over(old, after), field: value}, old)
                assert reason == f"{field} is for the cloud to write"


# A subscription that says nothing of the cloud may have been deleted and made again.
KEPT_FIELDS = [row for row in CLOUD_FIELDS if row != ("subscription", "error")]


@pytest.mark.parametrize(("doc_type", "field"), KEPT_FIELDS)
def test_what_the_cloud_writes_a_device_does_not_remove(
    device: Device, doc_type: str, field: str
) -> None:
    for before, after in moves_of(doc_type):
        # But an error is got over with the state.
        if before and not (field == "error" and before != after and doc_type != "device"):
            old = {field: f"the cloud's {field}", **stored(doc_type, before)}
            reason = reason_of(device, without(written_over(old, after), field), old)
            assert reason == f"{field} is for the cloud to write"


@pytest.mark.parametrize("doc_type", ["channel", "invitation"])
def test_an_error_goes_when_a_document_is_asked_for_again(device: Device, doc_type: str) -> None:
    old = stored(doc_type, "error")
    assert device.may(without(written_over(old, "new"), "error"), old)


def moves_of(doc_type: str) -> list[tuple[str | None, str]]:
    return [(before, after) for before, afters in WRITES[doc_type].items() for after in afters]


def reason_of(device: Device, new: JsonDict, old: JsonDict | None = None) -> str:
    reason = device.refusal(new, old)
    assert reason is not None, f"{new} is written over {old}"
    return reason


def test_the_order_of_keys_in_what_the_cloud_wrote_does_not_matter(device: Device) -> None:
    old = stored("channel", "error", error={"reason": "a", "at": {"x": [1, {"y": 2, "z": 3}]}})
    same = {"at": {"x": [1, {"z": 3, "y": 2}]}, "reason": "a"}
    assert device.may({**old, "error": same, "name": "Other"}, old)


@pytest.mark.parametrize(
    "other",
    [
        {"reason": "a", "list": {"0": 1}},
        {"reason": "a", "list": [1, 2]},
        {"reason": "a", "list": ["1"]},
        {"reason": "a", "list": [1], "more": None},
        {"reason": "a"},
        {"reason": "a", "other": [1]},
        "a",
        None,
    ],
    ids=repr,
)
def test_what_the_cloud_wrote_is_compared_to_its_depth(device: Device, other: object) -> None:
    old = stored("channel", "error", error={"reason": "a", "list": [1]})
    assert reason_of(device, {**old, "error": other}, old) == "error is for the cloud to write"


@pytest.mark.parametrize(
    "inherited",
    [
        {"_deleted": True},
        {"syncpoint": "the cloud's syncpoint"},
        {"type": "channel"},
        {"__proto__": {"_deleted": True}},
    ],
    ids=repr,
)
@pytest.mark.parametrize("copied", [False, True])
def test_no_field_can_be_called_proto(device: Device, inherited: JsonDict, copied: bool) -> None:
    old = stored("channel", "ready")
    kept = {name: value for name, value in old.items() if name not in inherited}
    for new, before in (({**kept, "__proto__": inherited}, old), ({"__proto__": inherited}, None)):
        reason = device.refusal(new, before, copied=copied)
        assert reason == "no field can be called __proto__"


# Channels.


@pytest.mark.parametrize("name", [None, "", 1, True, [], {}, "x" * 81], ids=repr)
def test_a_channels_name_is_a_text_of_1_to_80_characters(device: Device, name: object) -> None:
    reason = "name must be a text of 1 to 80 characters"
    assert reason_of(device, a_doc("channel", "new", name=name)) == reason
    old = stored("channel", "ready")
    assert reason_of(device, {**old, "name": name}, old) == reason


def test_a_channel_may_be_renamed_or_have_no_name(device: Device) -> None:
    old = stored("channel", "ready")
    assert device.may({**old, "name": "x" * 80}, old)
    assert device.may(without(old, "name"), old)


@pytest.mark.parametrize("public", [None, 0, 1, "true", [], {}], ids=repr)
def test_a_channel_is_public_or_not(device: Device, public: object) -> None:
    reason = reason_of(device, a_doc("channel", "new", public=public))
    assert reason == "public must be true or false"


@pytest.mark.parametrize("public", [True, False])
def test_an_owner_says_whether_a_channel_is_public(device: Device, public: bool) -> None:
    old = stored("channel", "ready")
    assert device.may({**old, "public": public}, old)


@pytest.mark.parametrize(
    "members",
    [["c"], ["a", "b", "c"], ["a", "a"], ["a", "a", "b"], [["a"]], [None], [{}], [{"toString": 1}]],
    ids=repr,
)
def test_members_only_ever_become_fewer(device: Device, members: list[object]) -> None:
    old = stored("channel", "ready", members=["a", "b"])
    reason = reason_of(device, {**old, "members": members}, old)
    assert reason == "members come in by invitation only, and once"


@pytest.mark.parametrize("members", [None, "a", "ab", {}, {"0": "a"}, 1, True], ids=repr)
def test_members_are_a_list(device: Device, members: object) -> None:
    old = stored("channel", "ready", members=["a", "b"])
    assert reason_of(device, {**old, "members": members}, old) == "members must be a list"
    assert reason_of(device, a_doc("channel", "new", members=members)) == "members must be a list"


def test_a_list_of_members_does_not_get_lost_by_itself(device: Device) -> None:
    old = stored("channel", "ready", members=["a"])
    assert reason_of(device, without(old, "members"), old) == "members must be a list"


@pytest.mark.parametrize("members", [[], ["a"], ["b"], ["b", "a"]], ids=repr)
def test_an_owner_may_part_with_members(device: Device, members: list[str]) -> None:
    old = stored("channel", "ready", members=["a", "b"])
    assert device.may({**old, "members": members}, old)


def test_a_new_channel_has_no_members(device: Device) -> None:
    assert device.may(a_doc("channel", "new", members=[]))
    assert not device.may(a_doc("channel", "new", members=[GUEST]))
    assert not device.may(a_doc("channel", "new", members=[OWNER]))


def test_a_guest_changes_nothing_of_a_shared_channel(device: Device) -> None:
    old = stored("channel", "shared")
    for changes in ({"name": "Mine"}, {"public": True}, {"owner": GUEST}, {"state": "ready"}):
        assert not device.may({**old, **changes}, old)


# Subscriptions.


def test_a_subscription_has_the_well_known_id(device: Device) -> None:
    assert device.may(a_doc("subscription", "active"))
    for wrong in ("holidays", f"other-sub-{OWNER}", f"holidays-sub-{GUEST}", f"-sub-{OWNER}", ""):
        reason = reason_of(device, a_doc("subscription", "active", _id=wrong))
        assert reason.endswith(f"here holidays-sub-{OWNER}")


@pytest.mark.parametrize("channel", [None, 1, ["holidays"], {}, {"toString": 1}], ids=repr)
def test_a_subscription_is_to_a_channel(device: Device, channel: object) -> None:
    new = a_doc("subscription", "active", channel=channel, _id=f"{channel}-sub-{OWNER}")
    assert reason_of(device, new) == "channel must be the id of a channel"


def test_a_subscription_stays_with_its_channel_and_its_remote(device: Device) -> None:
    old = stored("subscription", "active")
    assert not device.may({**old, "channel": "other"}, old)
    for remote in ("https://elsewhere.example.com/db-1", None, ""):
        assert reason_of(device, {**old, "remote": remote}, old) == "remote does not change"


def test_what_the_cloud_stopped_stays_stopped(device: Device) -> None:
    old = stored("subscription", "stopped", reason="the channel was closed")
    assert {state for state in STATES if device.may({**old, "state": state}, old)} == {"stopped"}
    reason = reason_of(device, {**old, "state": "active"}, old)
    assert reason == "the cloud stopped it: the channel was closed"


@pytest.mark.parametrize(
    "security",
    [None, {}, {"members": {}}, {"members": {"roles": []}}, {"members": {"roles": ["family"]}}],
    ids=repr,
)
def test_on_a_device_whose_database_knows_no_owner_subscriptions_come_in(
    device: Device, security: JsonDict | None
) -> None:
    assert device.refusal(a_doc("subscription", "active"), None, security) is None


# Invitations.

AGAIN = [before for before in WRITES["invitation"] if before in {"declined", "withdrawn", "error"}]


@pytest.mark.parametrize("generation", [0, 2, None, -1, 2.5, "3", [3], True, 1e9, {"valueOf": 1}])
@pytest.mark.parametrize("before", [*AGAIN, "expired", "sent"])
def test_an_invitation_is_sent_again_with_a_higher_generation_only(
    device: Device, before: str, generation: object
) -> None:
    old = stored("invitation", before)
    assert "generation" in reason_of(device, {**old, "state": "new", "generation": generation}, old)


@pytest.mark.parametrize("before", [*AGAIN, "expired"])
def test_an_invitation_that_is_sent_again_may_go_to_somebody_else(
    device: Device, before: str
) -> None:
    changes = {"state": "new", "generation": 3, "email": "eve@example.com", "channel": "other"}
    old = stored("invitation", before)
    assert device.may({**old, **changes}, old)


@pytest.mark.parametrize("generation", [None, "x", [1], -1, 0.5], ids=repr)
def test_an_invitation_with_an_odd_generation_can_be_mended(
    device: Device, generation: object
) -> None:
    old = stored("invitation", "error", generation=generation)
    assert device.may({**old, "state": "new", "generation": 0}, old)


@pytest.mark.parametrize("generation", [None, -1, 0.5, "1", [], True, 1e9], ids=repr)
def test_a_new_invitations_generation_is_a_whole_number(device: Device, generation: object) -> None:
    reason = reason_of(device, a_doc("invitation", "new", generation=generation))
    assert reason == "generation must be a whole number, 0 or more"


def test_an_invitation_without_a_generation_is_in_its_first(device: Device) -> None:
    new = a_doc("invitation", "new")
    del new["generation"]
    assert device.may(new)
    old = {**new, "state": "expired", "sent_at": "2026-11-23T06:00:00Z"}
    assert not device.may({**old, "state": "new"}, old)
    assert device.may({**old, "state": "new", "generation": 1}, old)


@pytest.mark.parametrize("field", ["email", "channel", "generation"])
@pytest.mark.parametrize("before", ["new", "sent", "withdrawn", "declined", "expired", "error"])
def test_what_a_mail_was_sent_by_does_not_change_under_it(
    device: Device, field: str, before: str
) -> None:
    """The claim of the step is the generation's: another address would never get its mail."""
    old = stored("invitation", before)
    for after in TYPES["invitation"].direct(before):
        for value in ("eve@example.com", 1, None):
            assert field in reason_of(device, {**old, "state": after, field: value}, old)


# Several steps at once.

CHAINS: dict[str, tuple[JsonDict | None, JsonDict]] = {
    "a sent invitation is withdrawn and deleted": (
        stored("invitation", "sent"),
        {"_id": IDS["invitation"], "_deleted": True},
    ),
    "a sent invitation is withdrawn and sent again": (
        stored("invitation", "sent"),
        stored("invitation", "new", generation=3, email="eve@example.com"),
    ),
    "a new invitation is withdrawn and sent again": (
        a_doc("invitation", "new"),
        a_doc("invitation", "new", generation=3),
    ),
    "an invitation in error is sent again and withdrawn": (
        stored("invitation", "error"),
        without(stored("invitation", "withdrawn", generation=3), "error"),
    ),
    "an invitation is made and withdrawn": (NOTHING, a_doc("invitation", "withdrawn")),
    "a sent invitation is deleted and made again": (
        stored("invitation", "sent"),
        a_doc("invitation", "new", generation=0, email="eve@example.com"),
    ),
    "a channel is made and closed": (NOTHING, a_doc("channel", "closing")),
    "a channel in error is mended and closed": (
        stored("channel", "error"),
        without(stored("channel", "closing"), "error"),
    ),
    "a closed channel is deleted and made again": (
        stored("channel", "closed"),
        a_doc("channel", "new"),
    ),
    "a subscription is deleted and made again": (
        stored("subscription", "active"),
        a_doc("subscription", "paused", remote="https://couch.example.com/db-2"),
    ),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_steps_that_were_taken_offline_arrive_as_one(device: Device, chain: str) -> None:
    old, new = CHAINS[chain]
    assert device.refusal(new, old) is None


def after_steps(data: st.DataObject) -> list[JsonDict | None]:
    """Documents as a device leaves them one after the other, each by a step from the one before."""
    doc_type, before = data.draw(st.sampled_from([row for row in ROWS if row[0] != "confirm"]))
    here = stored(doc_type, before) if before else NOTHING
    chain = [here]
    for _ in range(data.draw(st.integers(2, 5))):
        steps = [doc for doc in tries(here, doc_type) if moves.is_step(here, doc)]
        if not steps:
            break
        here = data.draw(st.sampled_from(steps))
        chain.append(here)
    return chain


def tries(here: JsonDict | None, doc_type: str) -> Iterator[JsonDict | None]:
    """What a device might write next, allowed or not."""
    yield NOTHING
    for state in STATES_OF[doc_type]:
        fresh = a_doc(doc_type, state)
        if here is NOTHING:
            yield fresh
            continue
        for fields in ({}, {"generation": 3}, {"generation": 7, "email": "eve@example.com"}):
            yield {**here, "state": state, "note": state, **fields}
            yield without({**here, "state": state, **fields}, "error")
            yield {**here, "state": state, "members": [], "name": "x" * 80}


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_chain_of_steps_is_accepted_step_by_step_is_accepted_as_one(
    device: Device, data: st.DataObject
) -> None:
    chain = after_steps(data)
    assume(len(chain) > 1)
    for before, after in itertools.pairwise(chain):
        assert is_accepted(device, after, before)
    assert is_accepted(device, chain[-1], chain[0])


def is_accepted(device: Device, new: JsonDict | None, old: JsonDict | None) -> bool:
    """Whether a device may write a document, or its deletion, over another."""
    gone = {"_id": (old or {}).get("_id", "gone"), "_deleted": True}
    return device.may(gone if new is NOTHING else new, old)


@pytest.mark.parametrize(
    ("doc_type", "state"),
    [("channel", "ready"), ("channel", "closing"), ("invitation", "accepting")],
)
def test_what_may_not_be_deleted_is_not_made_again(
    device: Device, doc_type: str, state: str
) -> None:
    """As if the device had deleted it before: its cloud's fields would go."""
    assert not device.may(a_doc(doc_type, "new"), stored(doc_type, state))


# What says the same.


@pytest.mark.parametrize(("doc_type", "state"), ROWS)
def test_what_says_the_same_is_accepted_but_of_a_device_or_an_answer(
    device: Device, doc_type: str, state: str | None
) -> None:
    """It undoes what a device wrote.

    A device that is to be revoked could hide that by it. An old answer would be given again.
    """
    if state:
        old = stored(doc_type, state, more=[1, {"a": None}])
        again = {**old, "_rev": "3-c", "_revisions": {"start": 3, "ids": ["c", "b", "a"]}}
        is_answer = (doc_type, state) == ("invitation", "accepting")
        assert device.may(again, old) is (doc_type not in ("device", "confirm") and not is_answer)
        if state not in WRITES[doc_type][state]:
            for other in ({**again, "more": [1]}, {**again, "added": 1}, without(again, "more")):
                assert not device.may(other, old)


# The form of every document.

MAX_NUMBER = 2**53 - 1
TOO_LARGE = f"a number is too large: the largest is {MAX_NUMBER}"


@pytest.mark.parametrize(
    "number",
    [10**400, -(10**400), 10**300, MAX_NUMBER + 1, -MAX_NUMBER - 1],
    ids=["infinite", "minus infinite", "of 300 digits", "too large", "too small"],
)
@pytest.mark.parametrize("doc_type", ["channel", "subscription", "invitation"])
def test_no_number_is_stored_with_more_digits_than_are_counted(
    device: Device, doc_type: str, number: int
) -> None:
    """JavaScript writes 10**300 as `1e+300`; CouchDB stores all of its digits."""
    new = a_doc(doc_type, min(WRITES[doc_type][NOTHING]))
    for value in (number, [number], {"a": [{"b": number}]}):
        assert reason_of(device, {**new, "notes": value}) == TOO_LARGE
    gone = {"_id": new["_id"], "_deleted": True, "notes": number}
    assert reason_of(device, gone) == TOO_LARGE
    assert device.may({**new, "notes": [MAX_NUMBER, -MAX_NUMBER, 1.5e-300]})


def nested_value(levels: int, inner: object) -> object:
    """Objects and lists in each other."""
    for level in range(levels):
        inner = [inner] if level % 2 else {"a": inner}
    return inner


@pytest.mark.parametrize("inner", [1, "x", {}, []], ids=repr)
def test_values_are_nested_twenty_levels_deep_at_most(device: Device, inner: object) -> None:
    levels = 19 if isinstance(inner, dict | list) else 20
    reason = "values are nested at most 20 levels deep"
    for doc_type in ("channel", "subscription", "invitation"):
        new = a_doc(doc_type, min(WRITES[doc_type][NOTHING]))
        assert device.may({**new, "notes": nested_value(levels, inner)})
        assert reason_of(device, {**new, "notes": nested_value(levels + 1, inner)}) == reason
    gone = {"_id": "x", "_deleted": True, "notes": nested_value(levels + 1, inner)}
    assert reason_of(device, gone) == reason


def test_what_was_too_deep_before_the_rule_can_be_mended_and_deleted(device: Device) -> None:
    old = stored("invitation", "sent", notes=nested_value(500, 1))
    assert device.may(without({**old, "state": "withdrawn"}, "notes"), old)
    assert device.may({"_id": old["_id"], "_deleted": True}, old)
    assert not device.may({**old, "state": "withdrawn"}, old)


@pytest.mark.parametrize("doc_type", ["channel", "subscription", "invitation"])
def test_no_device_begins_a_document_where_the_cloud_shares_a_channel(
    device: Device, doc_type: str
) -> None:
    shared = f"db-{'0123456789abcdef' * 2}"
    new = a_doc(doc_type, min(WRITES[doc_type][NOTHING]), _id=shared, channel="x")
    reason = reason_of(device, new)
    assert reason == "an _id of this form is for a channel that somebody shares with you"
    assert reason_of(device, new, stored("channel", "closed", _id=shared))
    for other in (f"{shared}0", shared[:-1], shared.upper(), f"x{shared}"):
        assert doc_type == "subscription" or device.may({**new, "_id": other})


def test_an_invitation_that_stands_there_already_can_be_withdrawn(device: Device) -> None:
    old = stored("invitation", "sent", _id=f"db-{'0' * 32}")
    assert device.may({**old, "state": "withdrawn"}, old)
    assert device.may({"_id": old["_id"], "_deleted": True}, old)


@pytest.mark.parametrize("case", NAMES_OF_PEOPLE, ids=lambda case: case.what)
def test_a_name_is_counted_in_characters(device: Device, case: NameCase) -> None:
    old = stored("channel", "ready")
    assert device.may(a_doc("channel", "new", name=case.name)) is case.has_right_length
    assert device.may({**old, "name": case.name}, old) is case.has_right_length


def test_the_size_of_a_document_is_counted_in_characters(device: Device) -> None:
    smile = "\U0001f600"
    assert device.may(a_doc("channel", "new", notes=smile * 65_000))
    assert device.may(a_doc("channel", "new", **{smile * 65_000: 1}))
    for large in ({"notes": smile * 65_536}, {smile * 65_536: 1}):
        assert not device.may(a_doc("channel", "new", **large))


def test_documents_have_no_attachments(device: Device) -> None:
    attachments = {"a.txt": {"content_type": "text/plain", "data": "aGVsbG8="}}
    for new, old in (
        (a_doc("channel", "new"), None),
        (stored("channel", "ready"), stored("channel", "ready")),
    ):
        reason = reason_of(device, {**new, "_attachments": attachments}, old)
        assert reason == "documents in a control database have no attachments"


def test_documents_are_of_a_bounded_size(device: Device) -> None:
    assert device.may(a_doc("channel", "new", notes="x" * 65_000))
    for large in ({"notes": "x" * 65_536}, {"notes": ["x"] * 20_000}, {"x" * 65_536: 1}):
        reason = reason_of(device, a_doc("channel", "new", **large))
        assert reason == "documents in a control database have at most 65536 characters"


def test_a_channel_that_a_thousand_guests_have_joined_is_renamed_and_closed(device: Device) -> None:
    joined = {f"{number:032x}": f"2026-11-23T06:00:00Z {number}.0" for number in range(1000)}
    old = stored("channel", "ready", joined=joined, members=[GUEST], notes="x" * 65_000)
    assert device.may({**old, "name": "Winter", "members": []}, old)
    assert device.may({**old, "state": "closing"}, old)
    reason = reason_of(device, {**old, "notes": "x" * 65_536}, old)
    assert reason == "documents in a control database have at most 65536 characters"


def test_what_a_device_deletes_is_of_a_bounded_size_under_every_name(device: Device) -> None:
    gone = {"_id": IDS["channel"], "_deleted": True, "type": "channel", "joined": "x" * 65_536}
    reason = reason_of(device, gone, stored("channel", "closed"))
    assert reason == "documents in a control database have at most 65536 characters"


@pytest.mark.parametrize("doc_type", ["channel", "invitation"])
def test_ids_are_of_a_bounded_length(device: Device, doc_type: str) -> None:
    for letter in ("x", "é", "\uffff", "\U0001f600"):
        longest = letter * (1536 // len(letter.encode()))
        assert device.may({**a_doc(doc_type, "new"), "_id": longest})
        reason = reason_of(device, {**a_doc(doc_type, "new"), "_id": longest + letter})
        assert reason == "_id must have at most 1536 bytes"
    old = {**stored(doc_type, "error"), "_id": "x" * 1537}
    assert device.may(old, old)  # what was there before the rule goes on


def test_a_long_history_does_not_count_as_size(device: Device) -> None:
    """CouchDB hands the revisions over with the document, up to a thousand of them."""
    old = stored("channel", "ready")
    history = {"start": 1000, "ids": ["0" * 32] * 1000}
    assert device.may({**old, "notes": "x" * 60_000, "_revisions": history}, old)


# Whatever comes.

NAMES = [
    *sorted(set().union(*CLOUDS.values(), *OWN_FIELDS.values())),
    *("type", "state", "_id", "members", "_deleted", "_attachments", "__proto__"),
    *("constructor", "toString", "valueOf", "hasOwnProperty", "length", "owner", "toJSON"),
]
TEXTS = sorted({*STATES, *WRITES, *IDS.values(), OWNER, GUEST, ROLE, *NAMES})
SCALARS = st.one_of(
    st.sampled_from(TEXTS),
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(-3, 3),
    st.text(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = st.sampled_from(NAMES) | st.text(max_size=3)
ANYTHING = st.dictionaries(FIELDS, VALUES, max_size=4)
LITTLE: st.SearchStrategy[JsonDict] = st.just({}) | st.dictionaries(
    FIELDS, VALUES, min_size=1, max_size=1
)


@st.composite
def writes(draw: st.DrawFn) -> tuple[JsonDict, JsonDict | None]:
    """What a device sends, and what is there; both may be anything, and are often almost right."""
    doc_type, before = draw(st.sampled_from(ROWS))
    after = draw(st.sampled_from(sorted(WRITES[doc_type][before]) or STATES))
    if before is None:
        old, new = None, a_doc(doc_type, after)
    else:
        odd = draw(st.just({}) | ANYTHING.map(without_private))
        old = {**stored(doc_type, before), **odd, "type": doc_type, "state": before}
        again = doc_type == "invitation" and draw(st.booleans())
        new = {**old, "state": after, **({"generation": 3} if again else {})}
    gone = draw(st.sets(st.sampled_from(sorted(new)), max_size=1))
    kept = {name: value for name, value in new.items() if name not in gone}
    return draw(LITTLE.map(lambda fields: {**kept, **fields}) | ANYTHING), old


def check_accepted(new: JsonDict, old: JsonDict | None) -> None:
    """What must hold of whatever a device got past the rules."""
    gone = is_deleted(new)
    assert moves.leads(old, NOTHING if gone else new)


def is_deleted(doc: JsonDict) -> bool:
    """As JavaScript takes it: there an empty list is true, too."""
    return doc.get("_deleted") not in (None, False, 0, "")


@settings(max_examples=400, deadline=None)
@given(write=writes(), copied=st.booleans())
def test_any_document_of_a_device_is_refused_or_leaves_cloud_fields_alone(
    device: Device, write: tuple[JsonDict, JsonDict | None], copied: bool
) -> None:
    new, old = write
    reason = device.refusal(new, old, copied=copied)
    assert reason != ""
    if reason is None:
        if copied:  # then the field is not in what is stored
            new = without(new, "__proto__")
        assert "__proto__" not in new
        check_accepted(new, old)


@pytest.mark.parametrize("doc_type", ["channel", "subscription", "invitation"])
@pytest.mark.parametrize("is_new", [True, False])
def test_of_what_is_tried_some_gets_past_the_rules(
    device: Device, doc_type: str, is_new: bool
) -> None:
    def is_accepted(write: tuple[JsonDict, JsonDict | None]) -> bool:
        new, old = write
        is_meant = new.get("type") == doc_type and (old is None) == is_new
        return is_meant and not is_deleted(new) and device.may(new, old)

    one_is_enough = settings(max_examples=1500, phases=[Phase.generate])
    find(writes(), is_accepted, settings=one_is_enough)


# A public channel.

PUBLIC = {"members": {"names": [], "roles": []}, "syncpoint": {"roles": [ROLE, "owner-second"]}}
NOTE = {"_id": "note", "text": "hello"}


@pytest.mark.parametrize(
    ("roles", "writes"),
    [
        ((ROLE,), True),
        (("owner-second",), True),
        (("owner-third", "owner-second"), True),
        (("_admin",), True),
        ((f"owner-{GUEST}",), False),
        ((), False),
        (("owner",), False),
    ],
    ids=repr,
)
@pytest.mark.parametrize("new", [NOTE, {**NOTE, "_deleted": True}], ids=["write", "delete"])
def test_into_a_public_channel_its_members_write_and_no_others(
    engine: Engine, roles: tuple[str, ...], writes: bool, new: JsonDict
) -> None:
    reason = engine.refusal(text_of(PUBLIC_CHANNEL), new, NOTE, roles, PUBLIC)
    refused = "this channel is public: everyone may read it, only its members may write"
    assert reason == (None if writes else refused)


@pytest.mark.parametrize(
    "security", [None, {}, {"members": {"roles": []}}, {"syncpoint": {}}], ids=repr
)
def test_where_a_public_channel_was_replicated_to_the_devices_own_rules_hold(
    engine: Engine, security: JsonDict | None
) -> None:
    assert engine.refusal(text_of(PUBLIC_CHANNEL), NOTE, None, (), security) is None


def test_a_public_channel_without_writers_is_read_only(engine: Engine) -> None:
    security: JsonDict = {"syncpoint": {"roles": []}}
    assert engine.refusal(text_of(PUBLIC_CHANNEL), NOTE, None, (ROLE,), security) is not None


# The engine.


@pytest.mark.parametrize(
    "body",
    [
        "const x = 1;",
        "let x = 1;",
        "[].map((x) => x);",
        "var s = `x`;",
        "var {a} = newDoc;",
        "for (var x of []) {}",
        "[1].includes(1);",
        "'x'.startsWith('x');",
        "Object.assign({}, {});",
        "Object.values({});",
        "new Map();",
        "globalThis.x;",
        "Number.isInteger(1);",
        "require('fs');",
        "console.log(1);",
        "throw 'a text';",
        "throw({ forbidden: 1 });",
    ],
)
def test_what_an_old_engine_does_not_know_fails_here_too(engine: Engine, body: str) -> None:
    with pytest.raises(ValidationFailed):
        engine.refusal(f"function (newDoc) {{ {body} }}", {})


# Versions.

# A database learns of a change by its version alone. Whoever changes a file in chalicelib/design/
# raises its version in chalicelib/design/__init__.py, and adds the version's line here. The moves
# (chalicelib/domain/moves.py) are part of the text of owner_control.js.
PUBLISHED = {
    ("owner_control.js", 1): "f7e0a18a031e2cf250f1507d502e28c4b6e2246be249dbce62405d2a6c7a5d7d",
    ("owner_control.js", 2): "4d4f9ea7b3b46e91836ccab31d77656b2266581a8e1f64cd3655a9c9e620cb8e",
    ("owner_control.js", 3): "516ae500a26fec7c00fb39b1ca506ba92f68740a3961d362000941f03f8b80fd",
    ("owner_control.js", 4): "38c71896b9fb7429ec981e97382616487530ace126c4902900e29a969e9f8f52",
    ("owner_control.js", 5): "3a76a96c5f078b1d5df9991a52c3d1fc1623b5c7c8f732528d2e08fa6e13a3bb",
    ("public_channel.js", 1): "393f43182a818b5075466fb294f906c1dc30144ac093aa017a790afc9897b9c6",
}


@pytest.mark.parametrize("design", [OWNER_CONTROL, PUBLIC_CHANNEL], ids=lambda design: design.file)
def test_a_changed_file_has_a_higher_version(design: DesignDoc) -> None:
    digest = hashlib.sha256(text_of(design).encode()).hexdigest()
    published = PUBLISHED.get((design.file, design.version))
    assert digest == published, (
        f"{design.file} has changed: raise its version in chalicelib/design/__init__.py, and add "
        f"({design.file!r}, <the new version>): {digest!r} to PUBLISHED, below the older ones"
    )
    assert design.version == max(number for file, number in PUBLISHED if file == design.file)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_earlier_versions_that_tests_install_are_those_published(version: int) -> None:
    digest = hashlib.sha256(text_of_version(version).encode()).hexdigest()
    assert digest == PUBLISHED["owner_control.js", version]


def test_a_design_document_is_what_couchdb_takes_for_one() -> None:
    for design in (OWNER_CONTROL, PUBLIC_CHANNEL):
        assert design.doc == {
            "_id": DESIGN_ID,
            "language": "javascript",
            "version": design.version,
            "validate_doc_update": text_of(design),
        }
        assert text_of(design).startswith("function (newDoc, oldDoc, userCtx, secObj) {")
