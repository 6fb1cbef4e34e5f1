"""What the cloud relies on in a CouchDB: the one in use, and the one that tests have in memory."""

from collections.abc import Iterator

import pytest

from chalicelib.couch import (
    Conflict,
    CouchError,
    Database,
    Forbidden,
    NotFound,
    Server,
    Unauthorized,
    Unreadable,
)
from chalicelib.domain.credentials import login_user
from chalicelib.domain.documents import JsonDict
from chalicelib.handlers.logins import remove_login
from syncpoint_device.registration import NewDevice
from tests.kit.basics import a_device, an_address, is_refused, wait_until_shut_out, without
from tests.kit.cloud.access import client_of, refusal, skip_on_embedded
from tests.kit.fakes.couch import FakeCouch

OLDER, NEWER = f"2-{'a' * 32}", f"2-{'b' * 32}"


@pytest.fixture(params=["real", "fake"])
def server(request: pytest.FixtureRequest, server: Server) -> Server:
    return server if request.param == "real" else FakeCouch().server()


@pytest.fixture
def device(server: Server) -> Iterator[NewDevice]:
    """A device with its login."""
    device = a_device(an_address())
    users = server.database("_users")
    user = login_user(device.device_id, "owner-0a", device.doc["credentials"])
    users.put(user)
    yield device
    remove_login(server, device.doc)


def replicate(database: Database, *docs: JsonDict) -> list[JsonDict]:
    """Write revisions as a replicator does; those that were refused."""
    body = {"docs": docs, "new_edits": False}
    rows: list[JsonDict] = database._http.request("POST", f"/{database.name}/_bulk_docs", body=body)
    return rows


def in_conflict(database: Database) -> None:
    """One document in two revisions that know nothing of each other."""
    for rev in (OLDER, NEWER):
        known = {"start": 2, "ids": [rev.partition("-")[2], "c" * 32]}
        doc = {"_id": "d", "_rev": rev, "_revisions": known, "is": rev}
        assert replicate(database, doc) == []


# Documents


def test_a_document_written_as_deleted_keeps_its_fields_in_the_feed(
    control: Database,
) -> None:
    rev = control.put({"_id": "d", "v": 1})
    control.put({"_id": "d", "_rev": rev, "_deleted": True, "v": 2})
    with pytest.raises(NotFound):
        control.get("d")
    [row] = control.changes("0", limit=10)["results"]
    assert (row["deleted"], row["doc"]["v"]) == (True, 2)


def test_a_document_that_is_written_again_goes_on_from_its_deletion(control: Database) -> None:
    control.remove({"_id": "d", "_rev": control.put({"_id": "d"})})
    assert control.put({"_id": "d"}).startswith("3-")


def test_what_is_gone_cannot_be_removed_again(control: Database) -> None:
    rev = control.put({"_id": "d"})
    control.remove({"_id": "d", "_rev": rev})
    with pytest.raises((NotFound, Conflict)):
        control.remove({"_id": "d", "_rev": rev})


def test_an_unknown_member_of_couchdbs_own_is_refused(control: Database) -> None:
    with pytest.raises(CouchError) as refused:
        control.put({"_id": "d", "_mine": 1})
    assert refused.value.error == "doc_validation"


def test_the_same_revision_wins_everywhere_and_the_other_is_named(control: Database) -> None:
    in_conflict(control)
    doc = control.get("d", conflicts=True)
    assert (doc["is"], doc["_conflicts"]) == (NEWER, [OLDER])
    assert control.get("d", OLDER)["is"] == OLDER


def test_a_conflict_is_over_when_the_losing_revision_is_removed(control: Database) -> None:
    in_conflict(control)
    control.remove({"_id": "d", "_rev": OLDER})
    doc = control.get("d", conflicts=True)
    assert doc["_rev"] == NEWER
    assert "_conflicts" not in doc


def test_when_the_winner_is_removed_the_other_revision_is_the_document(control: Database) -> None:
    in_conflict(control)
    control.remove({"_id": "d", "_rev": NEWER})
    assert control.get("d")["_rev"] == OLDER


def test_a_revision_that_is_replicated_again_changes_nothing(control: Database) -> None:
    in_conflict(control)
    last_seq = control.changes("0", limit=10)["last_seq"]
    in_conflict(control)
    assert control.changes(str(last_seq), limit=10)["results"] == []


def test_a_replicated_revision_follows_the_one_that_it_names(control: Database) -> None:
    rev = control.put({"_id": "d", "v": 1})
    known = {"start": 2, "ids": ["e" * 32, rev.partition("-")[2]]}
    replicate(control, {"_id": "d", "_rev": f"2-{'e' * 32}", "_revisions": known, "v": 2})
    doc = control.get("d", conflicts=True)
    assert doc["v"] == 2
    assert "_conflicts" not in doc


