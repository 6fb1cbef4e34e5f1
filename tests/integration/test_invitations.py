"""An invitation's way, over a real CouchDB: a mail, an answer, a member; and its other ends."""

import threading
from contextlib import suppress
from dataclasses import replace

import pytest

from chalicelib.aws.ses import AddressRefused, MailError
from chalicelib.couch import CouchError, NotFound, Server
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.channel import MAX_MEMBERS
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.link_tokens import InvitationRef
from chalicelib.domain.names import owner_role, subscription_id
from chalicelib.engine.runner import Outcome
from chalicelib.errors import StillConflicting
from chalicelib.handlers import invitations
from tests.kit.basics import a_device, an_address
from tests.kit.cloud.access import logged_in, roles
from tests.kit.cloud.steps import Owner, Steps

REMOVED: JsonDict = {"members": []}
CLOSING: JsonDict = {"state": "closing"}


@pytest.fixture
def ada(ada: Owner) -> Owner:
    """With a channel."""
    ada.channel()
    return ada


def subscription(ada: Owner, guest: str) -> JsonDict:
    """The guest's subscription to Ada's channel."""
    theirs = ada.steps.control_db_of(guest)
    return theirs.get(subscription_id(ada.channel_database().name, owner_id_of(guest)))


def shared(ada: Owner, guest: str) -> JsonDict:
    """The channel as the guest's devices see it."""
    return ada.steps.control_db_of(guest).get(ada.channel_database().name)


# Sent.


def test_the_guest_gets_a_mail_that_says_who_invites_to_what(ada: Owner, guest: str) -> None:
    doc = ada.invite(guest)
    mail = ada.steps.mailer.sent[-1]
    assert (doc["state"], mail.to) == ("sent", guest)
    assert "Photos" in mail.text
    assert ada.address in mail.text
    assert "Photos" not in mail.subject
    assert doc["expires_at"] == "2026-11-30T06:00:00Z"


def test_every_message_again_sends_no_second_mail(ada: Owner, guest: str) -> None:
    ada.invite(guest)
    sent = len(ada.steps.mailer.sent)
    for message in ada.steps.messages * 2:
        assert ada.steps.deliver(message) in (Outcome.STALE, Outcome.UNCHANGED)
    assert len(ada.steps.mailer.sent) == sent


def test_an_invitation_made_again_under_its_id_is_mailed_to_its_new_guest(
    ada: Owner, guest: str
) -> None:
    ada.invite(guest)
    ada.control.remove(ada.edit("invitation-1", state="withdrawn"))
    somebody = an_address()
    assert ada.invite(somebody)["state"] == "sent"
    assert [mail.to for mail in ada.steps.mailer.sent[-2:]] == [guest, somebody]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"email": "no address"}, "email must be an e-mail address"),
        ({"email": None}, "email is missing"),
        ({"channel": "channel-unknown"}, "channel: you have no such channel, or it is closed"),
        ({"channel": "_design/syncpoint"}, "channel: you have no such channel, or it is closed"),
        ({"channel": "../x"}, "channel: you have no such channel, or it is closed"),
        ({"channel": ""}, "channel must be the _id of one of your channels"),
        ({"channel": 7}, "channel must be the _id of one of your channels"),
        ({"generation": -1}, "generation must be a whole number, 0 or more"),
        ({"_id": "invitation.1"}, "_id must be letters, digits, _ and -"),
    ],
)
def test_a_wrong_field_ends_in_an_error_that_names_it_and_sends_nothing(
    ada: Owner, guest: str, fields: JsonDict, reason: str
) -> None:
    sent = len(ada.steps.mailer.sent)
    doc = {"_id": "i", "type": "invitation", "state": "new", "email": guest}
    doc = {**doc, "channel": "channel-photos", **fields}
    ada.put({name: value for name, value in doc.items() if value is not None})
    after = ada.after(str(doc["_id"]))
    assert after["error"]["reason"].startswith(reason)
    assert len(ada.steps.mailer.sent) == sent


def test_nobody_invites_themselves(ada: Owner) -> None:
    assert "your own address" in ada.invite(ada.address.upper())["error"]["reason"]


def test_a_closed_channel_is_not_shared(ada: Owner, guest: str) -> None:
    ada.edit("channel-photos", state="closing")
    ada.run("channel-photos")
    assert "it is closed" in ada.invite(guest)["error"]["reason"]


