"""Who may do what, asked of the server itself: by devices with their own logins, and by no one."""

import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from chalicelib.couch import CouchError, Database, Forbidden, Server, Unauthorized
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.link_tokens import InvitationRef
from chalicelib.domain.names import channel_db, owner_role
from chalicelib.engine.runner import Outcome
from syncpoint_device.registration import NewDevice
from tests.kit.basics import a_device, an_address, is_refused, without_hash
from tests.kit.cloud.access import (
    HONEST_WAYS,
    WAYS,
    Write,
    as_device,
    as_nobody,
    by_a_forged_branch,
    by_bulk_docs,
    by_put,
    by_replication,
    contents,
    refusal,
)
from tests.kit.cloud.steps import Owner, Steps

USER = "org.couchdb.user:"
CHANNEL = "channel-photos"


# A way to write a document: returns the server's refusal, None where it took the document.
@pytest.fixture
def ada(steps: Steps) -> Owner:
    """An owner with a channel in which there is a note, and an invitation that was sent."""
    only_admins = {"names": [], "roles": ["_admin"]}  # as CouchDB 3 and the local system have it
    steps.control.put_security({"admins": only_admins, "members": only_admins})
    owner = steps.an_owner()
    owner.channel()
    owner.channel_database().put({"_id": "note", "text": "ada's secret"})
    owner.invite(an_address())
    return owner


# Reading.


def reads(database: Database) -> Iterator[tuple[str, str, Any]]:
    """The requests by which something of a database can be read."""
    path = f"/{database.name}"
    for rest in ("", "/_changes?include_docs=true", "/_all_docs?include_docs=true", "/_security"):
        yield "GET", path + rest, None
    for rest in ("/_design/syncpoint", "/note", f"/{CHANNEL}", "/description", "/_local/x"):
        yield "GET", path + rest, None
    yield "GET", f"{path}/_changes?since=0&feed=longpoll&timeout=10&include_docs=true", None
    yield "POST", f"{path}/_all_docs?include_docs=true", {"keys": ["note", CHANNEL]}
    yield "POST", f"{path}/_revs_diff", {"note": ["1-a"]}


def readable(client: Server, database: Database) -> set[str]:
    """What a client gets from a database that is not for it."""
    answers = {
        path: refusal(client.http.request, method, path, body=body)
        for method, path, body in reads(database)
    }
    return {
        path
        for path, refused in answers.items()
        if refused is None or refused.status not in (401, 403)
    }


def test_a_stranger_reads_nothing_of_an_owners(ada: Owner, ben: Owner, server: Server) -> None:
    for client in (as_device(ben), as_nobody(server)):
        for database in (ada.control, ada.channel_database(), ada.steps.control):
            assert readable(client, database) == set()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("_find", {"selector": {"_id": {"$gt": None}}}),
        ("_explain", {"selector": {"_id": {"$gt": None}}}),
        ("_bulk_get", {"docs": [{"id": "note"}, {"id": CHANNEL}]}),
        ("_index", {"index": {"fields": ["type"]}}),
    ],
    ids=["find", "explain", "bulk_get", "index"],
)
def test_a_stranger_reads_nothing_by_the_newer_requests_either(
    ada: Owner, ben: Owner, server: Server, path: str, body: JsonDict
) -> None:
    for client in (as_device(ben), as_nobody(server)):
        for database in (ada.control, ada.channel_database(), ada.steps.control):
            url = f"/{database.name}/{path}"
            refused = refusal(client.http.request, "POST", url, body=body)
            assert isinstance(refused, Unauthorized | Forbidden)


def test_the_owners_own_device_reads_all_that_is_asked_for_there(ada: Owner) -> None:
    """Or the requests of the test before would prove nothing."""
    for database in (ada.control, ada.channel_database()):
        asked = {path for _, path, _ in reads(database)}
        assert readable(as_device(ada), database) == asked


def test_no_device_reads_another_devices_login(ada: Owner, ben: Owner, server: Server) -> None:
    others = f"/_users/{quote(USER + ada.device.device_id)}"
    client = as_device(ben)
    # CouchDB does not show a device its own either.
    assert client.session()["userCtx"]["name"] == ben.device.device_id
    for reader in (client, as_nobody(server)):
        for path in (others, "/_users/_all_docs?include_docs=true", "/_users/_changes"):
            # The embedded server says 400 or 500, and shows nothing.
            assert refusal(reader.http.request, "GET", path) is not None


