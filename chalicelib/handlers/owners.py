"""An owner's control database, and what the cloud writes into it of devices. Idempotent."""

from chalicelib.couch import Database, NotFound
from chalicelib.design import OWNER_CONTROL
from chalicelib.domain.addresses import normalise_address, owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_control_db, owner_role
from chalicelib.engine.context import Context

# What an owner's devices see of one another: no credentials, no device code, no network.
_SHOWN = ("owner", "name", "created_at", "confirmed_at")


def database_of(context: Context, owner_id: str) -> Database:
    """The owner's control database, whether it exists or not. Sends no request."""
    return context.server.database(owner_control_db(context.settings.control_db, owner_id))


def ensure_database(context: Context, address: str) -> Database:
    """The owner's control database, made where it is missing. Three requests; two if it is there.

    Parameters
    ----------
    address : str
        The owner's e-mail address; kept in the security object, which the cloud alone writes.
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
        # The rules first: nobody is let in while they are missing. So who may come in tells, the
        # next time, that all is there: a run that ended halfway has let in nobody.
        OWNER_CONTROL.install(database, is_new=is_new)
        database.put_security(security)
    return database


def address_of(database: Database) -> str:
    """The e-mail address of the owner of a control database. One request."""
    return str(database.security()["syncpoint"]["owner"])


def show_device(database: Database, device: JsonDict, changes: JsonDict) -> None:
    """Show a device to its owner's devices, if they do not see it yet. One request, or two."""
    shown = {name: device[name] for name in _SHOWN if name in device}
    doc = {"_id": device["_id"], "type": "device", **shown, **changes}
    database.update(
        doc["_id"],
        lambda seen: seen if "state" in seen else doc,
        default={},
        is_likely_new=True,
    )


def change_shown_device(database: Database, device_id: str, changes: JsonDict) -> None:
    """Say what became of a device, if its owner's devices see it. Two requests."""
    try:
        database.update(device_id, lambda seen: {**seen, **changes})
    except NotFound:
        return
