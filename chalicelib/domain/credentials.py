"""The credentials of a device, for the two ways to log in. No I/O.

``login`` (CouchDB 3): the device makes its password and sends only the key derived from it. The
name of its login is the device's id. ``oauth1`` (CouchDB 1.x): the device has a consumer key and a
token, as in the original system (handlers/oauth1.py).
"""

import hashlib
import json
import re

from chalicelib.domain.documents import JsonDict

# CouchDB's pseudo-random functions and the length of their derived keys, in bytes. Without a
# `pbkdf2_prf` it is the SHA-1 of CouchDB 1.x, which every version and PouchDB Server support.
# Source: https://docs.couchdb.org/en/stable/intro/security.html#users-documents
_KEY_BYTES = {None: 20, "sha": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}
# Whoever sends wrong passwords for a login makes CouchDB compute them all, and others wait.
# Passwords are random, so iterations add nothing.
_MAX_ITERATIONS = 1000

_OAUTH_FIELDS = ("consumer_key", "consumer_secret", "token", "token_secret")

USER_ID_PREFIX = "org.couchdb.user:"


class InvalidCredentials(ValueError):
    """Raised when a field of the credentials is missing or wrong; the message names it."""


class TokenUsed(Exception):
    """Raised when a login's name, a consumer key or a token belongs to another device."""


class ForeignLogin(Exception):
    """Raised when a device cannot be revoked: the login of its name is not clearly its own.

    The device stays ``revoking``, and its message becomes a dead letter, which triggers an alarm.
    The operator looks at the login, removes it if it is the device's, and calls ``make redrive``.
    """


def check_login(given: object) -> JsonDict:
    """Check and return the credentials of a ``login`` device.

    Parameters
    ----------
    given : object
        The document's ``credentials``: ``{password_scheme: "pbkdf2", derived_key: hex, salt,
        iterations, pbkdf2_prf?}``.

    Returns
    -------
    dict
        Only those fields, as in a user document.

    Raises
    ------
    InvalidCredentials
        If a field is missing or wrong.
    """
    if not isinstance(given, dict):
        raise InvalidCredentials("credentials must be an object")
    prf = given.get("pbkdf2_prf")
    if given.get("password_scheme") != "pbkdf2":
        raise InvalidCredentials('credentials.password_scheme must be "pbkdf2"')
    if not isinstance(prf, str | None) or prf not in _KEY_BYTES:
        raise InvalidCredentials("credentials.pbkdf2_prf must be one of sha, sha224 … sha512")
    if not _is_text(given.get("salt"), r"[\x21-\x7e]{8,128}"):
        raise InvalidCredentials("credentials.salt must be 8 to 128 printable ASCII characters")
    if not _is_text(given.get("derived_key"), rf"[0-9a-f]{{{2 * _KEY_BYTES[prf]}}}"):
        raise InvalidCredentials(
            f"credentials.derived_key must be {2 * _KEY_BYTES[prf]} lower case hex digits"
        )
    iterations = given.get("iterations")
    if type(iterations) is not int or not 1 <= iterations <= _MAX_ITERATIONS:
        raise InvalidCredentials(f"credentials.iterations must be 1 to {_MAX_ITERATIONS}")
    kept = ("password_scheme", "derived_key", "salt", "iterations", "pbkdf2_prf")
    return {name: given[name] for name in kept if given.get(name) is not None}


def check_oauth(given: object) -> dict[str, str]:
    """Check and return the credentials of an ``oauth1`` device.

    Parameters
    ----------
    given : object
        The document's ``oauth_creds``: ``{consumer_key, consumer_secret, token, token_secret}``.

    Raises
    ------
    InvalidCredentials
        If a field is missing or wrong.
    """
    if not isinstance(given, dict):
        raise InvalidCredentials("oauth_creds must be an object")
    for name in _OAUTH_FIELDS:
        # They become keys and values in an .ini file, so its special characters are refused.
        if not _is_text(given.get(name), r"[A-Za-z0-9._~-]{1,128}"):
            raise InvalidCredentials(
                f"oauth_creds.{name} must be 1 to 128 letters, digits, . _ ~ -"
            )
    return {name: given[name] for name in _OAUTH_FIELDS}


def login_user(device_id: str, role: str, credentials: JsonDict) -> JsonDict:
    """Build the user document of a device's own login.

    CouchDB may hash the key again at a login. So the field `syncpoint` tells this login from that
    of another device: it has the device's id, and a fingerprint of the credentials as they were
    sent.
    """
    return {
        "_id": USER_ID_PREFIX + device_id,
        "name": device_id,
        "type": "user",
        "roles": [role],
        **credentials,
        "syncpoint": {"device": device_id, "credentials": _fingerprint(credentials)},
    }


def is_login_of(user: JsonDict, device_id: str, role: str) -> bool:
    """Return whether an existing user document is a device's login.

    Its name is the device's id. Either its only role is that of the device's owner, which only
    administrators can change; or it has the mark from `login_user`, and an operator has added
    roles. The mark alone does not decide: where `_users` admits devices, as before CouchDB 3, a
    device may change it.
    """
    mark = user.get("syncpoint")
    is_marked = isinstance(mark, dict) and mark.get("device") == device_id
    is_named = user.get("_id") == USER_ID_PREFIX + device_id
    return is_named and (user.get("roles") == [role] or is_marked)


def is_same_login(user: JsonDict, wanted: JsonDict) -> bool:
    """Return whether an existing user document is for the same login as `wanted`."""
    return all(user.get(name) == wanted[name] for name in ("syncpoint", "roles"))


def _is_text(value: object, pattern: str) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _fingerprint(credentials: JsonDict) -> str:
    return hashlib.sha256(json.dumps(credentials, sort_keys=True).encode()).hexdigest()
