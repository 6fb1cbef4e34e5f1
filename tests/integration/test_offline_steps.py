"""Steps that a device took offline: what the rules let through as one, and what becomes of it."""

import re
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from chalicelib.couch import CouchError, NotFound, Server
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import channel_db, owner_role
from chalicelib.engine.runner import Outcome
from chalicelib.web import invitation as pages
from tests.kit.cases.attacks import nested_text
from tests.kit.cloud.access import (
    as_device,
    by_a_forged_branch,
    by_put,
    by_replication,
    by_steps_offline,
    contents,
    roles,
)
from tests.kit.cloud.steps import Owner

INVITATION, CHANNEL = "invitation-1", "channel-photos"
ACCEPT = b"answer=accept"
WINS, LOSES = "f" * 32, "0" * 32


@pytest.fixture
def ada(ada: Owner) -> Owner:
    """An owner with a channel."""
    ada.channel()
    return ada


@pytest.fixture
def code(ada: Owner, guest: str) -> str:
    """The token in the link that the guest got."""
    ada.invite(guest)
    return ada.steps.invitation_code()


def sync(ada: Owner, doc: JsonDict, edits: int = 1, digest: str = "") -> None:
    """One of the owner's devices replicates what it did offline; the rules must take it."""
    refused = by_steps_offline(as_device(ada), ada.control, doc, edits, digest)
    assert refused is None


def answer(ada: Owner, code: str) -> int:
    return pages.answer(ada.steps.context, code, ACCEPT).status


def title_of(ada: Owner, code: str) -> str:
    return pages.show(ada.steps.context, code, "answered").body.partition("<h1>")[2].split("</")[0]


def settle(ada: Owner) -> JsonDict | None:
    """The invitation after all its transitions have run."""
    for _ in range(5):
        doc = ada.control.find_one(INVITATION)
        if doc is None or doc["state"] not in ("new", "accepting"):
            return doc
        ada.run(INVITATION)
    raise AssertionError("an invitation that goes on and on")


def is_shared(ada: Owner, guest: str) -> bool:
    """Whether a guest got anything of the channel, in any place."""
    guest_id = owner_id_of(guest)
    in_rights = owner_role(guest_id) in roles(ada.channel_database())
    assert in_rights is (guest_id in ada.control.get(CHANNEL).get("members", []))
    theirs = ada.steps.control_db_of(guest)
    try:
        found = contents(theirs).values()
    except NotFound:
        return in_rights
    assert in_rights is any(doc.get("state") == "shared" for doc in found)
    return in_rights


def again(doc: JsonDict, generation: int = 1, **fields: Any) -> JsonDict:
    return {**doc, "state": "new", "generation": generation, **fields}


def gone(doc: JsonDict) -> JsonDict:
    return {"_id": doc["_id"], "_rev": doc["_rev"], "_deleted": True}


def made_again(doc: JsonDict, email: str) -> JsonDict:
    """The invitation as it was made once more, after it was deleted."""
    own = ("_id", "_rev", "type", "channel")
    return {**{name: doc[name] for name in own}, "state": "new", "email": email}


# Without a conflict.


def test_an_invitation_that_was_withdrawn_and_deleted_is_gone(
    ada: Owner, guest: str, code: str
) -> None:
    sync(ada, gone(ada.control.get(INVITATION)), edits=2)
    assert ada.control.find_one(INVITATION) is None
    assert (answer(ada, code), title_of(ada, code)) == (404, "This link leads nowhere")
    assert not is_shared(ada, guest)


def test_an_invitation_withdrawn_and_sent_again_has_another_link(
    ada: Owner, guest: str, code: str
) -> None:
    sync(ada, again(ada.control.get(INVITATION)), edits=2)
    assert answer(ada, code) == 410
    assert settle(ada) is not None
    assert (answer(ada, code), title_of(ada, code)) == (410, "There is a newer link")
    assert not is_shared(ada, guest)
    assert answer(ada, ada.steps.invitation_code()) == 303
    settle(ada)
    assert is_shared(ada, guest)


@pytest.mark.parametrize("state", ["withdrawn", "deleted"])
def test_a_new_invitation_that_was_taken_back_is_not_mailed(
    ada: Owner, guest: str, state: str
) -> None:
    sent = len(ada.steps.mailer.sent)
    doc = {"_id": INVITATION, "type": "invitation", "state": "new", "email": guest}
    doc = ada.put({**doc, "channel": CHANNEL})
    message = ada.steps.message(INVITATION, ada.control)
    sync(ada, {**doc, "state": state} if state == "withdrawn" else gone(doc), edits=2)
    assert ada.steps.deliver(message) is Outcome.STALE
    assert len(ada.steps.mailer.sent) == sent


