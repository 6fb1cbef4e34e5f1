"""A device's beginning: registered, and asked for once more."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from urllib.parse import urlsplit

from chalicelib.couch import CouchError
from chalicelib.domain.device import parse_device
from chalicelib.domain.documents import JsonDict, Rejected, generation_of, timestamp
from device import channels
from device.cloud import Registrations, fill_outbox
from device.databases import Device, Say
from device.endpoints import is_plain_url, split_login
from device.errors import DeviceError
from device.home import Home, Profile
from device.registration import new_device

_PREFIX = re.compile(r"([a-z][a-z0-9_-]{0,60})?", re.ASCII)
_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}

Clock = Callable[[], datetime]


def register(
    home: Home,
    say: Say,
    clock: Clock,
    *,
    owner: str,
    registrations: str,
    couch: str,
    name: str,
    prefix: str,
) -> JsonDict:
    """Begin a registration; it needs no network, the mail goes out when there is some.

    Parameters
    ----------
    registrations : str
        The URL of the cloud's registrations: what the cloud's operator tells its users.
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
    _check_urls(registrations, couch, prefix)
    # SHA-1 is what every server can check, and the password has 256 random bits.
    new = new_device(owner, name, timestamp(clock()), sha256=False)
    try:
        parse_device(new.doc, "login")
    except Rejected as exc:
        raise DeviceError(exc.reason) from exc
    profile = Profile(new.doc, new.password, registrations.rstrip("/"), couch.rstrip("/"), prefix)
    device = Device.of(profile, say, clock)
    device.check()
    _check_registrations(Registrations(profile.registrations))
    if not device.make(device.database):
        raise DeviceError(
            f"the CouchDB at {device.server.url} has a {device.database.name} already that is not "
            "this device's; say --prefix, which its databases' names are to begin with"
        )
    home.save(profile)
    fill_outbox(device)
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
        ``{device, device_code, owner, sent}``: the last is whether the cloud has heard of it; else
        it is asked when there is a network.

    Raises
    ------
    DeviceError
        If the device has been active already, or the cloud sends no other mail now.
    """
    if channels.own_state(device) is not None:
        raise DeviceError("this device was confirmed already: there is nothing to ask for")

    def ask_again(profile: Profile) -> Profile:
        doc = profile.doc
        return replace(profile, doc={**doc, "generation": generation_of(doc) + 1})

    profile = home.update(ask_again)
    doc = fill_outbox(replace(device, profile=profile))
    try:
        # The replicator brings it, too; but it tells nobody why a document was refused.
        refusal = Registrations(profile.registrations).refusal(doc)
        sent = True
    except CouchError as exc:
        refusal, sent = (exc.reason if exc.status == 429 else None), False
    if refusal is not None:
        raise DeviceError(f"the cloud sends no other mail: {refusal}")
    return {
        "device": profile.device_id,
        "device_code": profile.doc["device_code"],
        "owner": profile.address,
        "sent": sent,
    }


def _check_urls(registrations: str, couch: str, prefix: str) -> None:
    if not is_plain_url(registrations.rstrip("/")):
        raise DeviceError(
            "--registrations must be the URL of the cloud's registrations endpoint: "
            "https://…/registrations"
        )
    parts = urlsplit(registrations)
    if parts.scheme == "http" and parts.hostname not in _THIS_MACHINE:
        raise DeviceError(
            "--registrations must be https: it tells where this device's password goes"
        )
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


def _check_registrations(registrations: Registrations) -> None:
    """What answers must be a registrations endpoint; no answer is fine, there may be no network."""
    try:
        registrations.cloud()
    except CouchError as exc:
        if 200 <= exc.status < 500 and exc.status != 429:
            raise DeviceError(
                f"--registrations: {registrations.url} is not the registrations endpoint of a "
                "Syncpoint cloud; its URL ends in /registrations"
            ) from exc
