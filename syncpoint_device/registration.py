"""The registration of a new device. The device makes its own id, device code and password."""

import hashlib
import secrets
import uuid
from dataclasses import dataclass

from chalicelib.domain.documents import JsonDict

PASSWORD_BYTES = 32
# Few, because each costs the cloud time at every login. The password has 256 random bits, so it
# cannot be guessed whatever the number of iterations.
ITERATIONS = 10

# Without 0, O, 1, I, L and U, because people read a code on one screen and type it on another.
_CODE_LETTERS = "ABCDEFGHJKMNPQRSTVWXYZ23456789"


@dataclass(frozen=True)
class NewDevice:
    """A new device's password, and the document that it sends.

    Attributes
    ----------
    password : str
        Sent to the cloud's CouchDB only, to log in there.
    doc : dict
        The device document in state ``new``.
    """

    password: str
    doc: JsonDict

    @property
    def device_id(self) -> str:
        """The document's `_id`, which is also the name of the login."""
        return str(self.doc["_id"])

    @property
    def device_code(self) -> str:
        """The device code, which the device shows on its screen."""
        return str(self.doc["device_code"])


def new_device(owner: str, name: str, created_at: str, *, sha256: bool = True) -> NewDevice:
    """Create a device's password and its registration. Sends no request.

    Parameters
    ----------
    owner : str
        The owner's e-mail address.
    name : str
        The name that the owner gives the device.
    created_at : str
        The time, ``2026-11-23T06:00:00Z``.
    sha256 : bool
        Whether to derive the key with SHA-256, for CouchDB 3.4 or later. SHA-1 works everywhere.
    """
    password, salt = secrets.token_urlsafe(PASSWORD_BYTES), secrets.token_hex(16)
    digest = "sha256" if sha256 else "sha1"
    # CouchDB uses the salt's hex digits, as ASCII.
    key = hashlib.pbkdf2_hmac(digest, password.encode(), salt.encode(), ITERATIONS)
    credentials = {
        "password_scheme": "pbkdf2",
        "salt": salt,
        "iterations": ITERATIONS,
        "derived_key": key.hex(),
    }
    if sha256:
        credentials["pbkdf2_prf"] = "sha256"
    doc = {
        "_id": f"device-{uuid.uuid4().hex}",
        "type": "device",
        "state": "new",
        "owner": owner,
        "name": name,
        "device_code": new_device_code(),
        "credentials": credentials,
        "created_at": created_at,
    }
    return NewDevice(password, doc)


def new_device_code() -> str:
    """Return a random device code, ``XXXX-XXXX``. It has 39 bits; people have five tries."""
    letters = "".join(secrets.choice(_CODE_LETTERS) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"
