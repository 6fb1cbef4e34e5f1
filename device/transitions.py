"""What a device does about its owner's documents, whoever wrote them and wherever.

All of it is safe: at each start of the agent every document is looked at again.
"""

from contextlib import suppress

from chalicelib.couch import Conflict, Database
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import subscription_id
from chalicelib.engine.docstate import Registry
from device.conflicts import settle
from device.databases import Device
from device.endpoints import is_in_cloud, is_plain_url
from device.errors import Revoked

registry = Registry()


@registry.safe("channel", "new", to="new")
def prepare(doc: JsonDict, device: Device) -> None:
    """A channel's own copy is there at once: what is put into it waits for the cloud."""
    device.make(device.channel(doc["_id"]))


@registry.safe("channel", "ready", to="ready")
def subscribe(doc: JsonDict, device: Device) -> None:
    """Subscribe to the owner's own channels, once: whoever stopped that has stopped it.

    Every device of the owner's writes the same document under the same id, and so the same one.
    """
    subscription = {
        "_id": subscription_id(doc["_id"], device.profile.owner),
        "type": "subscription",
        "state": "active",
        "channel": doc["_id"],
        "remote": doc.get("syncpoint"),
    }
    # A deleted one was there, too.
    row = device.database.request("POST", "_all_docs", body={"keys": [subscription["_id"]]})
    if "error" in row["rows"][0]:
        with suppress(Conflict):  # replicated in this very moment
            device.database.put(subscription)


@registry.safe("subscription", "active", to="active")
@registry.safe("subscription", "paused", to="paused")
@registry.safe("subscription", "stopped", to="stopped")
def obey(doc: JsonDict, device: Device) -> None:
    """Active: a database here, replicated both ways. Else no replication; what is here stays.

    Of conflicting changes the one that holds is obeyed.
    """
    if not isinstance(doc.get("channel"), str):
        return
    doc = settle(doc, device)
    local, name = device.channel(doc["channel"]), device.channel_name(doc["channel"])
    if doc["state"] == "active":
        _follow(doc.get("remote"), local, name, device)
    elif device.replications.keep(local.name, []) or doc.get("reason"):
        why = f": {doc['reason']}" if doc.get("reason") else ""
        device.say(name, f"{doc['state']}{why}")


@registry.safe("device", "revoked", to="revoked")
def leave(doc: JsonDict, device: Device) -> None:
    """If it is this device: the agent says so, and ends.

    Raises
    ------
    Revoked
        If it is this one.
    """
    if doc["_id"] == device.profile.device_id:
        raise Revoked


def _follow(remote: object, local: Database, name: str, device: Device) -> None:
    if not isinstance(remote, str) or not is_plain_url(remote):
        device.replications.keep(local.name, [])
        device.say(name, "not in sync: its subscription has no usable remote")
        return
    if not device.profile.cloud:
        return  # the agent begins anew when it has heard where the cloud is
    remote = device.present(remote)
    if not is_in_cloud(remote, device.profile.cloud):
        device.say(name, f"{remote} is not the cloud's: replicated without this device's password")
    if not device.make(local):
        device.replications.keep(local.name, [])
        device.say(name, f"not in sync: {local.name} here is not this device's")
        return
    if device.replications.keep(local.name, device.both_ways(local, remote)):
        device.say(name, f"in sync; its documents are in {local.name}")
