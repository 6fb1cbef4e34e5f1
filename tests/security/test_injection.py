"""Names, addresses and ids that would be more than text in a mail, on a page or in a log."""

import email
import email.policy
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from email.message import EmailMessage
from typing import Any

import pytest

from chalicelib.aws.ses import SesMailer
from chalicelib.couch import Unavailable
from chalicelib.domain.documents import JsonDict
from chalicelib.engine.runner import Message
from syncpoint_device.registration import NewDevice
from tests.kit.basics import PUBLIC_URL, FakeMailer, a_device, an_address, failing_view
from tests.kit.cases.attacks import ADDRESSES, IDS, TEXTS
from tests.kit.cloud.site import Site, elements, handle_messages
from tests.kit.cloud.steps import Owner
from tests.kit.tokens import subject_of

HEADERS = [
    *("From", "To", "Subject", "Date", "Message-ID", "X-Syncpoint-Id", "Auto-Submitted"),
    *("MIME-Version", "Content-Type"),
]
SUBJECTS = {"Confirm your new device", "You are invited to share a channel"}
SENDER = "sync@example.com"


class KeepingSes:
    """A SES client that takes every mail."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    def send_email(self, **request: Any) -> dict[str, str]:
        self.requests.append(request)
        return {"MessageId": "1"}

    def parsed(self) -> EmailMessage:
        """The newest mail, as its reader's program reads it."""
        raw = self.requests[-1]["Content"]["Raw"]["Data"]
        message = email.message_from_bytes(raw, policy=email.policy.SMTP)
        assert isinstance(message, EmailMessage)
        return message


class Twice:
    """A mailer that keeps each mail, and has it sent by SES as well."""

    def __init__(self, ses: Any, kept: FakeMailer) -> None:
        self._mailers = (SesMailer(ses, SENDER), kept)

    def send(
        self,
        to: str,
        subject: str,
        text: str,
        html: str,
        message_id: str,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        for mailer in self._mailers:
            mailer.send(to, subject, text, html, message_id, tags)


@pytest.fixture
def ses(site: Site) -> KeepingSes:
    """The site's mails as they go to SES."""
    ses = KeepingSes()
    site.steps.context = replace(site.steps.context, mail=Twice(ses, site.steps.mailer))
    return ses


def mail_parts(ses: KeepingSes, to: str) -> tuple[str, str]:
    """The newest mail's text and HTML; all else of it is as in every mail."""
    request, message = ses.requests[-1], ses.parsed()
    assert message.keys() == HEADERS
    assert [message[name] for name in ("From", "To")] == [SENDER, to]
    assert message["Subject"] in SUBJECTS
    assert request["Destination"] == {"ToAddresses": [to]}
    for tag in request["EmailTags"]:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,256}", tag["Value"], re.ASCII), tag
    assert message.defects == []
    text, html = (part.get_content() for part in message.iter_parts())
    return text, html


def is_stored(site: Site, device: NewDevice) -> bool:
    """Bring it through the registrations endpoint; whether it was taken."""
    rows: list[JsonDict] = json.loads(site.bring(device.doc).body)
    assert all(row["reason"].startswith(("name must", "owner must", "owner is")) for row in rows)
    return rows == []


def shown(site: Site, device: NewDevice) -> Iterator[Any]:
    """The elements of each page that a device's owner comes to see."""
    path = f"/confirm/{site.steps.context.confirmation_links.sign(device.device_id, 0)}"
    yield elements(site.get(path).body)
    yield elements(site.post(path, b"device_code=0000").body)
    site.post(path, f"device_code={device.device_code}".encode())
    yield elements(site.get(f"{path}?step=answered").body)
    doc = site.steps.control.get(device.device_id)
    site.steps.control.put({**doc, "state": "active"})
    yield elements(site.get(f"{path}?step=answered").body)


def test_a_devices_name_is_text_in_its_mail_and_on_its_pages_or_refused(
    site: Site, ses: KeepingSes
) -> None:
    plain = a_device(owner=an_address(), name="Ada's phone")
    site.steps.register(plain)
    text, html = mail_parts(ses, str(plain.doc["owner"]))
    lines, tags, pages = len(text.splitlines()), elements(html), list(shown(site, plain))
    taken = []
    for number, (what, name) in enumerate(TEXTS.items()):
        site.steps.clock.move(3600)
        device = a_device(owner=f"owner{number}-{an_address()}", name=name)
        if not is_stored(site, device):
            continue
        taken.append(what)
        site.steps.run(device.device_id)
        text, html = mail_parts(ses, str(device.doc["owner"]))
        assert len(text.splitlines()) == lines, what
        assert elements(html) == tags, what
        [link] = re.findall(r"(?:https?://|www\.)\w\S*", text)
        assert link.startswith(f"{PUBLIC_URL}/confirm/"), what
        assert subject_of(link.rpartition("/")[2]) == device.device_id, what
        assert list(shown(site, device)) == pages, what
    assert {"a script", "braces", "a link", "joined emoji"} <= set(taken)
    assert not {"a header", "a NUL", "an override to the left", "half a character"} & set(taken)