def test_who_shares_the_channel_already_is_not_invited_again(ada: Owner, guest: str) -> None:
    ada.share(guest)
    assert "already" in ada.invite(guest, invitation_id="invitation-2")["error"]["reason"]


def test_an_address_that_the_mail_service_refuses_is_an_error(ada: Owner, guest: str) -> None:
    ada.steps.mailer.fail = AddressRefused("no")
    assert ada.invite(guest)["error"]["reason"].startswith("email: the mail service does not")


def test_after_an_unclear_failure_the_same_link_is_sent_again(ada: Owner, guest: str) -> None:
    doc = {"_id": "i", "type": "invitation", "state": "new", "email": guest}
    ada.put({**doc, "channel": "channel-photos"})
    ada.steps.mailer.fail = MailError("time-out")
    with pytest.raises(MailError):
        ada.run("i")
    ada.steps.mailer.fail = None
    ada.steps.clock.move(91)
    assert ada.after("i")["state"] == "sent"


def test_invitations_count_against_their_owner_and_against_the_address(
    ada: Owner, guest: str
) -> None:
    settings = replace(ada.steps.context.settings, mails_per_owner_hour=2, mails_per_address_hour=1)
    ada.steps.context = replace(ada.steps.context, settings=settings)
    assert ada.invite(guest, invitation_id="i1")["state"] == "sent"
    to_address = ada.invite(guest, invitation_id="i2")["error"]["reason"]
    assert to_address == "too many mails to this address; ask again after 2026-11-23T07:00:00Z"
    by_owner = ada.invite(an_address(), invitation_id="i3")["error"]["reason"]
    assert by_owner == "too many mails for this owner; ask again after 2026-11-23T07:00:00Z"


def test_two_owners_invitations_of_one_id_count_twice(steps: Steps, guest: str) -> None:
    settings = replace(steps.context.settings, mails_per_address_hour=1)
    ada, ben = steps.an_owner(), steps.an_owner()
    steps.context = replace(steps.context, settings=settings)
    for owner in (ada, ben):
        owner.channel()
    assert ada.invite(guest)["state"] == "sent"
    assert ben.invite(guest)["state"] == "error"


# Accepted.


def test_a_guest_who_accepts_is_a_member_with_an_active_subscription(
    ada: Owner, guest: str
) -> None:
    after = ada.share(guest)
    assert (after["state"], after["guest"]) == ("accepted", owner_id_of(guest))
    assert ada.control.get("channel-photos")["members"] == [owner_id_of(guest)]
    assert owner_role(owner_id_of(guest)) in roles(ada.channel_database())
    channel = shared(ada, guest)
    assert (channel["state"], channel["name"]) == ("shared", "Photos")
    found = subscription(ada, guest)
    assert (found["state"], found["channel"]) == ("active", channel["_id"])
    assert found["remote"] == channel["syncpoint"] == ada.control.get("channel-photos")["syncpoint"]


def test_a_guest_without_a_device_gets_the_channel_with_the_first_one(
    ada: Owner, guest: str, server: Server
) -> None:
    ada.share(guest)
    device = a_device(owner=guest)
    ada.steps.activate(device)
    theirs = logged_in(server, device).database(ada.steps.control_db_of(guest).name)
    assert theirs.get(ada.channel_database().name)["state"] == "shared"
    assert theirs.get(device.device_id)["state"] == "active"
    logged_in(server, device).database(ada.channel_database().name).put(
        {"_id": "photo-of-the-guest"}
    )


def test_a_guest_with_devices_keeps_their_own_channel_of_the_same_id(
    ada: Owner, steps: Steps
) -> None:
    ben = steps.an_owner()
    own = ben.channel("channel-photos", name="Ben's own")
    ada.share(ben.address)
    assert ben.control.get("channel-photos")["syncpoint"] == own["syncpoint"]
    assert shared(ada, ben.address)["syncpoint"] != own["syncpoint"]


@pytest.mark.parametrize("code", [None, "", "forged", "another's"])
def test_nobody_is_a_member_but_by_the_link_in_their_own_mail(
    ada: Owner, guest: str, code: str | None
) -> None:
    ada.invite(guest)
    if code == "another's":
        ada.invite(an_address(), invitation_id="invitation-2")
        code = ada.steps.receipt()
    ada.edit("invitation-1", state="accepting", answer_code=code)
    after = ada.after("invitation-1")
    assert after["error"]["reason"] == "an invitation is accepted by the link in its mail"
    assert "members" not in ada.control.get("channel-photos")
    with pytest.raises(NotFound):
        ada.steps.control_db_of(guest).info()


