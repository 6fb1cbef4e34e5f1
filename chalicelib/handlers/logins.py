"""The logins of devices: created at confirmation, removed at revocation. Idempotent."""

from contextlib import suppress

from chalicelib.couch import Conflict, Database, Server, Unreadable
from chalicelib.domain import credentials
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.credentials import USER_ID_PREFIX, ForeignLogin, TokenUsed
from chalicelib.domain.device import CheckedDevice
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_role
from chalicelib.engine.context import Context
from chalicelib.handlers import oauth1


def create_login(context: Context, device: CheckedDevice) -> None:
    """Create the device's login, with the credentials that it registered with.

    Raises
    ------
    TokenUsed
        If its name, key or token belongs to another device. Nothing is ever overwritten.
    """
    if context.settings.device_auth == "oauth1":
        oauth1.create_login(context.server, device)
    else:
        _create_password_login(context, device)


def remove_login(server: Server, device: JsonDict, device_auth: str = "login") -> None:
    """Remove a device's login, so that CouchDB answers the device with 401. A few requests.

    Parameters
    ----------
    device : dict
        The device's document. Whichever login the device has is removed, and no other.
    device_auth : str
        ``oauth1`` if devices log in so now. Keys of a device that has such keys go in any case.

    Raises
    ------
    ForeignLogin
        If there is a login with the device's name or keys that may be somebody else's.
    Conflict
        If the login changed at each try.
    """
    _remove_password_login(server.database("_users"), device)
    if device_auth == "oauth1" or "oauth_creds" in device:
        oauth1.remove_login(server, device)


def _create_password_login(context: Context, device: CheckedDevice) -> None:
    users = context.server.database("_users")
    wanted = credentials.login_user(
        device.device_id, owner_role(device.owner_id), device.credentials
    )
    try:
        users.put(wanted)
    except Conflict:
        # An earlier run created this login, or it belongs to somebody else.
        if not credentials.is_same_login(users.get(wanted["_id"]), wanted):
            raise TokenUsed("the device's name belongs to another login") from None


def _remove_password_login(users: Database, device: JsonDict) -> None:
    """Remove the login in all its leaf revisions, until there is none.

    CouchDB hashes the password again after a device's first login, and so changes the revision.
    Where `_users` admits devices, as before CouchDB 3, the device may make its own user document
    unreadable, or keep other leaf revisions that would take the place of the removed one.
    """
    device_id, role = device["_id"], owner_role(owner_id_of(str(device.get("owner"))))
    attempts, user_id = users.attempts(), USER_ID_PREFIX + device_id
    while (user := _find_login(users, user_id)) is not None:
        if not credentials.is_login_of(user, device_id, role):
            raise ForeignLogin(f"the login {device_id} has not the role of the device's owner")
        if next(attempts, None) is None:
            raise Conflict(409, "conflict", "the login changed at each try to remove it", device_id)
        with suppress(Conflict):
            users.remove_leaves(user)


def _find_login(users: Database, user_id: str) -> JsonDict | None:
    """Return a user document; of an unreadable one, only its ``_id``, ``_rev`` and ``roles``."""
    try:
        return users.find_one(user_id, conflicts=True)
    except Unreadable:
        return users.find_fields(user_id, ["_id", "_rev", "roles"])
