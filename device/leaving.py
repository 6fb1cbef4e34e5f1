"""A device's end: unlinked here, or revoked from another one."""

import time
from dataclasses import replace

from chalicelib.couch import CouchError
from chalicelib.domain.documents import JsonDict
from device import channels
from device.cloud import Registrations, hear
from device.databases import Device
from device.errors import DeviceError, without_stop
from device.home import Home

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
