"""A device's way through the transitions, over a real CouchDB and a real rate_limiter."""

import json
import queue
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.aws.claims import RunningElsewhere
from chalicelib.aws.ses import AddressRefused, MailError, MailNotSent
from chalicelib.couch import Database, NotFound, Server, Unauthorized
from chalicelib.design import OWNER_CONTROL
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.link_status import WRONG_CODES
from chalicelib.domain.names import confirm_id, owner_control_db
from chalicelib.engine.runner import Message, Outcome
from chalicelib.handlers import confirmations, devices
from chalicelib.handlers.all import registry
from chalicelib.settings import PollerSettings
from chalicelib.web import confirm as pages
from poller.app import run as poll
from syncpoint_device.registration import NewDevice
from tests.kit.basics import (
    PUBLIC_URL,
    FakeClock,
    FakeDependencies,
    FakeMailer,
    a_device,
    an_address,
    create_table,
    view_page,
)
from tests.kit.cloud.access import logged_in
from tests.kit.cloud.site import with_settings
from tests.kit.cloud.steps import Steps
from tests.kit.fakes.aws import FakeAws
from tests.kit.tokens import MAC_LENGTH, put_together

HOUR_S, DAY_S = 3600, 24 * 3600


def login(server: Server, device: NewDevice) -> JsonDict:
    user: JsonDict = logged_in(server, device).session()["userCtx"]
    return user


# The way.


def test_a_new_device_gets_a_mail_with_a_link_and_waits(steps: Steps, device: NewDevice) -> None:
    doc = steps.register(device)
    assert doc["state"] == "confirming"
    assert doc["confirm_expires_at"] == "2026-11-24T06:00:00Z"
    [mail] = steps.mailer.sent
    assert mail.to == device.doc["owner"]
    assert steps.mailer.links() == [f"{PUBLIC_URL}/confirm/{steps.code()}"]
    assert device.doc["name"] in mail.text


def test_the_mail_has_neither_the_device_code_nor_the_credentials(
    steps: Steps, device: NewDevice
) -> None:
    steps.register(device)
    [mail] = steps.mailer.sent
    for secret in (device.device_code, device.doc["credentials"]["derived_key"]):
        assert secret not in mail.text + mail.html + mail.subject


def test_the_html_link_is_not_tracked(steps: Steps, device: NewDevice) -> None:
    steps.register(device)
    [mail] = steps.mailer.sent
    assert f'<a ses:no-track href="{PUBLIC_URL}/confirm/{steps.code()}"' in mail.html


def test_a_click_confirms_and_the_device_becomes_active(
    steps: Steps, server: Server, device: NewDevice
) -> None:
    steps.register(device)
    assert steps.click(device)["state"] == "used"
    assert steps.control.get(device.device_id)["state"] == "confirmed"
    assert steps.run(device.device_id) is Outcome.SAVED
    assert steps.control.get(device.device_id)["state"] == "active"
    role = f"owner-{owner_id_of(device.doc['owner'])}"
    assert login(server, device) | {"roles": [role]} == login(server, device)
    assert login(server, device)["name"] == device.device_id
    with pytest.raises(Unauthorized):
        login(server, replace(device, password="wrong"))


def test_the_owners_control_database_admits_the_owners_devices_only(
    steps: Steps, server: Server, device: NewDevice
) -> None:
    steps.activate(device)
    stranger = a_device(owner=an_address())
    steps.activate(stranger)
    name = owner_control_db(steps.control.name, owner_id_of(device.doc["owner"]))
    assert server.database(name).security()["members"]["roles"] == [
        f"owner-{owner_id_of(device.doc['owner'])}"
    ]
    assert logged_in(server, device).database(name).info()["db_name"] == name
    with pytest.raises(Exception, match=r"40[13]"):
        logged_in(server, stranger).database(name).info()


# Once is enough.


