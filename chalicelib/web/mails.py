"""The mails' words: subject, text and HTML."""

import re

from chalicelib.web.pages import render


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
    # The subject is ours alone: what a stranger calls a device stays out of the inbox's list.
    subject = "Confirm your new device"
    return subject, render("confirm_mail.txt", **values), render("confirm_mail.html", **values)


def _unlinked(name: str) -> str:
    """A name in which no mail program finds an address to make a link of.

    A stranger chooses it: an invisible word joiner (U+2060) parts what would be one.
    """
    return re.sub(r"([.:/@])", "\\1\u2060", name)


def _duration(hours: float) -> str:
    minutes = max(1, int(hours * 60))
    number, unit = (minutes // 60, "hour") if minutes % 60 == 0 else (minutes, "minute")
    return f"{number} {unit}{'s' if number != 1 else ''}"
