"""The short code on a device's screen, which the owner types. No I/O."""

import unicodedata

from chalicelib.domain.constant_time import same

DEVICE_CODE_LENGTHS = range(4, 65)


def plain_device_code(device_code: str) -> str:
    """Return the part of a device code that is compared: its letters and digits, in upper case.

    How somebody types a code depends on the keyboard: case (also of the Turkish i), spaces, dashes
    (phones have several kinds), full-width letters, and the digits of another script. Letters of
    other scripts are other letters, even if they look the same: an app may make codes of them.
    """
    normalised = unicodedata.normalize("NFKC", device_code)
    # Unicode's folding of case; upper case first, because `ı` has no other folding to `i`.
    folded = unicodedata.normalize("NFKC", normalised.upper().casefold())
    return "".join(_plain(character) for character in folded if character.isalnum()).upper()


def same_device_code(one: str, other: str) -> bool:
    """Return whether two device codes are the same, in constant time."""
    return same(plain_device_code(one), plain_device_code(other))


def _plain(character: str) -> str:
    """Return the ASCII digit of a decimal digit in any script; another character as it is."""
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)
