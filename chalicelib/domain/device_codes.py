"""The short code on a device's screen, which the owner types. No I/O."""

import unicodedata

from chalicelib.domain.constant_time import same

DEVICE_CODE_LENGTHS = range(4, 65)


def plain_device_code(device_code: str) -> str:
    """Return the part of a device code that is compared: its letters and digits, in upper case.

    Case, spaces and dashes (phones have several kinds) depend on how somebody typed the code.
    """
    normalised = unicodedata.normalize("NFKC", device_code)
    return "".join(character for character in normalised if character.isalnum()).upper()


def same_device_code(one: str, other: str) -> bool:
    """Return whether two device codes are the same, in constant time."""
    return same(plain_device_code(one), plain_device_code(other))
