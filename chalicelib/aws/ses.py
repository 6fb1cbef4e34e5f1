"""Sends mail by Amazon SES.

The errors tell whether a mail may have been sent:

    MailError                 perhaps; its effect is unknown
    └── MailNotSent           certainly not; a retry may succeed
        └── AddressRefused    certainly not; SES never sends to this address
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import botocore.exceptions as botocore

from chalicelib.errors import NoEffect

if TYPE_CHECKING:
    from mypy_boto3_sesv2 import SESV2Client

# Errors that occur before the request reaches SES.
_NOT_SENT = (
    botocore.ConnectTimeoutError,
    botocore.EndpointConnectionError,
    botocore.NoCredentialsError,
    botocore.ParamValidationError,
)


class MailError(Exception):
    """Raised when SES may or may not have taken the mail: a timeout, a lost connection, a 5xx."""


class MailNotSent(MailError, NoEffect):
    """Raised when no mail was sent: SES refused it or was not reached. A retry may succeed."""


class AddressRefused(MailNotSent):
    """Raised when SES never sends to this address."""


class Mailer(Protocol):
    """The interface by which transitions send mail."""

    def send(
        self,
        to: str,
        subject: str,
        text: str,
        html: str,
        message_id: str,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Send one mail, or raise a `MailError`."""
        ...


@dataclass(frozen=True)
class SesMailer:
    """A `Mailer` that uses version 2 of Amazon SES's API.

    Parameters
    ----------
    client : SESV2Client
        Must not retry by itself (``retries={"total_max_attempts": 1}``). SES has no idempotency
        token, so a retry after a timeout would send a second mail.
    sender : str
        An address that is verified in SES.
    configuration_set : str
        The configuration set by which SES reports bounces and complaints; empty for none.
    """

    client: "SESV2Client"
    sender: str
    configuration_set: str = ""

    def send(
        self,
        to: str,
        subject: str,
        text: str,
        html: str,
        message_id: str,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Send one mail with a text and an HTML part. One request.

        Parameters
        ----------
        message_id : str
            The mail's Message-ID without angle brackets. SES replaces that header with its own, so
            the value is also sent as ``X-Syncpoint-Id``.
        tags : mapping, optional
            Tags that SES returns with a bounce or a complaint: letters, digits, _ and - only.

        Raises
        ------
        AddressRefused
            If SES never sends to `to`.
        MailNotSent
            If the mail was certainly not sent.
        MailError
            If the mail may have been sent.
        """
        try:
            mime = _mime(self.sender, to, subject, text, html, message_id)
        except (ValueError, LookupError) as exc:
            raise AddressRefused("the address cannot be written into a mail") from exc
        try:
            answer = self.client.send_email(**self._request(to, mime, tags or {}))
        except _NOT_SENT as exc:
            raise MailNotSent(f"SES was not reached: {type(exc).__name__}") from exc
        except botocore.ClientError as exc:
            raise _refusal(exc) from exc
        except botocore.BotoCoreError as exc:
            raise MailError(f"SES did not answer: {type(exc).__name__}") from exc
        if not answer.get("MessageId"):
            raise MailError("SES did not say that it took the mail")

    def _request(self, to: str, mime: bytes, tags: Mapping[str, str]) -> dict[str, Any]:
        request: dict[str, Any] = {
            "FromEmailAddress": self.sender,
            "Destination": {"ToAddresses": [to]},
            "Content": {"Raw": {"Data": mime}},
            "EmailTags": [{"Name": name, "Value": value} for name, value in tags.items()],
        }
        if self.configuration_set:
            request["ConfigurationSetName"] = self.configuration_set
        return request


def _mime(sender: str, to: str, subject: str, text: str, html: str, message_id: str) -> bytes:
    # Imported at the first mail: every function imports this module, but only two send mail.
    from email.message import EmailMessage
    from email.policy import SMTP
    from email.utils import formatdate

    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{message_id}@syncpoint>"
    message["X-Syncpoint-Id"] = message_id
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: asks for no automatic replies
    message.set_content(text, cte="quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    return message.as_bytes()


def _refusal(exc: botocore.ClientError) -> MailError:
    """Translate a `ClientError` into a `MailError`.

    The text from SES is dropped, because it may contain the address.
    """
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = exc.response.get("Error", {}).get("Code", "unknown")
    if code == "BadRequestException":
        return AddressRefused(f"SES refused the mail: {code}")
    if 400 <= status < 500:
        return MailNotSent(f"SES refused the mail: {code}")
    return MailError(f"SES failed: {status} {code}")
