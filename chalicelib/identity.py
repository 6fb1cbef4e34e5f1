"""Who is who: owners, addresses, the code in a link, the code on a device's screen. No I/O."""

import base64
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

ADDRESS_LENGTH = 254  # RFC 5321, 4.5.3.1.3, less the angle brackets
DEVICE_CODE_LENGTHS = range(4, 65)
_MAC_BYTES = 16


class InvalidAddress(ValueError):
    """What was given is no e-mail address; the message says why."""


def normalise_address(address: str) -> str:
    """The one spelling of an address that counts: trimmed, NFKC, lower case (docs/design.md).

    A device computes the same, offline.
    """
    return unicodedata.normalize("NFKC", address.strip()).lower()


def mail_address(address: str) -> str:
    """The address to send to: normalised, checked, its domain in ASCII.

    Whether the domain gets mail at all is for the mail service to say; no request is sent here.

    Raises
    ------
    InvalidAddress
        If it is no address that mail can be sent to.
    """
    # Imported here: of all Lambdas, only those that send mail need it.
    import email_validator

    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()
    normalised = normalise_address(address)
    # RFC 2047: mail libraries would decode it, into another address or a header of its own.
    if "=?" in normalised:
        raise InvalidAddress("it must not contain an encoded word (=?)")
    if len(normalised) > ADDRESS_LENGTH:
        raise InvalidAddress(f"it is longer than {ADDRESS_LENGTH} characters")
    try:
        valid = email_validator.validate_email(
            normalised, check_deliverability=False, allow_smtputf8=False
        )
    except email_validator.EmailNotValidError as exc:
        raise InvalidAddress(str(exc)) from exc
    return str(valid.ascii_email)


def owner_id(address: str) -> str:
    """The owner: the first 32 hex digits of SHA-256 of the normalised address."""
    return hashlib.sha256(normalise_address(address).encode()).hexdigest()[:32]


def owner_role(owner: str) -> str:
    """The one role that all logins of an owner's devices have."""
    return f"owner-{owner}"


def owner_control_db(control_db: str, owner: str) -> str:
    """The name of an owner's own control database."""
    return f"{control_db}-{owner}"


def owner_of(control_db: str, db: str) -> str | None:
    """The owner whose control database `db` is; None if it is nobody's."""
    owner = db.removeprefix(f"{control_db}-")
    return owner if owner != db and is_owner_id(owner) else None


def is_owner_id(text: str) -> bool:
    """Whether a text has the form of an owner's id."""
    return re.fullmatch(r"[0-9a-f]{32}", text, re.ASCII) is not None


def channel_db(owner: str, channel_id: str) -> str:
    """The name of a channel's database.

    The owner is in it, so that nobody comes by another's database by giving a channel its id.
    """
    name = f"{owner}/{channel_id}".encode("utf-8", "surrogatepass")
    return f"db-{hashlib.sha256(name).hexdigest()[:32]}"


def subscription_id(channel_id: str, owner: str) -> str:
    """The well-known id of an owner's subscription: all devices of the owner find the same one."""
    return f"{channel_id}-sub-{owner}"


@dataclass(frozen=True)
class InvitationRef:
    """What the link in an invitation's mail is about.

    Attributes
    ----------
    owner : str
        Who invites; the invitation lies in their control database.
    guest : str
        Whose address the mail went to: the link proves that address, and no other.
    invitation_id : str
        The invitation's `_id`; it has no dots.
    """

    owner: str
    guest: str
    invitation_id: str

    @property
    def subject(self) -> str:
        """The reference as a link's code carries it."""
        return f"{self.owner}.{self.guest}.{self.invitation_id}"

    @property
    def acceptance(self) -> str:
        """The reference as a receipt for the guest's answer carries it; no link is made of it."""
        return f"accepted.{self.subject}"

    @classmethod
    def parse(cls, subject: str) -> Self | None:
        """Read the subject of a verified code; None if it is not about an invitation."""
        parts = subject.split(".")
        return cls(*parts) if len(parts) == 3 else None


@dataclass(frozen=True)
class LinkCode:
    """What a link's code says, once its MAC has been verified.

    Attributes
    ----------
    subject : str
        What the link is about: a device's id, an invitation's `InvitationRef.subject`.
    """

    subject: str
    generation: int


@dataclass(frozen=True)
class LinkKeys:
    """Signs and verifies the codes in links: ``{subject}.{generation}.{MAC}``.

    Parameters
    ----------
    keys : sequence of bytes
        The first signs, all verify.
    purpose : str
        Codes made for one purpose (or stage, or control database) are worth nothing for another.
    """

    keys: Sequence[bytes]
    purpose: str

    def sign(self, subject: str, generation: int) -> str:
        """The code for a link; the same each time."""
        return f"{subject}.{generation}.{self._mac(self.keys[0], subject, generation)}"

    def verify(self, code: str) -> LinkCode | None:
        """What the code says, or None if it was not made with one of the keys."""
        parts = re.fullmatch(r"(.+)\.(0|[1-9]\d{0,8})\.([\w-]{22})", code, re.ASCII | re.DOTALL)
        if parts is None:
            return None
        subject, generation, mac = parts[1], int(parts[2]), parts[3]
        # All keys are tried, whichever fits: the time taken says nothing.
        fits = [same(self._mac(key, subject, generation), mac) for key in self.keys]
        return LinkCode(subject, generation) if any(fits) else None

    def guess_ids(self, device_id: str, device_code: str) -> list[str]:
        """Names for a device code that someone typed: they tell two apart, and give neither away.

        One for each key, that of the key in use first: around a rotation a code may be known by
        an older one.
        """
        text = f"guess:{device_id}:{plain_device_code(device_code)}"
        return [self._mac(key, text, 0) for key in self.keys]

    def _mac(self, key: bytes, subject: str, generation: int) -> str:
        text = f"{self.purpose}\n{subject}\n{generation}".encode("utf-8", "surrogatepass")
        digest = hmac.new(key, text, hashlib.sha256).digest()[:_MAC_BYTES]
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def plain_device_code(device_code: str) -> str:
    """A device code as it is compared: its letters and digits.

    Case, spaces and dashes (phones have several kinds) are how somebody typed it.
    """
    normalised = unicodedata.normalize("NFKC", device_code)
    return "".join(character for character in normalised if character.isalnum()).upper()


def same_device_code(one: str, other: str) -> bool:
    """Whether two device codes are the same; takes as long wherever they differ."""
    return same(plain_device_code(one), plain_device_code(other))


def same(one: str, other: str) -> bool:
    """Whether two texts are equal; takes as long wherever they differ."""
    return hmac.compare_digest(
        one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass")
    )


def confirm_id(device_id: str, generation: int) -> str:
    """The well-known id of a registration's confirmation: a second click conflicts with it."""
    return f"confirm-{device_id}-{generation}"
