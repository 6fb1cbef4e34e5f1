"""A channel's way, over a real CouchDB: provisioned, secured, following its document, closed."""

from dataclasses import replace

import pytest

from chalicelib.couch import CouchError, Server
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import channel_db, owner_role, subscription_id
from chalicelib.engine.runner import Message, Outcome
from chalicelib.handlers import channels
from tests.kit.basics import an_address
from tests.kit.cloud.access import exists, logged_in, roles
from tests.kit.cloud.steps import Owner, Steps

# Provisioned.


def test_a_new_channel_gets_a_database_and_says_where_it_is(ada: Owner) -> None:
    doc = ada.channel("channel-photos")
    assert doc["state"] == "ready"
    assert doc["syncpoint"] == f"{ada.steps.context.server.url}/{channel_db(ada.id, doc['_id'])}"
    database = ada.channel_database()
    assert database.get("description") | {"name": "Photos"} == database.get("description")
    assert roles(database) == [owner_role(ada.id)]


def test_the_owners_devices_read_and_write_it(ada: Owner, server: Server) -> None:
    ada.channel()
    mine = logged_in(server, ada.device).database(ada.channel_database().name)
    mine.put({"_id": "photo-1"})
    assert mine.get("photo-1")["_id"] == "photo-1"


def test_the_address_that_devices_are_told_is_the_public_one(ada: Owner) -> None:
    settings = replace(ada.steps.context.settings, couchdb_public_url="https://sync.example.com/")
    ada.steps.context = replace(ada.steps.context, settings=settings)
    name = channel_db(ada.id, "channel-photos")
    assert ada.channel()["syncpoint"] == f"https://sync.example.com/{name}"


def test_a_database_that_is_there_already_is_fine(ada: Owner) -> None:
    ada.steps.context.server.database(channel_db(ada.id, "channel-photos")).create()
    assert ada.channel()["state"] == "ready"


def test_one_owner_may_have_two_channels_of_one_name(ada: Owner) -> None:
    one, other = ada.channel("channel-1"), ada.channel("channel-2")
    assert one["name"] == other["name"]
    assert one["syncpoint"] != other["syncpoint"]


def test_two_owners_may_have_channels_of_one_id(ada: Owner, steps: Steps) -> None:
    ben = steps.an_owner()
    assert ada.channel("photos")["syncpoint"] != ben.channel("photos")["syncpoint"]
    assert roles(ada.channel_database("photos")) == [owner_role(ada.id)]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": ""}, "name must have 1 to 80 characters"),
        ({"name": 7}, "name must be a text"),
        ({"name": "a\u202eb"}, "name must not contain control characters"),
        ({"public": "yes"}, "public must be true or false"),
        ({"members": "ben@example.com"}, "members must be a list, of at most 100"),
        ({"members": ["ben"]}, "members must be an e-mail address, or an owner's id"),
    ],
)
def test_a_wrong_field_ends_in_an_error_that_names_it(
    ada: Owner, fields: JsonDict, reason: str
) -> None:
    doc = ada.put({"_id": "c", "type": "channel", "state": "new", "name": "Photos", **fields})
    after = ada.after(doc["_id"])
    assert after["state"] == "error"
    assert after["error"]["reason"].startswith(reason)


def test_an_error_that_was_mended_is_gone(ada: Owner) -> None:
    ada.put({"_id": "c", "type": "channel", "state": "new", "name": ""})
    assert ada.after("c")["state"] == "error"
    ada.edit("c", state="new", name="Photos")
    after = ada.after("c")
    assert (after["state"], "error" in after) == ("ready", False)


# Following.


def test_a_new_name_reaches_the_description(ada: Owner) -> None:
    ada.channel()
    ada.edit("channel-photos", name="Holidays")
    assert ada.run("channel-photos") is Outcome.UNCHANGED
    assert ada.channel_database().get("description")["name"] == "Holidays"


def test_a_channel_that_stays_as_it_is_writes_nothing(ada: Owner) -> None:
    ada.channel()
    database = ada.channel_database()
    before = ada.control.info()["update_seq"], database.info()["update_seq"]
    assert ada.run("channel-photos") is Outcome.UNCHANGED
    assert (ada.control.info()["update_seq"], database.info()["update_seq"]) == before


def test_the_security_is_written_whole_whatever_stood_there(ada: Owner) -> None:
    ada.channel()
    database = ada.channel_database()
    added = {"names": ["mallory"], "roles": [owner_role(ada.id), "others"]}
    database.put_security({**database.security(), "admins": added, "members": added})
    ada.run("channel-photos")
    assert database.security()["members"] == {"names": [], "roles": [owner_role(ada.id)]}
    assert database.security()["admins"] == {"names": [], "roles": ["_admin"]}