@pytest.mark.parametrize("after", ["register", "click", "activate"])
def test_every_message_may_be_replayed_at_any_time_without_effect(
    steps: Steps, device: NewDevice, after: str
) -> None:
    messages: list[Message] = []

    def keep(doc_id: str) -> None:
        messages.append(steps.message(doc_id))

    steps.control.put(device.doc)
    keep(device.device_id)
    steps.run(device.device_id)
    if after in ("click", "activate"):
        steps.control.put(
            {
                "_id": "confirm-by-hand",
                "type": "confirm",
                "state": "clicked",
                "confirm_code": steps.code(),
                "device_code": device.device_code,
            }
        )
        keep("confirm-by-hand")
        steps.run("confirm-by-hand")
    if after == "activate":
        keep(device.device_id)
        steps.run(device.device_id)
    before = steps.control.get(device.device_id)
    assert {steps.deliver(message) for message in messages * 2} == {Outcome.STALE}
    assert steps.control.get(device.device_id) == before
    assert len(steps.mailer.sent) == 1


def test_an_edit_between_mail_and_save_sends_no_second_mail(
    steps: Steps, device: NewDevice
) -> None:
    class EditingMailer(FakeMailer):
        def send(self, *mail: Any, **more: Any) -> None:
            super().send(*mail, **more)
            doc = steps.control.get(device.device_id)
            steps.control.put({**doc, "name": f"edit {len(self.sent)}"})

    mailer = EditingMailer()
    steps.context = replace(steps.context, mail=mailer)
    steps.control.put(device.doc)
    message = steps.message(device.device_id)
    steps.deliver(message)
    steps.deliver(message)
    doc = steps.control.get(device.device_id)
    assert (len(mailer.sent), doc["state"], doc["name"]) == (1, "confirming", "edit 1")


def test_a_lost_table_and_every_message_again_send_no_second_mail(
    steps: Steps, aws: Any, couch_url: str, fake_aws: FakeAws
) -> None:
    waiting, active, clicked, wrong = every = [a_device(owner=an_address()) for _ in range(4)]
    steps.register(waiting)
    steps.activate(active)
    steps.register(clicked)
    steps.click(clicked, device_code="wrong-code")
    steps.register(wrong, owner="no address")
    before = {device.device_id: steps.control.get(device.device_id) for device in every}
    sent, seen = len(steps.mailer.sent), list(steps.messages)
    assert len(seen) >= 6
    fake_aws.drop_table_items(steps.claims.table_name)
    # Every message that was ever sent comes again, and the real poller begins at 0.
    assert {steps.deliver(message) for message in seen} == {Outcome.STALE}
    name = f"test-{uuid.uuid4().hex[:12]}"
    create_table(aws.client("dynamodb"), name)
    queue_url = aws.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    settings = PollerSettings(
        stage="test",
        table_name=name,
        secret_id=aws.create_secret(name, couch_url, "00" * 32),
        control_db=steps.control.name,
        routes={f"{t.doc_type}/{t.state}": queue_url for t in registry},
        window_s=0,
        page_size=100,
        lease_s=60,
        max_messages=500,
        shards=1,
        shard=0,
    )
    polled = poll(settings)
    assert (polled["changes"] >= 5, polled["sent"]) == (True, 0)
    assert len(steps.mailer.sent) == sent
    assert before == {device.device_id: steps.control.get(device.device_id) for device in every}


def test_a_crash_between_mail_and_finish_sends_the_same_code_after_the_lease(
    steps: Steps, device: NewDevice
) -> None:
    class Crash(BaseException):
        """The process ends: nothing catches this."""

    class CrashingMailer(FakeMailer):
        def send(self, *mail: Any, **more: Any) -> None:
            super().send(*mail, **more)
            if len(self.sent) == 1:
                raise Crash

    mailer = CrashingMailer()
    steps.context = replace(steps.context, mail=mailer)
    steps.control.put(device.doc)
    message = steps.message(device.device_id)
    with pytest.raises(Crash):
        steps.deliver(message)
    steps.clock.move(steps.claims.lease_s + 1)
    assert steps.deliver(message) is Outcome.SAVED
    first, second = mailer.sent
    assert (first.text, first.message_id) == (second.text, second.message_id)


