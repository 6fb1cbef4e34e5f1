"""Register a device, ask for another mail, unlink the device, or revoke another one."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from chalicelib.couch import CouchError, Database
from chalicelib.domain.addresses import shown_address
from chalicelib.domain.device import parse_device
from chalicelib.domain.documents import JsonDict, Rejected, generation_of, timestamp
from syncpoint_device import channels, logins, reasons
from syncpoint_device.certificates import verify
from syncpoint_device.cloud import Registrations, fill_outbox, find_cloud
from syncpoint_device.databases import Device, Say, check_couchdb
from syncpoint_device.endpoints import is_plain_url, is_server
from syncpoint_device.errors import (
    DeviceError,
    RegistrationRejected,
    Revoked,
)
from syncpoint_device.home import Home, Profile
from syncpoint_device.purge import (
    Checker,
    left_databases,
    other_devices,
    own_databases,
    refuse_losses,
)
from syncpoint_device.registration import new_device

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
    trust: bool = False,
    ca_file: Path | None = None,
) -> JsonDict:
    """Create this device's registration. The replicator sends it as soon as there is a network.

    Parameters
    ----------
    owner : str
        The owner's e-mail address.
    registrations : str
        The URL of the registrations endpoint, which the cloud's operator gives to users.
    couch : str
        The URL of the device's own CouchDB, with its administrator's credentials if it has one.
    prefix : str
        The prefix of the names of this device's databases there.
    trust : bool
        Whether to make that CouchDB check certificates from now on.
    ca_file : Path, optional
        With `trust`: the certificates of the authorities, as CouchDB's machine sees the file.

    Returns
    -------
    dict
        ``{device, device_code, owner, name, control, problem?, beside?}``. `owner` is the address,
        and `control` the name of this device's copy of the owner's control database. `problem`
        says why the registrations endpoint could not be reached, if so. `beside` has the ids of
        other devices that use this CouchDB with the same prefix.

    Raises
    ------
    DeviceError
        If an argument is wrong, a device is registered already, or its CouchDB does not answer.
    """
    if home.is_registered:
        known = home.load()
        raise DeviceError(
            f"this device is already registered, as “{known.doc['name']}” of "
            f"{shown_address(known.owner_address)}; run `unlink` first"
        )
    _check_urls(registrations, couch, prefix)
    # Every server can check SHA-1, and it is safe here: the password has 256 random bits.
    new = new_device(owner, name, timestamp(clock()), sha256=False)
    try:
        parse_device(new.doc, "login")
    except Rejected as exc:
        raise DeviceError(exc.reason) from exc
    profile = Profile(new.doc, new.password, registrations.rstrip("/"), couch.rstrip("/"), prefix)
    device = Device.of(profile, say, clock)
    check_couchdb(device.server)
    if trust:
        verify(device.server, ca_file)
    device.check_verifies()
    problem = _check_registrations(Registrations(profile.registrations))
    if not device.acquire(device.database):
        raise DeviceError(
            f"the database {device.database.name} at {device.server.url} does not belong to this "
            "device; use --prefix to give this device databases of its own"
        )
    home.save(profile)
    device = logins.adopt(home, device)
    fill_outbox(device)
    beside = other_devices(device)
    return {
        "device": new.device_id,
        "device_code": new.device_code,
        "owner": owner,
        "name": name,
        "control": device.database.name,
        **({} if problem is None else {"problem": problem}),
        **({"beside": beside} if beside else {}),
    }


def resend(home: Home, device: Device) -> JsonDict:
    """Ask for another mail with a link.

    Returns
    -------
    dict
        ``{device, device_code, owner, sent}``. If not `sent`, the cloud could not be reached, and
        the replicator asks it as soon as there is a network.

    Raises
    ------
    DeviceError
        If the device was confirmed already, or the cloud sends no other mail now.
    """
    _check_needs_mail(device)

    def ask_again(profile: Profile) -> Profile:
        doc = profile.doc
        return replace(profile, doc={**doc, "generation": generation_of(doc) + 1})

    profile = home.update(ask_again)
    doc = fill_outbox(replace(device, profile=profile))
    try:
        # The replicator sends it as well, but does not report why a document was refused.
        refusal = Registrations(profile.registrations).refusal(doc)
        sent = True
    except CouchError as exc:
        refusal, sent = (exc.reason if exc.status == 429 else None), False
    if refusal is not None:
        raise DeviceError(f"the cloud sends no other mail: {refusal}")
    return {
        "device": profile.device_id,
        "device_code": profile.doc["device_code"],
        "owner": profile.owner_address,
        "sent": sent,
    }


def _check_needs_mail(device: Device) -> None:
    """Check that another mail is of use: that nobody has answered the first one."""
    state = channels.check_may_write(device)
    if state is None:
        # The device hears of its confirmation later than the endpoint; offline, it cannot ask.
        with suppress(CouchError):
            state = Registrations(device.profile.registrations).state(device.profile.device_id)
    if state in ("revoking", "revoked"):
        raise Revoked
    if state == "rejected":
        raise RegistrationRejected
    if state in ("active", "confirmed"):
        raise DeviceError("this device is confirmed already, so it needs no other mail")


def _check_urls(registrations: str, couch: str, prefix: str) -> None:
    if not is_plain_url(registrations.rstrip("/")):
        raise DeviceError(
            "--registrations must be the URL of the cloud's registrations endpoint: "
            "https://…/registrations"
        )
    parts = urlsplit(registrations)
    if parts.scheme == "http" and parts.hostname not in _THIS_MACHINE:
        raise DeviceError(
            "--registrations must be https, because the endpoint decides where this device sends "
            "its password"
        )
    if not is_server(couch):
        raise DeviceError(
            "--couch must be your own CouchDB's URL: http://NAME:PASSWORD@HOST:PORT, with all but "
            "letters and digits of the password percent-encoded"
        )
    if not _PREFIX.fullmatch(prefix):
        raise DeviceError("--prefix must begin with a letter, and contain only a-z, 0-9, _ and -")


def _check_registrations(registrations: Registrations) -> str | None:
    """Check that a registrations endpoint answers. Without a network, accept the URL unchecked.

    Returns
    -------
    str or None
        Why it could not be reached, if so.
    """
    try:
        registrations.cloud()
    except CouchError as exc:
        if 200 <= exc.status < 500 and exc.status != 429:
            raise DeviceError(
                f"--registrations: {registrations.url} is not the registrations endpoint of a "
                "Syncpoint cloud. Its URL ends in /registrations; ask the cloud's operator for it"
            ) from exc
        return reasons.of_error(exc, registrations.url, "Syncpoint cloud")
    return None


REVOKE_LIMIT_S = 60.0


def unlink(
    home: Home, device: Device, *, purge: bool, offline: bool, force: bool = False
) -> JsonDict:
    """Revoke this device in the cloud, and remove its registration here.

    Parameters
    ----------
    purge : bool
        Whether to delete its databases, too.
    offline : bool
        Whether to leave out the cloud. Another device of the owner can revoke this one.
    force : bool
        Whether to delete even documents that are not in the cloud.

    Returns
    -------
    dict
        ``{device, revoked, known, purged, left}``: whether the cloud removed the device's login,
        whether the cloud knew the device (None if `offline`), and with `purge` the databases of
        earlier registrations, which stay.

    Raises
    ------
    DeviceError
        If the agent is running; if the cloud cannot be reached, unless `offline`; or if documents
        that are not in the cloud would be deleted, unless `force`.
    """
    with home.only_agent():
        databases = own_databases(device)
        left = left_databases(device.server, device.profile.prefix) if purge else []
        if purge and not force:
            _purge(device, databases)
        revoked, known = (False, None) if offline else _revoke(device)
        device.replications.remove_all()
        device.outbox.delete()
        for local in databases:
            device.release(local, delete=purge)
        logins.remove(device)
        home.remove()
    return {
        "device": device.profile.device_id,
        "revoked": revoked,
        "known": known,
        "purged": purge,
        "left": [local.name for local in left],
    }


def _purge(device: Device, databases: list[Database]) -> None:
    """Delete databases, but none before all documents of all of them are in the cloud.

    The login is needed to compare them, so this comes before the revocation.
    """
    checker = Checker(device, device.profile.prefix)
    refuse_losses([checker.check(local) for local in databases])
    device.replications.end_all()
    for local in databases:
        checker.delete(local, "this device is not unlinked")


def revoke_other(device: Device, text: str) -> JsonDict:
    """Revoke another device of the owner, for example a lost one.

    Parameters
    ----------
    text : str
        The name or id of the device.

    Returns
    -------
    dict
        ``{device, name}``.

    Raises
    ------
    DeviceError
        If there is no such device, more than one, or it is this one.
    """
    channels.check_may_write(device)
    found = [
        doc
        for doc in channels.documents(device)
        if doc.get("type") == "device" and channels.is_called(doc, text)
    ]
    found = [doc for doc in found if doc.get("state") not in ("revoking", "revoked")] or found
    if len(found) != 1:
        ids = ", ".join(str(doc["_id"]) for doc in found)
        many = f"more than one device is called “{text}”; use an id instead: {ids}"
        none = f"there is no device “{text}”; `status` lists your other devices"
        raise DeviceError(many if found else none)
    [doc] = found
    if doc["_id"] == device.profile.device_id:
        raise DeviceError(f"“{text}” is this device; run `unlink` instead")
    if doc.get("state") in ("revoking", "revoked"):
        raise DeviceError(f"“{text}” was revoked already; nothing was changed")
    if doc.get("state") != "active":
        raise DeviceError(f"“{text}” cannot be revoked: it is not active, but {doc.get('state')}")
    device.database.update(doc["_id"], lambda doc: {**doc, "state": "revoking"})
    return {"device": doc["_id"], "name": doc.get("name")}


def _revoke(device: Device) -> tuple[bool, bool]:
    """Revoke this device in the cloud. Return whether it is revoked, and was known there."""
    profile = device.profile
    if profile.is_revoked:
        return True, True
    try:
        registrations = Registrations(profile.registrations)
        state = registrations.state(profile.device_id)
        if state == "active":
            device = replace(device, profile=find_cloud(profile, registrations))
            device.cloud_control.update(profile.device_id, lambda doc: {**doc, "state": "revoking"})
            _wait_until_revoked(registrations, profile.device_id)
    except CouchError as exc:
        raise DeviceError(
            f"the cloud cannot be reached: {reasons.of_error(exc, profile.registrations)}. Try "
            "again later, or run `unlink --offline` here and `revoke` on another device"
        ) from exc
    return state in ("active", "revoking", "revoked"), state is not None


def _wait_until_revoked(registrations: Registrations, device_id: str) -> None:
    deadline = time.monotonic() + REVOKE_LIMIT_S
    while time.monotonic() < deadline:
        if registrations.state(device_id) == "revoked":
            return
        time.sleep(0.2)
    raise DeviceError("the cloud has not revoked this device yet; run `unlink` again in a minute")