def test_a_device_writes_no_other_login(ada: Owner, ben: Owner, server: Server) -> None:
    users = server.database("_users")
    others = users.get(USER + ada.device.device_id)
    refused = refusal(as_device(ben).database("_users").put, {**others, "roles": []})
    assert refused is not None
    assert users.get(others["_id"]) == others


def test_a_device_takes_no_role(ada: Owner, ben: Owner, server: Server) -> None:
    users, role = server.database("_users"), owner_role(ada.id)
    own = users.get(USER + ben.device.device_id)
    refused = refusal(as_device(ben).database("_users").put, {**own, "roles": [role]})
    assert isinstance(refused, Forbidden)
    assert users.get(own["_id"]) == own


@pytest.mark.parametrize("path", ["/_config", "/_node/_local/_config", "/_db_updates"])
def test_a_device_does_not_administer_the_server(ben: Owner, path: str) -> None:
    refused = refusal(as_device(ben).http.request, "GET", path)
    assert refused is not None
    assert refused.status in (401, 403, 404)


# Writing into a control database.


def forbidden_writes(ada: Owner) -> dict[str, JsonDict]:
    """What a device must not write into its own owner's control database."""
    channel, invitation = ada.control.get(CHANNEL), ada.control.get("invitation-1")
    device = ada.control.get(ada.device.device_id)
    new_channel = {"_id": "other", "type": "channel", "state": "new"}
    again = {**invitation, "state": "accepting", "answer_code": ada.steps.receipt()}
    without_rev = {name: value for name, value in invitation.items() if name != "_rev"}
    return {
        "a ready channel": {"_id": "mine", "type": "channel", "state": "ready"},
        "a channel's state": {**channel, "state": "closed"},
        "a channel's members": {**channel, "members": [ada.id]},
        "a channel's database": {**channel, "syncpoint": "https://elsewhere.example.com/db"},
        "a channel's error": {**channel, "error": {"reason": "none"}},
        "a shared channel": {"_id": "db-1", "type": "channel", "state": "shared"},
        "a new device": {**ada.device.doc, "_id": f"device-{uuid.uuid4().hex}"},
        "a confirmed device": {**ada.device.doc, "_id": "other", "state": "confirmed"},
        "a device's state": {**device, "state": "revoked"},
        "a device's name": {**device, "name": "Somebody else's"},
        "a device's owner": {**device, "state": "revoking", "owner": an_address()},
        "a device's type": {**device, "type": "channel", "state": "new"},
        "a confirmation": {"_id": "confirm-1", "type": "confirm", "state": "clicked"},
        "a sent invitation": {**invitation, "sent_at": "2030-01-01T00:00:00Z"},
        "an accepting invitation": again,
        "an accepted invitation": {**invitation, "state": "accepted"},
        "an invitation's address": {**invitation, "email": an_address()},
        "a new invitation that was sent": {**without_rev, "_id": "other", "state": "sent"},
        "a note of the cloud's": {"_id": "expiry-x", "type": "expiry", "owner": ada.id},
        "a document without a type": {"_id": "other", "text": "hello"},
        "an attachment": {
            **new_channel,
            "_attachments": {"a.txt": {"content_type": "text/plain", "data": "aGVsbG8="}},
        },
        "something large": {**new_channel, "notes": "x" * 70_000},
        "what would hide a field": {**channel, "__proto__": {"_deleted": True}},
    }


@pytest.mark.parametrize("write", WAYS)
def test_a_device_does_not_write_what_only_the_cloud_writes(ada: Owner, write: Write) -> None:
    client, before = as_device(ada), contents(ada.control)
    for what, doc in forbidden_writes(ada).items():
        refused = write(client, ada.control, doc)
        assert refused is not None, what
        by_couchdb = refused.error == "doc_validation" and what == "what would hide a field"
        assert (refused.status, refused.error) == (403, "forbidden") or by_couchdb, what
        assert " " in refused.reason, what
        assert "Error" not in refused.reason, what
    assert contents(ada.control) == before


@pytest.mark.parametrize("write", HONEST_WAYS)
def test_a_device_writes_what_devices_write(ada: Owner, write: Write) -> None:
    """Or the test before would prove nothing."""
    client = as_device(ada)
    allowed: list[JsonDict] = [
        {"_id": "mine", "type": "channel", "state": "new", "name": "Mine"},
        {
            "_id": f"mine-sub-{ada.id}",
            "type": "subscription",
            "state": "active",
            "channel": "mine",
        },
        {
            "_id": "invitation-2",
            "type": "invitation",
            "state": "new",
            "channel": "mine",
            "email": an_address(),
        },
        {**ada.control.get("invitation-1"), "state": "withdrawn"},
        {**ada.control.get(CHANNEL), "state": "closing"},
        {**ada.control.get(ada.device.device_id), "state": "revoking"},
    ]
    for doc in allowed:
        assert write(client, ada.control, doc) is None
        assert ada.control.get(doc["_id"])["state"] == doc["state"]


