"""Too much, too deep, too many: it is refused, or in error with a reason, and others go on."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

from chalicelib.couch import Unreadable
from chalicelib.domain.documents import JsonDict
from chalicelib.engine.runner import Message, Outcome
from syncpoint_device.registration import NewDevice
from tests.kit.basics import a_device, an_address
from tests.kit.cases.attacks import FORMS, documents_too_large, nested_text
from tests.kit.cloud.access import as_device, contents
from tests.kit.cloud.site import Batch, Site, handle_messages
from tests.kit.cloud.steps import Owner


@dataclass(frozen=True)
class Login:
    """Who writes: a name and a password."""

    name: str
    password: str

    @classmethod
    def of(cls, device: NewDevice) -> "Login":
        return cls(device.device_id, device.password)


def put(url: str, login: Login, body: str) -> requests.Response:
    """Write a document in whatever bytes."""
    return requests.put(
        url,
        data=body.encode(),
        headers={"Content-Type": "application/json"},
        auth=(login.name, login.password),
        timeout=30,
    )


def put_all(ada: Owner, login: Login) -> dict[str, int]:
    """Write every document that is too much; the status of each answer."""
    docs = documents_too_large()
    return {what: put(f"{ada.control.url}/{what}", login, docs[what]).status_code for what in docs}


def handled(ada: Owner) -> Batch:
    """What becomes of their messages, with that of a channel as it should be among them."""
    ada.put({"_id": "good", "type": "channel", "state": "new", "name": "Good"})
    ids = [*documents_too_large(), "good"]
    return handle_messages(
        ada.steps, [Message(ada.control.name, each, "channel", "new", None) for each in ids]
    )


def unreadable(ada: Owner) -> set[str]:
    """Documents that Python cannot read."""
    found = set()
    for row in ada.control.changes("0", limit=1_000, include_docs=False)["results"]:
        try:
            ada.control.find_one(row["id"])
        except Unreadable:
            found.add(str(row["id"]))
    return found


def done_with(ada: Owner, ids: set[str]) -> bool:
    """Whether each is ready, or says what is wrong with it, or was never stored."""
    docs = [ada.control.find_one(doc_id) for doc_id in ids]
    return all(
        doc is None or doc["type"] != "channel" or doc["state"] == "ready" or doc["error"]["reason"]
        for doc in docs
    )


@pytest.fixture
def eve(ada: Owner) -> Iterator[Owner]:
    """An owner whose documents are too much; those that nobody can read are gone afterwards."""
    yield ada
    gone = unreadable(ada)
    for row in ada.control.changes("0", limit=1_000, include_docs=False)["results"]:
        if row["id"] in gone:
            ada.control.remove({"_id": row["id"], "_rev": row["changes"][0]["rev"]})


def test_documents_that_are_too_much_are_refused_or_done_with_and_others_go_on(eve: Owner) -> None:
    statuses = put_all(eve, Login.of(eve.device))
    assert {what for what, status in statuses.items() if status == 201} <= {
        *("fields that fill what there is", "lists 1,000 deep", "lists 900 deep"),
        "lists 10,000 deep",
        *("objects 2,000 deep", "a generation of 4,000 digits", "a generation of 5,000 digits"),
        "a generation beyond all numbers",
    }
    batch = handled(eve)
    assert "good" in batch.done
    # What cannot be read waits longer and longer, and is a dead letter after five tries.
    assert set(batch.again) == unreadable(eve)
    assert done_with(eve, batch.done)


def test_what_got_past_the_rules_of_the_database_is_done_with_and_others_go_on(
    eve: Owner, admin: Login
) -> None:
    """The rules are not the only defence."""
    statuses = put_all(eve, admin)
    assert len([status for status in statuses.values() if status == 201]) > len(statuses) // 2
    batch = handled(eve)
    assert "good" in batch.done
    assert set(batch.again) == unreadable(eve)
    assert done_with(eve, batch.done)


@pytest.fixture
def admin(couch_url: str) -> Login:
    name, _, password = couch_url.partition("://")[2].partition("@")[0].partition(":")
    return Login(name, password)


def test_a_form_that_is_none_of_ours_is_no_answer_and_no_try(site: Site, ada: Owner) -> None:
    ada.invite(an_address())
    device = a_device(owner=an_address())
    invitation = f"/invitation/{site.steps.invitation_code()}"
    site.steps.register(device)
    confirm, before = f"/confirm/{site.steps.code()}", contents(site.steps.control)
    for what, form in FORMS.items():
        for path in (confirm, invitation):
            assert site.post(path, form).status_code in (403, 422), what
    assert contents(site.steps.control) == before
    assert ada.control.get("invitation-1")["state"] == "sent"


def test_a_long_id_is_refused_before_anything_is_made_of_it(ada: Owner) -> None:
    """A claim's key in DynamoDB would be too long: its message would become a dead letter."""
    control = as_device(ada).database(ada.control.name)
    doc = {"type": "invitation", "state": "new", "email": an_address(), "channel": "channel-photos"}
    with pytest.raises(Exception, match="_id must have at most 1536 bytes"):
        control.put({**doc, "_id": "x" * 2_100})
    for doc_id in ("x" * 512, "\uffff" * 512, "\U0001f600" * 256):
        control.put({**doc, "_id": doc_id})
        batch = handle_messages(
            ada.steps, [Message(ada.control.name, doc_id, "invitation", "new", None)]
        )
        assert batch.done == {doc_id}
        assert "_id must be letters" in ada.control.get(doc_id)["error"]["reason"]