# Two that write the security in the wrong order.


def test_of_two_members_who_come_at_once_none_is_lost(ada: Owner, steps: Steps) -> None:
    """The interleaving that would lose one: A reads {Ben}; B reads {Ben, Cy} and writes; A writes.

    Without A's second look the security would end as {Ben}.
    """
    ada.channel()
    ben, cy = owner_id_of(an_address()), owner_id_of(an_address())
    everyone = sorted(owner_role(who) for who in (ada.id, ben, cy))
    database = ada.channel_database()
    written: list[list[str]] = []

    def another_run() -> None:
        ada.edit("channel-photos", members=[ben, cy])
        ada.run("channel-photos")
        written.append(roles(database))

    ada.edit("channel-photos", members=[ben])
    with steps.meanwhile(database, "put_security", another_run):
        ada.run("channel-photos")
    assert written == [everyone]
    assert roles(database) == everyone


def test_a_security_that_was_written_too_late_is_what_the_second_look_mends(
    ada: Owner, steps: Steps
) -> None:
    """The same writes by hand, with no second look: one is lost, until the channel is run."""
    ada.channel()
    ben, cy = owner_id_of(an_address()), owner_id_of(an_address())
    database = ada.channel_database()
    early = ada.edit("channel-photos", members=[ben])
    ada.edit("channel-photos", members=[ben, cy])
    ada.run("channel-photos")
    database.put_security(channels.channel_of(early, steps.context.at(ada.control.name)).security)
    assert owner_role(cy) not in roles(database)
    ada.run("channel-photos")
    assert owner_role(cy) in roles(database)


# Public.


def test_a_public_channel_is_read_by_everyone_and_written_by_its_members_only(
    ada: Owner, steps: Steps, server: Server
) -> None:
    ada.channel(public=True)
    database = ada.channel_database()
    logged_in(server, ada.device).database(database.name).put({"_id": "photo-1"})
    stranger = steps.an_owner()
    theirs = logged_in(server, stranger.device).database(database.name)
    anybodys = Server(server.url).database(database.name)
    assert theirs.get("photo-1")["_id"] == anybodys.get("photo-1")["_id"] == "photo-1"
    for one in (theirs, anybodys):
        with pytest.raises(CouchError, match="only its members may write"):
            one.put({"_id": "graffito"})


def test_a_channel_that_is_private_again_shuts_out_strangers(
    ada: Owner, steps: Steps, server: Server
) -> None:
    ada.channel(public=True)
    database = ada.channel_database()
    ada.edit("channel-photos", public=False)
    ada.run("channel-photos")
    with pytest.raises(CouchError) as refused:
        Server(server.url).database(database.name).info()
    assert refused.value.status == 401
    logged_in(server, ada.device).database(database.name).put({"_id": "photo-1"})


# Closed.


def test_closing_deletes_the_database_and_stops_the_owners_subscription(ada: Owner) -> None:
    ada.channel()
    database = ada.channel_database()
    sub_id = subscription_id("channel-photos", ada.id)
    ada.put({"_id": sub_id, "type": "subscription", "state": "active", "channel": "channel-photos"})
    ada.edit("channel-photos", state="closing")
    after = ada.after("channel-photos")
    assert (after["state"], exists(database)) == ("closed", False)
    subscription = ada.control.get(sub_id)
    assert (subscription["state"], subscription["reason"]) == ("stopped", "the channel was closed")


def test_closing_may_be_run_again(ada: Owner, steps: Steps) -> None:
    ada.channel()
    ada.edit("channel-photos", state="closing")
    message = steps.message("channel-photos", ada.control)
    assert steps.deliver(message) is Outcome.SAVED
    assert steps.deliver(message) is Outcome.STALE
    channels.close(ada.control.get("channel-photos"), steps.context.at(ada.control.name))


@pytest.mark.parametrize("fields", [{"name": "\u202e"}, {"name": 7}, {"public": "yes"}])
def test_a_channel_in_error_can_be_closed(ada: Owner, fields: JsonDict) -> None:
    ada.put({"_id": "c", "type": "channel", "state": "new", **fields})
    assert ada.after("c")["state"] == "error"
    ada.edit("c", state="closing")
    assert ada.after("c")["state"] == "closed"


@pytest.mark.parametrize("is_over", [True, False], ids=["closed", "closing"])
def test_a_slow_provisioning_leaves_no_database_of_a_channel_that_was_closed(
    ada: Owner, steps: Steps, is_over: bool
) -> None:
    """A: reads new … makes the database          B: ready, closed, the database goes.

    While it is closing, B may have looked for the database already.
    """
    ada.channel()
    early = ada.control.get("channel-photos")
    message = Message(ada.control.name, "channel-photos", "channel", "new", None)
    database = ada.channel_database()
    ada.edit("channel-photos", state="closing")
    if is_over:
        ada.run("channel-photos")
    channels.provision({**early, "state": "new"}, steps.context.at(ada.control.name))
    assert exists(database)
    assert steps.deliver(message) is Outcome.STALE
    assert not exists(database)