@pytest.mark.parametrize("write", WAYS)
def test_a_device_does_not_turn_its_document_into_something_else(ada: Owner, write: Write) -> None:
    """CouchDB checks such a branch against no document at all; so the id alone must do."""
    for doc_type in ("channel", "invitation"):
        doc = {"_id": f"device-{uuid.uuid4().hex}", "type": doc_type, "state": "new"}
        refused = write(as_device(ada), ada.control, doc)
        assert refused is not None
        assert refused.reason == "an _id that begins with device- is for a device"


def test_what_is_not_over_is_not_deleted(ada: Owner) -> None:
    client = as_device(ada)
    for doc_id in (CHANNEL, ada.device.device_id):
        doc = ada.control.get(doc_id)
        refused = [
            refusal(client.database(ada.control.name).remove, doc),
            by_bulk_docs(client, ada.control, {**doc, "_deleted": True}),
            by_replication(client, ada.control, {**doc, "_deleted": True}),
            by_put(client, ada.control, {"_id": doc_id, "_rev": doc["_rev"], "_deleted": True}),
        ]
        for answer in refused:
            assert isinstance(answer, CouchError)
            assert (answer.status, "is not over yet" in answer.reason) == (403, True)
        assert ada.control.get(doc_id) == doc


def test_a_device_changes_neither_the_rules_nor_who_they_hold_for(ada: Owner) -> None:
    client = as_device(ada)
    for database in (ada.control, ada.channel_database()):
        rules = {"_id": "_design/syncpoint", "language": "javascript", "version": 1000}
        security, before = database.security(), contents(database)
        installed = before.get("_design/syncpoint", {})
        for doc in ({**installed, **rules}, {"_id": "_design/mine", "views": {}}):
            for write in WAYS:
                refused = write(client, database, doc)
                assert isinstance(refused, CouchError)
                assert refused.status in (401, 403)
        for wanted in ({}, {**security, "members": {"names": [], "roles": []}}):
            refused = refusal(client.database(database.name).put_security, wanted)
            assert is_refused(refused)
        assert (database.security(), contents(database)) == (security, before)


@pytest.mark.parametrize("write", WAYS)
def test_a_stranger_writes_nothing_of_an_owners(
    ada: Owner, ben: Owner, server: Server, write: Write
) -> None:
    note = {"_id": "forged", "type": "channel", "state": "new"}
    for database in (ada.control, ada.channel_database(), ada.steps.control):
        before = contents(database)
        for client in (as_device(ben), as_nobody(server)):
            refused = write(client, database, note)
            assert refused is not None
            assert refused.status in (401, 403)
        assert contents(database) == before


# Rules that look into the security object; the embedded server shows it to them at a PUT only.

WAYS_BY_SECURITY = [
    by_put,
    by_bulk_docs,
    by_replication,
    by_a_forged_branch,
]


@pytest.mark.parametrize("write", WAYS_BY_SECURITY)
def test_a_device_does_not_write_another_owners_subscription(ada: Owner, write: Write) -> None:
    doc = {"type": "subscription", "state": "active", "channel": CHANNEL}
    right, wrong = f"{CHANNEL}-sub-{ada.id}", f"{CHANNEL}-sub-{'f' * 32}"
    refused = write(as_device(ada), ada.control, {**doc, "_id": wrong})
    assert refused is not None
    assert refused.reason == f"the _id of a subscription is CHANNEL-sub-OWNER: here {right}"
    assert write(as_device(ada), ada.control, {**doc, "_id": right}) is None


@pytest.mark.parametrize("write", WAYS_BY_SECURITY)
def test_into_a_public_channel_its_members_alone_write(
    ada: Owner, ben: Owner, server: Server, write: Write
) -> None:
    ada.edit(CHANNEL, public=True)
    ada.run(CHANNEL)
    database = ada.channel_database()
    for client in (as_device(ben), as_nobody(server)):
        refused = write(client, database, {"_id": "forged"})
        assert refused is not None
        assert (refused.status, "only its members may write" in refused.reason) == (403, True)
    assert "forged" not in contents(database)
    assert write(as_device(ada), database, {"_id": "ours"}) is None


