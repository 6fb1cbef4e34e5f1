"""Leave a CouchDB that was lent to us as we found it."""

from collections.abc import Iterator

from chalicelib.couch import CouchError, Database, JsonDict, NotFound, Server
from chalicelib.credentials import USER_ID_PREFIX, oauth_config
from chalicelib.identity import normalise_address

_PAGE = 200


def remove_all_of(server: Server, control_db: str) -> None:
    """Remove a control database and all that came of its documents: databases, logins, keys.

    Many requests: a few for each device.
    """
    control = server.database(control_db)
    for doc in _documents(control):
        if doc.get("type") == "device":
            _remove_logins_of(server, doc)
    control.delete()
    for name in server.databases(f"{control_db}-"):
        server.database(name).delete()


def _remove_logins_of(server: Server, device: JsonDict) -> None:
    users = server.database("_users")
    login = _find(users, USER_ID_PREFIX + device["_id"])
    if login and login.get("syncpoint", {}).get("device") == device["_id"]:
        users.remove(login)
    creds = device.get("oauth_creds")
    owner = _find(users, USER_ID_PREFIX + normalise_address(str(device.get("owner"))))
    if owner and device["_id"] in owner.get("oauth", {}).get("devices", {}):
        users.remove(owner)
    if isinstance(creds, dict) and device.get("state") == "active":
        for section, key, _ in oauth_config("", creds):
            server.config_delete(section, key)


def _find(database: Database, doc_id: str) -> JsonDict | None:
    try:
        return database.get(doc_id)
    except (NotFound, CouchError):
        return None


def _documents(database: Database) -> Iterator[JsonDict]:
    since, is_more = "0", True
    while is_more:
        page = database.changes(since, limit=_PAGE)
        rows, since = page["results"], str(page["last_seq"])
        is_more = bool(rows)
        yield from (row["doc"] for row in rows if not row.get("deleted"))
