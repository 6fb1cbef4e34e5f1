"""Owners' control databases, and the devices that their owners see there. Idempotent."""

from dataclasses import dataclass

from chalicelib.couch import Database, NotFound
from chalicelib.design import OWNER_CONTROL
from chalicelib.domain.addresses import normalise_address, owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_control_db, owner_role
from chalicelib.engine.context import Context

# The fields that an owner's devices see of one another: no credentials, device code or network.
_SHOWN = ("owner", "name", "created_at", "confirmed_at")


def database_of(context: Context, owner_id: str) -> Database:
    """Return the owner's control database, whether it exists or not. Sends no request."""
    return context.server.database(owner_control_db(context.settings.control_db, owner_id))


@dataclass(frozen=True)
class Owner:
    """The owner of a control database, as its security object says.

    Attributes
    ----------
    address : str
        The owner's e-mail address.
    network : str or None
        Stands for the network from which the owner's first device was registered, and does not
        reveal it. None for a guest without a device, and in databases of earlier versions.
    """

    address: str
    network: str | None


def ensure_database(context: Context, address: str, network: object = None) -> Database:
    """Return the owner's control database; create it if it is missing.

    Three requests; two if it exists.

    Parameters
    ----------
    address : str
        The owner's e-mail address. It is stored in the security object, which only the cloud
        writes.
    network : object
        The field `network` of the owner's device. It is noted there too, as a pseudonym, unless
        another one is.
    """
    owner_id = owner_id_of(address)
    database = database_of(context, owner_id)
    is_new = database.create()
    found = {} if is_new else database.security()
    mark = {"owner": normalise_address(address)}
    if known := found.get("syncpoint", {}).get("network"):
        mark["network"] = known
    elif isinstance(network, str):
        mark["network"] = context.confirmation_links.pseudonym(network)
    security = {
        "admins": {"names": [], "roles": ["_admin"]},
        "members": {"names": [], "roles": [owner_role(owner_id)]},
        "syncpoint": mark,
    }
    if found != security:
        # The validation function first: without it, nobody may have access. If a run ends between
        # the two, the security object is still wrong, and the next run writes both again.
        OWNER_CONTROL.install(database, is_new=is_new)
        database.put_security(security)
    return database


def owner_of(database: Database) -> Owner:
    """Return the owner of a control database. One request."""
    mark = database.security()["syncpoint"]
    return Owner(str(mark["owner"]), mark.get("network"))


def show_device(database: Database, device: JsonDict, changes: JsonDict) -> None:
    """Show a device to its owner's devices, if they do not see it yet. One or two requests."""
    shown = {name: device[name] for name in _SHOWN if name in device}
    doc = {"_id": device["_id"], "type": "device", **shown, **changes}
    database.update(
        doc["_id"],
        lambda seen: seen if "state" in seen else doc,
        default={},
        is_likely_new=True,
    )


def change_shown_device(database: Database, device_id: str, changes: JsonDict) -> None:
    """Change how a device is shown to its owner's devices, if they see it. Two requests."""
    try:
        database.update(device_id, lambda seen: {**seen, **changes})
    except NotFound:
        return
