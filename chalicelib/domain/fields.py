"""The fields of documents that people and devices write, checked one by one. No I/O."""

import unicodedata
from datetime import datetime
from typing import Any

from chalicelib.domain import addresses
from chalicelib.domain.documents import JsonDict, Rejected, generation_of

# Control and formatting characters (those that turn writing around among them), surrogates, line
# and paragraph separators: a name must not rearrange the page or the mail that shows it.
_UNWANTED_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# But these two join letters and emoji in ordinary names.
_JOINERS = {"\u200c", "\u200d"}
_BLANK_BRAILLE = "\u2800"


def text(doc: JsonDict, field: str, min_length: int, max_length: int) -> str:
    """A text of some length, that can be seen, and be shown to people.

    Raises
    ------
    Rejected
        If it is missing or wrong; the reason names the field, as for all functions here.
    """
    value: Any = doc.get(field)
    if value is None:
        raise Rejected(f"{field} is missing")
    if not isinstance(value, str):
        raise Rejected(f"{field} must be a text")
    if not min_length <= len(value.strip()) or len(value) > max_length:
        raise Rejected(f"{field} must have {min_length} to {max_length} characters")
    if any(_is_unwanted(character) for character in value):
        raise Rejected(f"{field} must not contain control characters")
    if not any(_is_visible(character) for character in value):
        raise Rejected(f"{field} must have a visible character")
    return value


def flag(doc: JsonDict, field: str) -> bool:
    """True or false; false if absent."""
    value = doc.get(field, False)
    if not isinstance(value, bool):
        raise Rejected(f"{field} must be true or false")
    return value


def check_generation(doc: JsonDict) -> None:
    """A whole number, or nothing."""
    value = doc.get("generation", 0)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < 10**9 or generation_of(doc) != value:
        raise Rejected("generation must be a whole number, 0 or more")


def check_time(doc: JsonDict, field: str) -> None:
    """A time with its zone, or nothing."""
    value = doc.get(field)
    try:
        is_time = value is None or datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        is_time = False
    if not is_time:
        raise Rejected(f"{field} must be a time such as 2026-11-23T06:00:00Z")


def mail_address(doc: JsonDict, field: str) -> str:
    """An address that mail can be sent to; its domain in ASCII."""
    try:
        return addresses.mail_address(text(doc, field, 1, addresses.ADDRESS_LENGTH))
    except addresses.InvalidAddress as exc:
        raise Rejected(f"{field} must be an e-mail address: {exc}") from exc


def known_address(doc: JsonDict, field: str) -> str:
    """An address that mail was sent to: its form was checked then, by a slow library."""
    return addresses.normalise_address(text(doc, field, 1, addresses.ADDRESS_LENGTH))


def _is_unwanted(character: str) -> bool:
    return unicodedata.category(character) in _UNWANTED_CATEGORIES and character not in _JOINERS


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNPS" and character != _BLANK_BRAILLE
