"""The short code on a device's screen, which its owner types. No I/O."""

import unicodedata

from chalicelib.domain.constant_time import same

DEVICE_CODE_LENGTHS = range(4, 65)


def plain_device_code(device_code: str) -> str:
    """A device code as it is compared: its letters and digits.

    Case, spaces and dashes (phones have several kinds) are how somebody typed it.
    """
    normalised = unicodedata.normalize("NFKC", device_code)
    return "".join(character for character in normalised if character.isalnum()).upper()


def same_device_code(one: str, other: str) -> bool:
    """Whether two device codes are the same; takes as long wherever they differ."""
    return same(plain_device_code(one), plain_device_code(other))
