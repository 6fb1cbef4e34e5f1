"""What fakes promise and the real things keep: one suite for both."""

import email
import email.policy
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

import pytest

from chalicelib.aws.ses import AddressRefused, Mailer, MailError, MailNotSent, SesMailer
from chalicelib.couch import Conflict, Database, NotFound
from chalicelib.domain.documents import JsonDict
from chalicelib.emails import texts
from chalicelib.errors import NoEffect
from local.aws import LocalAws
from tests.kit.basics import FakeDatabase, FakeMailer, Mail, an_address

AnyDatabase = Database | FakeDatabase


# Databases


@pytest.fixture(params=["fake", pytest.param("real", marks=[pytest.mark.couchdb, pytest.mark.io])])
def database(request: pytest.FixtureRequest) -> AnyDatabase:
    if request.param == "fake":
        return FakeDatabase()
    control: Database = request.getfixturevalue("control")
    return control


def test_a_document_that_was_written_is_read_with_its_revision(database: AnyDatabase) -> None:
    doc = {"_id": "d", "type": "device", "state": "new", "list": [1, {"a": None}], "name": "Ä 😀"}
    rev = database.put(doc)
    assert re.fullmatch(r"1-[0-9a-f]{32}", rev)
    assert database.get("d") == {**doc, "_rev": rev}


def test_writing_leaves_the_document_in_hand_alone(database: AnyDatabase) -> None:
    doc: JsonDict = {"_id": "d", "list": [1]}
    database.put(doc)
    assert doc == {"_id": "d", "list": [1]}


def test_what_was_read_is_a_copy(database: AnyDatabase) -> None:
    database.put({"_id": "d", "list": [1], "inner": {"a": 1}})
    read = database.get("d")
    read["list"].append(2)
    read["inner"]["a"] = 2
    read["state"] = "changed"
    again = database.get("d")
    assert (again["list"], again["inner"], "state" in again) == ([1], {"a": 1}, False)


def test_what_was_written_is_a_copy(database: AnyDatabase) -> None:
    doc: JsonDict = {"_id": "d", "list": [1]}
    database.put(doc)
    doc["list"].append(2)
    assert database.get("d")["list"] == [1]


def test_what_is_missing_is_not_found(database: AnyDatabase) -> None:
    with pytest.raises(NotFound) as missing:
        database.get("missing")
    assert (missing.value.status, missing.value.error) == (404, "not_found")


def test_a_revision_is_followed_by_the_next(database: AnyDatabase) -> None:
    first = database.put({"_id": "d", "v": 1, "old": True})
    second = database.put({"_id": "d", "_rev": first, "v": 2})
    third = database.put({"_id": "d", "_rev": second, "v": 2})
    assert [rev.split("-")[0] for rev in (first, second, third)] == ["1", "2", "3"]
    assert database.get("d") == {"_id": "d", "_rev": third, "v": 2}


def conflicts(write: Callable[[], object]) -> None:
    with pytest.raises(Conflict) as conflict:
        write()
    assert (conflict.value.status, conflict.value.error) == (409, "conflict")


def test_a_document_that_exists_is_not_created_again(database: AnyDatabase) -> None:
    rev = database.put({"_id": "d", "v": 1})
    conflicts(lambda: database.put({"_id": "d", "v": 2}))
    assert database.get("d") == {"_id": "d", "_rev": rev, "v": 1}


def test_an_old_revision_is_not_written_over(database: AnyDatabase) -> None:
    old = database.put({"_id": "d", "v": 1})
    new = database.put({"_id": "d", "_rev": old, "v": 2})
    conflicts(lambda: database.put({"_id": "d", "_rev": old, "v": 3}))
    assert database.get("d") == {"_id": "d", "_rev": new, "v": 2}


def test_a_document_that_never_was_has_no_revision_to_write_over(database: AnyDatabase) -> None:
    conflicts(lambda: database.put({"_id": "d", "_rev": f"1-{uuid.uuid4().hex}"}))
    with pytest.raises(NotFound):
        database.get("d")


def test_documents_do_not_disturb_each_other(database: AnyDatabase) -> None:
    one = database.put({"_id": "one"})
    database.put({"_id": "other"})
    database.put({"_id": "one", "_rev": one, "v": 2})
    assert "v" not in database.get("other")


def test_a_removed_document_is_not_found(database: AnyDatabase) -> None:
    rev = database.put({"_id": "d"})
    database.remove({"_id": "d", "_rev": rev, "more": "fields"})
    with pytest.raises(NotFound):
        database.get("d")


