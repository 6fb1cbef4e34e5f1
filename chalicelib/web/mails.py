"""The mails' words: subject, text and HTML."""

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
    values = {"link": link, "device_name": device_name, "lasts": _duration(hours)}
    # The subject is ours alone: what a stranger calls a device stays out of the inbox's list.
    subject = "Confirm your new device"
    return subject, render("confirm_mail.txt", **values), render("confirm_mail.html", **values)


def _duration(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.0f} hour{'s' if round(hours) != 1 else ''}"
    minutes = max(1, round(hours * 60))
    return f"{minutes} minute{'s' if minutes != 1 else ''}"