@pytest.mark.slow
def test_two_hundred_devices_and_eight_racing_workers_make_two_hundred_mails(
    steps: Steps,
) -> None:
    devices = [a_device(owner=f"owner-{number}@example.com") for number in range(200)]
    for device in devices:
        steps.control.put(device.doc)
    # Each message three times in a row, so that several workers have the same one at once.
    messages = [steps.message(device.device_id) for device in devices for _ in range(3)]
    left: queue.SimpleQueue[Message] = queue.SimpleQueue()
    for message in messages:
        left.put(message)
    start = threading.Barrier(8)
    sent_away = Counter[str]()
    failures: list[Exception] = []

    def work() -> None:
        start.wait()
        while not left.empty():
            try:
                message = left.get_nowait()
            except queue.Empty:
                return
            try:
                steps.deliver(message)
            except RunningElsewhere:
                sent_away[message.doc_id] += 1
                left.put(message)  # as SQS does, later
            except Exception as exc:
                failures.append(exc)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert len(sent_away) > 20, "the workers did not race"
    states = [steps.control.get(device.device_id)["state"] for device in devices]
    assert states == ["confirming"] * 200
    assert sorted(mail.to for mail in steps.mailer.sent) == sorted(
        device.doc["owner"] for device in devices
    )


# A document at fault says so, and is done with.


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"owner": None}, "owner"),
        ({"owner": "no address"}, "owner"),
        ({"owner": ["ada@example.com"]}, "owner"),
        ({"owner": "a@b.co\r\nBcc: c@d.co"}, "owner"),
        ({"name": "x" * 10_000}, "name"),
        ({"name": ["Ada"]}, "name"),
        ({"device_code": 1234}, "device_code"),
        ({"device_code": "---------"}, "device_code"),
        ({"credentials": None}, "credentials"),
        ({"credentials": {"password_scheme": "simple"}}, "credentials.password_scheme"),
        ({"generation": "1"}, "generation"),
        ({"created_at": {"year": 2026}}, "created_at"),
    ],
)
def test_a_missing_or_wrong_field_ends_in_an_error_that_names_it(
    steps: Steps, device: NewDevice, fields: JsonDict, named: str
) -> None:
    doc = steps.register(device, **fields)
    assert doc["state"] == "error"
    assert doc["error"]["reason"].startswith(named)
    assert steps.mailer.sent == []


def test_an_address_that_ses_refuses_is_an_error_of_the_document(
    steps: Steps, device: NewDevice
) -> None:
    steps.mailer.fail = AddressRefused("no")
    doc = steps.register(device)
    assert (doc["state"], doc["error"]["reason"]) == (
        "error",
        "owner: the mail service does not send to this address",
    )


def test_after_ses_refused_for_now_the_next_try_sends_the_mail(
    steps: Steps, device: NewDevice
) -> None:
    steps.mailer.fail = MailNotSent("throttled")
    with pytest.raises(MailNotSent):
        steps.register(device)
    steps.mailer.fail = None
    assert steps.run(device.device_id) is Outcome.SAVED
    assert len(steps.mailer.sent) == 1


def test_failed_tries_of_one_mail_count_once_against_the_quota(
    steps: Steps, device: NewDevice
) -> None:
    steps.control.put(device.doc)
    steps.mailer.fail = MailNotSent("throttled")
    for _ in range(20):
        with pytest.raises(MailNotSent):
            steps.run(device.device_id)
    steps.mailer.fail = None
    assert steps.run(device.device_id) is Outcome.SAVED


def test_after_ses_did_not_answer_nothing_is_sent_before_the_lease_ends(
    steps: Steps, device: NewDevice
) -> None:
    steps.mailer.fail = MailError("time-out")
    with pytest.raises(MailError):
        steps.register(device)
    steps.mailer.fail = None
    with pytest.raises(Exception, match="running elsewhere"):
        steps.run(device.device_id)
    steps.clock.move(steps.claims.lease_s + 1)
    steps.run(device.device_id)
    assert len(steps.mailer.sent) == 1


# The mail quota.