# A channel's database.


def may_write(client: Server, database: Database) -> bool:
    doc = {"_id": uuid.uuid4().hex, "text": "hello"}
    answers = [
        write(client, database, {**doc, "_id": f"{doc['_id']}-{number}"})
        for number, write in enumerate(WAYS)
    ]
    allowed = {answer is None for answer in answers}
    assert len(allowed) == 1, answers
    return allowed == {True}


def may_read(client: Server, database: Database) -> bool:
    refused = refusal(client.database(database.name).get, "note")
    assert refused is None or refused.status in (401, 403)
    return refused is None


def test_members_write_and_former_members_do_not(ada: Owner, ben: Owner) -> None:
    database, client = ada.channel_database(), as_device(ben)
    assert (may_read(client, database), may_write(client, database)) == (False, False)
    ada.share(ben.address, number=2)
    assert (may_read(client, database), may_write(client, database)) == (True, True)
    refused = refusal(client.database(database.name).put_security, {})
    assert is_refused(refused)
    ada.edit(CHANNEL, members=[])
    ada.run(CHANNEL)
    assert (may_read(client, database), may_write(client, database)) == (False, False)


def test_a_member_of_one_channel_is_a_stranger_to_the_owners_others(ada: Owner, ben: Owner) -> None:
    ada.channel("channel-other")
    other = ada.channel_database("channel-other")
    other.put({"_id": "note"})
    ada.share(ben.address, number=2)
    assert readable(as_device(ben), other) == readable(as_device(ben), ada.control) == set()
    assert not may_write(as_device(ben), other)


def test_the_owners_second_device_may_do_all_that_the_first_may(ada: Owner, steps: Steps) -> None:
    second = a_device(owner=ada.address)
    steps.activate(second)
    client, database = as_device(ada, second), ada.channel_database()
    assert (may_read(client, database), may_write(client, database)) == (True, True)
    channel = ada.control.get(CHANNEL)
    assert by_put(client, ada.control, {**channel, "name": "Renamed"}) is None
    first = ada.control.get(ada.device.device_id)
    assert by_put(client, ada.control, {**first, "state": "revoking"}) is None


def test_a_public_channel_is_read_by_all_and_governed_by_none(
    ada: Owner, ben: Owner, server: Server
) -> None:
    ada.edit(CHANNEL, public=True)
    ada.run(CHANNEL)
    database = ada.channel_database()
    before = database.security()
    for client in (as_device(ada), as_device(ben), as_nobody(server)):
        assert may_read(client, database)
        refused = refusal(client.database(database.name).put_security, {})
        assert is_refused(refused)
    assert database.security() == before


# Forged documents: what lies in an owner's control database has no effect beyond that owner's.


def snapshot(server: Server, ada: Owner, *devices: NewDevice) -> dict[str, object]:
    """Everything that is ada's or the cloud's."""
    databases = (ada.steps.control, ada.control, ada.channel_database())
    state: dict[str, object] = {each.name: (contents(each), each.security()) for each in databases}
    users = contents(server.database("_users"))
    for device in (ada.device, *devices):
        user = users.get(USER + device.device_id)
        state[device.device_id] = user and without_hash(user)
    return state


