"""What a member of a channel can do to its owner, and to the others in it."""

import pytest

from chalicelib.couch import CouchError
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_role
from tests.kit.cloud.access import WAYS, as_device, by_multipart, contents, refusal
from tests.kit.cloud.steps import Owner


@pytest.fixture
def ada(ada: Owner, ben: Owner) -> Owner:
    """An owner whose channel ben shares."""
    ada.share(ben.address)
    return ada


def test_a_guest_cannot_turn_the_owner_out(ada: Owner, ben: Owner) -> None:
    """Neither by the channel's rights, nor by its description, nor by documents of their own."""
    client, database = as_device(ben), ada.channel_database()
    before = database.security()
    channel: JsonDict = contents(ada.control)["channel-photos"]
    for wanted in ({}, {"members": {"names": [], "roles": [owner_role(ben.id)]}}):
        refused = refusal(client.database(database.name).put_security, wanted)
        assert refused is not None
    forged = {"_id": "channel-photos", "type": "channel", "state": "ready", "members": [ben.id]}
    closing = {"_id": "closing", "type": "channel", "state": "closing", "owner": ben.id}
    for doc in (forged, closing):
        client.database(database.name).put(doc)
    for write in (*WAYS, by_multipart):
        assert write(client, ada.control, {**channel, "members": [], "owner": ben.id}) is not None
    assert ada.edit("channel-photos", note="x")["members"] == [ben.id]
    ada.run("channel-photos")
    assert database.security() == before
    assert owner_role(ada.id) in before["members"]["roles"]


def test_a_guest_who_removes_the_description_has_it_back(ada: Owner, ben: Owner) -> None:
    theirs = as_device(ben).database(ada.channel_database().name)
    theirs.put({**theirs.get("description"), "type": "owner", "members": [], "name": "Ben's"})
    ada.edit("channel-photos", note="1")
    ada.run("channel-photos")
    assert ada.channel_database().get("description")["name"] == "Photos"
    theirs.remove(theirs.get("description"))
    ada.edit("channel-photos", note="2")
    ada.run("channel-photos")
    assert ada.channel_database().get("description")["type"] == "description"


def test_a_guest_lets_nobody_else_in_and_invites_to_nothing_that_is_not_theirs(
    ada: Owner, ben: Owner
) -> None:
    mails = len(ada.steps.mailer.sent)
    for number, channel in enumerate(
        ("channel-photos", ada.channel_database().name, f"{ada.channel_database().name}/")
    ):
        doc = ben.invite("cy@example.com", channel, f"invitation-{number}")
        assert doc["error"]["reason"] == "channel: you have no such channel, or it is closed"
    assert len(ada.steps.mailer.sent) == mails


def test_a_guest_who_was_removed_does_not_come_back_by_what_they_kept(
    ada: Owner, ben: Owner
) -> None:
    """The link, their subscription, their copy of the channel's document."""
    name = ada.channel_database().name
    kept = contents(ben.control)
    ada.edit("channel-photos", members=[])
    ada.run("channel-photos")
    client = as_device(ben).database(ben.control.name)
    for doc in kept.values():
        if doc["_id"].startswith(name):
            for state in ("shared", "active", "new", "ready"):
                refused = refusal(client.put, {**doc, "state": state})
                assert isinstance(refused, CouchError)
    assert refusal(as_device(ben).database(name).info) is not None
    assert ada.control.get("channel-photos")["members"] == []
