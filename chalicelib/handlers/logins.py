"""What a confirmed device gets: a login, and its owner's control database. Idempotent."""

from chalicelib import credentials
from chalicelib.cloud import Cloud
from chalicelib.couch import Conflict, Database
from chalicelib.credentials import TokenUsed
from chalicelib.identity import owner_control_db, owner_role
from chalicelib.registration import Registration


def create_owner_database(cloud: Cloud, owner: str) -> None:
    """The owner's control database, with the owner's role as its only members. Two requests."""
    database = cloud.server.database(owner_control_db(cloud.settings.control_db, owner))
    database.create()
    database.put_security(
        {
            "admins": {"names": [], "roles": ["_admin"]},
            "members": {"names": [], "roles": [owner_role(owner)]},
        }
    )


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
