"""Checks of the fields that people and devices write. No I/O."""

import re
import unicodedata
from datetime import datetime
from typing import Any

from chalicelib.domain import addresses
from chalicelib.domain.documents import JsonDict, Rejected, generation_of

# Control and formatting characters (such as those that reverse the writing direction), surrogates,
# line and paragraph separators. A name must not rearrange the page or the mail that shows it.
_UNWANTED_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# These two are accepted, because they join letters and emoji in ordinary names.
_JOINERS = {"\u200c", "\u200d"}
_BLANK_BRAILLE = "\u2800"
_MAX_GENERATION = 10**9 - 1
# The flags of England, Scotland and Wales: a black flag, then letters that nobody sees, then their
# end. Elsewhere such letters could hide a text.
# Source: https://www.unicode.org/reports/tr51/#def_emoji_tag_sequence, emoji-sequences.txt
_TAGGED_FLAGS = re.compile(
    "|".join(
        "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in region) + "\U000e007f"
        for region in ("gbeng", "gbsct", "gbwls")
    )
)


def text(doc: JsonDict, field: str, min_length: int, max_length: int) -> str:
    """Return a text of limited length that is visible and may be shown to people.

    The length is in characters (code points).

    Raises
    ------
    Rejected
        If it is missing or wrong; the reason names the field. All functions here raise this.
    """
    value: Any = doc.get(field)
    if value is None:
        raise Rejected(f"{field} is missing")
    if not isinstance(value, str):
        raise Rejected(f"{field} must be a text")
    if not min_length <= len(value.strip()) or len(value) > max_length:
        raise Rejected(f"{field} must have {min_length} to {max_length} characters")
    if any(_is_unwanted(character) for character in _TAGGED_FLAGS.sub("", value)):
        raise Rejected(f"{field} must not contain control characters")
    if not any(_is_visible(character) for character in value):
        raise Rejected(f"{field} must have a visible character")
    return value


def same_name(one: str, other: str) -> bool:
    """Return whether two names are the same, however their letters are composed (NFC).

    Keyboards and file systems write é as one character or as two.
    """
    return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def flag(doc: JsonDict, field: str) -> bool:
    """Return a field that is true or false; False if it is missing."""
    value = doc.get(field, False)
    if not isinstance(value, bool):
        raise Rejected(f"{field} must be true or false")
    return value


def check_generation(doc: JsonDict) -> None:
    """Check that `generation` is a whole number, or missing."""
    value = doc.get("generation", 0)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= _MAX_GENERATION or generation_of(doc) != value:
        raise Rejected("generation must be a whole number, 0 or more")


def check_time(doc: JsonDict, field: str) -> None:
    """Check that a field is a time with its time zone, or missing."""
    value = doc.get(field)
    try:
        is_time = value is None or datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        is_time = False
    if not is_time:
        raise Rejected(f"{field} must be a time such as 2026-11-23T06:00:00Z")


def mail_address(doc: JsonDict, field: str) -> str:
    """Return an address that mail can be sent to, in the form that the mail is sent to."""
    try:
        return addresses.mail_address(text(doc, field, 1, addresses.ADDRESS_LENGTH))
    except addresses.InvalidAddress as exc:
        raise Rejected(f"{field} must be an e-mail address: {exc}") from exc


def known_address(doc: JsonDict, field: str) -> str:
    """Return an address that a mail was sent to before.

    Its form was checked then. It is not checked again, because the library for that is slow.
    """
    return addresses.normalise_address(text(doc, field, 1, addresses.ADDRESS_LENGTH))


def _is_unwanted(character: str) -> bool:
    return unicodedata.category(character) in _UNWANTED_CATEGORIES and character not in _JOINERS


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNPS" and character != _BLANK_BRAILLE
