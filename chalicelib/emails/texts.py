"""The texts of the mails: subject, plain text and HTML."""

import re

from chalicelib.domain.addresses import shown_address
from chalicelib.templating import render

# The subjects are fixed, so that no name that a stranger chose appears in the inbox's list.
_CONFIRMATION_SUBJECT = "Confirm your new device"
_INVITATION_SUBJECT = "You are invited to share a channel"

# In ASCII, with or without parentheses.
_PLAIN_ADDRESS = re.compile(r"\(?(?!www\.)[\w+-][\w.+-]*@[\w.-]+\)?", re.ASCII)


def confirmation(link: str, device_name: str, hours: float) -> tuple[str, str, str]:
    """Build the mail that asks an owner to confirm a device.

    Parameters
    ----------
    hours : float
        How long the link is valid.

    Returns
    -------
    (subject, text, html)
    """
    values = {"link": link, "device_name": _unlinked(device_name), "lasts": _duration(hours)}
    return _mail(_CONFIRMATION_SUBJECT, "confirm_mail", values)


def invitation(link: str, inviter: str, channel_name: str, hours: float) -> tuple[str, str, str]:
    """Build the mail that asks a guest whether they want to share a channel.

    Parameters
    ----------
    inviter : str
        The inviter's e-mail address, confirmed for one of their devices.
    hours : float
        How long the link is valid.

    Returns
    -------
    (subject, text, html)
    """
    values = {
        "link": link,
        "inviter": " ".join(map(_unless_plain, shown_address(inviter).split(" "))),
        "channel_name": _unlinked(channel_name),
        "lasts": _duration(hours),
    }
    return _mail(_INVITATION_SUBJECT, "invitation_mail", values)


def _mail(subject: str, template: str, values: dict[str, str]) -> tuple[str, str, str]:
    values = {**values, "subject": subject}
    return subject, render(f"{template}.txt", **values), render(f"{template}.html", **values)


def _unless_plain(address: str) -> str:
    """Return an ordinary address, which may become a mail link, as it is; another one unlinked.

    One that looks like a web page's address must not become a link.
    """
    return address if _PLAIN_ADDRESS.fullmatch(address) else _unlinked(address)


def _unlinked(name: str) -> str:
    """Return a name in such a form that no mail program makes a link of it.

    A stranger chooses the name. Invisible word joiners (U+2060) break up any address in it.
    """
    return re.sub(r"([.:/@])", "\\1\u2060", name)


def _duration(hours: float) -> str:
    """Return a duration in the largest unit that gives a whole number; a single day is 24 hours."""
    minutes = max(1, int(hours * 60))
    if minutes % 1440 == 0 and minutes > 1440:
        number, unit = minutes // 1440, "day"
    elif minutes % 60 == 0:
        number, unit = minutes // 60, "hour"
    else:
        number, unit = minutes, "minute"
    return f"{number} {unit}{'s' if number != 1 else ''}"
