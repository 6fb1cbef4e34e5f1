"""How a device stands: registration, channels, invitations, replications, what is behind."""

from chalicelib.couch import CouchError, Database, InvalidName
from chalicelib.domain.channel import DEFAULT_NAME
from chalicelib.domain.documents import JsonDict
from device import channels
from device.cloud import Registrations
from device.databases import Device
from device.replications import behind

# A registration that needs no device code any more.
_OVER = {"active", "revoking", "revoked", "rejected"}


def status(device: Device) -> JsonDict:
    """All that can be told now. Some requests, and four for each thousand changes of a channel.

    Returns
    -------
    dict
        ``{device, name, owner, device_code?, registration, cloud: {url, problem?}, control,
        devices, channels, invitations, replications}``. `registration` is None if it cannot be
        told, the device code is there while it is to be typed somewhere. `control` is a
        `_comparison`. Each of the owner's other devices has ``{device, name, state}``, each
        channel ``{channel, name, state, subscription?, reason?, error?}`` and one, each
        invitation ``{invitation, email, channel, name, state, error?}``, each replication
        ``{of, from, to, state, stands, reason?}``.

    Raises
    ------
    CouchError
        If the device's own CouchDB does not answer.
    """
    profile = device.profile
    registration, problem = _registration(device)
    said: JsonDict = {
        "device": profile.device_id,
        "name": profile.doc["name"],
        "owner": profile.address,
        "registration": registration,
        "cloud": _without_none(url=profile.cloud or None, problem=problem),
    }
    if channels.own_state(device) is None and registration not in _OVER:
        said["device_code"] = profile.doc["device_code"]
    is_let_in = registration == "active" and problem is None and profile.cloud != ""
    if is_let_in:
        said["control"] = _comparison(device.database, device.cloud_control)
    docs = channels.documents(device)
    said["devices"] = _other_devices(device, docs)
    said["channels"] = [_channel(device, doc, is_let_in) for doc in channels.all_of(device)]
    said["invitations"] = _invitations(docs, said["channels"])
    said["replications"] = [
        _without_none(
            of=one.of,
            state=one.state,
            stands=one.stands,
            reason=one.reason,
            **{"from": one.doc["source"]["url"], "to": one.doc["target"]["url"]},
        )
        for one in device.replications.all()
    ]
    return said


def _registration(device: Device) -> tuple[str | None, str | None]:
    """The registration's state, and what is wrong with the cloud."""
    if device.profile.is_revoked:
        return "revoked", None
    known = channels.own_state(device)
    try:
        state = Registrations(device.profile.registrations).state(device.profile.device_id)
    except CouchError as exc:
        return known, f"cannot be reached: {exc}"
    if state != "active" or not device.profile.cloud:
        return state or "waiting to be sent", None
    try:
        device.cloud_control.info()
    except CouchError as exc:
        return state, f"does not let this device in: {exc}"
    return state, None


def _other_devices(device: Device, docs: list[JsonDict]) -> list[JsonDict]:
    """The owner's, as `revoke` can be told them."""
    return [
        {
            "device": doc["_id"],
            "name": str(doc.get("name", "without a name")),
            "state": str(doc.get("state", "without a state")),
        }
        for doc in docs
        if doc.get("type") == "device" and doc["_id"] != device.profile.device_id
    ]


def _channel(device: Device, doc: JsonDict, is_let_in: bool) -> JsonDict:
    subscription = channels.subscription_of(device, doc) or {}
    local = device.channel(doc["_id"])
    said = _without_none(
        channel=doc["_id"],
        name=doc["name"],
        state=str(doc.get("state", "without a state")),
        subscription=subscription.get("state"),
        reason=subscription.get("reason"),
        error=_reason(doc.get("error")),
        database=local.name,
    )
    remote = subscription.get("remote")
    if is_let_in and isinstance(remote, str) and subscription.get("state") != "stopped":
        try:
            said |= _comparison(local, device.remote(remote))
        except InvalidName as exc:
            said["problem"] = str(exc)
    return said


def _invitations(docs: list[JsonDict], channels_said: list[JsonDict]) -> list[JsonDict]:
    """How each invitation of the owner's stands: nothing else tells the inviter."""
    names = {said["channel"]: said["name"] for said in channels_said}
    return [
        _without_none(
            invitation=doc["_id"],
            email=str(doc.get("email")),
            channel=str(doc.get("channel")),
            name=names.get(str(doc.get("channel")), DEFAULT_NAME),
            state=str(doc.get("state", "without a state")),
            error=_reason(doc.get("error")),
        )
        for doc in docs
        if doc.get("type") == "invitation"
    ]


def _reason(error: object) -> str | None:
    return str(error.get("reason")) if isinstance(error, dict) else None


def _comparison(local: Database, remote: Database) -> JsonDict:
    """``{to_send, to_receive}``: documents; or ``{problem}``."""
    try:
        return {"to_send": behind(local, remote), "to_receive": behind(remote, local)}
    except CouchError as exc:
        return {"problem": str(exc)}


def _without_none(**values: object) -> JsonDict:
    return {name: value for name, value in values.items() if value is not None}
