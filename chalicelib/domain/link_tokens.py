"""The signed tokens in the links of mails. No I/O."""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from chalicelib.domain.constant_time import same
from chalicelib.domain.device_codes import plain_device_code

_MAC_BYTES = 16


@dataclass(frozen=True)
class InvitationRef:
    """What the link in an invitation's mail is about.

    Attributes
    ----------
    owner_id : str
        Who invites; the invitation lies in their control database.
    guest_id : str
        Whose address the mail went to: the link proves that address, and no other.
    invitation_id : str
        The invitation's `_id`; it has no dots.
    """

    owner_id: str
    guest_id: str
    invitation_id: str

    @property
    def subject(self) -> str:
        """The reference as a link's token carries it."""
        return f"{self.owner_id}.{self.guest_id}.{self.invitation_id}"

    @property
    def acceptance(self) -> str:
        """The reference as a receipt for the guest's answer carries it; no link is made of it."""
        return f"accepted.{self.subject}"

    @classmethod
    def parse(cls, subject: str) -> Self | None:
        """Read the subject of a verified token; None if it is not about an invitation."""
        parts = subject.split(".")
        return cls(*parts) if len(parts) == 3 else None


@dataclass(frozen=True)
class LinkToken:
    """What a link's token says, once its MAC has been verified.

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
        Tokens made for one purpose (or stage, or control database) are worth nothing for another.
    """

    keys: Sequence[bytes]
    purpose: str

    def sign(self, subject: str, generation: int) -> str:
        """Sign the token for a link; the same each time."""
        return f"{subject}.{generation}.{self._mac(self.keys[0], subject, generation)}"

    def verify(self, token: str) -> LinkToken | None:
        """Return what the token says, or None if it was not made with one of the keys."""
        parts = re.fullmatch(r"(.+)\.(0|[1-9]\d{0,8})\.([\w-]{22})", token, re.ASCII | re.DOTALL)
        if parts is None:
            return None
        subject, generation, mac = parts[1], int(parts[2]), parts[3]
        # All keys are tried, whichever fits: the time taken says nothing.
        fits = [same(self._mac(key, subject, generation), mac) for key in self.keys]
        return LinkToken(subject, generation) if any(fits) else None

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