# The changes


def test_the_leaves_of_a_document_are_those_that_lost_or_were_deleted_too(
    control: Database,
) -> None:
    in_conflict(control)
    assert {leaf["_rev"] for leaf in control.leaves("d", max_bytes=10_000)} == {OLDER, NEWER}
    control.remove({"_id": "d", "_rev": OLDER})
    leaves = {leaf["_rev"]: leaf for leaf in control.leaves("d", max_bytes=10_000)}
    shown = control.get("d")
    assert without(leaves.pop(NEWER), "_revisions") == shown
    [deletion] = leaves.values()
    assert (deletion["_deleted"], deletion["_rev"].partition("-")[0]) == (True, "3")
    with pytest.raises(Unreadable):
        control.leaves("d", max_bytes=10)


def test_a_document_in_conflict_is_one_change_with_the_winner(control: Database) -> None:
    in_conflict(control)
    [row] = control.changes("0", limit=10)["results"]
    assert row["doc"]["is"] == NEWER


def test_changes_come_without_documents_where_they_are_not_asked_for(control: Database) -> None:
    rev = control.put({"_id": "d"})
    [row] = control.changes("0", limit=10, include_docs=False)["results"]
    assert (row["id"], row["changes"]) == ("d", [{"rev": rev}])
    assert "doc" not in row


def test_a_seq_of_a_database_that_was_made_again_starts_from_the_beginning(
    server: Server, control: Database
) -> None:
    skip_on_embedded(server, "it finds nothing after such a seq: the poller sees to it")
    for number in range(3):
        control.put({"_id": f"d{number}"})
    before = str(control.changes("0", limit=10)["last_seq"])
    control.delete()
    control.create()
    control.put({"_id": "new"})
    page = control.changes(before, limit=10)
    assert [row["id"] for row in page["results"]] == ["new"]


# Queries


def test_an_index_finds_what_is_below_a_bound_and_has_all_the_fields(control: Database) -> None:
    for doc in (
        {"_id": "early", "kind": "note", "at": "2026-01-01"},
        {"_id": "late", "kind": "note", "at": "2026-03-01"},
        {"_id": "other", "kind": "else", "at": "2026-01-01"},
        {"_id": "none", "kind": "note"},
        {"_id": "number", "kind": "note", "at": 5},
    ):
        control.put(doc)
    for _ in range(2):  # the second finds it made
        control.create_index("by-time", ["kind", "at"])
    selector = {"kind": "note", "at": {"$gt": "", "$lt": "2026-02-01"}}
    found = control.find(selector, index="by-time", limit=10)
    assert [doc["_id"] for doc in found.good] == ["early"]


def test_a_query_gives_so_many_in_the_order_of_the_index(control: Database) -> None:
    for number in (2, 3, 1):
        control.put({"_id": f"d{number}", "kind": "note", "at": f"2026-0{number}-01"})
    control.create_index("by-time", ["kind", "at"])
    selector = {"kind": "note", "at": {"$lt": "2027"}}
    found = control.find(selector, index="by-time", limit=2)
    assert [doc["_id"] for doc in found.good] == ["d1", "d2"]
    rest = control.find(selector, index="by-time", limit=2, skip=2)
    assert [doc["_id"] for doc in rest.good] == ["d3"]


# Logins


def test_a_login_is_known_by_its_derived_key_as_long_as_it_is_there(
    server: Server, device: NewDevice
) -> None:
    client = client_of(server, f"{device.device_id}:{device.password}")
    user = client.session()["userCtx"]
    assert (user["name"], user["roles"]) == (device.device_id, ["owner-0a"])
    with pytest.raises(Unauthorized):
        client_of(server, f"{device.device_id}:wrong").session()
    remove_login(server, device.doc)
    wait_until_shut_out(client.session)


def test_a_member_writes_documents_and_neither_rights_nor_design_documents(
    server: Server, control: Database, device: NewDevice
) -> None:
    admins = {"names": [], "roles": ["_admin"]}
    control.put_security({"admins": admins, "members": {"names": [], "roles": ["owner-0a"]}})
    theirs = client_of(server, f"{device.device_id}:{device.password}").database(control.name)
    theirs.put({"_id": "d", "v": 1})
    assert theirs.get("d")["v"] == 1
    with pytest.raises((Unauthorized, Forbidden)):
        theirs.put({"_id": "_design/x", "views": {}})
    assert is_refused(refusal(theirs.put_security, {}))
    assert is_refused(refusal(theirs.create_index, "by-v", ["v"]))
    control.put_security({"admins": admins, "members": {"names": [], "roles": ["owner-0b"]}})
    with pytest.raises((Unauthorized, Forbidden)):
        theirs.get("d")
