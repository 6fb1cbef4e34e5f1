"""A device's login: made for a confirmed device, taken from a revoked one. Idempotent."""

from chalicelib.couch import UPDATE_ATTEMPTS, Conflict, Database, Server
from chalicelib.domain import credentials
from chalicelib.domain.addresses import normalise_address
from chalicelib.domain.credentials import USER_ID_PREFIX, TokenUsed
from chalicelib.domain.device import Registration
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_role
from chalicelib.engine.context import Cloud


def create_login(cloud: Cloud, device: Registration) -> None:
    """Let the device in, with the credentials that it registered with.

    Raises
    ------
    TokenUsed
        If its name, key or token belongs to another device: nothing is ever overwritten.
    """
    if cloud.settings.device_auth == "oauth1":
        _create_oauth_login(cloud, device)
    else:
        _create_password_login(cloud, device)


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
        _remove_oauth_login(server, users, device)


def _create_password_login(cloud: Cloud, device: Registration) -> None:
    users = cloud.server.database("_users")
    wanted = credentials.login_user(device.device_id, owner_role(device.owner), device.credentials)
    try:
        users.put(wanted)
    except Conflict:
        # A run before this one made it, or it is somebody else's.
        if not credentials.is_same_login(users.get(wanted["_id"]), wanted):
            raise TokenUsed("the device's name belongs to another login") from None


def _create_oauth_login(cloud: Cloud, device: Registration) -> None:
    creds = device.credentials
    config = credentials.oauth_config(device.owner_address, creds)
    # Another owner's keys are not in this owner's user document, but in the configuration.
    settings_of_others = [
        (section, key)
        for section, key, value in config
        if cloud.server.config_get(section, key) not in (None, value)
    ]
    if settings_of_others:
        raise TokenUsed("the consumer key or the token belongs to another owner's device")
    _add_to_owner(cloud.server.database("_users"), device)
    for section, key, value in config:
        cloud.server.config_set(section, key, value)


def _add_to_owner(users: Database, device: Registration) -> None:
    """Write the keys into the owner's user document, which the owner's devices share."""
    new = credentials.new_oauth_user(device.owner_address, owner_role(device.owner))
    users.update(
        new["_id"],
        lambda user: credentials.with_oauth(user, device.device_id, device.credentials),
        default=new,
    )


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


def _remove_oauth_login(server: Server, users: Database, device: JsonDict) -> None:
    user_id = USER_ID_PREFIX + normalise_address(str(device.get("owner")))
    owner = users.find_one(user_id)
    keys = credentials.oauth_keys(owner, device["_id"]) if owner else None
    if keys is None:
        return
    # The owner's user document last: it says that these keys are this device's.
    for section, key in credentials.oauth_config_keys(*keys):
        server.config_delete(section, key)
    left = users.update(user_id, lambda user: credentials.without_oauth(user, device["_id"]))
    if credentials.is_spent(left):
        users.remove(left)
