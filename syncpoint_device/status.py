"""Collect what `status` shows: registration, cloud, channels, invitations and replications."""

from chalicelib.couch import CouchError, Database
from chalicelib.domain.channel import DEFAULT_NAME
from chalicelib.domain.documents import JsonDict
from syncpoint_device import channels
from syncpoint_device.cloud import Registrations
from syncpoint_device.databases import Device
from syncpoint_device.errors import CloudFailed
from syncpoint_device.refusals import Refusals
from syncpoint_device.replications import count_missing

# The states of a registration in which nobody is asked for the device code any more.
_ANSWERED = {"active", "revoking", "revoked", "rejected"}


def status(device: Device) -> JsonDict:
    """Collect the status. Some requests, and four for each thousand changes of a channel.

    Returns
    -------
    dict
        - ``device``, ``name``, ``owner`` (the address)
        - ``registration``: its state, or None if it is not known
        - ``device_code``: only while somebody has to type it
        - ``cloud``: ``{url?, problem?}``
        - ``control``: the comparison of the control database, ``{to_send, to_receive}`` in
          documents or ``{problem}``; only if the cloud can be reached
        - ``refused``: the documents of the control database that the cloud refused,
          ``{document, reason}``; only if the cloud can be reached. At most 20; the others count as
          documents to send
        - ``devices``: the owner's other devices, ``{device, name, state}``
        - ``channels``: ``{channel, name, state, database, subscription?, reason?, error?}`` and
          the comparison of the channel's database
        - ``invitations``: ``{invitation, email, channel, name, state, error?}``
        - ``replications``: ``{of, from, to, state, stalled, reason?}``

    Raises
    ------
    CouchError
        If the device's own CouchDB does not answer.
    """
    profile = device.profile
    registration, problem = _registration(device)
    result: JsonDict = {
        "device": profile.device_id,
        "name": profile.doc["name"],
        "owner": profile.owner_address,
        "registration": registration,
        "cloud": _without_none(url=profile.cloud or None, problem=problem),
    }
    if channels.own_state(device) is None and registration not in _ANSWERED:
        result["device_code"] = profile.doc["device_code"]
    is_reached = registration == "active" and problem is None and profile.cloud != ""
    if is_reached:
        result["refused"] = _refused(device)
        result["control"] = _comparison(device.database, device.cloud_control)
        if "to_send" in result["control"]:  # those are not sent any more
            documents = {one["document"] for one in result["refused"]}
            result["control"]["to_send"] -= min(len(documents), result["control"]["to_send"])
    docs = channels.documents(device)
    result["devices"] = _other_devices(device, docs)
    result["channels"] = [_channel(device, doc, is_reached) for doc in channels.list_all(device)]
    result["invitations"] = _invitations(docs, result["channels"])
    result["replications"] = [
        _without_none(
            of=one.group,
            state=one.state,
            stalled=one.is_stalled,
            reason=one.reason,
            **{"from": one.doc["source"]["url"], "to": one.doc["target"]["url"]},
        )
        for one in device.replications.all()
    ]
    return result


def _registration(device: Device) -> tuple[str | None, str | None]:
    """Return the registration's state, and the problem with the cloud if there is one."""
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
        return state, f"refuses this device: {exc}"
    return state, None


def _refused(device: Device) -> list[JsonDict]:
    try:
        return [
            {"document": refusal.doc_id, "reason": refusal.reason}
            for refusal in Refusals().find(device)
        ]
    except CloudFailed:
        return []  # the comparison says why


def _other_devices(device: Device, docs: list[JsonDict]) -> list[JsonDict]:
    """List the owner's other devices, by the names and ids that `revoke` accepts."""
    return [
        {
            "device": doc["_id"],
            "name": str(doc.get("name", "without a name")),
            "state": str(doc.get("state", "without a state")),
        }
        for doc in docs
        if doc.get("type") == "device" and doc["_id"] != device.profile.device_id
    ]


def _channel(device: Device, doc: JsonDict, is_reached: bool) -> JsonDict:
    subscription = channels.subscription_of(device, doc) or {}
    local = device.channel(doc["_id"])
    result = _without_none(
        channel=doc["_id"],
        name=doc["name"],
        state=str(doc.get("state", "without a state")),
        subscription=subscription.get("state"),
        reason=subscription.get("reason"),
        error=_reason(doc.get("error")),
        database=local.name,
    )
    if is_reached and subscription.get("state") in ("active", "paused"):
        result |= _comparison(local, device.channel_in_cloud(doc["_id"]))
    return result


def _invitations(docs: list[JsonDict], own_channels: list[JsonDict]) -> list[JsonDict]:
    """List the owner's invitations. Only here does the owner see whether they were accepted."""
    names = {channel["channel"]: channel["name"] for channel in own_channels}
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
    """Compare two databases: ``{to_send, to_receive}`` in documents, or ``{problem}``."""
    try:
        return {"to_send": count_missing(local, remote), "to_receive": count_missing(remote, local)}
    except CouchError as exc:
        return {"problem": str(exc)}


def _without_none(**values: object) -> JsonDict:
    return {name: value for name, value in values.items() if value is not None}
