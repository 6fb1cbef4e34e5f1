"""A guest who does not want to go: what they write into their own control database stops nobody."""

import json
import uuid
from dataclasses import replace
from itertools import count

import pytest
import requests

from chalicelib.couch import Conflict, Database, Server, Unavailable
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_role, subscription_id
from chalicelib.engine.runner import Outcome
from chalicelib.errors import Unfinished
from tests.kit.cases.attacks import nested_text
from tests.kit.cloud.access import contents, exists, roles
from tests.kit.cloud.site import Site
from tests.kit.cloud.steps import Owner, Steps

# What the guest's document has in it, in JSON. Most of it the rules of the database refuse by now,
# but there may be older documents. So it is written by an administrator.
HOSTILE = {
    "lists 1,500 deep": f'"x":{nested_text(1_500)}',
    "a number of 5,000 digits": f'"x":{"9" * 5_000}',
    "a number that is not finite": '"x":1e400',
    "more than is read": f'"x":"{"x" * 1_500_000}"',
    "an invitation": '"type":"invitation","state":"new","channel":"c","email":"x@example.com"',
    "a type that is a list": '"type":["channel"],"state":{"a":1},"as_of":"x"',
    "no field at all": "",
}
ENDS: dict[str, JsonDict] = {"removed": {"members": []}, "closed": {"state": "closing"}}
REASONS = {"removed": "you are no longer a member", "closed": "the channel was closed"}


def forge(database: Database, doc_id: str, fields: str) -> bool:
    """Write a revision 99 that nobody knows, as a replicator does; whether the server took it."""
    digest = uuid.uuid4().hex
    revisions = f'{{"start":99,"ids":["{digest}"]}}'
    known = f'"_id":{json.dumps(doc_id)},"_rev":"99-{digest}","_revisions":{revisions}'
    doc = f"{{{known}{',' if fields else ''}{fields}}}"
    answer = requests.post(
        f"{database.url}/_bulk_docs",
        f'{{"new_edits":false,"docs":[{doc}]}}',
        headers={"Content-Type": "application/json"},
        auth=database._http._session.auth,
        timeout=30,
    )
    return answer.ok and not answer.json()


def ids(ada: Owner, guest: Owner) -> tuple[str, str]:
    """The documents that the cloud makes for a guest: the copy of the channel, the subscription."""
    copy = ada.channel_database().name
    return copy, subscription_id(copy, guest.id)


def others(guest: Owner, copy_id: str) -> dict[str, str]:
    """The revisions of all other documents in a guest's control database."""
    rows = guest.control.changes("0", limit=1_000, include_docs=False)["results"]
    return {row["id"]: row["changes"][0]["rev"] for row in rows if copy_id not in row["id"]}


def is_told(guest: Owner, copy_id: str, end: str) -> bool:
    """Whether both of a guest's documents say that the channel is theirs no more, and why."""
    copy, subscription = (
        guest.control.get(doc_id) for doc_id in (copy_id, subscription_id(copy_id, guest.id))
    )
    assert (copy["type"], subscription["type"]) == ("channel", "subscription")
    return (copy["state"], subscription["state"]) == ("closed", "stopped") and (
        copy["reason"] == subscription["reason"] == REASONS[end]
    )


@pytest.fixture
def cy(steps: Steps) -> Owner:
    """Another guest, who goes quietly."""
    return steps.an_owner()


@pytest.fixture
def ada(ada: Owner, ben: Owner, cy: Owner) -> Owner:
    """An owner whose channel two guests share."""
    ada.share(ben.address)
    ada.share(cy.address, number=2)
    return ada


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_guest_goes_whatever_they_wrote(
    ada: Owner, ben: Owner, cy: Owner, what: str, end: str
) -> None:
    database, copy_id = ada.channel_database(), ids(ada, ben)[0]
    for doc_id in ids(ada, ben):
        forge(ben.control, doc_id, HOSTILE[what])
    ben.put({"_id": "note", "type": "note", "of": "my own"})
    before = others(ben, copy_id)
    ada.edit("channel-photos", **ENDS[end])
    ada.run("channel-photos")
    doc = ada.control.get("channel-photos")
    assert (doc["state"], doc["leaving"]) == ("ready" if end == "removed" else "closed", [])
    if end == "removed":
        assert roles(database) == [owner_role(ada.id)]
    assert is_told(ben, copy_id, end)
    assert is_told(cy, copy_id, end)
    assert others(ben, copy_id) == before


