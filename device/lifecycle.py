"""How a device is registered, asks for another mail, is unlinked, and revokes another one."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from urllib.parse import urlsplit

from chalicelib.couch import CouchError
from chalicelib.domain.device import parse_device
from chalicelib.domain.documents import JsonDict, Rejected, generation_of, timestamp
from device import channels
from device.cloud import Registrations, fill_outbox, hear
from device.databases import Device, Say
from device.endpoints import is_plain_url, split_login
from device.errors import DeviceError, without_stop
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


REVOKE_LIMIT_S = 60.0


def unlink(
    home: Home, device: Device, *, purge: bool, offline: bool, force: bool = False
) -> JsonDict:
    """Revoke this device, and forget it here.

    Parameters
    ----------
    purge : bool
        Whether to delete its databases, too.
    offline : bool
        Whether to forget it here only: another device of the owner's can revoke it.
    force : bool
        Whether to delete even what has not reached the cloud.

    Returns
    -------
    dict
        ``{device, revoked, known, purged}``: whether its login is gone, and whether the cloud ever
        heard of it (None if it was not asked).

    Raises
    ------
    DeviceError
        If the agent is running, the cloud cannot be reached (and `offline` is not said), or there
        is something to lose (and `force` is not said).
    """
    with home.only_agent():
        if purge and not force:
            channels.check_all_sent(device)
        revoked, known = (False, None) if offline else _revoke(device)
        device.replications.remove_all()
        device.outbox.delete()
        for doc in channels.all_of(device):
            device.give_up(device.channel(doc["_id"]), delete=purge)
        device.give_up(device.database, delete=purge)
        home.remove()
    return {
        "device": device.profile.device_id,
        "revoked": revoked,
        "known": known,
        "purged": purge,
    }


def revoke_other(device: Device, text: str) -> JsonDict:
    """Revoke another device of the owner's: one that was lost, say.

    Parameters
    ----------
    text : str
        Its name, or its id.

    Returns
    -------
    dict
        ``{device, name}``.

    Raises
    ------
    DeviceError
        If there is none of that name, or more than one, or it is this one.
    """
    found = [
        doc
        for doc in channels.documents(device)
        if doc.get("type") == "device" and text in (doc["_id"], doc.get("name"))
    ]
    if len(found) != 1:
        ids = ", ".join(str(doc["_id"]) for doc in found)
        known = "`status` lists those there are"
        what = f"more than one device is called “{text}”; say which: {ids}"
        raise DeviceError(what if found else f"your owner has no device “{text}”; {known}")
    [doc] = found
    if doc["_id"] == device.profile.device_id:
        raise DeviceError("that is this device: `unlink` it")
    if doc.get("state") != "active":
        raise DeviceError(f"“{text}” is not active, but {doc.get('state')}")
    device.database.update(doc["_id"], lambda doc: {**doc, "state": "revoking"})
    return {"device": doc["_id"], "name": doc.get("name")}


def _revoke(device: Device) -> tuple[bool, bool]:
    """Have the cloud take the login away; whether it is gone, and whether the cloud knew of it."""
    profile = device.profile
    if profile.is_revoked:
        return True, True
    try:
        registrations = Registrations(profile.registrations)
        state = registrations.state(profile.device_id)
        if state == "active":
            device = replace(device, profile=hear(profile, registrations))
            device.cloud_control.update(profile.device_id, lambda doc: {**doc, "state": "revoking"})
            _wait_until_revoked(registrations, profile.device_id)
    except CouchError as exc:
        raise DeviceError(
            f"the cloud cannot be told: {without_stop(exc)}. Try again when it can be reached; "
            "or say --offline, and `revoke` this device from another one"
        ) from exc
    return state in ("active", "revoking", "revoked"), state is not None


def _wait_until_revoked(registrations: Registrations, device_id: str) -> None:
    deadline = time.monotonic() + REVOKE_LIMIT_S
    while time.monotonic() < deadline:
        if registrations.state(device_id) == "revoked":
            return
        time.sleep(0.2)
    raise DeviceError("the cloud was told, but has not answered yet; say `unlink` again in a while")
