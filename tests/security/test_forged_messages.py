"""Messages that the poller, or SES, did not send: a queue and a topic are not the truth."""

import json

import pytest

from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import channel_db
from chalicelib.engine.runner import Message
from chalicelib.jobs import mail_feedback
from chalicelib.jobs.mail_feedback import InvalidNotification
from tests.kit.basics import a_device, an_address, without_hash, without_private
from tests.kit.cases.attacks import FORGED_MESSAGES, FORGED_NOTIFICATIONS
from tests.kit.cloud.access import as_device, contents
from tests.kit.cloud.site import handle_messages
from tests.kit.cloud.steps import Owner, Steps


@pytest.fixture
def ada(ada: Owner) -> Owner:
    """An owner into whose channel a device wrote what looks like the control database's."""
    theirs = as_device(ada).database(ada.channel_database().name)
    pending = a_device(owner=an_address())
    victim = ada.control.get("channel-photos")
    forged = {
        "forged": {"type": "channel", "state": "new", "owner": ada.address, "name": "Forged"},
        "closing": {**victim, "state": "closing", "owner": ada.address},
        "device": {**pending.doc, "state": "confirmed"},
        "invitation": {"type": "invitation", "state": "new", "email": an_address()},
        "confirm": {"type": "confirm", "state": "clicked", "confirm_code": "", "device_code": ""},
    }
    for doc_id, doc in forged.items():
        theirs.put({**without_private(doc), "_id": doc_id})
    return ada


def logins(ada: Owner) -> list[JsonDict]:
    """The logins that a message means, and her device's; other tests have theirs beside them."""
    users = ada.steps.context.server.database("_users")
    found = [users.find_one(f"org.couchdb.user:{name}") for name in (ada.device.device_id, "x")]
    return [without_hash(user) for user in found if user]


def names(ada: Owner) -> set[str]:
    """The databases that a message could make, and those of this test."""
    ids = {doc_id for _, doc_id, _, _ in FORGED_MESSAGES.values()}
    possible = {f"db-{doc_id}" for doc_id in ids} | {channel_db(ada.id, doc_id) for doc_id in ids}
    there = ada.steps.context.server.all_dbs("a", "~", 100_000)
    return {name for name in there if name in possible or ada.steps.control.name in name}


def test_a_message_that_nobody_sent_changes_nothing_and_others_go_on(ada: Owner) -> None:
    steps = ada.steps
    known = {"control": ada.control.name, "channel": ada.channel_database().name}
    before = contents(ada.control), contents(steps.control), logins(ada)
    rights = [database.security() for database in (ada.control, ada.channel_database())]
    mails, databases = len(steps.mailer.sent), names(ada)
    for what, (db, doc_id, doc_type, state) in FORGED_MESSAGES.items():
        message = Message(db.format(**known), doc_id, doc_type, state, {"_id": doc_id, "type": "x"})
        batch = handle_messages(steps, [message])
        assert batch.done | set(batch.again) == {doc_id}, what
        assert (contents(ada.control), contents(steps.control), logins(ada)) == before, what
    assert [each.security() for each in (ada.control, ada.channel_database())] == rights
    assert names(ada) == databases
    assert len(steps.mailer.sent) == mails


@pytest.mark.parametrize(
    "body",
    ["", "null", "[]", "{}", '{"db":1}', '{"db":"x","id":"x","type":"x"}', "\x00", "[" * 100_000],
)
def test_a_body_that_is_none_of_the_pollers_fails_alone(body: str) -> None:
    with pytest.raises(Exception, match=r"the message's body is none of the poller's|recursion"):
        Message.parse(body)


def test_a_notification_that_ses_did_not_send_changes_nothing(steps: Steps, ada: Owner) -> None:
    before = contents(ada.control), contents(steps.control)
    for notification in FORGED_NOTIFICATIONS.values():
        with pytest.raises(InvalidNotification) as caught:
            mail_feedback.handle_notification(steps.context, notification)
        assert len(str(caught.value)) < 100
    assert (contents(ada.control), contents(steps.control)) == before


def test_a_bounce_moves_the_document_of_its_own_mail_and_no_other(steps: Steps, ada: Owner) -> None:
    """It ends a registration that waits, and an invitation; nothing that was answered."""
    device = a_device(owner=an_address())
    steps.register(device)
    ada.invite(an_address())
    before = contents(ada.control), contents(steps.control)
    places = [
        ("channel-photos", ada.id),
        (ada.device.device_id, ada.id),
        ("invitation-1", None),
        (ada.device.device_id, None),
        (device.device_id, ada.id),
        (f"confirm-{ada.device.device_id}-0", None),
    ]
    for doc_id, owner in places:
        tags = {"doc": [doc_id], "generation": ["0"], **({"owner": [owner]} if owner else {})}
        bounce = {"bounceType": "Permanent", "bounceSubType": "NoEmail"}
        said = {"eventType": "Bounce", "bounce": bounce, "mail": {"destination": [], "tags": tags}}
        mail_feedback.handle_notification(steps.context, json.dumps(said))
    assert (contents(ada.control), contents(steps.control)) == before