@pytest.mark.parametrize("what", HOSTILE)
def test_a_channel_is_renamed_whatever_a_guest_wrote(
    ada: Owner, ben: Owner, cy: Owner, what: str
) -> None:
    copy_id, _ = ids(ada, ben)
    forge(ben.control, copy_id, HOSTILE[what])
    ada.edit("channel-photos", name="Holidays")
    assert ada.run("channel-photos") is Outcome.UNCHANGED
    for guest in (ben, cy):
        copy = guest.control.get(copy_id)
        assert (copy["type"], copy["state"], copy["name"]) == ("channel", "shared", "Holidays")
    assert ada.channel_database().get("description")["name"] == "Holidays"


@pytest.mark.parametrize("what", HOSTILE)
def test_a_guest_gets_a_channel_whatever_was_there_before(
    ada: Owner, steps: Steps, what: str
) -> None:
    dan = steps.an_owner()
    for doc_id in ids(ada, dan):
        forge(dan.control, doc_id, HOSTILE[what])
    assert ada.share(dan.address, number=3)["state"] == "accepted"
    copy, subscription = (dan.control.get(doc_id) for doc_id in ids(ada, dan))
    assert (copy["state"], copy["name"]) == ("shared", "Photos")
    assert (subscription["state"], subscription["channel"]) == ("active", copy["_id"])


def test_a_channel_of_the_guests_own_is_passed_over(ada: Owner, ben: Owner) -> None:
    """No device may write one under such an id by now, but it may be there."""
    copy_id, sub_id = ids(ada, ben)
    forge(ben.control, copy_id, '"type":"channel","state":"ready","name":"Ben\'s own"')
    own = ben.control.get(copy_id)
    edits: list[JsonDict] = [{"name": "Holidays"}, {"members": []}]
    for changes in edits:
        ada.edit("channel-photos", **changes)
        ada.run("channel-photos")
    assert ben.control.get(copy_id) == own
    assert ben.control.get(sub_id)["state"] == "stopped"


# Who is leaving is noted, then the rights end, then the guests are told.


def test_rights_end_before_anybody_asks_a_guests_database(
    site: Site, ada: Owner, ben: Owner
) -> None:
    db, own = ada.channel_database().name, f"/{ada.control.name}/channel-photos"
    ada.edit("channel-photos", members=[])
    asked = site.sends(ada.run, "channel-photos")
    rights = asked.index(f"PUT /{db}/_security")
    assert asked.index(f"PUT {own}") < rights
    assert rights < min(n for n, path in enumerate(asked) if f"/{ben.control.name}/" in path)


def test_rights_end_before_a_closed_database_is_deleted(site: Site, ada: Owner) -> None:
    database = ada.channel_database()
    ada.edit("channel-photos", state="closing")
    before: list[JsonDict] = []
    with ada.steps.meanwhile(database, "delete", lambda: before.append(database.security())):
        asked = site.sends(ada.run, "channel-photos")
    [security] = before
    assert security["members"] == security["admins"] == {"names": [], "roles": ["_admin"]}
    assert security["syncpoint"]["channel"] == "channel-photos"
    guests = [n for n, path in enumerate(asked) if "-sub-" in path]
    assert asked.index(f"DELETE /{database.name}") < min(guests)


