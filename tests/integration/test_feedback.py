"""What SES says of mails: bounces and complaints, as its configuration set publishes them."""

import json

import pytest

from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.jobs import mail_feedback
from chalicelib.jobs.mail_feedback import InvalidNotification, TooEarly
from chalicelib.web import registrations
from tests.kit.basics import Mail, a_device, an_address
from tests.kit.cloud.feedback import bounce, complaint, notification
from tests.kit.cloud.site import with_settings
from tests.kit.cloud.steps import Owner, Steps


@pytest.fixture
def waiting(steps: Steps) -> JsonDict:
    """A device whose mail was sent."""
    return steps.register(a_device(owner=an_address()))


def test_a_bounce_makes_the_device_undeliverable_and_says_why(
    steps: Steps, waiting: JsonDict
) -> None:
    [mail] = steps.mailer.sent
    assert mail_feedback.handle_notification(steps.context, bounce(mail)) == "bounce"
    after = steps.control.get(waiting["_id"])
    assert after["state"] == "undeliverable"
    assert after["undeliverable_reason"] == "the mail did not arrive: Permanent/NoEmail"
    assert mail.to not in after["undeliverable_reason"]


def test_an_undeliverable_device_may_ask_again(steps: Steps, waiting: JsonDict) -> None:
    mail_feedback.handle_notification(steps.context, bounce(steps.mailer.sent[0]))
    doc = steps.control.get(waiting["_id"])
    steps.control.put({**doc, "state": "new", "generation": 1})
    steps.run(doc["_id"])
    assert steps.control.get(doc["_id"])["state"] == "confirming"
    assert len(steps.mailer.sent) == 2


def test_the_same_notification_twice_changes_nothing_more(steps: Steps, waiting: JsonDict) -> None:
    [mail] = steps.mailer.sent
    mail_feedback.handle_notification(steps.context, bounce(mail))
    before = steps.control.get(waiting["_id"])
    mail_feedback.handle_notification(steps.context, bounce(mail))
    assert steps.control.get(waiting["_id"]) == before


# Every type and subtype of a bounce, and whether it says that the mail did not arrive.
# Source: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
BOUNCES = [
    ("Undetermined", "Undetermined", False),  # no reason that SES could tell; often auto-replies
    ("Permanent", "General", True),
    ("Permanent", "NoEmail", True),
    ("Permanent", "Suppressed", True),
    ("Permanent", "OnAccountSuppressionList", True),
    ("Transient", "General", False),  # such as an out-of-office note
    ("Transient", "MailboxFull", True),  # SES has stopped to try again, as for all that follow
    ("Transient", "MessageTooLarge", True),
    ("Transient", "CustomTimeoutExceeded", True),
    ("Transient", "ContentRejected", True),
    ("Transient", "AttachmentRejected", True),
    # What SES may add some day.
    ("Permanent", "Unheard", True),
    ("Transient", "Unheard", True),
    ("Unheard", "Unheard", False),
]


@pytest.mark.parametrize(("kind", "sub_kind", "has_failed"), BOUNCES)
def test_only_a_bounce_that_says_so_makes_a_registration_undeliverable(
    steps: Steps, waiting: JsonDict, kind: str, sub_kind: str, *, has_failed: bool
) -> None:
    [mail] = steps.mailer.sent
    said = mail_feedback.handle_notification(steps.context, bounce(mail, kind, sub_kind))
    after = steps.control.get(waiting["_id"])
    if has_failed:
        assert (said, after["state"]) == ("bounce", "undeliverable")
        reason = f"the mail did not arrive: {kind}/{sub_kind}"
        assert after["undeliverable_reason"] == reason
    else:
        assert (said, after) == ("other", waiting)


def test_a_bounce_of_an_older_mail_leaves_the_newer_one_alone(
    steps: Steps, waiting: JsonDict
) -> None:
    doc = steps.control.get(waiting["_id"])
    steps.control.put({**doc, "state": "new", "generation": 1})
    steps.run(doc["_id"])
    before = steps.control.get(doc["_id"])
    mail_feedback.handle_notification(steps.context, bounce(steps.mailer.sent[0]))
    assert steps.control.get(doc["_id"]) == before