def quota_reason(doc: JsonDict) -> str:
    assert doc["state"] == "error"
    return str(doc["error"]["reason"])


def test_the_sixth_mail_to_an_address_within_an_hour_is_refused(steps: Steps) -> None:
    address = an_address()
    for _ in range(5):
        assert steps.register(a_device(owner=address))["state"] == "confirming"
    refused = steps.register(a_device(owner=f" {address.upper()} "))
    assert quota_reason(refused) == (
        "too many mails to this address; ask again after 2026-11-23T07:00:00Z"
    )
    steps.clock.move(HOUR_S)
    assert steps.register(a_device(owner=address))["state"] == "confirming"


def test_the_twenty_first_mail_to_an_address_within_a_day_is_refused(steps: Steps) -> None:
    address = an_address()
    for _ in range(20):
        assert steps.register(a_device(owner=address))["state"] == "confirming"
        steps.clock.move(HOUR_S)
    refused = steps.register(a_device(owner=address))
    assert "2026-11-24T06:00:00Z" in quota_reason(refused)
    steps.clock.move(4 * HOUR_S)
    assert steps.register(a_device(owner=address))["state"] == "confirming"


def test_mails_to_one_address_leave_anothers_quota_alone(steps: Steps) -> None:
    address = an_address()
    for _ in range(6):
        steps.register(a_device(owner=address))
    assert steps.register(a_device(owner=an_address()))["state"] == "confirming"


def test_a_network_has_a_quota_of_its_own_that_spares_the_addresses(
    steps: Steps, clock: FakeClock
) -> None:
    settings = replace(steps.context.settings, mails_per_network_hour=2)
    steps.context = replace(steps.context, settings=settings)
    victim = an_address()
    for _ in range(2):
        steps.register(a_device(owner=an_address()), network="192.0.2.0/24")
    for _ in range(10):
        refused = steps.register(a_device(owner=victim), network="192.0.2.0/24")
        assert "from this network" in quota_reason(refused)
    assert steps.register(a_device(owner=victim), network="198.51.100.0/24")["state"] == (
        "confirming"
    )


def test_spellings_of_one_mailbox_share_its_quota_and_its_database(steps: Steps) -> None:
    name = an_address().partition("@")[0]
    domains = ("b\u00fccher.example", "xn--bcher-kva.example", "bu\u0308cher.example")
    spellings = [*(f"{name}@{domain}" for domain in domains), f"{name.upper()}@B\u00dcCHER.EXAMPLE"]
    for owner in [*spellings, f" {name}@xn--Bcher-kva.Example"]:
        assert steps.activate(a_device(owner=owner))["state"] == "active"
    assert {mail.to for mail in steps.mailer.sent} == {f"{name}@xn--bcher-kva.example"}
    shown = steps.control_db_of(spellings[0]).changes("0", limit=100)["results"]
    assert len([row for row in shown if row["id"].startswith("device-")]) == 5
    assert "too many mails" in quota_reason(steps.register(a_device(owner=spellings[1])))


# Confirmations that confirm nothing.


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"confirm_code": put_together("device-1", 0, "a" * MAC_LENGTH)}, "no matching device"),
        ({"confirm_code": ""}, "no matching device"),
        ({"confirm_code": None}, "confirm_code must be a text"),
        ({"device_code": "AAAA-AAAA"}, "wrong device code"),
        ({"device_code": ["x"]}, "device_code must be a text"),
    ],
)
def test_a_confirmation_that_is_not_right_says_why(
    steps: Steps, device: NewDevice, fields: JsonDict, reason: str
) -> None:
    steps.register(device)
    confirm = steps.click(device, **fields)
    assert (confirm["state"], confirm["error"]["reason"]) == ("error", reason)
    assert steps.control.get(device.device_id)["state"] == "confirming"


def test_a_code_for_a_device_that_is_gone_matches_none(steps: Steps, device: NewDevice) -> None:
    doc = steps.register(device)
    steps.control.remove(doc)
    assert steps.click(device)["error"]["reason"] == "no matching device"


