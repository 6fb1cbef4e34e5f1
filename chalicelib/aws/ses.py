"""Mail by SES: one message, sent once or surely not at all, or it says that it does not know."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import botocore.exceptions as botocore

from chalicelib.errors import NoEffect

if TYPE_CHECKING:
    from mypy_boto3_sesv2 import SESV2Client

# Errors that come before anything was sent to SES.
_NOT_SENT = (
    botocore.ConnectTimeoutError,
    botocore.EndpointConnectionError,
    botocore.NoCredentialsError,
    botocore.ParamValidationError,
)


class MailError(Exception):
    """The mail may or may not have been taken: a time-out, a lost connection, a 5xx."""


class MailNotSent(MailError, NoEffect):
    """SES refused, or was not reached: no mail went out, and a later try may go better."""


class AddressRefused(MailNotSent):
    """SES will not send to this address, ever."""


class Mailer(Protocol):
    """What transitions send mail by."""

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
    """A `Mailer` by Amazon SES, version 2 of its API.

    Parameters
    ----------
    client : SESV2Client
        Must not retry by itself (``retries={"total_max_attempts": 1}``): SES has no idempotency
        token, so a retry after a time-out would be a second mail.
    sender : str
        An address that SES has verified.
    configuration_set : str
        By which SES tells of bounces and complaints; empty for none.
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
            The mail's Message-ID without angle brackets; SES puts its own in its place, so it also
            travels as ``X-Syncpoint-Id``.
        tags : mapping, optional
            What SES says with a bounce or a complaint: letters, digits, _ and - only.

        Raises
        ------
        AddressRefused
            If SES will never send to `to`.
        MailNotSent
            If the mail surely did not go out.
        MailError
            If it may have.
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
    # At the first mail: every function imports this module, and two of them send.
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
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers, please
    message.set_content(text, cte="quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    return message.as_bytes()


def _refusal(exc: botocore.ClientError) -> MailError:
    """What a `ClientError` means. The service's own text is left out: it may name the address."""
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = exc.response.get("Error", {}).get("Code", "unknown")
    if code == "BadRequestException":
        return AddressRefused(f"SES refused the mail: {code}")
    if 400 <= status < 500:
        return MailNotSent(f"SES refused the mail: {code}")
    return MailError(f"SES failed: {status} {code}")