def test_a_database_too_busy_for_its_rights_is_deleted_all_the_same(
    ada: Owner, ben: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member keeps it busy; test_real_couchdb.py shows that CouchDB deletes it at once."""

    def wait(database: Database, security: JsonDict) -> None:
        raise Unavailable(0, "unreachable", "ReadTimeout")

    copy_id = ids(ada, ben)[0]
    ada.edit("channel-photos", state="closing")
    monkeypatch.setattr(Database, "put_security", wait)
    assert ada.run("channel-photos") is Outcome.SAVED
    assert not exists(ada.channel_database())
    assert is_told(ben, copy_id, "closed")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("at", ["put_security", "delete", "tells"])
def test_a_crash_forgets_no_guest(ada: Owner, ben: Owner, cy: Owner, at: str, end: str) -> None:
    """The process dies before a step; the message comes again."""
    database, copy_id = ada.channel_database(), ids(ada, ben)[0]
    ada.edit("channel-photos", **ENDS[end])
    message = ada.steps.message("channel-photos", ada.control)

    def die() -> None:
        raise SystemExit

    where, method = (cy.control, "update") if at == "tells" else (database, at)
    try:
        with ada.steps.meanwhile(where, method, die):
            ada.steps.deliver(message)
    except SystemExit:
        ada.steps.deliver(message)
    assert is_told(ben, copy_id, end)
    assert is_told(cy, copy_id, end)
    assert ada.control.get("channel-photos").get("leaving") == []


# A guest's database that does not take it.


def failing(monkeypatch: pytest.MonkeyPatch, guest: Owner, error: Exception) -> None:
    """From now on the guest's database refuses all writes, but not those of the guest."""
    put = Database.put

    def put_or_fail(database: Database, doc: JsonDict) -> str:
        if database.name == guest.control.name:
            raise error
        return put(database, doc)

    monkeypatch.setattr(Database, "put", put_or_fail)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    "error",
    [
        Conflict(409, "conflict", "x"),
        Unavailable(0, "unreachable", "ReadTimeout"),
        TypeError("a defect that only this guest's documents show"),
    ],
    ids=["conflicts", "is slow", "shows a defect"],
)
def test_a_database_that_fails_stops_nobody_else(
    ada: Owner,
    ben: Owner,
    cy: Owner,
    end: str,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And who could not be told is told when the message comes again."""
    ada.steps.context.server.http.pause = lambda seconds: None
    database, copy_id = ada.channel_database(), ids(ada, ben)[0]
    ada.edit("channel-photos", **ENDS[end])
    message = ada.steps.message("channel-photos", ada.control)
    with monkeypatch.context() as patch:
        failing(patch, ben, error)
        with pytest.raises(Unfinished):
            ada.steps.deliver(message)
        doc = ada.control.get("channel-photos")
        assert (doc["state"], doc["leaving"]) == (
            "ready" if end == "removed" else "closed",
            [ben.id],
        )
        if end == "removed":
            assert roles(database) == [owner_role(ada.id)]
        assert is_told(cy, copy_id, end)
        revs = doc["_rev"]
        with pytest.raises(Unfinished):
            ada.steps.deliver(message)
        assert ada.control.get("channel-photos")["_rev"] == revs  # no message without end
    ada.steps.deliver(message)
    assert is_told(ben, copy_id, end)
    assert ada.control.get("channel-photos")["leaving"] == []


def test_a_name_that_one_guest_does_not_take_reaches_the_others(
    ada: Owner, ben: Owner, cy: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_id, _ = ids(ada, ben)
    ada.edit("channel-photos", name="Holidays")
    with monkeypatch.context() as patch:
        failing(patch, ben, Unavailable(0, "unreachable", "ReadTimeout"))
        with pytest.raises(Unfinished):
            ada.run("channel-photos")
        assert cy.control.get(copy_id)["name"] == "Holidays"
    ada.run("channel-photos")
    assert ben.control.get(copy_id)["name"] == "Holidays"
    assert ada.channel_database().get("description")["name"] == "Holidays"


def test_a_guest_whose_database_is_gone_needs_not_be_told(
    ada: Owner, ben: Owner, cy: Owner
) -> None:
    copy_id, _ = ids(ada, ben)
    ben.control.delete()
    ada.edit("channel-photos", members=[])
    assert ada.run("channel-photos") is Outcome.UNCHANGED
    assert is_told(cy, copy_id, "removed")
    assert ada.control.get("channel-photos")["leaving"] == []


def test_guests_for_whom_there_is_no_time_are_told_later(ada: Owner, ben: Owner, cy: Owner) -> None:
    """One slow database takes the time of all others, but each time others come first."""
    steps, copy_id = ada.steps, ids(ada, ben)[0]
    ada.edit("channel-photos", members=[])
    slow = Slow(steps.context.server, steps, {ben.control.name, cy.control.name})
    steps.context = replace(steps.context, server=slow)
    with pytest.raises(Unfinished):
        ada.run("channel-photos")
    assert len(ada.control.get("channel-photos")["leaving"]) == 1
    ada.run("channel-photos")
    assert is_told(ben, copy_id, "removed")
    assert is_told(cy, copy_id, "removed")


class Slow(Server):
    """The same server, but some databases take a minute."""

    def __init__(self, server: Server, steps: Steps, slow: set[str]) -> None:
        self.http, self.url = server.http, server.url
        self._steps, self._slow = steps, slow

    def database(self, name: str) -> Database:
        if name in self._slow:
            self._steps.clock.move(60)
        return super().database(name)


def test_a_guest_who_writes_again_and_again_is_waited_for_briefly(
    ada: Owner, ben: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the cloud's writes conflicts with one of theirs; the pauses are short and random."""
    paused: list[float] = []
    ada.steps.context.server.http.pause = paused.append
    put, notes = Database.put, count()

    def put_after_theirs(database: Database, doc: JsonDict) -> str:
        if database.name == ben.control.name:
            put(database, {**database.get(doc["_id"]), "note": next(notes)})
        return put(database, doc)

    monkeypatch.setattr(Database, "put", put_after_theirs)
    ada.edit("channel-photos", members=[])
    with pytest.raises(Unfinished):
        ada.run("channel-photos")
    assert roles(ada.channel_database()) == [owner_role(ada.id)]
    assert ada.control.get("channel-photos")["leaving"] == [ben.id]
    assert next(notes) == 5  # for the first of the two documents; the guest is given up for now
    # One before the second look at the channel, four between five attempts.
    assert len(paused) == 1 + 4
    assert all(0 <= seconds <= 0.04 * 2**number for number, seconds in enumerate(paused[1:]))


def test_a_guest_who_comes_back_while_they_leave_stays(
    ada: Owner, ben: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They could not be told that they had left; by now they have accepted again."""
    copy_id, sub_id = ids(ada, ben)
    ada.edit("channel-photos", members=[])
    with monkeypatch.context() as patch:
        failing(patch, ben, Unavailable(0, "unreachable", "ReadTimeout"))
        with pytest.raises(Unfinished):
            ada.run("channel-photos")
    ada.share(ben.address, number=3)
    ada.edit("channel-photos", note="a newer revision than the guest's copy reflects")
    ada.run("channel-photos")
    assert (ben.control.get(copy_id)["state"], ben.control.get(sub_id)["state"]) == (
        "shared",
        "active",
    )
    assert ada.control.get("channel-photos")["leaving"] == []
    assert owner_role(ben.id) in roles(ada.channel_database())


def test_a_devices_own_leaving_is_no_order(ada: Owner, ben: Owner, steps: Steps) -> None:
    """Rules that are older than the field let devices write it."""
    stranger = steps.an_owner()
    before = contents(stranger.control)
    for value in ([stranger.id, ben.id], ["x", 7, None, "../_users"], "x", 7, {"a": 1}):
        ada.edit("channel-photos", leaving=value)
        ada.run("channel-photos")
    assert contents(stranger.control) == before
    assert ben.control.get(ids(ada, ben)[0])["state"] == "shared"


def test_one_unreadable_own_subscription_does_not_keep_a_channel_open(ada: Owner) -> None:
    sub_id = subscription_id("channel-photos", ada.id)
    forge(ada.control, sub_id, HOSTILE["lists 1,500 deep"])
    ada.edit("channel-photos", state="closing")
    assert ada.after("channel-photos")["state"] == "closed"
    assert ada.control.get(sub_id)["state"] == "stopped"
