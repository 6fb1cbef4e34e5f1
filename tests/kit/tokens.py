"""Link tokens, taken apart and put together as somebody does who has no key."""

import base64

MAC_LENGTH = 26
# Of an invitation with an `_id` of 128 characters and a generation of nine digits.
LONGEST_TOKEN = 353


def take_apart(token: str) -> tuple[str, str, str]:
    """The subject, the generation and the MAC of a token."""
    content, mac = token[:-MAC_LENGTH].upper(), token[-MAC_LENGTH:]
    text = base64.b32decode(content + "=" * (-len(content) % 8)).decode()
    subject, _, generation = text.rpartition(".")
    return subject, generation, mac


def put_together(subject: str, generation: object, mac: str) -> str:
    """A token of these parts; with the right MAC, the cloud's own."""
    return encoded(f"{subject}.{generation}") + mac


def subject_of(token: str) -> str:
    """What a token stands for."""
    return take_apart(token)[0]


def subject_of_link(link: str) -> str:
    """What the token at the end of a link stands for."""
    return subject_of(link.rpartition("/")[2])


def encoded(text: str) -> str:
    """A text in base32, in lower case, without padding."""
    return base64.b32encode(text.encode()).decode().rstrip("=").lower()
