"""The mails' words: subject, text and HTML."""

import re

from chalicelib.templating import render

# The subjects are ours alone: what a stranger calls a thing stays out of the inbox's list.
_CONFIRMATION_SUBJECT = "Confirm your new device"
_INVITATION_SUBJECT = "You are invited to share a channel"

_PLAIN_ADDRESS = re.compile(r"(?!www\.)[\w+-][\w.+-]*@[\w.-]+")


def confirmation(link: str, device_name: str, hours: float) -> tuple[str, str, str]:
    """The mail that asks an owner to confirm a device.

    Parameters
    ----------
    hours : float
        How long the link may be used.

    Returns
    -------
    (subject, text, html)
    """
    values = {"link": link, "device_name": _unlinked(device_name), "lasts": _duration(hours)}
    return _mail(_CONFIRMATION_SUBJECT, "confirm_mail", values)


def invitation(link: str, inviter: str, channel_name: str, hours: float) -> tuple[str, str, str]:
    """The mail that asks a guest whether they want to share a channel.

    Parameters
    ----------
    inviter : str
        The inviter's e-mail address, proved by a device of theirs.
    hours : float
        How long the link may be used.

    Returns
    -------
    (subject, text, html)
    """
    values = {
        "link": link,
        # An ordinary address may be a link, to write to; one that looks like a page's must not.
        "inviter": inviter if _PLAIN_ADDRESS.fullmatch(inviter) else _unlinked(inviter),
        "channel_name": _unlinked(channel_name),
        "lasts": _duration(hours),
    }
    return _mail(_INVITATION_SUBJECT, "invitation_mail", values)


def _mail(subject: str, template: str, values: dict[str, str]) -> tuple[str, str, str]:
    values = {**values, "subject": subject}
    return subject, render(f"{template}.txt", **values), render(f"{template}.html", **values)


def _unlinked(name: str) -> str:
    """A name in which no mail program finds an address to make a link of.

    A stranger chooses it: an invisible word joiner (U+2060) parts what would be one.
    """
    return re.sub(r"([.:/@])", "\\1\u2060", name)


def _duration(hours: float) -> str:
    """For how long, in the largest unit of which it is a whole number; a single day is 24 hours."""
    minutes = max(1, int(hours * 60))
    if minutes % 1440 == 0 and minutes > 1440:
        number, unit = minutes // 1440, "day"
    elif minutes % 60 == 0:
        number, unit = minutes // 60, "hour"
    else:
        number, unit = minutes, "minute"
    return f"{number} {unit}{'s' if number != 1 else ''}"
