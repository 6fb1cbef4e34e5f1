"""What a device says of itself when it registers, checked field by field. No I/O."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chalicelib import credentials, identity
from chalicelib.docstate import JsonDict, Rejected

NAME_LENGTH = 80
DEFAULT_NAME = "a device without a name"

# A device makes `device-<uuid4 hex>`; any id that can be a login's name is taken here, since only
# the cloud itself writes to the control database. The mailbox, which strangers write to, is strict.
_DEVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
# Control and formatting characters (those that turn writing around among them), surrogates, line
# and paragraph separators: a name must not rearrange the page or the mail that shows it.
_UNWANTED_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# But these two join letters and emoji in ordinary names.
_JOINERS = {"\u200c", "\u200d"}
_BLANK_BRAILLE = "\u2800"


@dataclass(frozen=True)
class Registration:
    """A registration whose every field is as it should be.

    Attributes
    ----------
    address : str
        Where to send mail; its domain in ASCII.
    owner : str
        The owner's id (32 hex digits).
    owner_address : str
        The normalised address, as the owner's OAuth login is named.
    name : str
        What the owner calls the device.
    """

    device_id: str
    address: str
    owner: str
    owner_address: str
    name: str
    device_code: str
    credentials: JsonDict


def check(doc: JsonDict, device_auth: str) -> Registration:
    """Read a device document in state ``new`` or later.

    Parameters
    ----------
    device_auth : str
        ``login`` or ``oauth1``: which credentials it must have.

    Raises
    ------
    Rejected
        If a field is missing or wrong; the reason names the field.
    """
    device_id = doc.get("_id")
    if not isinstance(device_id, str) or not _DEVICE_ID.fullmatch(device_id):
        raise Rejected("_id must be letters, digits, _ and -, at most 128 of them")
    generation = doc.get("generation", 0)
    if type(generation) is not int or not 0 <= generation < 10**9:
        raise Rejected("generation must be a whole number, 0 or more")
    if not _is_time(doc.get("created_at")):
        raise Rejected("created_at must be a time such as 2026-11-23T06:00:00Z")
    owner = _text(doc, "owner", 1, identity.ADDRESS_LENGTH)
    return Registration(
        device_id=device_id,
        address=_address(owner),
        owner=identity.owner_id(owner),
        owner_address=identity.normalise_address(owner),
        name=_text(doc, "name", 1, NAME_LENGTH) if "name" in doc else DEFAULT_NAME,
        device_code=_device_code(doc),
        credentials=_credentials(doc, device_auth),
    )


def _address(owner: str) -> str:
    try:
        return identity.mail_address(owner)
    except identity.InvalidAddress as exc:
        raise Rejected(f"owner must be an e-mail address: {exc}") from exc


def _device_code(doc: JsonDict) -> str:
    lengths = identity.DEVICE_CODE_LENGTHS
    device_code = _text(doc, "device_code", lengths.start, lengths.stop - 1)
    if len(identity.plain_device_code(device_code)) not in lengths:
        least, most = lengths.start, lengths.stop - 1
        raise Rejected(f"device_code must have {least} to {most} letters and digits")
    return device_code


def _credentials(doc: JsonDict, device_auth: str) -> JsonDict:
    try:
        if device_auth == "oauth1":
            return credentials.check_oauth(doc.get("oauth_creds"))
        return credentials.check_login(doc.get("credentials"))
    except credentials.InvalidCredentials as exc:
        raise Rejected(str(exc)) from exc


def _text(doc: JsonDict, field: str, least: int, most: int) -> str:
    value: Any = doc.get(field)
    if value is None:
        raise Rejected(f"{field} is missing")
    if not isinstance(value, str):
        raise Rejected(f"{field} must be a text")
    if not least <= len(value.strip()) or len(value) > most:
        raise Rejected(f"{field} must have {least} to {most} characters")
    if any(_is_unwanted(character) for character in value):
        raise Rejected(f"{field} must not contain control characters")
    if not any(_is_visible(character) for character in value):
        raise Rejected(f"{field} must have a visible character")
    return value


def _is_unwanted(character: str) -> bool:
    return unicodedata.category(character) in _UNWANTED_CATEGORIES and character not in _JOINERS


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNPS" and character != _BLANK_BRAILLE


def _is_time(value: Any) -> bool:
    if value is None:
        return True
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False