def test_a_channels_name_is_text_in_its_mail_and_on_its_pages_or_refused(
    site: Site, ses: KeepingSes, ada: Owner
) -> None:
    ada.channel("plain", name="Photos")
    guest = an_address()
    ada.invite(guest, "plain", "invitation-plain")
    text, html = mail_parts(ses, guest)
    lines, tags = len(text.splitlines()), elements(html)
    page = elements(site.get(f"/invitation/{code_in(text)}").body)
    taken = []
    for number, (what, name) in enumerate(TEXTS.items()):
        site.steps.clock.move(3600)
        doc = {"_id": f"odd-{number}", "type": "channel", "state": "new", "name": name}
        if not ada.is_stored(doc) or ada.after(doc["_id"])["state"] == "error":
            continue
        taken.append(what)
        guest = f"guest{number}-{an_address()}"
        assert ada.invite(guest, f"odd-{number}", f"invitation-{number}")["state"] == "sent", what
        text, html = mail_parts(ses, guest)
        assert (len(text.splitlines()), elements(html)) == (lines, tags), what
        assert elements(site.get(f"/invitation/{code_in(text)}").body) == page, what
    assert {"a script", "braces", "a link", "joined emoji"} <= set(taken)
    assert not {"a header", "a NUL", "an override to the left", "half a character"} & set(taken)


def code_in(text: str) -> str:
    [code] = re.findall(rf"{re.escape(PUBLIC_URL)}/invitation/(\S+)", text)
    return str(code)


def test_an_address_gets_one_mail_of_one_recipient_or_is_refused(
    site: Site, ses: KeepingSes
) -> None:
    taken = {}
    for what, address in ADDRESSES.items():
        if not is_stored(site, device := a_device(owner=address)):
            continue
        site.steps.run(device.device_id)
        taken[what] = str(ses.parsed()["To"])
        mail_parts(ses, taken[what])
        assert taken[what].isascii(), what
        assert taken[what].count("@") == 1, what
    assert len(ses.requests) == len(taken)
    assert taken["a wide letter"] == "eve@evil.example"  # and so it is its owner
    assert not {"two", "a header", "a comment", "a route", "a NUL"} & set(taken)


def test_a_guests_address_gets_one_mail_of_one_recipient_or_is_refused(
    site: Site, ses: KeepingSes, ada: Owner
) -> None:
    before = len(ses.requests)
    sent = 0
    for number, (what, address) in enumerate(ADDRESSES.items()):
        site.steps.clock.move(3600)
        new = {"_id": f"odd-{number}", "type": "invitation", "state": "new", "email": address}
        if not ada.is_stored({**new, "channel": "channel-photos"}):
            assert what == "half a character"
            continue
        doc = ada.after(f"odd-{number}")
        assert doc["state"] in ("sent", "error"), what
        if doc["state"] == "sent":
            sent += 1
            mail_parts(ses, str(ses.parsed()["To"]))
        else:
            assert doc["error"]["reason"].startswith("email "), what
    assert len(ses.requests) == before + sent


def test_the_inviters_address_is_text_to_their_guest(site: Site, ses: KeepingSes) -> None:
    """What a device's registration lets through as an address, a guest gets to read."""
    for what in ("an apostrophe", "braces", "a pipe", "a backtick", "a file"):
        address = f"{an_address().partition('@')[0]}{ADDRESSES[what]}"
        device = a_device(owner=address)
        site.steps.activate(device)
        eve = Owner(site.steps, address, device, site.steps.control_db_of(address))
        eve.channel()
        guest = an_address()
        eve.invite(guest)
        text, html = mail_parts(ses, guest)
        assert "<script" not in html, what
        page = site.get(f"/invitation/{code_in(text)}")
        assert [tag for tag, _ in elements(page.body)].count("bdi") == 2, what


# Logs.


def records(log: io.StringIO) -> list[JsonDict]:
    """One JSON object a line, or it fails."""
    return [json.loads(line) for line in log.getvalue().split("\n") if line]


def test_a_log_has_one_object_for_each_message_whatever_its_document_is_called(
    site: Site, ada: Owner, log: io.StringIO
) -> None:
    messages = [
        Message(ada.control.name, doc_id, "channel", "new", None) for doc_id in IDS.values()
    ]
    handle_messages(site.steps, messages)
    lines = records(log)
    assert [line["correlation_id"] for line in lines] == list(IDS.values())
    assert {line["level"] for line in lines} <= {"INFO", "WARNING"}


def test_no_log_has_an_address_or_a_secret_whatever_fails(site: Site, log: io.StringIO) -> None:
    device = a_device(owner=an_address())
    address, creds = str(device.doc["owner"]), device.doc["credentials"]
    site.steps.register(device)
    code = site.steps.code()
    secrets = [address, device.device_code, creds["derived_key"], creds["salt"], code, "hunter2"]
    doc = site.steps.control.get(device.device_id)
    failing = Unavailable(503, "hunter2", " ".join(secrets), f"GET /{address}")
    site.steps.clock.move(1)

    def fail(message: Message) -> Any:
        raise {0: failing, 1: RuntimeError(secrets), 2: KeyError(code)}[len(message.doc_id) % 3]

    deliver, site.steps.deliver = site.steps.deliver, fail  # type: ignore[method-assign]
    message = Message(site.steps.control.name, "", "device", "new", doc)
    handle_messages(site.steps, [replace(message, doc_id="x" * length) for length in (1, 2, 3)])
    site.steps.deliver = deliver  # type: ignore[method-assign]
    handle_messages(site.steps, [replace(message, doc_id=device.device_id)])

    assert failing_view(failing, f"/confirm/{code}").status_code == 503
    lines = records(log)
    assert len(lines) == 5
    # What CouchDB calls its error is logged, its reason is not.
    text = json.dumps([{k: v for k, v in line.items() if k != "couchdb_error"} for line in lines])
    assert [secret for secret in secrets if secret in text] == []
