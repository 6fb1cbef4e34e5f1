"""Mail that nobody asked for: how much of it somebody can make the cloud send."""

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from itertools import count

import pytest

from chalicelib.aws.ses import MailNotSent
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.web import registrations
from syncpoint_device.registration import NewDevice
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


# What may be done with an invitation that was written before.
WRITTEN_AGAIN = ["over it", "withdrawn before", "withdrawn and deleted before", "deleted before"]


@pytest.mark.parametrize("way", WRITTEN_AGAIN)
def test_an_invitation_in_other_letter_cases_is_the_same_mail(
    steps: Steps, ada: Owner, way: str
) -> None:
    guest, before = an_address(), len(steps.mailer.sent)
    for number, email in enumerate(letter_cases(guest)):
        write_again(ada, way, email, is_first=number == 0)
    assert len(steps.mailer.sent) == before + 1


@pytest.mark.parametrize("way", WRITTEN_AGAIN)
@pytest.mark.parametrize("changes", ["generation", "channel", "document", "owner", "device"])
def test_every_mail_counts_however_its_invitation_is_written(
    steps: Steps, ada: Owner, ben: Owner, way: str, changes: str
) -> None:
    """In another letter case each time, too."""
    guest, before = an_address(), len(steps.mailer.sent)
    with_settings(steps, mails_per_owner_hour=100, mails_per_owner_day=100)
    ben.channel()
    for number, email in enumerate(letter_cases(guest)):
        inviter, fields = ada, dict[str, object]()
        if changes == "generation":
            fields["generation"] = number
        elif changes == "channel":
            fields["channel"] = ada.channel(f"channel-{number}")["_id"]
        elif changes == "document":
            fields["_id"] = f"invitation-{number}"
        elif changes == "owner":
            inviter, fields["generation"] = (ada, ben)[number % 2], number
        else:
            bring(steps, a_device(owner=email), f"198.51.{number}.1")
        write_again(inviter, way, email, is_first=changes == "document" or number == 0, **fields)
    assert [mail.to for mail in steps.mailer.sent[before:]] == [guest] * 3


def letter_cases(address: str) -> list[str]:
    """Five ways to write an address: more than an address is sent mails in an hour."""
    at = address.index("@") + 1
    letters = range(at, at + 4)
    return [address, *(address[:n] + address[n].upper() + address[n + 1 :] for n in letters)]


def write_again(
    owner: Owner, way: str, email: str, *, is_first: bool = False, **fields: object
) -> None:
    """Write an invitation in state new, as somebody who keeps to no rules; and run it."""
    doc: JsonDict = {"_id": "invitation", "type": "invitation", "channel": "channel-photos"}
    doc |= {"state": "new", "email": email, **fields}
    stored = owner.control.find_one(doc["_id"])
    if stored is not None and not is_first:
        if "withdrawn" in way:
            stored = owner.edit(doc["_id"], state="withdrawn")
        if "deleted" in way:
            owner.control.remove(stored)
            stored = None
    owner.put({**doc, "_rev": stored["_rev"]} if stored else doc)
    owner.run(doc["_id"])


def test_mails_that_could_not_be_sent_do_not_pile_up_for_later(steps: Steps, ada: Owner) -> None:
    """SES takes none for an hour; then all are tried again that were counted in it."""
    guest = an_address()
    for hour in range(2):
        steps.mailer.fail = MailNotSent("SES refused the mail: TooManyRequestsException")
        for number in range(3):
            doc_id = f"invitation-{hour}-{number}"
            doc = {"_id": doc_id, "type": "invitation", "state": "new", "email": guest}
            ada.put({**doc, "channel": "channel-photos"})
            with suppress(MailNotSent):
                ada.run(doc_id)
        steps.mailer.fail = None
        steps.clock.move(HOUR_S)
    before = len(steps.mailer.sent)
    for message in list(steps.messages):
        steps.deliver(message)
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


# The networks of owners.

NETWORK = {"network": "192.0.2.0/24"}


def an_inviter(steps: Steps, **fields: str) -> Owner:
    """An owner whose first device came from a network, some day, with a channel."""
    quotas = steps.context.settings
    with_settings(steps, mails_per_network_hour=100, mails_per_network_day=100)
    with_settings(steps, mails_share_hour=100)
    owner = steps.an_owner(**(NETWORK | fields))
    steps.context = replace(steps.context, settings=quotas)
    owner.channel()
    return owner


