"""The signed tokens in the links of mails. No I/O."""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from chalicelib.domain.constant_time import same
from chalicelib.domain.device_codes import plain_device_code

_MAC_BYTES, _MAC_LENGTH = 16, 26
_TOKEN = re.compile(rf"([a-z2-7]+)([a-z2-7]{{{_MAC_LENGTH}}})", re.ASCII | re.IGNORECASE)
_CONTENT = re.compile(r"(.+)\.(0|[1-9]\d{0,8})", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class InvitationRef:
    """A reference to an invitation, as the link in its mail has it.

    Attributes
    ----------
    owner_id : str
        The inviting owner. The invitation is in their control database.
    guest_id : str
        The owner id of the address that the mail went to. The link proves only that address.
    invitation_id : str
        The invitation's `_id`; it has no dots.
    """

    owner_id: str
    guest_id: str
    invitation_id: str

    @property
    def subject(self) -> str:
        """Return the reference as the subject of a link token."""
        return f"{self.owner_id}.{self.guest_id}.{self.invitation_id}"

    @property
    def acceptance(self) -> str:
        """Return the subject of the receipt for the guest's answer. No link has this subject."""
        return f"accepted.{self.subject}"

    @classmethod
    def parse(cls, subject: str) -> Self | None:
        """Read the subject of a verified token; return None if it is not an invitation's."""
        parts = subject.split(".")
        return cls(*parts) if len(parts) == 3 else None


@dataclass(frozen=True)
class LinkToken:
    """The content of a link token whose MAC was verified.

    Attributes
    ----------
    subject : str
        A device's id, or an invitation's `InvitationRef.subject`.
    """

    subject: str
    generation: int


@dataclass(frozen=True)
class LinkKeys:
    """The keys that sign and verify link tokens: ``{subject}.{generation}``, then the MAC.

    Both are in base32, in lower case. So a token is still valid after a mail program has changed
    the case of the link, or has percent-encoded it. All other changes make it invalid.

    Parameters
    ----------
    keys : sequence of bytes
        The first key signs, all keys verify.
    purpose : str
        A token for one purpose (or stage, or control database) is not valid for another.
    """

    keys: Sequence[bytes]
    purpose: str

    def sign(self, subject: str, generation: int) -> str:
        """Sign the token for a link. The token is the same every time."""
        content = f"{subject}.{generation}".encode("utf-8", "surrogatepass")
        return _base32(content) + self._mac(self.keys[0], subject, generation)

    def verify(self, token: str) -> LinkToken | None:
        """Return the token's content, or None if none of the keys signed it.

        Percent-encoding is undone once. API Gateway has done so before; Chalice's local server has
        not.
        """
        parts = _TOKEN.fullmatch(unquote(token))
        content = _CONTENT.fullmatch(_from_base32(parts[1].lower())) if parts else None
        if parts is None or content is None:
            return None
        subject, generation, mac = content[1], int(content[2]), parts[2].lower()
        # All keys are always tried, so that the time does not tell which one fits.
        fits = [same(self._mac(key, subject, generation), mac) for key in self.keys]
        return LinkToken(subject, generation) if any(fits) else None

    def device_code_ids(self, device_id: str, device_code: str) -> list[str]:
        """Return identifiers for a device code that somebody typed.

        Different codes have different identifiers, and an identifier does not reveal its code.
        There is one for each key, that of the current key first. After a key rotation, a code may
        still be stored under the identifier of an older key.
        """
        text = f"guess:{device_id}:{plain_device_code(device_code)}"
        return [self._mac(key, text, 0) for key in self.keys]

    def pseudonym(self, network: str) -> str:
        """Return an identifier for a network that does not reveal it.

        After a key rotation it is another one.
        """
        return self._mac(self.keys[0], f"network:{network}", 0)

    def _mac(self, key: bytes, subject: str, generation: int) -> str:
        text = f"{self.purpose}\n{subject}\n{generation}".encode("utf-8", "surrogatepass")
        return _base32(hmac.new(key, text, hashlib.sha256).digest()[:_MAC_BYTES])


def _base32(octets: bytes) -> str:
    """Encode in base32 (RFC 4648), in lower case, without padding."""
    return base64.b32encode(octets).rstrip(b"=").decode().lower()


def _from_base32(text: str) -> str:
    """Decode what `_base32` made of a text; return an empty text if it made nothing like it."""
    try:
        octets = base64.b32decode(text + "=" * (-len(text) % 8), casefold=True)
        # The last character has bits that do not count. Only zeros are accepted there.
        return octets.decode() if _base32(octets) == text else ""
    except ValueError:
        return ""
