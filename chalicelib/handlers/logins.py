"""A device's login: made for a confirmed device, taken from a revoked one. Idempotent."""

from chalicelib.couch import UPDATE_ATTEMPTS, Conflict, Database, Server
from chalicelib.domain import credentials
from chalicelib.domain.credentials import USER_ID_PREFIX, TokenUsed
from chalicelib.domain.device import Registration
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_role
from chalicelib.engine.context import Context
from chalicelib.handlers import oauth1


def create_login(context: Context, device: Registration) -> None:
    """Let the device in, with the credentials that it registered with.

    Raises
    ------
    TokenUsed
        If its name, key or token belongs to another device: nothing is ever overwritten.
    """
    if context.settings.device_auth == "oauth1":
        oauth1.create_login(context.server, device)
    else:
        _create_password_login(context, device)


def remove_login(server: Server, device: JsonDict) -> None:
    """Shut a device out: CouchDB answers it 401 from now on. A few requests.

    Parameters
    ----------
    device : dict
        The device's document; whatever login it may have had, and no other, is removed.
    """
    users = server.database("_users")
    _remove_password_login(users, device["_id"])
    if isinstance(device.get("oauth_creds"), dict):
        oauth1.remove_login(server, device)


def _create_password_login(context: Context, device: Registration) -> None:
    users = context.server.database("_users")
    wanted = credentials.login_user(
        device.device_id, owner_role(device.owner_id), device.credentials
    )
    try:
        users.put(wanted)
    except Conflict:
        # A run before this one made it, or it is somebody else's.
        if not credentials.is_same_login(users.get(wanted["_id"]), wanted):
            raise TokenUsed("the device's name belongs to another login") from None


def _remove_password_login(users: Database, device_id: str) -> None:
    # CouchDB hashes the password again after a device's first login, and so changes the revision.
    for _ in range(UPDATE_ATTEMPTS):
        user = users.find_one(USER_ID_PREFIX + device_id)
        if user is None or user.get("syncpoint", {}).get("device") != device_id:
            return
        try:
            users.remove(user)
        except Conflict:
            continue
        return
    raise Conflict(409, "conflict", "the login changed at each try to remove it")