def test_a_closing_meets_no_database_that_a_provisioning_makes_after_it(
    ada: Owner, steps: Steps
) -> None:
    """A: reads new …               B: ready … closing, closed … A: makes the database, looks."""
    ada.put({"_id": "channel-photos", "type": "channel", "state": "new", "name": "Photos"})
    message = steps.message("channel-photos", ada.control)
    database = steps.context.server.database(channel_db(ada.id, "channel-photos"))

    def another_run_and_the_end() -> None:
        ada.run("channel-photos")
        ada.edit("channel-photos", state="closing")
        ada.run("channel-photos")

    with steps.meanwhile(database, "create", another_run_and_the_end):
        steps.deliver(message)
    assert ada.control.get("channel-photos")["state"] == "closed"
    assert not exists(database)


def test_a_slow_provisioning_does_not_open_a_channel_made_private(ada: Owner, steps: Steps) -> None:
    """A: reads new, public …        B: private, ready        A: writes the security, looks."""
    doc = {"_id": "channel-photos", "type": "channel", "state": "new", "name": "Photos"}
    ada.put({**doc, "public": True})
    message = steps.message("channel-photos", ada.control)
    database = steps.context.server.database(channel_db(ada.id, "channel-photos"))

    def another_run() -> None:
        ada.edit("channel-photos", public=False)
        ada.run("channel-photos")

    with steps.meanwhile(database, "put_security", another_run):
        steps.deliver(message)
    assert ada.control.get("channel-photos")["state"] == "ready"
    assert roles(database) == [owner_role(ada.id)]


def test_a_database_that_goes_while_it_is_closed_is_gone(ada: Owner, steps: Steps) -> None:
    ada.channel()
    database = ada.channel_database()
    ada.edit("channel-photos", state="closing")
    with steps.meanwhile(database, "put_security", database.delete):
        assert ada.after("channel-photos")["state"] == "closed"
    assert not exists(database)


def test_another_channels_database_is_never_touched(ada: Owner, ben: Owner, steps: Steps) -> None:
    """Nor are its guests told that it has ended."""
    ada.channel()
    database = ada.channel_database()
    message = Message(ada.control.name, "channel-photos", "channel", "new", None)
    ours = database.security()
    theirs = {**ours, "syncpoint": {"channel": "another", "control": "other"}}
    database.put_security(theirs)
    ada.edit("channel-photos", state="new")
    assert "belongs to another channel" in ada.after("channel-photos")["error"]["reason"]
    shared = {"_id": database.name, "type": "channel", "state": "shared", "name": "Theirs"}
    ben.put(shared)
    for fields in ({"state": "closing", "members": [ben.id]}, {"state": "closing"}):
        ada.edit("channel-photos", **fields)
        assert steps.deliver(message) is Outcome.STALE
        assert ada.after("channel-photos")["state"] == "closed"
        assert steps.deliver(message) is Outcome.STALE
    assert database.security() == theirs
    assert ben.control.get(database.name)["state"] == "shared"
    database.put_security(ours)  # so that it is removed


def test_a_channel_that_is_made_again_was_ready_since_the_first_time(
    ada: Owner, steps: Steps
) -> None:
    first = ada.channel()["ready_at"]
    steps.clock.move(3600)
    ada.edit("channel-photos", state="new")
    assert ada.after("channel-photos")["ready_at"] == first


def test_rights_are_written_although_the_channels_document_goes(
    ada: Owner, steps: Steps, guest: str
) -> None:
    """Who is leaving cannot be noted then."""
    ada.channel()
    database = ada.channel_database()
    ada.share(guest)
    doc = ada.edit("channel-photos", members=[])
    channel = channels.channel_of(doc, steps.context.at(ada.control.name))
    ada.control.remove(ada.control.get("channel-photos"))
    assert channels.write_rights(steps.context.at(ada.control.name), channel)
    assert roles(database) == [owner_role(ada.id)]


# The original system's single database.


def test_a_channel_in_the_control_database_is_handled_by_its_owner_field(
    steps: Steps, ada: Owner, server: Server
) -> None:
    doc = {"_id": f"c{ada.id[:8]}", "type": "channel", "state": "new", "name": "Photos"}
    steps.control.put({**doc, "owner": ada.address})
    steps.run(doc["_id"])
    after = steps.control.get(doc["_id"])
    assert after["state"] == "ready"
    assert after["syncpoint"] == f"{server.url}/db-{doc['_id']}"
    database = server.database(f"db-{doc['_id']}")
    assert roles(database) == [owner_role(ada.id)]
    logged_in(server, ada.device).database(database.name).put({"_id": "photo-1"})
    steps.control.put({**after, "state": "closing"})
    steps.run(doc["_id"])
    assert not exists(database)


