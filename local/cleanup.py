"""Leave a CouchDB that was lent to us as we found it."""

from collections.abc import Iterator

from chalicelib.couch import Database, JsonDict, NotFound, Server
from chalicelib.credentials import USER_ID_PREFIX, oauth_config, without_oauth
from chalicelib.identity import normalise_address, owner_control_db, owner_id

_PAGE = 200


def remove_all_of(server: Server, control_db: str) -> None:
    """Remove a control database and all that came of its documents: databases, logins, keys.

    Many requests: a few for each device.
    """
    control = server.database(control_db)
    devices = [doc for doc in _documents(control) if doc.get("type") == "device"]
    for device in devices:
        _remove_logins_of(server, device)
    # Not whatever begins with the same name: that may be somebody else's.
    for owner in {owner_id(str(device.get("owner"))) for device in devices}:
        server.database(owner_control_db(control_db, owner)).delete()
    control.delete()


def _remove_logins_of(server: Server, device: JsonDict) -> None:
    users = server.database("_users")
    login = _find(users, USER_ID_PREFIX + device["_id"])
    if login and login.get("syncpoint", {}).get("device") == device["_id"]:
        users.remove(login)
    owner = _find(users, USER_ID_PREFIX + normalise_address(str(device.get("owner"))))
    if not owner or device["_id"] not in owner.get("oauth", {}).get("devices", {}):
        return
    left = without_oauth(owner, device["_id"])
    if left["oauth"]["devices"]:
        users.put(left)
    else:
        users.remove(owner)
    for section, key, _ in oauth_config("", device["oauth_creds"]):
        server.config_delete(section, key)


def _find(database: Database, doc_id: str) -> JsonDict | None:
    try:
        return database.get(doc_id)
    except NotFound:
        return None


def _documents(database: Database) -> Iterator[JsonDict]:
    since, is_more = "0", True
    while is_more:
        page = database.changes(since, limit=_PAGE)
        rows, since = page["results"], str(page["last_seq"])
        is_more = bool(rows)
        yield from (row["doc"] for row in rows if not row.get("deleted"))