def test_a_member_cannot_block_guests_by_an_unreadable_description(ada: Owner, ben: Owner) -> None:
    ada.share(ben.address)
    description = f"{ada.channel_database().url}/description"
    rev = ada.channel_database().get("description")["_rev"]
    body = f'{{"_id":"description","_rev":"{rev}","x":{nested_text(1_000)}}}'
    assert put(description, Login.of(ben.device), body).ok
    cy = an_address()
    assert ada.share(cy, number=2)["state"] == "accepted"
    ada.edit("channel-photos", name="Holidays")
    ada.run("channel-photos")
    copy = ada.steps.control_db_of(cy).get(ada.channel_database().name)
    assert (copy["state"], copy["name"]) == ("shared", "Holidays")
    ada.edit("channel-photos", members=[])
    ada.run("channel-photos")
    assert ada.channel_database().security()["members"]["roles"] == [f"owner-{ada.id}"]


@pytest.mark.parametrize(
    ("what", "size"),
    [("empty objects", 6_000_000), ("empty objects", 1_000_000), ("a long text", 6_000_000)],
)
def test_a_large_description_takes_little_memory_and_is_overwritten(
    ada: Owner, ben: Owner, admin: Login, what: str, size: int
) -> None:
    """As Python's objects, `{},` takes 72 bytes; a Lambda has 256 MB."""
    ada.share(ben.address)
    database = ada.channel_database()
    rev = database.get("description")["_rev"]
    value = f'"{"x" * size}"' if what == "a long text" else f"[{'{},' * (size // 3)}{{}}]"
    body = f'{{"_id":"description","_rev":"{rev}","x":{value}}}'
    assert put(f"{database.url}/description", Login.of(ben.device), body).ok
    ada.edit("channel-photos", name="Holidays")
    tracemalloc.start()
    try:
        assert ada.run("channel-photos") is Outcome.UNCHANGED
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    print(f"{what}, {size:,} bytes: {peak / 1e6:.1f} MB")
    assert peak < 64_000_000
    assert ada.control.get("channel-photos")["state"] == "ready"
    assert database.get("description")["name"] == "Holidays"


def test_many_large_branches_of_a_channel_take_little_memory(ada: Owner) -> None:
    """Each is as large as the rules allow, and as Python's objects thirty times that."""
    filling: list[JsonDict] = [{} for _ in range(20_000)]
    docs = [
        {
            "_id": "many",
            "type": "channel",
            "state": "new",
            "_rev": f"1-{number:032x}",
            "_revisions": {"start": 1, "ids": [f"{number:032x}"]},
            "x": filling,
        }
        for number in range(30)
    ]
    as_device(ada).http.request(
        "POST", f"/{ada.control.name}/_bulk_docs", body={"docs": docs, "new_edits": False}
    )
    tracemalloc.start()
    try:
        ada.run("many")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert ada.control.get("many", conflicts=True).get("_conflicts", []) == []
    assert peak < 20_000_000


def test_a_branch_that_nobody_can_read_is_removed_from_a_channel(ada: Owner, admin: Login) -> None:
    """A device that was stolen may have written it; the winner is what its owner wrote."""
    rev = f"1-{'0' * 31}1"
    body = (
        f'{{"new_edits":false,"docs":[{{"_id":"channel-photos","_rev":"{rev}",'
        f'"type":"channel","state":"new","x":{nested_text(1_500)}}}]}}'
    )
    answer = requests.post(
        f"{ada.control.url}/_bulk_docs",
        body,
        headers={"Content-Type": "application/json"},
        auth=(admin.name, admin.password),
        timeout=30,
    )
    assert answer.ok
    assert ada.control.get("channel-photos", conflicts=True)["_conflicts"] == [rev]
    ada.run("channel-photos")
    doc = ada.control.get("channel-photos", conflicts=True)
    assert (doc["state"], doc.get("_conflicts")) == ("ready", None)


def test_a_document_of_many_branches_is_settled_some_of_them_at_a_time(
    site: Site, ada: Owner
) -> None:
    """A device may write thousands; a run that looks at all would not end in its Lambda's time."""
    branches = [f"{number:032x}" for number in range(120)]
    docs = [
        {
            "_id": "many",
            "type": "channel",
            "state": "new",
            "_rev": f"1-{branch}",
            "_revisions": {"start": 1, "ids": [branch]},
        }
        for branch in branches
    ]
    as_device(ada).http.request(
        "POST", f"/{ada.control.name}/_bulk_docs", body={"docs": docs, "new_edits": False}
    )
    left = [len(branches) - 1]
    while left[-1]:
        assert len(left) < 10
        seq = ada.control.info()["update_seq"]
        assert len(site.sends(ada.run, "many")) < 130
        assert ada.control.info()["update_seq"] != seq  # and so another message is on its way
        left.append(len(ada.control.get("many", conflicts=True).get("_conflicts", [])))
    assert left == [119, 69, 19, 0]
    assert ada.control.get("many")["state"] == "ready"