def test_an_invitation_that_was_made_and_withdrawn_offline_is_not_mailed(
    ada: Owner, guest: str
) -> None:
    sent = len(ada.steps.mailer.sent)
    doc = {"_id": INVITATION, "type": "invitation", "state": "withdrawn", "email": guest}
    sync(ada, {**doc, "channel": CHANNEL}, edits=2)
    assert settle(ada) == ada.control.get(INVITATION)
    assert len(ada.steps.mailer.sent) == sent


def test_a_channel_that_was_made_and_closed_offline_is_closed(ada: Owner, server: Server) -> None:
    doc = {"_id": "channel-short", "type": "channel", "state": "closing", "name": "Short"}
    sync(ada, doc, edits=3)
    assert ada.after("channel-short")["state"] == "closed"
    with pytest.raises(NotFound):
        server.database(channel_db(ada.id, "channel-short")).info()
    sync(ada, gone(ada.control.get("channel-short")))
    assert ada.control.find_one("channel-short") is None


def test_a_closed_channel_that_was_made_again_offline_has_a_database(
    ada: Owner, server: Server
) -> None:
    ada.edit(CHANNEL, state="closing")
    closed = ada.after(CHANNEL)
    doc = {"_id": CHANNEL, "_rev": closed["_rev"], "type": "channel", "state": "new"}
    sync(ada, {**doc, "name": "Other photos"}, edits=2)
    assert ada.after(CHANNEL)["state"] == "ready"
    assert server.database(channel_db(ada.id, CHANNEL)).get("description")["name"] == "Other photos"


# The guest answers while the owner's device is offline.


@dataclass(frozen=True)
class Case:
    """What the owner did offline, and the state of the invitation in the end."""

    kind: str
    edits: int
    state: str | None

    def doc(self, sent: JsonDict) -> JsonDict:
        return {
            "withdrawn": {**sent, "state": "withdrawn"},
            "deleted": gone(sent),
            "sent again": again(sent),
            "sent again and withdrawn": {**again(sent), "state": "withdrawn"},
            "made again for another": made_again(sent, "eve@example.com"),
        }[self.kind]


CASES = [
    Case("withdrawn", 1, "withdrawn"),
    Case("withdrawn", 4, "withdrawn"),
    Case("deleted", 1, "withdrawn"),
    Case("deleted", 2, "withdrawn"),
    Case("deleted", 5, "withdrawn"),
    Case("sent again", 2, "sent"),
    Case("sent again and withdrawn", 3, "withdrawn"),
    Case("made again for another", 3, "sent"),
]
IDS = [f"{case.kind} in {case.edits}" for case in CASES]