def test_an_old_revision_is_not_removed(database: AnyDatabase) -> None:
    old = database.put({"_id": "d"})
    new = database.put({"_id": "d", "_rev": old, "v": 2})
    conflicts(lambda: database.remove({"_id": "d", "_rev": old}))
    assert database.get("d")["_rev"] == new


def test_what_is_missing_is_not_removed(database: AnyDatabase) -> None:
    with pytest.raises(NotFound):
        database.remove({"_id": "missing", "_rev": f"1-{uuid.uuid4().hex}"})


def test_a_removed_document_may_be_created_again(database: AnyDatabase) -> None:
    database.remove({"_id": "d", "_rev": database.put({"_id": "d", "v": 1})})
    rev = database.put({"_id": "d", "v": 2})
    assert database.get("d") == {"_id": "d", "_rev": rev, "v": 2}


# Mailers


@dataclass
class Post:
    """A mailer, and a look at what it sent to an address."""

    mailer: Mailer
    sent_to: Callable[[str], list[Mail]]


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.io)])
def post(request: pytest.FixtureRequest) -> Post:
    if request.param == "fake":
        fake = FakeMailer()
        return Post(fake, lambda to: [mail for mail in fake.sent if mail.to == to])
    aws: LocalAws = request.getfixturevalue("aws")
    sender = an_address()
    aws.verify_sender(sender)
    mailer = SesMailer(aws.client("sesv2"), sender)
    return Post(mailer, lambda to: sent_by_ses(aws, to))


def sent_by_ses(aws: LocalAws, to: str) -> list[Mail]:
    messages = [email.message_from_bytes(raw, policy=email.policy.SMTP) for raw in aws.sent_mails()]
    return [as_mail(message) for message in messages if message["To"] == to]


def as_mail(message: Any) -> Mail:
    assert isinstance(message, EmailMessage)
    text, html = ("\n".join(part.get_content().splitlines()) for part in message.iter_parts())
    message_id = message["Message-ID"].removeprefix("<").removesuffix("@syncpoint>")
    return Mail(message["To"], message["Subject"], text, html, message_id)


def test_a_mail_that_was_sent_arrives_as_it_was_given(post: Post) -> None:
    to = an_address()
    post.mailer.send(to, "Grüße", "Hello, ädä\n\nbye", "<p>Hello, ädä</p>", "token-1")
    assert post.sent_to(to) == [
        Mail(to, "Grüße", "Hello, ädä\n\nbye", "<p>Hello, ädä</p>", "token-1")
    ]


def test_a_confirmation_arrives_with_its_link(post: Post) -> None:
    to, link = an_address(), f"https://sync.example.com/api/confirm/{'a' * 92}"
    subject, text, html = texts.confirmation(link, "Ada's phone 👩‍👩‍👧", hours=24)
    post.mailer.send(to, subject, text, html, "token-1")
    (mail,) = post.sent_to(to)
    assert link in mail.text.splitlines()
    assert f'href="{link}"' in mail.html
    assert "👩‍👩‍👧" in mail.text


def test_mails_arrive_in_the_order_in_which_they_were_sent(post: Post) -> None:
    to = an_address()
    for number in range(3):
        post.mailer.send(to, f"number {number}", "text", "<p>html</p>", f"token-{number}")
    assert [mail.message_id for mail in post.sent_to(to)] == ["token-0", "token-1", "token-2"]


def test_a_mail_goes_to_nobody_else(post: Post) -> None:
    post.mailer.send(an_address(), "subject", "text", "<p>html</p>", "token-1")
    assert post.sent_to(an_address()) == []


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.io)])
def refusing(request: pytest.FixtureRequest) -> Post:
    """A mailer that cannot send: the fake is told so, to SES the sender is unknown."""
    if request.param == "fake":
        fake = FakeMailer(fail=MailNotSent("no"))
        return Post(fake, lambda to: [mail for mail in fake.sent if mail.to == to])
    aws: LocalAws = request.getfixturevalue("aws")
    return Post(SesMailer(aws.client("sesv2"), an_address()), lambda to: sent_by_ses(aws, to))


def test_a_mail_that_was_refused_raises_and_is_not_sent(refusing: Post) -> None:
    to = an_address()
    with pytest.raises(MailError) as refused:
        refusing.mailer.send(to, "subject", "text", "<p>html</p>", "token-1")
    assert isinstance(refused.value, NoEffect)
    assert not isinstance(refused.value, AddressRefused)
    assert refusing.sent_to(to) == []
