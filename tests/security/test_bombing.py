"""Mail that nobody asked for: how much of it somebody can make the cloud send."""

import json
from itertools import count

import pytest

from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.web import registrations
from device.registration import NewDevice
from tests.kit.basics import a_device, an_address
from tests.kit.cases.attacks import MISSPELLINGS, SPELLINGS
from tests.kit.cloud.site import with_settings
from tests.kit.cloud.steps import Owner, Steps
from tests.security.conftest import MakeSite

HOUR_S = 3600


@pytest.fixture
def steps(make_site: MakeSite) -> Steps:
    """A cloud that sends three mails an hour, and five a day, for whatever it counts."""
    steps = make_site().steps
    for what in ("address", "owner", "network"):
        with_settings(steps, **{f"mails_per_{what}_hour": 3, f"mails_per_{what}_day": 5})
    return steps


def bring(steps: Steps, device: NewDevice, source_ip: str, **fields: object) -> int:
    """Bring a registration from a network, and run what it asks for; the answer's status."""
    body = json.dumps({"docs": [{**device.doc, **fields}], "new_edits": False})
    answer = registrations.bulk_docs(steps.context, {}, body, source_ip)
    doc = steps.control.find_one(device.device_id)
    if doc is not None and doc["state"] == "new":
        steps.run(device.device_id)
    return answer.status


def addresses_of_networks() -> list[str]:
    return [f"{number}.{number}.2.1" for number in range(1, 7)]


def test_one_address_gets_no_more_mail_from_many_networks_than_from_one(steps: Steps) -> None:
    victim = an_address()
    statuses = {bring(steps, a_device(owner=victim), ip) for ip in addresses_of_networks()}
    assert statuses == {201}  # nobody is told
    assert [mail.to for mail in steps.mailer.sent] == [victim] * 3
    steps.clock.move(HOUR_S)
    for ip in addresses_of_networks():
        bring(steps, a_device(owner=victim), ip)
    assert [mail.to for mail in steps.mailer.sent] == [victim] * 5


def test_one_network_sends_no_more_mail_to_many_addresses_than_to_one(steps: Steps) -> None:
    """However its own addresses are chosen, of a /24 or of a /48."""
    sources = [f"192.0.2.{number}" for number in range(3)]
    sources += [f"::ffff:192.0.2.{number}" for number in range(3, 6)]
    statuses = [bring(steps, a_device(owner=an_address()), ip) for ip in sources]
    assert statuses == [201] * 3 + [429] * 3
    sources = [f"2001:db8:1:{number:x}::{number:x}" for number in range(6)]
    statuses = [bring(steps, a_device(owner=an_address()), ip) for ip in sources]
    assert statuses == [201] * 3 + [429] * 3
    assert len(steps.mailer.sent) == 6


@pytest.mark.parametrize("source_ip", ["unknown", "", "999.1.1.1", "10.0.0.1, 192.0.2.1"])
def test_who_hides_the_network_shares_the_quota_of_all_who_do(steps: Steps, source_ip: str) -> None:
    for _ in range(3):
        bring(steps, a_device(owner=an_address()), "nowhere")
    assert bring(steps, a_device(owner=an_address()), source_ip) == 429


def test_a_device_that_asks_again_and_again_gets_no_more_mail_than_another(steps: Steps) -> None:
    """From one network or many, and whether or not its registration has come to something."""
    device = a_device(owner=an_address())
    generations = count(1)
    bring(steps, device, "198.51.100.1")
    for ip in addresses_of_networks():
        bring(steps, device, ip, generation=next(generations))
    for _ in range(5):
        bring(steps, device, "203.0.113.1", generation=next(generations))
    assert len(steps.mailer.sent) == 3


def test_a_message_that_comes_again_is_no_other_mail(steps: Steps) -> None:
    """However often, and though the table is full of other mails by then."""
    device = a_device(owner=an_address())
    bring(steps, device, "198.51.100.1")
    for message in list(steps.messages) * 5:
        steps.deliver(message)
    for _ in range(3):  # an edit that is none of a device's brings the document up again
        doc = steps.control.get(device.device_id)
        steps.control.put({**doc, "note": str(doc["_rev"])})
        steps.deliver(steps.messages[0])
    assert len(steps.mailer.sent) == 1