def test_an_expired_confirmation_expires_the_device(steps: Steps, device: NewDevice) -> None:
    steps.register(device)
    steps.clock.move(DAY_S)
    assert steps.click(device)["error"]["reason"] == "expired"
    assert steps.control.get(device.device_id)["state"] == "expired"


def test_a_link_works_up_to_the_last_second(steps: Steps, device: NewDevice) -> None:
    steps.register(device)
    steps.clock.move(DAY_S - 1)
    assert steps.click(device)["state"] == "used"


def test_a_second_confirmation_is_already_used(steps: Steps, device: NewDevice) -> None:
    steps.activate(device)
    again = steps.click(device, _id="confirm-again")
    assert again["error"]["reason"] == "already used"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("rejected", "rejected"),
        ("undeliverable", "the mail came back"),
        ("error", "the device could not be activated"),
    ],
)
def test_a_click_for_a_device_that_came_to_nothing_says_why(
    steps: Steps, device: NewDevice, state: str, reason: str
) -> None:
    steps.control.put({**steps.register(device), "state": state})
    assert steps.click(device)["error"]["reason"] == reason


def test_a_link_is_replaced_by_that_of_a_newer_generation(steps: Steps, device: NewDevice) -> None:
    doc = steps.register(device)
    old_code = steps.code()
    steps.control.put({**doc, "state": "new", "generation": 1})
    steps.run(device.device_id)
    assert len(steps.mailer.sent) == 2
    assert steps.click(device, confirm_code=old_code)["error"]["reason"] == (
        "replaced by a newer link"
    )
    newer = steps.click(device, _id=confirm_id(device.device_id, 1), confirm_code=steps.code())
    assert newer["state"] == "used"


def test_five_wrong_codes_reject_the_registration(steps: Steps, device: NewDevice) -> None:
    steps.register(device)
    reasons = [
        steps.click(device, _id=f"guess-{number}", device_code=f"WRONG-{number}")["error"]["reason"]
        for number in range(6)
    ]
    assert reasons == ["wrong device code"] * 4 + ["too many wrong device codes", "rejected"]
    doc = steps.control.get(device.device_id)
    assert (doc["state"], doc["rejected_reason"]) == ("rejected", "too many wrong device codes")
    right = steps.click(device)
    assert right["error"]["reason"] == "rejected"


def test_a_wrong_code_in_the_digits_of_another_script_is_the_same_try(
    steps: Steps, device: NewDevice
) -> None:
    doc = steps.register(device)
    typed = ["0000-1234", "٠٠٠٠-١٢٣٤", "०००० १२३४", "００００１２３４", "00००1٢३4"]
    tries = [confirmations.check_device_code(steps.context, doc, code) for code in typed]
    assert tries == [WRONG_CODES - 1] * len(typed)


@pytest.mark.parametrize("typed", ["dk५२-٣٤９8", "DK٥٢٣٤٩٨", "ＤＫ５２３４９８"])
def test_the_right_code_in_the_digits_of_another_script_confirms(
    steps: Steps, device: NewDevice, typed: str
) -> None:
    steps.register(device, device_code="DK52-3498")
    assert steps.click(device, device_code=typed)["state"] == "used"


