"""The bad inputs that the attacks use, by name; test_the_table.py counts them."""

from urllib.parse import quote

HUGE = 10_000


def forged_codes(code: str, other: str) -> dict[str, str]:
    """What somebody makes who has seen a link's code, and that of another device."""
    device_id, generation, mac = code.split(".")
    other_id, _, other_mac = other.split(".")
    last = "A" if mac[-1] != "A" else "B"
    flipped = {
        f"with character {index} of the MAC changed": (
            f"{device_id}.0.{mac[:index]}{'A' if mac[index] != 'A' else 'B'}{mac[index + 1 :]}"
        )
        for index in range(len(mac))
    }
    cut = {f"cut to {length}": code[:length] for length in (1, 7, 39, 41, 42, 50, len(code) - 1)}
    return (
        flipped
        | cut
        | {
            "empty but for a dot": ".",
            "without a MAC": f"{device_id}.{generation}.",
            "without a generation": f"{device_id}..{mac}",
            "without a subject": f".{generation}.{mac}",
            "extended": f"{code}A",
            "extended by a part": f"{code}.A",
            "extended by another": f"{code}.{code}",
            "with the MAC twice": f"{device_id}.{generation}.{mac}{mac}",
            "with a padded MAC": f"{code}==",
            "with a line end": f"{code}\n",
            "with a NUL": f"{code}\0",
            "with a blank before it": f" {code}",
            "of the next generation": f"{device_id}.1.{mac}",
            "of a negative generation": f"{device_id}.-0.{mac}",
            "of a generation with a zero before it": f"{device_id}.00.{mac}",
            "of a generation with a plus": f"{device_id}.+0.{mac}",
            "of a generation in Arabic digits": f"{device_id}.٠.{mac}",
            "of a generation of ten digits": f"{device_id}.1000000000.{mac}",
            "of another device": f"{other_id}.{generation}.{mac}",
            "with the MAC of another": f"{device_id}.{generation}.{other_mac}",
            "of a device in capitals": f"{device_id.upper()}.{generation}.{mac}",
            "of a device and a path": f"{device_id}/../{other_id}.{generation}.{mac}",
            "of a device and a dot": f"{device_id}..{generation}.{mac}",
            "of two devices": f"{device_id}.{other_id}.{generation}.{mac}",
            "with a wide letter": f"{device_id}.{generation}.{chr(ord(mac[0]) + 0xFEE0)}{mac[1:]}",
            "with a Cyrillic letter": code.replace("e", "е", 1),
            "with a zero-width space": f"{code[:9]}\u200b{code[9:]}",
            "turned around": f"\u202e{code[::-1]}",
            "with wide dots": code.replace(".", "．"),
            "with bits of the MAC that base64 does not count": f"{code[:-1]}{neighbour(mac[-1])}",
            "with the MAC in capitals": f"{device_id}.{generation}.{mac.swapcase()}",
            "with another last character": f"{code[:-1]}{last}",
            "with the MAC of zeros": f"{device_id}.{generation}.{'A' * 22}",
            "of braces": "{{7*7}}.0." + mac,
            "of a script": f"<script>alert(1)</script>.0.{mac}",
            "of a confirmation": f"confirm-{device_id}-0.0.{mac}",
            "of a design document": f"_design/syncpoint.0.{mac}",
            "huge": "x" * HUGE + f".0.{mac}",
            "of many dots": "." * HUGE + mac,
        }
    )


def neighbour(character: str) -> str:
    """The character of base64 that differs in the lowest bit alone."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(character) ^ 1]


def url_safe(text: str) -> str:
    """A text as it stands in a path."""
    return quote(text, safe="")