def test_a_bounce_that_comes_before_the_document_says_so_is_to_come_again(
    steps: Steps, waiting: JsonDict
) -> None:
    """The mail bounces; its transition has not saved the document yet."""
    [mail] = steps.mailer.sent
    saved = steps.control.get(waiting["_id"])
    early = {**saved, "state": "new"}
    steps.control.put(early)
    with pytest.raises(TooEarly):
        mail_feedback.handle_notification(steps.context, bounce(mail))
    now = steps.control.get(waiting["_id"])
    steps.control.put({**now, "state": "confirming"})
    mail_feedback.handle_notification(steps.context, bounce(mail))
    assert steps.control.get(waiting["_id"])["state"] == "undeliverable"


def test_an_active_device_stays_active(steps: Steps) -> None:
    device = a_device(owner=an_address())
    steps.activate(device)
    mail_feedback.handle_notification(steps.context, bounce(steps.mailer.sent[0]))
    assert steps.control.get(device.device_id)["state"] == "active"


def test_after_a_complaint_no_mail_goes_to_that_address(steps: Steps, waiting: JsonDict) -> None:
    [mail] = steps.mailer.sent
    assert mail_feedback.handle_notification(steps.context, complaint(mail)) == "complaint"
    assert steps.control.get(waiting["_id"])["state"] == "undeliverable"
    another = steps.register(a_device(owner=mail.to.upper()))
    assert another["state"] == "error"
    assert another["error"]["reason"] == "owner: somebody at this address wants no mail from here"
    assert len(steps.mailer.sent) == 1
    assert steps.mailer.outcomes == ["sent", "unwanted"]
    steps.register(a_device(owner=an_address()))
    assert len(steps.mailer.sent) == 2


def test_a_complaint_about_a_mail_that_was_answered_long_ago_still_stops_mails(
    steps: Steps,
) -> None:
    device = a_device(owner=an_address())
    steps.activate(device)
    mail_feedback.handle_notification(steps.context, complaint(steps.mailer.sent[0]))
    assert steps.control.get(device.device_id)["state"] == "active"
    assert steps.context.suppressions.holds(owner_id_of(str(device.doc["owner"])))


def test_an_invitation_that_bounces_ends_in_error_with_the_reason(steps: Steps) -> None:
    ada: Owner = steps.an_owner()
    ada.channel()
    ada.invite(an_address())
    mail_feedback.handle_notification(steps.context, bounce(steps.mailer.sent[-1]))
    doc = ada.control.get("invitation-1")
    assert doc["state"] == "error"
    assert doc["error"]["reason"] == "email: the mail did not arrive: Permanent/NoEmail"


@pytest.mark.parametrize(("kind", "sub_kind", "has_failed"), BOUNCES)
def test_only_a_bounce_that_says_so_ends_an_invitation(
    steps: Steps, kind: str, sub_kind: str, *, has_failed: bool
) -> None:
    ada: Owner = steps.an_owner()
    ada.channel()
    ada.invite(an_address())
    mail_feedback.handle_notification(steps.context, bounce(steps.mailer.sent[-1], kind, sub_kind))
    assert ada.control.get("invitation-1")["state"] == ("error" if has_failed else "sent")


def test_a_bounce_to_the_guest_of_an_owner_who_is_gone_changes_nothing(steps: Steps) -> None:
    ada: Owner = steps.an_owner()
    ada.channel()
    ada.invite(an_address())
    ada.channel_database().delete()  # nothing would lead to it afterwards
    ada.control.delete()
    assert (
        mail_feedback.handle_notification(steps.context, bounce(steps.mailer.sent[-1])) == "bounce"
    )