def forged_documents(ada: Owner, ben: Owner, pending: NewDevice) -> dict[str, JsonDict]:
    """By name of what they try; each lies in ben's control database and means ada's."""
    steps = ada.steps
    steps.register(pending)
    code = steps.code()
    ada_s_invitation = InvitationRef(ada.id, ben.id, "invitation-1")
    foreign_code = steps.context.invitation_links.sign(ada_s_invitation.acceptance, 0)
    ben.channel("channel-ben")
    invitation = {
        "_id": "invitation-1",
        "type": "invitation",
        "state": "accepting",
        "channel": "channel-ben",
        "email": ada.address,
    }
    ada_s_channel = ada.control.get(CHANNEL)
    db = ada.channel_database().name
    channel = {"type": "channel", "owner": ada.address, "syncpoint": ada_s_channel["syncpoint"]}
    revoking = {"_id": ada.device.device_id, "type": "device", "state": "revoking"}
    clicked = {"type": "confirm", "state": "clicked", "confirm_code": code}
    return {
        "a click": {"_id": "c", **clicked, "device_code": pending.device_code},
        "wrong clicks": {"_id": "c", **clicked, "device_code": "WRONG-CODE"},
        "a registration": {**a_device(owner=ada.address).doc},
        "an activation": {**pending.doc, "state": "confirmed"},
        "a revocation": {**revoking, "owner": ben.address},
        "a revocation by the owner's name": {**revoking, "owner": ada.address},
        "an answer without a code": invitation,
        "an answer with a code of another's": {**invitation, "answer_code": foreign_code},
        "an answer with an odd code": {**invitation, "answer_code": {"a": [1]}},
        "an invitation to a channel of another's": {
            **invitation,
            "_id": "invitation-2",
            "state": "new",
            "channel": f"../{ada.control.name}/{CHANNEL}",
        },
        "a closing": {"_id": CHANNEL, "state": "closing", **channel},
        "a closing by the database's name": {"_id": db, "state": "closing", **channel},
        "a closing by a path": {"_id": f"../{db}", "state": "closing", **channel},
        "a new channel": {"_id": CHANNEL, "state": "new", **channel},
        "a new channel by the database's name": {"_id": db, "state": "new", **channel},
        "a new channel by its digits": {"_id": db.removeprefix("db-"), "state": "new", **channel},
        "a ready channel": {"_id": CHANNEL, "state": "ready", "name": "Ben's", **channel},
    }


def test_forged_documents_have_no_effect_beyond_their_database(
    ada: Owner, ben: Owner, steps: Steps, server: Server
) -> None:
    pending = a_device(owner=ada.address)
    forged = forged_documents(ada, ben, pending)
    before, mails = snapshot(server, ada, pending), len(steps.mailer.sent)
    for what, doc in forged.items():
        there = ben.control.get(doc["_id"]) if doc["_id"] in contents(ben.control) else {}
        ben.put({**doc, **({"_rev": there["_rev"]} if there else {})})
        outcome = ben.run(doc["_id"])
        after = ben.control.get(doc["_id"])
        assert snapshot(server, ada, pending) == before, what
        assert len(steps.mailer.sent) == mails, what
        if after["type"] != "channel":
            assert outcome is Outcome.REJECTED, what
            assert after["error"]["reason"], what
        elif after["state"] == "ready" and outcome is Outcome.SAVED:
            assert after["syncpoint"].endswith(channel_db(ben.id, doc["_id"])), what


# Names of channels.

ODD_IDS = ["../x", "UPPER", "x" * 300, "fotos ü 📷", "a/b/c", "%2e%2e%2fx", "a?b#c", "\u202e"]


@pytest.mark.parametrize("channel_id", [*ODD_IDS, "plain"])
def test_in_an_owners_database_every_id_gets_a_database_of_its_own(
    ben: Owner, server: Server, channel_id: str
) -> None:
    doc = ben.channel(channel_id)
    assert doc["state"] == "ready"
    name = channel_db(ben.id, channel_id)
    assert doc["syncpoint"] == server.database(name).url
    mark = {"control_db": ben.control.name, "channel": channel_id}
    assert mark.items() <= server.database(name).security()["syncpoint"].items()


@pytest.mark.parametrize("channel_id", [*ODD_IDS, "x" * 201, "Ünï", "a.b", "x\n"])
def test_in_the_control_database_an_id_that_is_no_plain_name_is_an_error(
    steps: Steps, channel_id: str
) -> None:
    doc = {"_id": channel_id, "type": "channel", "state": "new", "owner": an_address()}
    steps.control.put(doc)
    assert steps.run(channel_id) is Outcome.REJECTED
    reason = steps.control.get(channel_id)["error"]["reason"]
    assert "a-z, 0-9, _ and -" in reason


def test_a_channel_that_would_hit_anothers_database_is_refused_and_harmless(
    ada: Owner, ben: Owner, steps: Steps
) -> None:
    ada.share(ben.address, number=2)
    database = ada.channel_database()
    doc_id = database.name.removeprefix("db-")
    watched = (ada.control, ben.control, database)
    before = [(contents(each), each.security()) for each in watched]
    hit = {"_id": doc_id, "type": "channel", "state": "new", "owner": an_address(), "name": "Hit"}
    steps.control.put({**hit, "members": [ben.address]})
    assert steps.run(doc_id) is Outcome.REJECTED
    refused = steps.control.get(doc_id)
    assert "belongs to another channel" in refused["error"]["reason"]
    for state in ("ready", "closing"):
        steps.control.put({**steps.control.get(doc_id), "state": state})
        steps.run(doc_id)
        assert [(contents(each), each.security()) for each in watched] == before
