"""A channel's document, checked, and what its database must be like. No I/O."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.domain import fields
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict, Rejected, revision_number
from chalicelib.domain.names import channel_db, is_owner_id, owner_role

CHANNEL_NAME_LENGTH = 80
DEFAULT_NAME = "a channel without a name"
# The states of a channel whose database is deleted, or will be.
ENDED = ("closing", "closed")
DESCRIPTION_ID = "description"
# A transition sends four requests for each guest who is to be told, and has half a minute.
MAX_MEMBERS = 100

# What `merge` reads of a losing leaf revision.
MERGED_FIELDS = ("state", "members", "joined", "leaving")

# The names that CouchDB accepts and that no server must escape on its disk.
_PLAIN_ID = re.compile(r"[a-z0-9_-]{1,200}", re.ASCII)


@dataclass(frozen=True)
class Channel:
    """A channel whose fields were all checked.

    Attributes
    ----------
    control_db : str
        The control database that has the channel's document.
    owner_id : str
        The owner's id.
    members : frozenset of str
        The owner ids of the members, without the owner.
    leaving : frozenset of str
        The owner ids of those who must still be told that they have the channel no more.
    db : str
        The name of the channel's database.
    as_of : int or None
        The number of the document's revision (3 in ``3-abc``); a later revision has a higher one.
        None if the document is gone.
    """

    channel_id: str
    control_db: str
    owner_id: str
    name: str
    public: bool
    members: frozenset[str]
    leaving: frozenset[str]
    db: str
    as_of: int | None = None

    @property
    def roles(self) -> list[str]:
        """Return the roles that may write into the channel's database."""
        return sorted(owner_role(who) for who in {self.owner_id, *self.members})

    @property
    def mark(self) -> JsonDict:
        """Return what identifies the channel's database: ``{control_db, channel}``."""
        return {"control_db": self.control_db, "channel": self.channel_id}

    @property
    def security(self) -> JsonDict:
        """Return the whole security object of the channel's database.

        Beside CouchDB's own two fields, it has `mark` and the roles that may write. Only
        administrators can write a security object. So nobody else can claim a database, or give
        themselves access.
        """
        return {
            "admins": {"names": [], "roles": ["_admin"]},
            "members": {"names": [], "roles": [] if self.public else self.roles},
            "syncpoint": {**self.mark, "roles": self.roles},
        }

    @property
    def closed_security(self) -> JsonDict:
        """Return the security object that admits nobody but administrators; it keeps `mark`."""
        only_admins = {"names": [], "roles": ["_admin"]}
        mark = {**self.mark, "roles": []}
        return {"admins": only_admins, "members": only_admins, "syncpoint": mark}

    def former(self, security: JsonDict) -> frozenset[str]:
        """Return those whom a security object of the database lets write, and who are no members.

        Parameters
        ----------
        security : dict
            The security object as `security` has written it, perhaps from an older document.
        """
        roles = security.get("syncpoint", {}).get("roles", [])
        writers = frozenset(role.removeprefix("owner-") for role in roles)
        return writers - {self.owner_id} - self.members

    def describe(self, description: JsonDict) -> JsonDict:
        """Return the database's description document with the channel's name in it."""
        return {**description, "type": DESCRIPTION_ID, "name": self.name}

    def owns(self, security: JsonDict) -> bool:
        """Return whether a database with this security object is the channel's, or nobody's yet."""
        mark = security.get("syncpoint")
        return mark is None or all(mark.get(key) == value for key, value in self.mark.items())


def parse_channel(doc: JsonDict, control_db: str, owner_id: str | None) -> Channel:
    """Read and check a channel's document.

    Parameters
    ----------
    owner_id : str or None
        The id of the owner whose control database has the document. The document's ``owner`` field
        is then ignored. None for the installation's own control database, where only the cloud's
        administrators write. There the ``owner`` field counts, and the document's id names the
        channel's database, as in the original system.

    Raises
    ------
    Rejected
        If a field is missing or wrong; the reason names the field.
    """
    channel_id = doc["_id"]
    if owner_id is None and not _PLAIN_ID.fullmatch(channel_id):
        raise Rejected(
            "_id names the channel's database: a-z, 0-9, _ and - only, at most 200 of them"
        )
    who = _owner(doc.get("owner"), "owner") if owner_id is None else owner_id
    return Channel(
        channel_id=channel_id,
        control_db=control_db,
        owner_id=who,
        name=fields.text(doc, "name", 1, CHANNEL_NAME_LENGTH) if "name" in doc else DEFAULT_NAME,
        public=fields.flag(doc, "public"),
        members=_members(doc) - {who},
        leaving=leaving_of(doc),
        db=f"db-{channel_id}" if owner_id is None else channel_db(owner_id, channel_id),
        as_of=revision_number(doc) if "_rev" in doc else None,
    )


def leaving_of(doc: JsonDict) -> frozenset[str]:
    """Return the owner ids in a channel's `leaving`; none if it is missing or wrong."""
    leaving = doc.get("leaving")
    listed = leaving if isinstance(leaving, list) else []
    return frozenset(who for who in listed if isinstance(who, str) and is_owner_id(who))


def merge(winner: JsonDict, losers: Sequence[JsonDict]) -> JsonDict:
    """Merge the conflicting leaf revisions of a channel into one document.

    Only the cloud adds guests, and it records in ``joined`` when. Devices only remove guests. So
    there are two reasons why a revision may lack a guest. If it has the guest's latest ``joined``,
    a device has removed the guest. If not, the revision is older, and the guest stays. If a
    revision is closing or closed, the channel is closed, because its database may be gone. Whoever
    is leaving in one revision is leaving. All other fields are those of the winner.

    Parameters
    ----------
    winner : dict
        The winning revision of the document.
    losers : sequence of dict
        All other leaf revisions of the document.
    """
    leaves = [winner, *losers]
    joined: dict[str, str] = {}
    for leaf in leaves:
        for guest_id, at in leaf.get("joined", {}).items():
            joined[guest_id] = max(at, joined.get(guest_id, at))
    members = [who for who in winner.get("members", []) if who not in joined]
    for guest_id, at in joined.items():
        knowing = [leaf for leaf in leaves if leaf.get("joined", {}).get(guest_id) == at]
        if all(guest_id in leaf.get("members", []) for leaf in knowing):
            members.append(guest_id)
    merged = {**winner, "members": members, "joined": joined} if joined else winner
    leaving = frozenset[str]().union(*map(leaving_of, leaves))
    if leaving != leaving_of(winner):
        merged = {**merged, "leaving": sorted(leaving)}
    is_over = any(leaf.get("state") in ENDED for leaf in leaves)
    return {**merged, "state": "closing"} if is_over else merged


def _members(doc: JsonDict) -> frozenset[str]:
    members = doc.get("members", [])
    if not isinstance(members, list) or len(members) > MAX_MEMBERS:
        raise Rejected(f"members must be a list, of at most {MAX_MEMBERS}")
    return frozenset(_owner(member, "members") for member in members)


def _owner(value: object, field: str) -> str:
    """Return an owner id, from an owner id or an e-mail address."""
    if isinstance(value, str) and is_owner_id(value):
        return value
    if isinstance(value, str) and "@" in value:
        return owner_id_of(value)
    raise Rejected(f"{field} must be an e-mail address, or an owner's id (32 hex digits)")
