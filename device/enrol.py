"""A device's beginning and end: registered, asked for once more, unlinked."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from urllib.parse import urlsplit

from chalicelib import registration
from chalicelib.couch import CouchError, JsonDict
from chalicelib.docstate import Rejected, generation_of, timestamp
from device import channels, outbox
from device.contact import hear
from device.databases import Device, Say
from device.endpoints import is_plain_url, split_login
from device.errors import DeviceError
from device.home import Home, Profile
from device.mailbox import Mailbox
from device.registration import new_device

REVOKE_LIMIT_S = 60.0
_PREFIX = re.compile(r"([a-z][a-z0-9_-]{0,60})?", re.ASCII)
_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}

Clock = Callable[[], datetime]


def register(
    home: Home,
    say: Say,
    clock: Clock,
    *,
    owner: str,
    mailbox: str,
    couch: str,
    name: str,
    prefix: str,
) -> JsonDict:
    """Begin a registration; it needs no network, the mail goes out when there is some.

    Parameters
    ----------
    mailbox : str
        The URL of the cloud's mailbox: what the cloud's operator tells its users.
    couch : str
        The URL of the device's own CouchDB, with its administrator's credentials if it has one.
    prefix : str
        What the names of this device's databases there begin with.

    Returns
    -------
    dict
        ``{device, device_code, owner, name, control}``: the last is the name of this device's copy
        of its owner's control database.

    Raises
    ------
    DeviceError
        If an argument is wrong, there is a device here already, or its CouchDB is not there.
    """
    if home.is_registered:
        known = home.load()
        raise DeviceError(
            f"this device is registered already, as “{known.doc['name']}” of {known.address}; "
            "`unlink` it first"
        )
    _check_urls(mailbox, couch, prefix)
    # SHA-1 is what every server can check, and the password has 256 random bits.
    new = new_device(owner, name, timestamp(clock()), sha256=False)
    try:
        registration.check(new.doc, "login")
    except Rejected as exc:
        raise DeviceError(exc.reason) from exc
    profile = Profile(new.doc, new.password, mailbox.rstrip("/"), couch.rstrip("/"), prefix)
    device = Device.of(profile, say, clock)
    device.check()
    home.save(profile)
    device.database.create()
    outbox.fill(device)
    return {
        "device": new.device_id,
        "device_code": new.device_code,
        "owner": owner,
        "name": name,
        "control": device.database.name,
    }


def resend(home: Home, device: Device) -> JsonDict:
    """Ask for the mail with the link once more.

    Returns
    -------
    dict
        ``{device, device_code, owner}``.

    Raises
    ------
    DeviceError
        If the device has been active already.
    """
    if channels.own_state(device) is not None:
        raise DeviceError("this device was confirmed already: there is nothing to ask for")

    def ask_again(profile: Profile) -> Profile:
        doc = profile.doc
        return replace(profile, doc={**doc, "generation": generation_of(doc) + 1})

    profile = home.update(ask_again)
    outbox.fill(replace(device, profile=profile))
    return {
        "device": profile.device_id,
        "device_code": profile.doc["device_code"],
        "owner": profile.address,
    }


def unlink(home: Home, device: Device, *, purge: bool, offline: bool) -> JsonDict:
    """Revoke this device, and forget it here.

    Parameters
    ----------
    purge : bool
        Whether to delete its databases, too.
    offline : bool
        Whether to forget it here only: another device of the owner's can revoke it.

    Returns
    -------
    dict
        ``{device, revoked, purged}``.

    Raises
    ------
    DeviceError
        If the agent is running, or the cloud cannot be reached (and `offline` is not said).
    """
    with home.only_agent():
        revoked = not offline and _revoke(device)
        device.replications.remove_all()
        device.outbox.delete()
        if purge:
            for doc in channels.all_of(device):
                device.channel(doc["_id"]).delete()
            device.database.delete()
        home.remove()
    return {"device": device.profile.device_id, "revoked": revoked, "purged": purge}


def _check_urls(mailbox: str, couch: str, prefix: str) -> None:
    if not is_plain_url(mailbox.rstrip("/")):
        raise DeviceError("--mailbox must be the URL of the cloud's mailbox: https://…/mailbox")
    parts = urlsplit(mailbox)
    if parts.scheme == "http" and parts.hostname not in _THIS_MACHINE:
        raise DeviceError("--mailbox must be https: it tells where this device's password goes")
    if not _is_server(couch):
        raise DeviceError(
            "--couch must be your own CouchDB's URL: http://NAME:PASSWORD@HOST:PORT, with all but "
            "letters and digits of the password percent-encoded"
        )
    if not _PREFIX.fullmatch(prefix):
        raise DeviceError("--prefix must begin with a letter: a-z, 0-9, _ and - only")


def _is_server(url: str) -> bool:
    """Whether it is a server's URL, with a login perhaps."""
    try:
        return is_plain_url(split_login(url)[0]) and not set(url) & set("?#")
    except ValueError:
        return False


def _revoke(device: Device) -> bool:
    """Have the cloud take the login away; False if there is none yet."""
    profile = device.profile
    if profile.is_revoked:
        return True
    try:
        mailbox = Mailbox(profile.mailbox)
        state = mailbox.state(profile.device_id)
        if state != "active":
            return state in ("revoking", "revoked")
        device = replace(device, profile=hear(profile, mailbox))
        device.cloud_control.update(profile.device_id, lambda doc: {**doc, "state": "revoking"})
        return _wait_until_revoked(mailbox, profile.device_id)
    except CouchError as exc:
        raise DeviceError(
            f"the cloud cannot be told: {exc}. Try again when it can be reached; or say --offline, "
            "and revoke this device from another one"
        ) from exc


def _wait_until_revoked(mailbox: Mailbox, device_id: str) -> bool:
    deadline = time.monotonic() + REVOKE_LIMIT_S
    while time.monotonic() < deadline:
        if mailbox.state(device_id) == "revoked":
            return True
        time.sleep(0.2)
    raise DeviceError("the cloud was told, but has not answered yet; say `unlink` again in a while")