def test_a_hundred_clicks_at_once_try_no_more_than_five_codes(
    steps: Steps, device: NewDevice
) -> None:
    steps.register(device)
    code = steps.code()
    guesses = [f"GUESS-{number:03}" for number in range(100)]
    guesses[50] = device.device_code
    answers: list[int] = []

    def guess(device_code: str) -> None:
        body = f"device_code={device_code}".encode()
        page = view_page(
            FakeDependencies(steps.context), lambda context: pages.answer(context, code, body)
        )
        answers.append(page.status_code)

    threads = [threading.Thread(target=guess, args=(typed,)) for typed in guesses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    key = f"quota#tries#{steps.control.name}#{device.device_id}#0"
    item = steps.claims.client.get_item(TableName=steps.claims.table_name, Key={"pk": {"S": key}})[
        "Item"
    ]
    assert len(json.loads(item["entries"]["S"])) == 5
    assert set(answers) <= {303, 403, 409, 410, 503}


@pytest.mark.parametrize("doc_type", ["device", "confirm"])
def test_outside_the_control_database_nobody_registers_or_confirms(
    steps: Steps, server: Server, device: NewDevice, doc_type: str
) -> None:
    other = server.database(f"{steps.control.name}-forged")
    other.create()
    state = {"device": "confirmed", "confirm": "clicked"}[doc_type]
    other.put({**device.doc, "type": doc_type, "state": state})
    message = Message(other.name, device.device_id, doc_type, state, other.get(device.device_id))
    assert steps.deliver(message) is Outcome.REJECTED
    assert "by the cloud alone" in other.get(device.device_id)["error"]["reason"]
    other.delete()
    with pytest.raises(NotFound):
        server.database("_users").get(f"org.couchdb.user:{device.device_id}")


# Credentials: never an overwrite.


def test_a_name_that_another_login_has_is_an_error_not_an_overwrite(
    steps: Steps, server: Server, device: NewDevice
) -> None:
    users = server.database("_users")
    theirs: JsonDict = {
        "_id": f"org.couchdb.user:{device.device_id}",
        "name": device.device_id,
        "type": "user",
        "roles": ["theirs"],
        "password": "their password",
    }
    users.put(theirs)
    try:
        doc = steps.activate(device)
        assert doc["state"] == "error"
        assert doc["error"]["reason"].startswith("token_used")
        assert users.get(theirs["_id"])["roles"] == ["theirs"]
        intruder = replace(device, password="their password")
        assert login(server, intruder)["roles"] == ["theirs"]
    finally:
        users.update(theirs["_id"], lambda user: {**user, "_deleted": True})


def test_a_second_run_of_the_activation_finds_its_own_login(
    steps: Steps, server: Server, device: NewDevice
) -> None:
    doc = steps.activate(device)
    steps.control.put({**doc, "state": "confirmed"})
    steps.run(device.device_id)
    assert steps.control.get(device.device_id)["state"] == "active"
    assert login(server, device)["name"] == device.device_id


def test_the_same_device_with_other_credentials_is_token_used(
    steps: Steps, server: Server, device: NewDevice
) -> None:
    doc = steps.activate(device)
    changed = {**doc["credentials"], "derived_key": "00" * 20}
    steps.control.put({**doc, "state": "confirmed", "credentials": changed})
    steps.run(device.device_id)
    assert steps.control.get(device.device_id)["error"]["reason"].startswith("token_used")
    assert login(server, device)["name"] == device.device_id


# oauth1, as the original system writes it.


def oauth_fields(tag: str) -> JsonDict:
    return {
        "credentials": None,
        "oauth_creds": {
            "consumer_key": f"{tag}-consumer-key",
            "consumer_secret": f"{tag}-consumer-secret",
            "token": f"{tag}-token",
            "token_secret": f"{tag}-token-secret",
        },
    }


@pytest.fixture
def oauth_steps(steps: Steps) -> Steps:
    with_settings(steps, device_auth="oauth1")
    return steps


def test_oauth_credentials_are_written_as_the_original_wrote_them(
    oauth_steps: Steps, server: Server, device: NewDevice
) -> None:
    tag = device.device_id
    doc = oauth_steps.activate(device, **oauth_fields(tag))
    assert doc["state"] == "active"
    owner = device.doc["owner"]
    user = server.database("_users").get(f"org.couchdb.user:{owner}")
    assert (user["name"], user["type"]) == (owner, "user")
    assert user["oauth"] == {
        "consumer_keys": {f"{tag}-consumer-key": f"{tag}-consumer-secret"},
        "tokens": {f"{tag}-token": f"{tag}-token-secret"},
        "devices": {device.device_id: [f"{tag}-consumer-key", f"{tag}-token"]},
    }
    assert server.config_get("oauth_consumer_secrets", f"{tag}-consumer-key") == (
        f"{tag}-consumer-secret"
    )
    assert server.config_get("oauth_token_users", f"{tag}-token") == owner
    assert server.config_get("oauth_token_secrets", f"{tag}-token") == f"{tag}-token-secret"


def test_two_devices_of_an_owner_share_the_owners_user_document(
    oauth_steps: Steps, server: Server
) -> None:
    address = an_address()
    devices = [a_device(owner=address) for _ in range(2)]
    for device in devices:
        oauth_steps.activate(device, **oauth_fields(device.device_id))
    user = server.database("_users").get(f"org.couchdb.user:{address}")
    assert set(user["oauth"]["devices"]) == {device.device_id for device in devices}


@pytest.mark.parametrize("whose", ["the same owner's", "another owner's"])
@pytest.mark.parametrize("field", ["consumer_key", "token"])
def test_a_key_or_token_of_another_device_is_token_used(
    oauth_steps: Steps, server: Server, whose: str, field: str
) -> None:
    address = an_address()
    first = a_device(owner=address)
    second = a_device(owner=address if whose == "the same owner's" else an_address())
    oauth_steps.activate(first, **oauth_fields(first.device_id))
    stolen = oauth_fields(second.device_id)
    stolen["oauth_creds"][field] = oauth_fields(first.device_id)["oauth_creds"][field]
    doc = oauth_steps.activate(second, **stolen)
    assert doc["error"]["reason"].startswith("token_used")
    config: Callable[[str, str], str | None] = server.config_get
    tag = first.device_id
    assert config("oauth_consumer_secrets", f"{tag}-consumer-key") == f"{tag}-consumer-secret"
    assert config("oauth_token_users", f"{tag}-token") == address
    assert config("oauth_token_secrets", f"{tag}-token") == f"{tag}-token-secret"


def test_a_second_run_of_an_oauth_activation_changes_nothing(
    oauth_steps: Steps, server: Server, device: NewDevice
) -> None:
    doc = oauth_steps.activate(device, **oauth_fields(device.device_id))
    user_id = f"org.couchdb.user:{device.doc['owner']}"
    before = server.database("_users").get(user_id)
    oauth_steps.control.put({**doc, "state": "confirmed"})
    oauth_steps.run(device.device_id)
    assert oauth_steps.control.get(device.device_id)["state"] == "active"
    assert server.database("_users").get(user_id) == before


# The page after the answer.


def test_a_revoked_device_is_not_shown_as_active(steps: Steps, device: NewDevice) -> None:
    doc = steps.activate(device)
    assert "is active" in pages.show(steps.context, steps.code(), "answered").body
    steps.control.put({**doc, "state": "revoked"})
    page = pages.show(steps.context, steps.code(), "answered")
    assert (page.status, "is active" in page.body) == (409, False)


def test_a_right_code_gets_past_a_confirmation_that_ended_in_error(
    steps: Steps, device: NewDevice
) -> None:
    steps.register(device)
    assert steps.click(device, device_code="WRONG-CODE")["state"] == "error"
    body = f"device_code={device.device_code}".encode()
    assert pages.answer(steps.context, steps.code(), body).status == 303
    steps.run(confirm_id(device.device_id, 0))
    assert steps.control.get(device.device_id)["state"] == "confirmed"


def test_an_activation_that_is_slow_says_so_and_asks_less_often(
    steps: Steps, device: NewDevice
) -> None:
    steps.register(device)
    pages.answer(steps.context, steps.code(), f"device_code={device.device_code}".encode())
    assert 'content="2"' in pages.show(steps.context, steps.code(), "answered").body
    steps.clock.move(61)
    page = pages.show(steps.context, steps.code(), "answered")
    assert 'content="20"' in page.body
    assert "longer than usual" in page.body


@pytest.mark.parametrize("created_at", ["2099-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_the_page_says_when_the_cloud_was_asked_whatever_the_device_says(
    steps: Steps, device: NewDevice, created_at: str
) -> None:
    steps.register(device, created_at=created_at)
    page = pages.show(steps.context, steps.code(), None)
    assert "<dt>Requested</dt><dd>23 November 2026, 06:00&nbsp;UTC</dd>" in page.body


@pytest.mark.parametrize("requested_at", [None, "", "soon", ["2026-11-23T06:00:00Z"]])
def test_a_page_that_does_not_know_when_the_cloud_was_asked_shows_no_time(
    steps: Steps, device: NewDevice, requested_at: object
) -> None:
    steps.control.put({**device.doc, "requested_at": requested_at})
    code = steps.context.confirmation_links.sign(device.device_id, 0)
    page = pages.show(steps.context, code, None)
    assert (page.status, "<h1>One moment</h1>" in page.body) == (200, True)
    for no_time in ("1970", "UTC", "Requested"):
        assert no_time not in page.body


def test_when_couchdb_does_not_answer_the_page_says_so(steps: Steps, device: NewDevice) -> None:
    steps.register(device)
    nowhere = Server("http://127.0.0.1:9").database("control")
    dependencies, code = FakeDependencies(replace(steps.context, database=nowhere)), steps.code()
    for page in (
        view_page(dependencies, lambda context: pages.show(context, code, None)),
        view_page(dependencies, lambda context: pages.answer(context, code, b"device_code=AAAA")),
    ):
        assert (page.status_code, "Nothing is lost" in page.body) == (503, True)


# What a crash leaves half done, a second run finds.


def test_a_confirmation_whose_save_was_lost_ends_as_used(steps: Steps, device: NewDevice) -> None:
    steps.register(device)
    used = steps.click(device)
    steps.control.put({**used, "state": "clicked"})
    assert steps.run(used["_id"]) is Outcome.SAVED
    assert steps.control.get(used["_id"])["state"] == "used"


def test_a_refusal_that_comes_after_the_confirmation_changes_nothing(
    steps: Steps, device: NewDevice
) -> None:
    waiting = steps.register(device)
    steps.click(device)
    steps.run(device.device_id)
    active = steps.control.get(device.device_id)
    for as_it_was_read in (waiting, active):
        after = devices.answer(steps.context, as_it_was_read, {"state": "rejected"})
        assert after == active == steps.control.get(device.device_id)


def test_an_owners_control_database_that_was_left_half_made_is_made_whole(
    steps: Steps, device: NewDevice
) -> None:
    database = steps.control_db_of(str(device.doc["owner"]))
    database.create()  # and there that run ended
    assert steps.activate(device)["state"] == "active"
    assert database.get("_design/syncpoint")["version"] == OWNER_CONTROL.version
    assert database.security()["members"]["roles"] == [f"owner-{owner_id_of(device.doc['owner'])}"]


def test_after_five_wrong_codes_the_right_one_is_not_even_compared(
    steps: Steps, device: NewDevice
) -> None:
    doc = steps.register(device)
    for number in range(5):
        confirmations.check_device_code(steps.context, doc, f"WRONG-{number}")
    # As if the rejection had been lost in a crash.
    rejected = steps.control.get(device.device_id)
    steps.control.put({**rejected, "state": "confirming"})
    assert confirmations.check_device_code(steps.context, doc, device.device_code) == 0
    assert steps.control.get(device.device_id)["state"] == "rejected"


def test_a_document_mended_while_it_was_being_rejected_is_not_put_into_error(
    steps: Steps, device: NewDevice
) -> None:
    class MendingDatabase(Database):
        """The owner's address is corrected just before the rejection is saved."""

        def put(self, doc: JsonDict) -> str:
            if doc["state"] == "error":
                steps.control.put({**steps.control.get(doc["_id"]), "owner": an_address()})
            return super().put(doc)

    class MendingServer(Server):
        def database(self, name: str) -> Database:
            return MendingDatabase(self.http, name)

    steps.control.put({**device.doc, "owner": "no address"})
    message = steps.message(device.device_id)
    steady = steps.context
    server = MendingServer(steady.server.url)
    server.http = steady.server.http
    steps.context = replace(steady, server=server)
    assert steps.deliver(message) is Outcome.STALE
    steps.context = steady
    assert steps.control.get(device.device_id)["state"] == "new"
    assert steps.run(device.device_id) is Outcome.SAVED
