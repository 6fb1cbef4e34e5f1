"""What each answer of SES means, and the mail that it is given; SES is a stub or a small socket."""

import email
import email.policy
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import ANY, Stubber
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.aws.clients import make_client
from chalicelib.aws.ses import AddressRefused, MailError, MailNotSent, SesMailer
from chalicelib.emails import texts
from chalicelib.errors import NoEffect
from tests.kit.tokens import LONGEST_TOKEN

SENDER = "Syncpoint <sync@example.com>"
TO = "ada@example.com"
LINK = f"https://sync.example.com/api/confirm/{'m' * 92}"
INVITER = "ada.lovelace+sync@example.com"
INVITATION_LINK = f"https://sync.example.com/api/invitation/{'m' * LONGEST_TOKEN}"

Mail = tuple[str, str, str, str, str]
A_MAIL: Mail = (TO, "Confirm", "Hello, ädä", "<p>Hello, ädä</p>", "token-1")


@pytest.fixture
def ses() -> Any:
    return boto3.client(
        "sesv2",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1, "mode": "standard"}),
    )


@pytest.fixture
def stub(ses: Any) -> Iterator[Stubber]:
    with Stubber(ses) as stub:
        yield stub
        stub.assert_no_pending_responses()


def parsed(raw: bytes) -> EmailMessage:
    message = email.message_from_bytes(raw, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


class Keeps:
    """A SES client that takes every mail."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    def send_email(self, **request: Any) -> dict[str, str]:
        self.requests.append(request)
        return {"MessageId": "1"}

    @property
    def raw(self) -> bytes:
        (request,) = self.requests
        return bytes(request["Content"]["Raw"]["Data"])


def sent(*mail: str) -> EmailMessage:
    client: Any = Keeps()
    to, subject, text, html, message_id = mail
    SesMailer(client, SENDER).send(to, subject, text, html, message_id)
    return parsed(client.raw)


# The mail


def test_a_mail_has_a_text_and_an_html_part() -> None:
    message = sent(*A_MAIL)
    assert message.get_content_type() == "multipart/alternative"
    text, html = message.iter_parts()
    assert isinstance(text, EmailMessage)
    assert isinstance(html, EmailMessage)
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert text.get_content().strip() == "Hello, ädä"
    assert html.get_content().strip() == "<p>Hello, ädä</p>"


def test_a_mail_says_whence_it_comes_what_it_is_and_that_nobody_need_answer() -> None:
    message = sent(*A_MAIL)
    headers = ("From", "To", "Subject", "Message-ID", "X-Syncpoint-Id", "Auto-Submitted")
    assert [message[name] for name in headers] == [
        SENDER,
        TO,
        "Confirm",
        "<token-1@syncpoint>",
        "token-1",
        "auto-generated",
    ]
    assert parsedate_to_datetime(message["Date"]).year >= 2026


def test_a_mail_goes_to_its_address_whatever_its_headers_say() -> None:
    client: Any = Keeps()
    SesMailer(client, SENDER).send(*A_MAIL)
    (request,) = client.requests
    assert request["Destination"] == {"ToAddresses": [TO]}
    assert request["FromEmailAddress"] == SENDER


def test_a_mail_travels_in_ascii_with_short_lines() -> None:
    client: Any = Keeps()
    SesMailer(client, SENDER).send(TO, "Ä" * 300, "ä" * 5000, f"<p>{'é' * 5000}</p>", "token-1")
    assert client.raw.isascii()
    assert max(map(len, client.raw.split(b"\r\n"))) <= 998
    assert parsed(client.raw)["Subject"] == "Ä" * 300


def test_the_link_of_a_confirmation_survives_both_parts_and_is_not_tracked() -> None:
    subject, text, html = texts.confirmation(LINK, "Ada's <phone>", hours=24)
    message = sent(TO, subject, text, html, "token-1")
    in_text, in_html = (part.get_content() for part in message.iter_parts())
    assert LINK in in_text.splitlines()
    assert f'ses:no-track href="{LINK}"' in in_html
    assert "Ada's <phone>" in in_text
    assert "<phone>" not in in_html
    assert "&lt;phone&gt;" in in_html


@pytest.mark.parametrize("line_end", ["\r\n", "\n", "\r", "\u2028", "\x85", "\x0b", "\x0c"])
@pytest.mark.parametrize(
    ("field", "value"),
    [(0, "{}@example.com"), (0, TO + "{}"), (1, "Confirm{}"), (4, "token{}")],
    ids=["before the address", "after the address", "in the subject", "in the id"],
)
def test_a_line_end_never_makes_a_second_header(field: int, value: str, line_end: str) -> None:
    mail = list(A_MAIL)
    mail[field] = value.format(f"{line_end}Bcc: eve@example.com")
    try:
        message = sent(*mail)
    except AddressRefused:
        return  # refused before anything was sent
    assert "Bcc" not in message
    assert message.get_content_type() == "multipart/alternative"


@settings(max_examples=300)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_in_a_mail_adds_a_header_or_a_part(text: str) -> None:
    message = sent(TO, "Confirm", text, text, "token-1")
    assert set(message.keys()) == {
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "X-Syncpoint-Id",
        "Auto-Submitted",
        "MIME-Version",
        "Content-Type",
    }
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_tags_and_the_configuration_set_bring_bounces_back(ses: Any, stub: Stubber) -> None:
    stub.add_response(
        "send_email",
        {"MessageId": "0100"},
        {
            "FromEmailAddress": SENDER,
            "Destination": {"ToAddresses": [TO]},
            "Content": {"Raw": {"Data": ANY}},
            "EmailTags": [{"Name": "doc", "Value": "device-1"}],
            "ConfigurationSetName": "syncpoint-test",
        },
    )
    SesMailer(ses, SENDER, "syncpoint-test").send(*A_MAIL, tags={"doc": "device-1"})


# What SES answers


def test_a_mail_that_ses_takes_is_one_request(ses: Any, stub: Stubber) -> None:
    stub.add_response(
        "send_email",
        {"MessageId": "0100"},
        {
            "FromEmailAddress": SENDER,
            "Destination": {"ToAddresses": [TO]},
            "Content": {"Raw": {"Data": ANY}},
            "EmailTags": [],
        },
    )
    SesMailer(ses, SENDER).send(*A_MAIL)


def mail_refusal(ses: Any, stub: Stubber, code: str, status: int) -> MailError:
    stub.add_client_error("send_email", code, f"no, not to {TO}", status)
    with pytest.raises(MailError) as failed:
        SesMailer(ses, SENDER).send(*A_MAIL)
    return failed.value


def test_an_address_that_ses_refuses_is_refused_for_good(ses: Any, stub: Stubber) -> None:
    assert type(mail_refusal(ses, stub, "BadRequestException", 400)) is AddressRefused


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("MessageRejected", 400),
        ("MailFromDomainNotVerifiedException", 400),
        ("SendingPausedException", 400),
        ("AccountSuspendedException", 400),
        ("LimitExceededException", 400),
        ("AccessDeniedException", 403),
        ("NotFoundException", 404),
        ("TooManyRequestsException", 429),
    ],
)
def test_a_mail_that_ses_will_not_take_now_surely_did_not_go_out(
    ses: Any, stub: Stubber, code: str, status: int
) -> None:
    error = mail_refusal(ses, stub, code, status)
    assert type(error) is MailNotSent
    assert isinstance(error, NoEffect)


@pytest.mark.parametrize(
    ("code", "status"),
    [("InternalFailure", 500), ("InternalServiceErrorException", 500), ("Unavailable", 503)],
)
def test_a_mail_at_which_ses_failed_may_have_gone_out(
    ses: Any, stub: Stubber, code: str, status: int
) -> None:
    error = mail_refusal(ses, stub, code, status)
    assert type(error) is MailError
    assert not isinstance(error, NoEffect)


@pytest.mark.parametrize(
    ("code", "status"), [("BadRequestException", 400), ("Throttling", 429), ("Internal", 500)]
)
def test_an_error_says_what_ses_said_in_a_code_and_not_to_whom(
    ses: Any, stub: Stubber, code: str, status: int
) -> None:
    error = mail_refusal(ses, stub, code, status)
    assert code in str(error)
    assert TO not in f"{error} {error!r}"


def test_a_mail_that_cannot_be_asked_for_did_not_go_out(ses: Any) -> None:
    mailer = SesMailer(ses, None)  # type: ignore[arg-type]
    with pytest.raises(MailNotSent):
        mailer.send(*A_MAIL[:3], A_MAIL[3], A_MAIL[4])


# What happens on the way, with the client as the Lambdas have it


@pytest.fixture
def send_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Sends a mail by a server of the test's own, in the client of the Lambdas."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    def send(host: str, port: int) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SESV2", f"http://{host}:{port}")
        # The only thing that is not as in a Lambda: nobody waits ten seconds in a test.
        as_in_a_lambda = make_client("sesv2").meta.config
        config = as_in_a_lambda.merge(Config(read_timeout=0.3))
        SesMailer(boto3.client("sesv2", config=config), SENDER).send(*A_MAIL)

    return send


class Listener:
    """Accepts connections, counts them, and treats each as it is told."""

    def __init__(self, treat: Callable[[socket.socket], None]) -> None:
        self._treat = treat
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self.requests = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            if read_request(connection):
                self.requests += 1
            self._treat(connection)

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for connection in self._open:
            connection.close()


def read_request(connection: socket.socket) -> bytes:
    """A whole request, so that the answer (or none) comes after all of it was sent."""
    connection.settimeout(5)
    received = b""
    while b"\r\n\r\n" not in received:
        received += (part := connection.recv(65536))
        if not part:
            return received
    head, _, body = received.partition(b"\r\n\r\n")
    fields = [line.split(b":", 1) for line in head.split(b"\r\n")[1:]]
    length = {name.strip().lower(): value for name, value in fields}[b"content-length"]
    while len(body) < int(length):
        body += connection.recv(65536)
    return received


@contextmanager
def listening(treat: Callable[[socket.socket], None]) -> Iterator[Listener]:
    listener = Listener(treat)
    try:
        yield listener
    finally:
        listener.stop()


def answer(text: str) -> Callable[[socket.socket], None]:
    def treat(connection: socket.socket) -> None:
        connection.sendall(text.encode())
        connection.close()

    return treat


def say_nothing(_: socket.socket) -> None:
    return


OK = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
FAILURES = [
    pytest.param(say_nothing, id="never answers"),
    pytest.param(socket.socket.close, id="closes the connection"),
    pytest.param(answer("HTTP/1.1 2"), id="breaks off"),
    pytest.param(answer("HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}"), id="answers 500"),
    pytest.param(answer("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\n{}"), id="answers 503"),
]


@pytest.mark.io
@pytest.mark.parametrize("treat", FAILURES)
def test_a_mail_whose_fate_is_unknown_is_asked_for_just_once(
    send_to: Callable[[str, int], None], treat: Callable[[socket.socket], None]
) -> None:
    with listening(treat) as listener:
        with pytest.raises(MailError) as failed:
            send_to(*listener.address)
        assert listener.requests == 1
    assert not isinstance(failed.value, NoEffect)


@pytest.mark.io
def test_a_throttled_mail_is_not_sent_again_by_the_sdk(
    send_to: Callable[[str, int], None],
) -> None:
    refused = "HTTP/1.1 429 No\r\nx-amzn-errortype: TooManyRequestsException\r\nContent-Length: 2"
    with listening(answer(refused + "\r\n\r\n{}")) as listener:
        with pytest.raises(MailNotSent):
            send_to(*listener.address)
        assert listener.requests == 1


@pytest.mark.io
def test_a_mail_that_ses_takes_is_asked_for_once(send_to: Callable[[str, int], None]) -> None:
    with listening(answer(OK + 'Content-Length: 17\r\n\r\n{"MessageId":"1"}')) as listener:
        send_to(*listener.address)
        assert listener.requests == 1


@pytest.mark.io
def test_a_mail_that_reaches_nobody_surely_did_not_go_out(
    send_to: Callable[[str, int], None],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host, port = taken.getsockname()
    with pytest.raises(MailNotSent):
        send_to(host, port)


@pytest.mark.parametrize(
    "name", ["https://evil.example/login", "www.evil.example", "a@evil.example"]
)
def test_a_devices_name_makes_no_link(name: str) -> None:
    _, text, html = texts.confirmation(LINK, f"Locked: {name}", hours=24)
    for part in (text, html):
        assert name not in part
        assert "evil.example" not in part
        assert name in part.replace("\u2060", "")


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (24, "24 hours"),
        (1, "1 hour"),
        (1.5, "90 minutes"),
        (1 / 60, "1 minute"),
        (7 * 24, "7 days"),
        (48, "2 days"),
        (36, "36 hours"),
        (48.5, "2910 minutes"),
    ],
)
def test_a_mail_says_how_long_its_link_works(hours: float, words: str) -> None:
    for mail in (
        texts.confirmation(LINK, "x", hours),
        texts.invitation(INVITATION_LINK, INVITER, "x", hours),
    ):
        assert f"works for {words}." in mail[1]
        assert f"works for {words}." in mail[2]


def test_an_invitation_says_who_invites_to_what_and_what_that_is() -> None:
    _, text, html = texts.invitation(INVITATION_LINK, INVITER, "Photos & <films>", hours=168)
    for part, name in ((text, "Photos & <films>"), (html, "Photos &amp; &lt;films&gt;")):
        words = " ".join(part.split())
        assert INVITER in words
        assert name in words
        assert "A channel is a set of data that stays the same on all devices of those" in words
        assert "nothing is shared until you accept" in words


def test_the_link_of_an_invitation_survives_both_parts_and_is_not_tracked() -> None:
    message = sent(TO, *texts.invitation(INVITATION_LINK, INVITER, "Photos", 168), "token-1")
    in_text, in_html = (part.get_content() for part in message.iter_parts())
    assert INVITATION_LINK in in_text.splitlines()
    assert f'ses:no-track href="{INVITATION_LINK}"' in in_html


@pytest.mark.parametrize(
    "mail",
    [
        texts.confirmation(LINK, "x", hours=24),
        texts.invitation(INVITATION_LINK, INVITER, "x", hours=168),
    ],
    ids=["confirmation", "invitation"],
)
def test_a_mail_says_whose_it_is_and_shows_its_link_as_text(mail: tuple[str, str, str]) -> None:
    subject, text, html = mail
    assert "Syncpoint" in text
    words = " ".join(re.sub(r"<[^>]*>", " ", html.partition("<body")[2]).split())
    assert "Syncpoint" in words
    [link] = re.findall(r"https://\S+", text)
    assert words.count(link) == 1
    assert f"<title>{subject}</title>" in html
    assert '<html lang="en">' in html
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html


def test_the_subject_of_an_invitation_is_ours_alone() -> None:
    subjects = {
        texts.invitation(INVITATION_LINK, inviter, name, 168)[0]
        for inviter, name in ((INVITER, "Photos"), ("eve@example.com", "You have won"))
    }
    assert subjects == {"You are invited to share a channel"}


@pytest.mark.parametrize(
    "name", ["https://evil.example/login", "www.evil.example", "a@evil.example"]
)
def test_a_channels_name_makes_no_link(name: str) -> None:
    _, text, html = texts.invitation(INVITATION_LINK, INVITER, f"Locked: {name}", 168)
    for part in (text, html):
        assert "evil.example" not in part
        assert name in part.replace("\u2060", "")


@pytest.mark.parametrize(
    "address", ["www.evil.example@example.com", "evil.example/login@example.com", "a?b=1@b.co"]
)
def test_an_inviters_address_makes_no_link_to_a_page(address: str) -> None:
    for part in texts.invitation(INVITATION_LINK, address, "Photos", 168)[1:]:
        assert address not in part
        assert address in part.replace("\u2060", "")


@pytest.mark.parametrize("inviter", ["ada@xn--pple-43d.example", "ada@\u0430pple.example"])
def test_an_inviter_of_another_script_is_shown_in_both_forms(inviter: str) -> None:
    """The form in ASCII can be copied, and may become a mail link; the other must not."""
    for part in texts.invitation(INVITATION_LINK, inviter, "Photos", 168)[1:]:
        assert "ada@\u2060\u0430pple.\u2060example (ada@xn--pple-43d.example)" in part


def test_a_name_that_is_written_from_right_to_left_leaves_the_words_around_it() -> None:
    _, text, html = texts.invitation(INVITATION_LINK, INVITER, "תמונות 2026", 168)
    assert "    תמונות 2026" in text.splitlines()
    assert "<bdi>תמונות 2026</bdi>" in html
    assert f"<bdi>{INVITER}</bdi>" in html


def test_an_answer_without_a_message_id_is_an_unknown_effect() -> None:
    class Vague:
        def send_email(self, **_: object) -> dict[str, str]:
            return {}

    client: Any = Vague()
    with pytest.raises(MailError) as raised:
        SesMailer(client, SENDER).send(*A_MAIL)
    assert not isinstance(raised.value, NoEffect)
