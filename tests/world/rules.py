"""What must hold of any quiet cloud, whatever has happened to it before."""

from collections.abc import Iterator

from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.channel import DESCRIPTION_ID, Channel, parse_channel
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_id_of_database, owner_role, subscription_id
from tests.world.region import CONTROL
from tests.world.world import World

# The states that a document may rest in: ends, and those that wait for somebody.
RESTS = {
    "device": {
        *("confirming", "active", "revoked", "expired", "rejected", "undeliverable", "error")
    },
    "confirm": {"used", "error"},
    "channel": {"ready", "shared", "closed", "error"},
    "invitation": {*("sent", "accepted", "declined", "withdrawn", "expired", "error")},
    "subscription": {"active", "paused", "stopped"},
}
Docs = dict[str, JsonDict]


def broken(world: World) -> list[str]:
    """All that does not hold, in words."""
    databases = {name: one.docs() for name, one in world.couch.databases.items()}
    securities = {name: one.security for name, one in world.couch.databases.items()}
    return [
        *_restless(databases),
        *_untold(databases),
        *_logins(databases[CONTROL], databases["_users"]),
        *_shown_devices(databases),
        *_owners(databases, securities),
        *_channels(databases, securities),
    ]


def own_databases(databases: dict[str, Docs]) -> Iterator[tuple[str, str, Docs]]:
    """Owners' control databases: the owner, the name, the documents."""
    for name, docs in databases.items():
        if owner := owner_id_of_database(CONTROL, name):
            yield owner, name, docs


def _restless(databases: dict[str, Docs]) -> Iterator[str]:
    controls = [(CONTROL, databases[CONTROL])]
    for name, docs in [*controls, *((name, docs) for _, name, docs in own_databases(databases))]:
        for doc_id, doc in docs.items():
            if doc.get("type") in RESTS and doc.get("state") not in RESTS[doc["type"]]:
                yield f"{name}/{doc_id} stays {doc.get('state')}"


def _untold(databases: dict[str, Docs]) -> Iterator[str]:
    for _, name, docs in own_databases(databases):
        for doc_id, doc in docs.items():
            if doc.get("leaving"):
                yield f"{name}/{doc_id}: {doc['leaving']} were not told"


def _logins(control: Docs, users: Docs) -> Iterator[str]:
    logins = {doc["name"]: doc["roles"] for doc_id, doc in users.items()}
    wanted = {
        doc_id: [owner_role(owner_id_of(doc["owner"]))]
        for doc_id, doc in control.items()
        if (doc.get("type"), doc.get("state")) == ("device", "active")
    }
    for name in logins.keys() | wanted.keys():
        if logins.get(name) != wanted.get(name):
            yield f"the login {name} has {logins.get(name)}, not {wanted.get(name)}"


def _shown_devices(databases: dict[str, Docs]) -> Iterator[str]:
    for owner, name, docs in own_databases(databases):
        wanted = {
            doc_id: doc["state"]
            for doc_id, doc in databases[CONTROL].items()
            if doc.get("type") == "device" and owner_id_of(doc["owner"]) == owner
        }
        shown = {id_: doc["state"] for id_, doc in docs.items() if doc.get("type") == "device"}
        for doc_id, state in shown.items():
            if wanted.get(doc_id) != state:
                yield f"{name} shows {doc_id} as {state}, it is {wanted.get(doc_id)}"
        for doc_id, state in wanted.items():
            if state == "active" and doc_id not in shown:
                yield f"{name} does not show {doc_id}"


def _owners(databases: dict[str, Docs], securities: dict[str, JsonDict]) -> Iterator[str]:
    active = {
        owner_id_of(doc["owner"])
        for doc in databases[CONTROL].values()
        if (doc.get("type"), doc.get("state")) == ("device", "active")
    }
    having = {owner for owner, _, _ in own_databases(databases)}
    yield from (f"{owner} has no control database" for owner in active - having)
    for owner, name, docs in own_databases(databases):
        if securities[name].get("members") != {"names": [], "roles": [owner_role(owner)]}:
            yield f"{name} is open to {securities[name].get('members')}"
        if "_design/syncpoint" not in docs:
            yield f"{name} has no rules"


def _channels(databases: dict[str, Docs], securities: dict[str, JsonDict]) -> Iterator[str]:
    there = {name for name in databases if name.startswith("db-")}
    ready = _channels_in(databases, "ready")
    yield from (f"{name} is nobody's" for name in there - ready.keys() - _refused(databases))
    yield from (f"{name} is missing" for name in ready.keys() - there)
    for name in ready.keys() & there:
        one = ready[name]
        if securities[name] != one.security:
            yield f"{name} is open to {securities[name].get('members')}, not {one.roles}"
        if databases[name].get(DESCRIPTION_ID, {}).get("name") != one.name:
            yield f"{name} has another name than {one.name}"
    for guest, name, docs in own_databases(databases):
        for doc_id, doc in docs.items():
            if doc.get("type") == "channel" and doc_id.startswith("db-"):
                yield from _shared(guest, name, doc, docs, ready.get(doc_id))


def _channels_in(databases: dict[str, Docs], state: str) -> dict[str, Channel]:
    """The channels in a state, by their databases' names."""
    found = [
        parse_channel(doc, name, owner)
        for owner, name, docs in own_databases(databases)
        for doc in docs.values()
        if (doc.get("type"), doc.get("state")) == ("channel", state)
    ]
    return {channel.db: channel for channel in found}


def _refused(databases: dict[str, Docs]) -> set[str]:
    """The databases of channels in error, which may be there or not."""
    return set(_channels_in(databases, "error"))


def _shared(
    guest: str, name: str, doc: JsonDict, docs: Docs, channel: Channel | None
) -> Iterator[str]:
    """What a guest has of a channel is as it is."""
    is_member = channel is not None and guest in channel.members
    if (doc["state"] == "shared") != is_member:
        yield f"{name} shows {doc['_id']} as {doc['state']}; a member: {is_member}"
    if channel and is_member and doc["name"] != channel.name:
        yield f"{name} shows {doc['_id']} as {doc['name']!r}"
    subscription = docs.get(subscription_id(doc["_id"], guest), {})
    if not is_member and subscription.get("state", "stopped") != "stopped":
        yield f"{name}: the subscription to {doc['_id']} is {subscription.get('state')}"
