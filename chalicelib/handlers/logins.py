"""The logins of devices: created at confirmation, removed at revocation. Idempotent."""

from chalicelib.couch import Conflict, Database, Server
from chalicelib.domain import credentials
from chalicelib.domain.credentials import USER_ID_PREFIX, TokenUsed
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


def remove_login(server: Server, device: JsonDict) -> None:
    """Remove a device's login, so that CouchDB answers the device with 401. A few requests.

    Parameters
    ----------
    device : dict
        The device's document. Whichever login the device has is removed, and no other.
    """
    users = server.database("_users")
    _remove_password_login(users, device["_id"])
    if isinstance(device.get("oauth_creds"), dict):
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


def _remove_password_login(users: Database, device_id: str) -> None:
    # CouchDB hashes the password again after a device's first login, and so changes the revision.
    for _ in users.attempts():
        user = users.find_one(USER_ID_PREFIX + device_id)
        if user is None or user.get("syncpoint", {}).get("device") != device_id:
            return
        try:
            users.remove(user)
        except Conflict:
            continue
        return
    raise Conflict(409, "conflict", "the login changed at each try to remove it")