def test_what_is_about_no_mail_of_ours_changes_nothing(steps: Steps, waiting: JsonDict) -> None:
    foreign = Mail(an_address(), "", "", "", "", {})
    gone = Mail(an_address(), "", "", "", "", {"doc": "device-gone", "generation": "0"})
    odd = Mail(an_address(), "", "", "", "", {"doc": waiting["_id"], "generation": "x"})
    for mail in (foreign, gone, odd):
        assert mail_feedback.handle_notification(steps.context, bounce(mail)) == "bounce"
    assert (
        mail_feedback.handle_notification(steps.context, notification(foreign, "Delivery"))
        == "other"
    )
    assert steps.control.get(waiting["_id"]) == waiting


def test_a_mail_that_was_taken_out_of_the_junk_is_no_complaint(
    steps: Steps, waiting: JsonDict
) -> None:
    [mail] = steps.mailer.sent
    said = notification(mail, "Complaint", complaint={"complaintFeedbackType": "not-spam"})
    assert mail_feedback.handle_notification(steps.context, said) == "other"
    assert not steps.context.suppressions.holds(owner_id_of(mail.to))
    assert steps.control.get(waiting["_id"]) == waiting


def test_a_bounce_stops_no_mail(steps: Steps, waiting: JsonDict) -> None:
    [mail] = steps.mailer.sent
    mail_feedback.handle_notification(steps.context, bounce(mail))
    assert not steps.context.suppressions.holds(owner_id_of(mail.to))


def test_what_ses_says_when_it_finds_the_topic_is_no_failure(steps: Steps) -> None:
    said = "Successfully validated SNS topic for Amazon SES event publishing."
    assert mail_feedback.handle_notification(steps.context, said) == "other"


@pytest.mark.parametrize("message", ["{", "{}", '{"eventType": "Bounce", "mail": []}'])
def test_what_ses_did_not_send_is_refused(steps: Steps, message: str) -> None:
    with pytest.raises(InvalidNotification):
        mail_feedback.handle_notification(steps.context, message)


# Senders of mails that fail.

HERE = {"network": "192.0.2.0/24"}
LATER = "; ask again after 2026-11-24T06:00:00Z"
OF_OWNER = f"too many of your mails did not arrive or were reported as spam{LATER}"
OF_NETWORK = f"too many mails from this network did not arrive or were reported as spam{LATER}"


def reason(doc: JsonDict) -> str:
    return str(doc.get("error", {}).get("reason", ""))


def tell(steps: Steps, *messages: str) -> None:
    for message in messages:
        mail_feedback.handle_notification(steps.context, message)


@pytest.fixture
def ada(steps: Steps) -> Owner:
    """An owner who invites; after two mails that fail there is no other for a day."""
    with_settings(steps, bounces_per_sender_day=2)
    ada = steps.an_owner()
    ada.channel()
    return ada


def mails_after(steps: Steps, ada: Owner, *messages: str) -> str:
    """Tell what became of mails; why the owner's next invitation is refused."""
    tell(steps, *messages)
    return reason(ada.invite(an_address(), invitation_id="next"))


def two_mails(steps: Steps, ada: Owner) -> list[Mail]:
    for number in range(2):
        ada.invite(an_address(), invitation_id=f"i-{number}")
    return steps.mailer.sent[-2:]


def test_who_invites_addresses_that_do_not_exist_waits_a_day(steps: Steps, ada: Owner) -> None:
    one, other = two_mails(steps, ada)
    assert mails_after(steps, ada, bounce(one), bounce(other)) == OF_OWNER
    assert steps.mailer.outcomes[-1] == "over_quota"
    ben = steps.an_owner()
    ben.channel()
    assert not reason(ben.invite(an_address()))
    steps.clock.move(24 * 3600)
    assert not reason(ada.invite(an_address(), invitation_id="later"))


def test_a_complaint_counts_against_the_sender_as_a_bounce_does(steps: Steps, ada: Owner) -> None:
    one, other = two_mails(steps, ada)
    assert mails_after(steps, ada, bounce(one), complaint(other)) == OF_OWNER


