"""A device's first document: it makes its own id, code and password, and sends no password."""

import hashlib
import secrets
import uuid
from dataclasses import dataclass

from chalicelib.domain.documents import JsonDict

PASSWORD_BYTES = 32
# The password is random, 256 bits: nobody guesses it, however few the rounds. Each costs the cloud
# time at every login.
ITERATIONS = 10

# No 0, O, 1, I, L, U: what is read off one screen and typed on another must not be doubtful.
_CODE_LETTERS = "ABCDEFGHJKMNPQRSTVWXYZ23456789"


@dataclass(frozen=True)
class NewDevice:
    """What the device keeps to itself, and what it sends.

    Attributes
    ----------
    password : str
        Never leaves the device but to log in at the cloud's CouchDB.
    doc : dict
        The device document in state ``new``, for the cloud's control database.
    """

    password: str
    doc: JsonDict

    @property
    def device_id(self) -> str:
        """The document's id, and the login's name."""
        return str(self.doc["_id"])

    @property
    def device_code(self) -> str:
        """What the device shows on its screen."""
        return str(self.doc["device_code"])


def new_device(owner: str, name: str, created_at: str, *, sha256: bool = True) -> NewDevice:
    """Make a device's identity. Sends no request.

    Parameters
    ----------
    owner : str
        The owner's e-mail address.
    name : str
        What the owner calls the device.
    created_at : str
        The time, ``2026-11-23T06:00:00Z``.
    sha256 : bool
        Whether the server knows PBKDF2 with SHA-256 (CouchDB 3.4); SHA-1 works everywhere.
    """
    password, salt = secrets.token_urlsafe(PASSWORD_BYTES), secrets.token_hex(16)
    digest = "sha256" if sha256 else "sha1"
    # The salt's bytes are the ASCII of the text, as CouchDB takes them.
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
    """A short random code, ``XXXX-XXXX``: 39 bits, of which five may be guessed."""
    letters = "".join(secrets.choice(_CODE_LETTERS) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"