def reason_of(doc: JsonDict) -> str:
    """Why an invitation was refused; empty if it was sent."""
    assert doc["state"] in ("sent", "error")
    return str(doc["error"]["reason"]) if doc["state"] == "error" else ""


def test_one_network_invites_no_more_by_many_owners_than_by_one(steps: Steps) -> None:
    owners = [an_inviter(steps) for _ in range(5)]
    stranger = an_inviter(steps, network="198.51.100.0/24")
    answers = [reason_of(invited(owner, 0, an_address())) for owner in owners]
    assert answers[:3] == [""] * 3
    assert set(answers[3:]) == {
        "too many mails from the network that you registered from; "
        "ask again after 2026-11-23T07:00:00Z"
    }
    assert not reason_of(invited(stranger, 0, an_address()))
    steps.clock.move(HOUR_S)
    answers = [reason_of(invited(owner, 1, an_address())) for owner in owners]
    assert [not answer for answer in answers] == [True] * 2 + [False] * 3  # five a day


def test_invitations_and_registrations_of_a_network_do_not_use_up_each_others_quota(
    steps: Steps,
) -> None:
    ip = "192.0.2.7"
    owner = an_inviter(steps)
    with_settings(steps, mails_per_owner_hour=10)
    for number in range(4):
        invited(owner, number, an_address())
        bring(steps, a_device(owner=an_address()), ip)
    assert "from the network" in reason_of(owner.control.get("invitation-3"))
    assert bring(steps, a_device(owner=an_address()), ip) == 429
    sent = [mail.tags.get("owner") for mail in steps.mailer.sent[1:]]
    assert (sent.count(owner.id), sent.count(None)) == (3, 2)  # the owner's own is the third


def test_an_address_without_room_uses_up_nothing_of_the_inviters_network(steps: Steps) -> None:
    owners, full = [an_inviter(steps) for _ in range(2)], an_address()
    with_settings(steps, mails_per_address_hour=1, mails_per_owner_hour=10)
    for number in range(4):
        refused = reason_of(invited(owners[0], number, full))
        assert ("to this address" in refused) is bool(number)
    assert [reason_of(invited(owners[1], number, an_address())) for number in range(2)] == [""] * 2


def test_a_busy_hour_is_shared_by_networks_of_owners_too(busy: Steps) -> None:
    owners = [an_inviter(busy) for _ in range(7)]  # their own mails make the hour busy
    answers = [reason_of(invited(owner, 0, an_address())) for owner in owners[:2]]
    assert answers[0] == ""
    assert answers[1].startswith(
        "too many mails from the network that you registered from in this busy hour;"
    )


def test_an_owner_keeps_the_network_of_the_first_device(steps: Steps) -> None:
    owner = an_inviter(steps)
    before = owner.control.security()
    steps.activate(a_device(owner=owner.address), network="198.51.100.0/24")
    assert owner.control.security() == before


def test_owners_do_not_see_by_which_network_they_are_counted(steps: Steps) -> None:
    """Their devices can read the security object; a lost one should not tell where they live."""
    mark = an_inviter(steps).control.security()["syncpoint"]
    assert mark["network"] == an_inviter(steps).control.security()["syncpoint"]["network"]
    assert "192" not in str(mark["network"])
    assert mark["network"] != hashlib.sha256(b"192.0.2.0/24").hexdigest()[: len(mark["network"])]


def test_an_owner_without_a_network_is_counted_by_it_from_the_next_device_on(steps: Steps) -> None:
    """Databases of earlier versions have none, nor has that of a guest without a device."""
    others = [an_inviter(steps) for _ in range(3)]
    earlier = steps.an_owner()
    earlier.channel()
    for number, other in enumerate(others):
        invited(other, number, an_address())
    assert "network" not in earlier.control.security()["syncpoint"]
    assert not reason_of(invited(earlier, 0, an_address()))
    steps.clock.move(HOUR_S)
    steps.activate(a_device(owner=earlier.address), **NETWORK)
    for number, other in enumerate(others[:2], 3):
        invited(other, number, an_address())
    assert "from the network" in reason_of(invited(earlier, 1, an_address()))


def test_a_guest_has_the_network_of_their_own_first_device(steps: Steps) -> None:
    """Not of the device on which they accepted: the page knows no network that is theirs."""
    owner, guest = an_inviter(steps, network="198.51.100.0/24"), an_address()
    owner.share(guest)
    theirs = steps.control_db_of(guest)
    assert "network" not in theirs.security()["syncpoint"]
    steps.activate(a_device(owner=guest), **NETWORK)
    network = theirs.security()["syncpoint"]["network"]
    assert network == an_inviter(steps).control.security()["syncpoint"]["network"]
    an_inviter(steps, network="203.0.113.0/24").share(guest)
    assert theirs.security()["syncpoint"]["network"] == network