@pytest.mark.parametrize("told", ["twice", "as bounce and complaint"])
def test_a_mail_that_failed_counts_once(steps: Steps, ada: Owner, told: str) -> None:
    one, _ = two_mails(steps, ada)
    again = bounce(one) if told == "twice" else complaint(one)
    assert not mails_after(steps, ada, bounce(one), again)


def test_each_mail_of_one_invitation_counts(steps: Steps, ada: Owner) -> None:
    """Deleted and made again for another guest, it has the same id and generation."""
    mails = []
    for _ in range(2):
        ada.invite(an_address())
        mails.append(steps.mailer.sent[-1])
        ada.control.remove(ada.control.get("invitation-1"))
    assert mails_after(steps, ada, *map(bounce, mails)) == OF_OWNER


@pytest.mark.parametrize(("kind", "sub_kind", "has_failed"), BOUNCES)
def test_only_a_bounce_for_good_counts_against_the_sender(
    steps: Steps, ada: Owner, kind: str, sub_kind: str, *, has_failed: bool
) -> None:
    mails = two_mails(steps, ada)
    refused = mails_after(steps, ada, *(bounce(mail, kind, sub_kind) for mail in mails))
    assert bool(refused) is (kind == "Permanent")
    assert has_failed or not refused


def test_a_network_that_registers_addresses_that_do_not_exist_is_refused(steps: Steps) -> None:
    with_settings(steps, bounces_per_sender_day=2)
    for _ in range(2):
        steps.register(a_device(owner=an_address()), **HERE)
    waiting = a_device(owner=an_address())
    steps.control.put({**waiting.doc, **HERE})
    tell(steps, *map(bounce, steps.mailer.sent))
    body = json.dumps({"docs": [a_device(owner=an_address()).doc], "new_edits": False})
    answer = registrations.bulk_docs(steps.context, {}, body, "192.0.2.9")
    assert (answer.status, answer.body["reason"]) == (429, OF_NETWORK)
    assert answer.headers == {"Retry-After": str(24 * 3600)}
    steps.run(waiting.device_id)  # it was accepted before
    assert reason(steps.control.get(waiting.device_id)) == OF_NETWORK
    elsewhere = registrations.bulk_docs(steps.context, {}, body, "198.51.100.9")
    assert elsewhere.status == 201


def test_a_bounce_counts_against_the_network_that_its_mail_came_from(steps: Steps) -> None:
    """Not against the one from which the device has asked for another mail since."""
    with_settings(steps, bounces_per_sender_day=1)
    device = a_device(owner=an_address())
    steps.register(device, **HERE)
    doc = steps.control.get(device.device_id)
    steps.control.put({**doc, "state": "new", "generation": 1, "network": "198.51.100.0/24"})
    tell(steps, bounce(steps.mailer.sent[0]))
    steps.run(device.device_id)
    assert steps.control.get(device.device_id)["state"] == "confirming"
    assert reason(steps.register(a_device(owner=an_address()), **HERE)) == OF_NETWORK


def test_a_bounce_of_a_mail_without_a_known_sender_counts_against_nobody(steps: Steps) -> None:
    with_settings(steps, bounces_per_sender_day=1)
    steps.register(a_device(owner=an_address()))
    tell(steps, bounce(steps.mailer.sent[0]))
    assert steps.register(a_device(owner=an_address()))["state"] == "confirming"


def test_a_member_does_not_say_whom_a_bounce_counts_against(steps: Steps, ada: Owner) -> None:
    doc = {"_id": "i", "type": "invitation", "state": "new", "email": an_address(), **HERE}
    ada.put({**doc, "channel": "channel-photos"})
    ada.run("i")
    assert set(steps.mailer.sent[-1].tags) == {"doc", "generation", "owner"}


def test_a_mail_over_its_quota_is_counted_as_such(steps: Steps) -> None:
    owner = an_address()
    for _ in range(6):
        last = steps.register(a_device(owner=owner))
    assert last["state"] == "error"
    assert steps.mailer.outcomes == ["sent"] * 5 + ["over_quota"]