def test_a_link_is_worth_nothing_for_an_address_that_was_put_in_later(
    ada: Owner, guest: str
) -> None:
    ada.invite(guest)
    stranger = an_address()
    ada.edit("invitation-1", email=stranger)
    assert "by the link in its mail" in ada.accepted()["error"]["reason"]
    with pytest.raises(NotFound):
        ada.steps.control_db_of(stranger).info()
    ref = InvitationRef(ada.id, owner_id_of(guest), "invitation-1")
    assert invitations.find(ada.steps.context, ref) is None


def test_of_guests_who_accept_at_the_same_time_none_is_lost(ada: Owner) -> None:
    guests = [an_address() for _ in range(4)]
    for number, guest in enumerate(guests):
        ada.invite(guest, invitation_id=f"invitation-{number}")
        ada.edit(f"invitation-{number}", state="accepting", answer_code=ada.steps.receipt())
    messages = [
        ada.steps.message(f"invitation-{number}", ada.control) for number in range(len(guests))
    ]
    start = threading.Barrier(len(guests))

    def accept(number: int) -> None:
        start.wait()
        for _ in range(10):  # as the queue does: what fails comes again
            with suppress(CouchError, StillConflicting):
                ada.steps.deliver(messages[number])
                return

    threads = [threading.Thread(target=accept, args=(n,)) for n in range(len(guests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everyone = {owner_id_of(guest) for guest in guests}
    assert set(ada.control.get("channel-photos")["members"]) == everyone
    assert set(roles(ada.channel_database())) == {owner_role(who) for who in {*everyone, ada.id}}
    assert {subscription(ada, guest)["state"] for guest in guests} == {"active"}


def test_a_lost_table_does_not_bring_back_a_member_who_was_removed(ada: Owner, guest: str) -> None:
    ada.share(guest)
    ada.edit("channel-photos", members=[])
    ada.run("channel-photos")
    for message in ada.steps.messages:
        ada.steps.deliver(message)
    assert ada.control.get("channel-photos")["members"] == []
    assert subscription(ada, guest)["state"] == "stopped"


# No member any more.


def test_a_member_who_is_removed_loses_the_rights_and_the_subscription_stops(
    ada: Owner, steps: Steps, server: Server
) -> None:
    ben = steps.an_owner()
    ada.share(ben.address)
    theirs = logged_in(server, ben.device).database(ada.channel_database().name)
    theirs.put({"_id": "photo-1"})
    ada.edit("channel-photos", members=[])
    ada.run("channel-photos")
    with pytest.raises(CouchError) as refused:
        theirs.get("photo-1")
    assert refused.value.status in (401, 403)
    stopped = subscription(ada, ben.address)
    assert (stopped["state"], stopped["reason"]) == ("stopped", "you are no longer a member")
    assert shared(ada, ben.address)["state"] == "closed"


def test_a_member_of_a_public_channel_who_is_removed_may_still_read_it_only(
    ada: Owner, steps: Steps, server: Server
) -> None:
    ben = steps.an_owner()
    ada.share(ben.address)
    ada.edit("channel-photos", public=True)
    ada.run("channel-photos")
    theirs = logged_in(server, ben.device).database(ada.channel_database().name)
    theirs.put({"_id": "photo-1"})
    ada.edit("channel-photos", members=[])
    ada.run("channel-photos")
    assert theirs.get("photo-1")["_id"] == "photo-1"
    with pytest.raises(CouchError, match="only its members may write"):
        theirs.put({"_id": "photo-2"})
    assert subscription(ada, ben.address)["state"] == "stopped"


def test_a_crash_between_subscription_and_rights_removes_both_in_the_end(
    ada: Owner, guest: str
) -> None:
    ada.share(guest)
    ada.edit("channel-photos", members=[])

    def crash() -> None:
        raise ConnectionError

    with (
        pytest.raises(ConnectionError),
        ada.steps.meanwhile(ada.channel_database(), "put_security", crash),
    ):
        ada.run("channel-photos")
    ada.run("channel-photos")
    assert roles(ada.channel_database()) == [owner_role(ada.id)]
    assert subscription(ada, guest)["state"] == "stopped"


def test_who_was_removed_may_be_invited_again(ada: Owner, guest: str) -> None:
    ada.share(guest)
    ada.edit("channel-photos", members=[])
    ada.run("channel-photos")
    ada.share(guest, number=2)
    found = subscription(ada, guest)
    assert (found["state"], "reason" in found) == ("active", False)
    assert shared(ada, guest)["state"] == "shared"


@pytest.mark.parametrize("ends", ["removed", "closed"])
def test_a_guest_removed_while_accepting_gets_no_subscription(
    ada: Owner, guest: str, ends: str
) -> None:
    ada.invite(guest)
    ada.edit("invitation-1", state="accepting", answer_code=ada.steps.receipt())
    copy_id = ada.channel_database().name

    def end() -> None:
        ada.edit("channel-photos", **(REMOVED if ends == "removed" else CLOSING))
        ada.run("channel-photos")

    with ada.steps.meanwhile(ada.steps.control_db_of(guest), "put", end):
        ada.run("invitation-1")
    theirs = ada.steps.control_db_of(guest)
    assert theirs.get(subscription_id(copy_id, owner_id_of(guest)))["state"] == "stopped"
    assert theirs.get(copy_id)["state"] == "closed"


def test_guests_hear_of_a_new_name_and_of_the_end(ada: Owner, guest: str) -> None:
    ada.share(guest)
    copy_id = ada.channel_database().name
    theirs = ada.steps.control_db_of(guest)
    ada.edit("channel-photos", name="Holidays")
    ada.run("channel-photos")
    assert theirs.get(copy_id)["name"] == "Holidays"
    ada.edit("channel-photos", state="closing")
    ada.run("channel-photos")
    assert theirs.get(copy_id)["state"] == "closed"
    stopped = theirs.get(subscription_id(copy_id, owner_id_of(guest)))
    assert (stopped["state"], stopped["reason"]) == ("stopped", "the channel was closed")


def test_a_guest_who_paused_is_left_alone_by_a_new_name(ada: Owner, guest: str) -> None:
    ada.share(guest)
    theirs = ada.steps.control_db_of(guest)
    theirs.put({**subscription(ada, guest), "state": "paused"})
    ada.edit("channel-photos", name="Holidays")
    ada.run("channel-photos")
    assert subscription(ada, guest)["state"] == "paused"


@pytest.mark.parametrize("at", ["put_security", "put"])
def test_a_retried_acceptance_does_not_restore_a_removed_guest(
    ada: Owner, guest: str, at: str
) -> None:
    """The first run adds the guest and fails; the owner removes them; the second run comes."""
    ada.invite(guest)
    receipt = ada.steps.receipt()
    ada.edit(
        "invitation-1", state="accepting", answer_code=receipt, answered_at="2026-11-23T06:00:00Z"
    )

    def fail() -> None:
        raise ConnectionError

    where = ada.channel_database() if at == "put_security" else ada.steps.control_db_of(guest)
    with pytest.raises(ConnectionError), ada.steps.meanwhile(where, at, fail):
        ada.run("invitation-1")
    assert ada.control.get("channel-photos")["members"] == [owner_id_of(guest)]
    ada.edit("channel-photos", members=[])
    ada.run("channel-photos")
    assert ada.after("invitation-1")["state"] == "accepted"
    assert ada.control.get("channel-photos")["members"] == []
    assert roles(ada.channel_database()) == [owner_role(ada.id)]


def test_an_answer_that_comes_after_the_channel_was_closed_is_an_error(
    ada: Owner, guest: str
) -> None:
    ada.invite(guest)
    ada.edit("channel-photos", state="closing")
    ada.run("channel-photos")
    assert ada.accepted()["error"]["reason"] == "the channel was closed before it was shared"
    ada.control.remove(ada.control.get("channel-photos"))
    ada.edit("invitation-1", state="accepting")
    assert ada.after("invitation-1")["error"]["reason"].startswith("the channel was closed")
    with pytest.raises(NotFound):
        ada.steps.control_db_of(guest).info()


def test_a_channel_has_room_for_so_many_members(ada: Owner, guest: str) -> None:
    members = [f"{number:032x}" for number in range(MAX_MEMBERS)]
    ada.invite(guest)
    ada.edit("channel-photos", members=members)
    assert "no room" in ada.accepted()["error"]["reason"]
    assert ada.control.get("channel-photos")["members"] == members


def test_a_channel_of_the_guests_own_is_never_written_over(ada: Owner, steps: Steps) -> None:
    ben = steps.an_owner()
    copy_id = ada.channel_database().name
    own = ben.channel(copy_id, name="Ben's own")
    assert "a channel of that id" in ada.share(ben.address)["error"]["reason"]
    assert ben.control.get(copy_id) == own