# A busy hour.


@pytest.fixture
def busy(steps: Steps) -> Steps:
    """A cloud whose hour is busy after six mails, or after four to one domain."""
    with_settings(steps, mails_per_owner_hour=4, mails_per_network_hour=4, mails_per_owner_day=20)
    with_settings(steps, mails_busy_hour=6, mails_busy_domain_hour=4, mails_share_hour=1)
    return steps


def reasons(owner: Owner, domain: str, count: int, name: str = "i") -> list[str | None]:
    """Invite guests of a domain, one after another; why each was refused."""
    docs = [owner.invite(f"{name}{n}@{domain}", invitation_id=f"{name}-{n}") for n in range(count)]
    return [doc.get("error", {}).get("reason") for doc in docs]


BUSY_DOMAIN = (
    "too many mails for this owner in this busy hour of the address's domain; "
    "ask again after 2026-11-23T07:00:00Z"
)
BUSY = "too many mails for this owner in this busy hour; ask again after 2026-11-23T07:00:00Z"


def test_who_floods_a_domain_leaves_it_to_others(busy: Steps, ada: Owner, ben: Owner) -> None:
    with_settings(busy, mails_busy_hour=100)
    ben.channel()
    assert reasons(ada, "victim.example", 5) == [None] * 4 + [BUSY_DOMAIN]
    assert busy.mailer.outcomes[-2:] == ["busy_domain", "over_quota"]
    assert reasons(ben, "victim.example", 2) == [None, BUSY_DOMAIN]
    busy.clock.move(HOUR_S)
    assert reasons(ada, "victim.example", 1, "later") == [None]


def test_who_floods_the_installation_leaves_it_to_others(
    busy: Steps, ada: Owner, ben: Owner
) -> None:
    """Two mails were sent already: those by which the two owners registered."""
    ben.channel()
    refused = [reasons(ada, f"{number}.example", 1, f"i{number}") for number in range(5)]
    assert refused == [[None]] * 4 + [[BUSY]]
    assert busy.mailer.outcomes[-2:] == ["busy", "over_quota"]
    assert reasons(ben, "six.example", 2) == [None, BUSY]
    newcomer = a_device(owner="cem@seven.example")
    assert bring(busy, newcomer, "198.51.100.1") == 201
    assert busy.control.get(newcomer.device_id)["state"] == "confirming"


def test_a_network_gets_its_share_of_a_busy_hour_and_is_told_when_to_ask_again(
    busy: Steps,
) -> None:
    for number in range(6):
        bring(busy, a_device(owner=f"x@{number}.example"), f"198.51.{number}.1")
    assert bring(busy, a_device(owner="x@a.example"), "203.0.113.1") == 201
    body = json.dumps({"docs": [a_device(owner="x@b.example").doc], "new_edits": False})
    refused = registrations.bulk_docs(busy.context, {}, body, "203.0.113.2")
    assert (refused.status, refused.headers["Retry-After"]) == (429, str(HOUR_S))
    assert refused.body["reason"].startswith("too many mails from this network in this busy hour;")


def test_a_busy_domain_leaves_other_domains_alone(busy: Steps, ada: Owner) -> None:
    with_settings(busy, mails_busy_hour=100, mails_per_owner_hour=100)
    assert reasons(ada, "victim.example", 5)[-1] == BUSY_DOMAIN
    assert reasons(ada, "other.example", 4, "other") == [None] * 4


def test_mails_that_are_refused_or_retried_make_no_hour_busy(busy: Steps, ada: Owner) -> None:
    """Two mails went out: the owner's own, and one invitation."""
    with_settings(busy, mails_per_owner_hour=1, mails_busy_hour=3)
    doc = {"_id": "i", "type": "invitation", "state": "new", "email": "ben@one.example"}
    ada.put({**doc, "channel": "channel-photos"})
    busy.mailer.fail = MailNotSent("SES refused the mail: TooManyRequestsException")
    for _ in range(5):
        with suppress(MailNotSent):
            ada.run("i")
    busy.mailer.fail = None
    ada.run("i")
    assert all(reasons(ada, "two.example", 5))
    assert "busy" not in busy.mailer.outcomes
    [count_of_all], _ = busy.context.hour_counters.read(["all"], busy.clock().timestamp())
    assert count_of_all == 2
