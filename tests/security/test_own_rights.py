"""A device that would raise its own rights by a document, whatever it writes into it."""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.couch import CouchError, Database
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.link_tokens import InvitationRef
from chalicelib.domain.names import channel_db, owner_role
from chalicelib.errors import StillConflicting
from chalicelib.handlers.all import registry
from tests.kit.basics import a_device, an_address, without_hash
from tests.kit.cloud.access import as_device, contents
from tests.kit.cloud.site import Site
from tests.kit.cloud.steps import Owner

# What transitions there are, and some that there are none of.
TRANSITIONS = [(each.doc_type, each.state) for each in registry]
KINDS = [*TRANSITIONS, ("subscription", "active")]
# What brings the message back, and in the end makes it a dead letter.
PASSING = (CouchError, StillConflicting, ValueError, TypeError, AttributeError, KeyError)
EXAMPLES = 8  # of each kind, by each writer


class World:
    """Two owners: one whose device attacks, and one who has what it is after."""

    def __init__(self, site: Site, ada: Owner, eve: Owner) -> None:
        self.site, self.ada, self.eve = site, ada, eve
        self.steps, self.server = site.steps, site.steps.context.server
        self.steps.control.put_security(
            {"members": {"roles": ["_admin"]}, "admins": {"roles": ["_admin"]}}
        )
        pending = a_device(owner=ada.address)
        self.steps.register(pending)
        ada.invite(eve.address)
        self.pending, self.invitation_code = pending, self.steps.invitation_code()
        eve.channel("mine")
        self.ids = [
            *("channel-photos", "invitation-1", "_design/syncpoint", "new", "own"),
            # Not the attacker's own device: it may have that revoked.
            *(ada.device.device_id, pending.device_id),
            *(channel_db(ada.id, "channel-photos"), f"org.couchdb.user:{ada.device.device_id}"),
            f"confirm-{pending.device_id}-0",
        ]
        foreign = InvitationRef(eve.id, ada.id, "invitation-1").subject
        self.values = [
            *self.ids,
            *(ada.id, eve.id, ada.address, eve.address, owner_role(ada.id), "_admin"),
            *(ada.channel_database().name, ada.channel_database().url, ada.control.name),
            *(
                self.invitation_code,
                self.steps.context.confirmation_links.sign(pending.device_id, 0),
            ),
            *(foreign, pending.device_code, "https://evil.example/db"),
            *(True, False, None, 0, 1, -1, 1e300, "", [], {}, [ada.id], [ada.address, eve.id]),
            *({"names": ["x"], "roles": [owner_role(ada.id)]}, {"roles": []}, [None, {}]),
            pending.doc["credentials"],
        ]

    def of_others(self) -> JsonDict:
        """All that is not of the attacker's: documents, rights, logins, databases' names."""
        users = {
            doc_id: without_hash(doc)
            for doc_id, doc in contents(self.server.database("_users")).items()
            if self.is_ours(doc_id, *doc.get("roles", []))
        }
        watched = (self.steps.control, self.ada.control, self.ada.channel_database())
        notes = f"expiry-{self.eve.id}-"
        documents = {
            each.name: {
                doc_id: doc
                for doc_id, doc in contents(each).items()
                if not doc_id.startswith(notes)
            }
            for each in watched
        }
        rights = {each.name: each.security() for each in (*watched, self.eve.control)}
        return {"users": users, "documents": documents, "rights": rights}

    def databases(self) -> set[str]:
        return {name for name in self.server.all_dbs("a", "~", 100_000) if self.is_ours(name)}

    def is_ours(self, *names: str) -> bool:
        """Whether something is of this test, and not of another that has the same CouchDB."""
        if "COUCHDB_URL" not in os.environ:
            return True  # each worker has its own
        ours = {f"db-{doc_id}" for doc_id in self.ids} | {str(value) for value in self.values}
        for owner in (self.ada, self.eve):
            ours |= {owner_role(owner.id), f"org.couchdb.user:{owner.device.device_id}"}
            ours |= {channel_db(owner.id, doc_id) for doc_id in (*self.ids, "mine")}
        return any(name in ours or name.startswith(self.steps.control.name) for name in names)


FIELDS = [
    *("owner", "members", "public", "roles", "syncpoint", "name", "channel", "email", "joined"),
    *("generation", "answer_code", "answered_at", "guest", "confirm_code", "device_code"),
    *("credentials", "oauth_creds", "confirmed_by", "network", "error", "security", "admins"),
    *("remote", "reason", "expires_at", "db", "type", "state", "id"),
]


@st.composite
def documents(draw: st.DrawFn, world: World, kind: tuple[str, str]) -> JsonDict:
    """A document of some type and state with anything in it, often almost right."""
    doc_type, state = kind
    doc: JsonDict = {"_id": draw(st.sampled_from(world.ids)), "type": doc_type, "state": state}
    if doc_type == "invitation":
        doc |= {
            "channel": "mine",
            "email": draw(st.sampled_from([an_address(), world.ada.address])),
        }
    if doc_type == "device":
        doc |= {name: world.pending.doc[name] for name in ("owner", "credentials", "device_code")}
    if draw(st.integers(0, 9)) == 9:
        doc["_attachments"] = {"x": {"content_type": "text/plain", "data": "eA=="}}
    if doc_type == "confirm":
        code = world.steps.context.confirmation_links.sign(world.pending.device_id, 0)
        doc |= {"confirm_code": code, "device_code": world.pending.device_code}
    odd = st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(world.values), max_size=3)
    return {**doc, **draw(odd)}


@pytest.fixture
def world(site: Site, ada: Owner, ben: Owner) -> World:
    return World(site, ada, ben)


def attack(world: World, database: Database, doc: JsonDict) -> bool:
    """Have a document written, and run every transition that comes of it; whether it was taken."""
    there = None if doc["_id"].startswith("_") else database.find_one(doc["_id"])
    try:
        database.put({**doc, **({"_rev": there["_rev"]} if there else {})})
    except (CouchError, ValueError):
        return False
    for _ in range(3):
        after = world.eve.control.find_one(doc["_id"])
        if after is None or (after.get("type"), after.get("state")) not in TRANSITIONS:
            break
        try:
            world.steps.run(doc["_id"], world.eve.control)
        except PASSING:
            break  # a dead letter in the end
    return True


@pytest.mark.slow
def test_no_document_of_a_devices_gives_it_what_is_anothers(world: World) -> None:
    """Written as the device does, or past the rules of the database: they are not all there is."""
    as_admin = world.eve.control
    as_eve = as_device(world.eve).database(as_admin.name)
    before, known = world.of_others(), world.databases()
    own = {channel_db(world.eve.id, doc_id) for doc_id in (*world.ids, "mine")}
    taken: list[tuple[str, str]] = []

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def try_it(writer: Database, kind: tuple[str, str], data: Any) -> None:
        if attack(world, writer, data.draw(documents(world, kind))):
            taken.append(kind)
            after = world.of_others()
            assert {what: after[what] for what in after if after[what] != before[what]} == {}
            # A guest's control database comes with an accepted invitation, and no other way.
            assert world.databases() - known <= own

    for kind in KINDS:
        try_it(as_eve, kind)
        tried = len(taken)
        try_it(as_admin, kind)
        assert len(taken) > tried + EXAMPLES // 2  # of those that CouchDB refuses nothing comes
    assert as_device(world.ada).session()["userCtx"]["roles"] == [owner_role(world.ada.id)]