@pytest.mark.parametrize("digest", [WINS, LOSES], ids=["wins", "loses"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_who_takes_an_invitation_back_wins_over_an_answer_that_is_not_done_yet(
    ada: Owner, guest: str, code: str, case: Case, digest: str
) -> None:
    sent = ada.control.get(INVITATION)
    assert answer(ada, code) == 303
    message = ada.steps.message(INVITATION, ada.control)
    sync(ada, case.doc(sent), case.edits, digest)
    ada.steps.deliver(message)
    doc = settle(ada)
    assert doc is not None
    assert doc["state"] == case.state
    assert not is_shared(ada, guest)
    assert answer(ada, code) in (404, 410)
    assert title_of(ada, code) in (
        *("This invitation was withdrawn", "There is a newer link", "This link leads nowhere"),
    )
    for late in ada.steps.messages:
        ada.steps.deliver(late)
    assert not is_shared(ada, guest)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_an_answer_after_an_invitation_was_taken_back_counts_for_nothing(
    ada: Owner, guest: str, code: str, case: Case
) -> None:
    """Another device has written a note meanwhile, and its revision is the one that is shown."""
    sent = ada.control.get(INVITATION)
    sync(ada, {**sent, "note": "by another device"}, 7, WINS)
    sync(ada, case.doc(sent), case.edits, LOSES)
    assert ada.control.get(INVITATION)["state"] == "sent"
    assert answer(ada, code) == 303
    doc = settle(ada)
    assert doc is not None
    assert doc["state"] == case.state
    assert not is_shared(ada, guest)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_guest_who_is_a_member_already_stays_one(
    ada: Owner, guest: str, code: str, case: Case
) -> None:
    sent = ada.control.get(INVITATION)
    assert answer(ada, code) == 303
    message = ada.steps.message(INVITATION, ada.control)
    assert ada.run(INVITATION) is Outcome.SAVED
    sync(ada, case.doc(sent), case.edits, LOSES)
    ada.steps.deliver(message)
    settle(ada)
    assert is_shared(ada, guest)


def test_an_acceptance_that_stopped_halfway_goes_on(ada: Owner, guest: str, code: str) -> None:
    """The guest is a member by it, so a withdrawal that comes then is too late."""
    sent = ada.control.get(INVITATION)
    assert answer(ada, code) == 303

    def fail() -> None:
        raise ConnectionError

    with (
        pytest.raises(ConnectionError),
        ada.steps.meanwhile(ada.channel_database(), "put_security", fail),
    ):
        ada.run(INVITATION)
    sync(ada, {**sent, "state": "withdrawn"}, 1, LOSES)
    assert ada.after(INVITATION)["state"] == "accepted"
    assert is_shared(ada, guest)


@pytest.mark.parametrize("kind", ["deleted", "withdrawn"])
def test_a_guest_who_is_invited_again_can_accept(
    ada: Owner, guest: str, code: str, kind: str
) -> None:
    sent = ada.control.get(INVITATION)
    answer(ada, code)
    sync(ada, Case(kind, 5, None).doc(sent), 5, LOSES)
    doc = settle(ada)
    assert doc is not None
    assert doc["state"] == "withdrawn"
    ada.put(again(doc))
    settle(ada)
    assert answer(ada, ada.steps.invitation_code()) == 303
    settle(ada)
    assert is_shared(ada, guest)


def test_a_deleted_invitation_whose_conflict_comes_up_is_not_accepted(
    ada: Owner, guest: str, code: str
) -> None:
    """Two revisions are in conflict; the owner withdraws and deletes the one that is shown."""
    sent = ada.control.get(INVITATION)
    sync(ada, {**sent, "note": "kept"}, 1, LOSES)
    sync(ada, {**sent, "note": "deleted"}, 1, WINS)
    sync(ada, gone(ada.control.get(INVITATION)), 2)
    assert ada.control.get(INVITATION)["note"] == "kept"
    answer(ada, code)
    doc = settle(ada)
    assert doc is not None
    assert doc["state"] == "withdrawn"
    assert not is_shared(ada, guest)


def test_an_answer_with_too_many_conflicts_is_an_error(ada: Owner, guest: str, code: str) -> None:
    sent = ada.control.get(INVITATION)
    for number in range(20):
        sync(ada, {**sent, "notes": "x" * 60_000, "note": number}, 1, f"{number:032x}")
    assert answer(ada, code) == 303
    doc = settle(ada)
    assert doc is not None
    assert doc["error"]["reason"].startswith("too many revisions are in conflict")
    assert not is_shared(ada, guest)


# What is refused all the same.


def test_no_chain_leads_to_what_only_the_cloud_writes(ada: Owner, code: str) -> None:
    sent = ada.control.get(INVITATION)
    channel = ada.control.get(CHANNEL)
    refused: list[JsonDict] = [
        {**sent, "state": "accepting"},
        {**sent, "state": "accepted"},
        {**sent, "state": "withdrawn", "expires_at": "2099-01-01T00:00:00Z"},
        {**sent, "state": "new"},
        {**sent, "state": "new", "generation": 0},
        {**sent, "state": "withdrawn", "email": "eve@example.com"},
        {**channel, "state": "new"},
        {**channel, "state": "closed"},
        {"_id": CHANNEL, "_rev": channel["_rev"], "_deleted": True},
        {"_id": ada.device.device_id, "_deleted": True, "_rev": device_rev(ada)},
    ]
    before = contents(ada.control)
    for doc in refused:
        answered = by_steps_offline(as_device(ada), ada.control, doc, 3)
        assert isinstance(answered, CouchError), doc
        assert (answered.status, answered.error) == (403, "forbidden")
    assert contents(ada.control) == before


def device_rev(ada: Owner) -> str:
    return str(ada.control.get(ada.device.device_id)["_rev"])


def test_a_device_brings_back_what_the_cloud_has(ada: Owner, ben: Owner) -> None:
    """It had written what is refused, and writes the cloud's version over that."""
    ada.share(ben.address)
    shared = ben.control.get(ada.channel_database().name)
    assert by_replication(as_device(ben), ben.control, {**shared, "name": "Mine"}) is not None
    sync(ben, shared, edits=2)
    after = ben.control.get(shared["_id"])
    assert {**after, "_rev": ""} == {**shared, "_rev": ""}
    assert after["_rev"].startswith(f"{int(shared['_rev'].split('-')[0]) + 2}-")


def test_a_device_does_not_hide_its_revocation_by_what_it_was(ada: Owner) -> None:
    active = ada.control.get(ada.device.device_id)
    ada.edit(active["_id"], state="revoking")
    refused = by_steps_offline(as_device(ada), ada.control, active, 900)
    assert refused is not None
    assert ada.control.get(active["_id"])["state"] == "revoking"


# What no device writes.

WRITES = [by_put, by_replication, by_a_forged_branch]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("doc_type", ["channel", "subscription", "invitation"])
def test_no_device_stands_where_a_channel_will_be_shared(
    ada: Owner, ben: Owner, write: Any, doc_type: str
) -> None:
    shared = ada.channel_database().name
    state = "active" if doc_type == "subscription" else "new"
    doc = {"_id": shared, "type": doc_type, "state": state, "channel": "x", "email": "x"}
    refused = write(as_device(ben), ben.control, doc)
    assert isinstance(refused, CouchError)
    assert refused.reason == "an _id of this form is for a channel that somebody shares with you"
    ada.share(ben.address)
    assert ben.control.get(shared)["state"] == "shared"


@pytest.mark.parametrize("write", WRITES)
def test_no_device_writes_what_is_nested_deeply(ada: Owner, write: Any) -> None:
    deep: Any = []
    for _ in range(20):
        deep = [deep]
    doc = {"_id": "deep", "type": "channel", "state": "new", "notes": deep}
    refused = write(as_device(ada), ada.control, doc)
    assert isinstance(refused, CouchError)
    assert (refused.status, refused.reason) == (403, "values are nested at most 20 levels deep")
    assert write(as_device(ada), ada.control, {**doc, "notes": deep[0]}) is None


def raw(ada: Owner, body: str) -> requests.Response:
    """What CouchDB answers a device that writes documents in whatever bytes."""
    return requests.post(
        f"{ada.control.url}/_bulk_docs",
        data=body.encode(),
        headers={"Content-Type": "application/json"},
        auth=(ada.device.device_id, ada.device.password),
        timeout=60,
    )


@dataclass(frozen=True)
class Unreadable:
    """A value, and the errors by which CouchDB may refuse it before the rules see it."""

    json: str
    errors: tuple[str, ...] = ()


# A number of that kind is not even CouchDB's to read: 400 or 500.
NO_NUMBER = ("bad_request", "unknown_error")
VALUES = {
    "1,500 deep": Unreadable(nested_text(1_500)),
    "20,000 deep": Unreadable(nested_text(20_000)),
    "100,000 deep": Unreadable(nested_text(100_000), ("os_process_error",)),
    "a number beyond all": Unreadable("1e400", NO_NUMBER),
    "a number of 400 digits": Unreadable("9" * 400, NO_NUMBER),
    "a negative number of 400 digits": Unreadable("-" + "9" * 400, NO_NUMBER),
    "a number of 5,000 digits": Unreadable("9" * 5_000, NO_NUMBER),
    "a number of 5,000 digits with a point": Unreadable("9" * 5_000 + ".5", NO_NUMBER),
    "a number of 200,000 digits": Unreadable("9" * 200_000, NO_NUMBER),
}


@pytest.mark.parametrize("is_replicated", [True, False])
@pytest.mark.parametrize("what", VALUES)
def test_what_no_program_can_read_is_refused_and_the_server_goes_on(
    ada: Owner, what: str, is_replicated: bool
) -> None:
    value = VALUES[what]
    rev = f'"_rev":"1-{"a" * 32}",' if is_replicated else ""
    doc = f'{{"_id":"odd",{rev}"type":"channel","state":"new","x":{value.json}}}'
    answered = raw(ada, f'{{"new_edits":{"false" if is_replicated else "true"},"docs":[{doc}]}}')
    [refused] = answered.json() if answered.status_code == 201 else [answered.json()]
    assert refused["error"] in ("forbidden", *value.errors)
    if refused["error"] == "forbidden":
        assert re.search("levels deep|too large", refused["reason"])
    assert ada.control.find_one("odd") is None
    after = {"_id": "after", "type": "channel", "state": "new"}
    assert by_put(as_device(ada), ada.control, after) is None
