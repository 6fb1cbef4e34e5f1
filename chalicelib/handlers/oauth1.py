"""OAuth 1 logins of CouchDB 1.x, as in the original system. Idempotent.

All devices of an owner share the owner's user document. It has the consumer key and the token of
each device. CouchDB 1.x checks requests against three sections of its configuration.
"""

from chalicelib.couch import Database, Server
from chalicelib.domain.addresses import normalise_address
from chalicelib.domain.credentials import (
    USER_ID_PREFIX,
    ForeignLogin,
    InvalidCredentials,
    TokenUsed,
    check_oauth,
)
from chalicelib.domain.device import CheckedDevice
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_role


def create_login(server: Server, device: CheckedDevice) -> None:
    """Create the device's login. Several requests.

    Raises
    ------
    TokenUsed
        If its consumer key or token belongs to another device.
    """
    creds = device.credentials
    config = oauth_config(device.owner_address, creds)
    # Keys of other owners are in the configuration, but not in this owner's user document.
    settings_of_others = [
        (section, key)
        for section, key, value in config
        if server.config_get(section, key) not in (None, value)
    ]
    if settings_of_others:
        raise TokenUsed("the consumer key or the token belongs to another owner's device")
    _add_to_owner(server.database("_users"), device)
    for section, key, value in config:
        server.config_set(section, key, value)


def remove_login(server: Server, device: JsonDict) -> None:
    """Remove the device's keys; with the last keys, remove the owner's user document too.

    CouchDB 1.x lets a device change the user document that it shares with the owner's other
    devices. So the keys that the device registered with are removed as well as those that the user
    document lists.

    Raises
    ------
    ForeignLogin
        If the configuration gives a token of the device to another user.
    """
    users = server.database("_users")
    address = normalise_address(str(device.get("owner")))
    user = users.find_one(USER_ID_PREFIX + address) or {}
    # The owner's user document last, because it records which keys are this device's.
    for consumer_key, token in keys_to_remove(user, device):
        if server.config_get("oauth_token_users", token) not in (None, address):
            raise ForeignLogin(f"the token of {device['_id']} is another user's")
        for section, key in oauth_config_keys(consumer_key, token):
            server.config_delete(section, key)
    if not oauth_keys(user, device["_id"]):
        return
    left = users.update(user["_id"], lambda user: without_oauth(user, device["_id"]))
    if is_spent(left):
        users.remove(left)


def keys_to_remove(user: JsonDict, device: JsonDict) -> set[tuple[str, str]]:
    """Return the pairs of consumer key and token of a device that is revoked.

    Those that the owner's user document lists for it, and those that it registered with, unless the
    user document lists one of them for another device of the owner.
    """
    device_id, creds = device["_id"], device.get("oauth_creds")
    listed = oauth_keys(user, device_id)
    found = {listed} if listed else set()
    try:
        creds = check_oauth(creds)
    except InvalidCredentials:
        return found  # it never had a login by them
    devices: JsonDict = user.get("oauth", {}).get("devices", {})
    of_others = {key for other, keys in devices.items() if other != device_id for key in keys}
    if not of_others & {creds["consumer_key"], creds["token"]}:
        found.add((creds["consumer_key"], creds["token"]))
    return found


def new_oauth_user(address: str, role: str) -> JsonDict:
    """Build the user document of an owner whose devices use OAuth; no password, no keys yet."""
    return {
        "_id": USER_ID_PREFIX + address,
        "name": address,
        "type": "user",
        "roles": [role],
    }


def with_oauth(user: JsonDict, device_id: str, creds: dict[str, str]) -> JsonDict:
    """Return the owner's user document with a device's keys; equal to `user` if it has them.

    Raises
    ------
    TokenUsed
        If another device uses the consumer key or the token, or the device has other ones.

    Source
    ------
    The original's oauthUsers.js: ``{oauth: {consumer_keys: {key: secret}, tokens: {token: secret},
    devices: {device id: [consumer key, token]}}}``.
    """
    oauth = user.get("oauth", {})
    keys, tokens = oauth.get("consumer_keys", {}), oauth.get("tokens", {})
    devices = oauth.get("devices", {})
    consumer_key, token = creds["consumer_key"], creds["token"]
    merged = {
        **oauth,
        "consumer_keys": {**keys, consumer_key: creds["consumer_secret"]},
        "tokens": {**tokens, token: creds["token_secret"]},
        "devices": {**devices, device_id: [consumer_key, token]},
    }
    is_taken = consumer_key in keys or token in tokens or device_id in devices
    if is_taken and merged != oauth:
        raise TokenUsed("the consumer key or the token belongs to another device")
    return {**user, "oauth": merged}


def oauth_keys(user: JsonDict, device_id: str) -> tuple[str, str] | None:
    """Return a device's consumer key and token; None if the owner's user document has none."""
    keys = user.get("oauth", {}).get("devices", {}).get(device_id)
    return tuple(keys) if keys else None


def without_oauth(user: JsonDict, device_id: str) -> JsonDict:
    """Return the owner's user document without a device's keys; equal to `user` if it has none."""
    keys = oauth_keys(user, device_id)
    if keys is None:
        return user
    oauth = user["oauth"]
    return {
        **user,
        "oauth": {
            **oauth,
            "consumer_keys": _without(oauth["consumer_keys"], keys[0]),
            "tokens": _without(oauth["tokens"], keys[1]),
            "devices": _without(oauth["devices"], device_id),
        },
    }


def is_spent(user: JsonDict) -> bool:
    """Return whether an owner's user document has no keys of devices and no password."""
    return not user.get("oauth", {}).get("devices") and "derived_key" not in user


def oauth_config(address: str, creds: dict[str, str]) -> list[tuple[str, str, str]]:
    """Return the configuration for OAuth requests to CouchDB 1.x, as (section, key, value)."""
    return [
        ("oauth_consumer_secrets", creds["consumer_key"], creds["consumer_secret"]),
        ("oauth_token_users", creds["token"], address),
        ("oauth_token_secrets", creds["token"], creds["token_secret"]),
    ]


def oauth_config_keys(consumer_key: str, token: str) -> list[tuple[str, str]]:
    """Return where a device's keys are in the configuration, as (section, key)."""
    return [
        ("oauth_token_users", token),
        ("oauth_token_secrets", token),
        ("oauth_consumer_secrets", consumer_key),
    ]


def _add_to_owner(users: Database, device: CheckedDevice) -> None:
    """Write the device's keys into the user document that the owner's devices share."""
    new = new_oauth_user(device.owner_address, owner_role(device.owner_id))
    users.update(
        new["_id"],
        lambda user: with_oauth(user, device.device_id, device.credentials),
        default=new,
    )


def _without(mapping: JsonDict, name: str) -> JsonDict:
    return {key: value for key, value in mapping.items() if key != name}