def test_an_owner_who_is_no_owner_is_an_error_there(steps: Steps) -> None:
    steps.control.put({"_id": "c", "type": "channel", "state": "new", "owner": "somebody"})
    steps.run("c")
    assert steps.control.get("c")["error"]["reason"] == (
        "owner must be an e-mail address, or an owner's id (32 hex digits)"
    )


# Revisions that did not know of each other.


def conflicting(ada: Owner, doc_id: str, rev: str, **fields: object) -> None:
    """A device's edit over an older revision, as replication brings it: with a higher number."""
    base = ada.control.get(doc_id, rev)
    number, _, digest = rev.partition("-")
    start = int(number) + 9
    ancestors = [f"{n:032x}" for n in range(start, int(number), -1)]
    doc = {**base, **fields, "_rev": f"{start}-{ancestors[0]}"}
    doc["_revisions"] = {"start": start, "ids": [*ancestors, digest]}
    body = {"docs": [doc], "new_edits": False}
    ada.control._http.request("POST", f"/{ada.control.name}/_bulk_docs", body=body)


def test_a_guest_is_not_lost_when_a_device_renamed_the_channel_offline(ada: Owner) -> None:
    before = ada.channel()
    guest = an_address()
    ada.share(guest)
    conflicting(ada, "channel-photos", before["_rev"], name="Holidays")
    assert "members" not in ada.control.get("channel-photos")
    while ada.run("channel-photos") is not Outcome.UNCHANGED or conflicts(ada, "channel-photos"):
        pass
    doc = ada.control.get("channel-photos")
    assert (doc["name"], doc["members"]) == ("Holidays", [owner_id_of(guest)])
    assert owner_role(owner_id_of(guest)) in roles(ada.channel_database())
    copy_id = ada.channel_database().name
    theirs = ada.steps.control_db_of(guest)
    assert theirs.get(subscription_id(copy_id, owner_id_of(guest)))["state"] == "active"


def test_a_channel_that_one_device_closed_is_closed_for_the_one_that_renamed_it(
    ada: Owner,
) -> None:
    before = ada.channel()
    database = ada.channel_database()
    ada.edit("channel-photos", state="closing")
    ada.run("channel-photos")
    conflicting(ada, "channel-photos", before["_rev"], name="Holidays")
    assert ada.control.get("channel-photos")["state"] == "ready"
    ada.run("channel-photos")
    assert ada.after("channel-photos")["state"] == "closed"
    assert not exists(database)
    assert conflicts(ada, "channel-photos") == []


def test_one_run_removes_a_bounded_number_of_conflicts(
    ada: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "_MAX_LOSERS", 2)
    doc = ada.channel()
    for number in range(4):
        ada.control.put_revision({**doc, "_rev": f"1-{number:032x}"})
    assert len(conflicts(ada, "channel-photos")) == 4
    ada.run("channel-photos")
    assert len(conflicts(ada, "channel-photos")) == 2


def test_a_conflict_that_another_run_removed_is_no_error(ada: Owner, steps: Steps) -> None:
    doc = ada.channel()
    loser = {**doc, "_rev": f"1-{7:032x}"}
    ada.control.put_revision(loser)

    def another_run() -> None:
        ada.control.remove(loser)

    with steps.meanwhile(ada.control, "remove", another_run):
        assert ada.after("channel-photos") == doc
    assert conflicts(ada, "channel-photos") == []


def test_a_crash_while_conflicts_are_merged_loses_none(ada: Owner, steps: Steps) -> None:
    doc = ada.channel()
    ada.control.put_revision({**doc, "state": "closing", "_rev": f"1-{7:032x}"})

    def die() -> None:
        raise SystemExit

    with steps.meanwhile(ada.control, "put", die), pytest.raises(SystemExit):
        ada.run("channel-photos")
    assert len(conflicts(ada, "channel-photos")) == 1
    ada.run("channel-photos")
    assert ada.after("channel-photos")["state"] == "closed"


def test_a_ready_channel_whose_database_is_gone_says_so(ada: Owner) -> None:
    ada.channel()
    ada.channel_database().delete()
    assert ada.after("channel-photos")["error"]["reason"].startswith("the channel's database is")
    ada.edit("channel-photos", state="new")
    assert ada.after("channel-photos")["state"] == "ready"


def conflicts(ada: Owner, doc_id: str) -> list[str]:
    found: list[str] = ada.control.get(doc_id, conflicts=True).get("_conflicts", [])
    return found
