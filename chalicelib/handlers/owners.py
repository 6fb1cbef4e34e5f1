"""Owners' control databases, and the devices that their owners see there. Idempotent."""

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


def ensure_database(context: Context, address: str) -> Database:
    """Return the owner's control database; create it if it is missing.

    Three requests; two if it exists.

    Parameters
    ----------
    address : str
        The owner's e-mail address. It is stored in the security object, which only the cloud
        writes.
    """
    owner_id = owner_id_of(address)
    database = database_of(context, owner_id)
    security = {
        "admins": {"names": [], "roles": ["_admin"]},
        "members": {"names": [], "roles": [owner_role(owner_id)]},
        "syncpoint": {"owner": normalise_address(address)},
    }
    is_new = database.create()
    if is_new or database.security() != security:
        # The validation function first: without it, nobody may have access. If a run ends between
        # the two, the security object is still wrong, and the next run writes both again.
        OWNER_CONTROL.install(database, is_new=is_new)
        database.put_security(security)
    return database


def address_of(database: Database) -> str:
    """Return the e-mail address of a control database's owner. One request."""
    return str(database.security()["syncpoint"]["owner"])


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