@pytest.mark.parametrize("spellings", SPELLINGS)
def test_all_spellings_of_an_address_have_one_quota(steps: Steps, spellings: str) -> None:
    name = an_address().partition("@")[0]
    written = [spelling.format(name=name) for spelling in SPELLINGS[spellings]]
    for number, owner in enumerate(written * 2):
        bring(steps, a_device(owner=owner), f"198.51.{number}.1")
    assert len(steps.mailer.sent) == 3
    assert len({mail.to for mail in steps.mailer.sent}) == 1
    assert len({owner_id_of(owner) for owner in written}) == 1


@pytest.mark.parametrize("misspelling", MISSPELLINGS)
def test_what_may_be_taken_for_another_address_gets_no_mail(steps: Steps, misspelling: str) -> None:
    """Neither a registration nor an invitation: it would be one mailbox with two owners."""
    ada, address = steps.an_owner(), MISSPELLINGS[misspelling].format(name="ben")
    device, before = a_device(owner=address), len(steps.mailer.sent)
    assert bring(steps, device, "198.51.100.1") == 201
    assert steps.control.find_one(device.device_id) is None
    assert "owner must be an e-mail address" in steps.register(device)["error"]["reason"]
    ada.channel()
    assert "email must be an e-mail address" in ada.invite(address)["error"]["reason"]
    assert len(steps.mailer.sent) == before


def test_a_plus_address_is_an_address_of_its_own(steps: Steps) -> None:
    """docs/security.md says so: what is before the @ is for its own mail server to read."""
    name = an_address().partition("@")[0]
    for tag in ("", "+a", "+b", "+c"):
        for ip in ("198.51.100.1", "203.0.113.1"):
            bring(steps, a_device(owner=f"{name}{tag}@example.com"), ip)
    assert len({mail.to for mail in steps.mailer.sent}) > 1
    assert len(steps.mailer.sent) == 6  # what both networks have together


# Invitations.


def invited(owner: Owner, number: int, email: str, channel: str = "channel-photos") -> JsonDict:
    return owner.invite(email, channel, f"invitation-{number}")


def test_an_owner_invites_so_many_whatever_the_channel_and_the_guest(
    steps: Steps, ada: Owner
) -> None:
    before = len(steps.mailer.sent)
    ada.channel("channel-other")
    for number in range(6):
        invited(ada, number, an_address(), ("channel-photos", "channel-other")[number % 2])
    assert len(steps.mailer.sent) == before + 3
    reason = ada.control.get("invitation-5")["error"]["reason"]
    assert reason.startswith("too many mails for this owner")


def test_an_invitation_that_is_sent_again_or_made_again_counts_each_time(
    steps: Steps, ada: Owner
) -> None:
    guest, before = an_address(), len(steps.mailer.sent)
    invited(ada, 0, guest)
    for generation in range(1, 4):
        ada.edit("invitation-0", state="withdrawn")
        ada.edit("invitation-0", state="new", generation=generation)
        ada.run("invitation-0")
    for generation in range(4, 7):
        ada.control.remove(ada.control.get("invitation-0"))
        doc = {"_id": "invitation-0", "type": "invitation", "state": "new", "email": guest}
        ada.put({**doc, "channel": "channel-photos", "generation": generation})
        ada.run("invitation-0")
    assert len(steps.mailer.sent) == before + 3


def test_an_invitation_that_is_deleted_and_made_again_is_no_new_mail(
    steps: Steps, ada: Owner
) -> None:
    guest, before = an_address(), len(steps.mailer.sent)
    for _ in range(5):
        invited(ada, 0, guest)
        ada.control.remove(ada.control.get("invitation-0"))
    assert len(steps.mailer.sent) == before + 1


@pytest.mark.parametrize("changes", ["the guest", "the channel"])
def test_an_invitation_made_again_for_something_else_counts_each_time(
    steps: Steps, ada: Owner, changes: str
) -> None:
    guest, before = an_address(), len(steps.mailer.sent)
    for number in range(5):
        ada.channel(f"channel-{number}")
        if changes == "the guest":
            invited(ada, 0, an_address())
        else:
            invited(ada, 0, guest, f"channel-{number}")
        ada.control.remove(ada.control.get("invitation-0"))
    assert len(steps.mailer.sent) == before + 3


def test_many_owners_together_send_one_guest_no_more_than_one_does(
    steps: Steps, ada: Owner, ben: Owner
) -> None:
    """And registrations under the guest's address come out of the same quota."""
    ben.channel()
    guest, before = an_address(), len(steps.mailer.sent)
    for number in range(2):
        invited(ada, number, guest)
        invited(ben, number, guest)
        bring(steps, a_device(owner=guest), "198.51.100.1")
    assert [mail.to for mail in steps.mailer.sent[before:]] == [guest] * 3
