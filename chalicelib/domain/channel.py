"""What a channel's document says, checked; and what its database is to be like. No I/O."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.domain import fields
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict, Rejected
from chalicelib.domain.names import channel_db, is_owner_id, owner_role

NAME_LENGTH = 80
DEFAULT_NAME = "a channel without a name"
DESCRIPTION_ID = "description"
# A transition asks four requests for each of them, and has half a minute.
MAX_MEMBERS = 100

# Of the names that CouchDB takes, those that need no escaping on any server's disk.
_PLAIN_ID = re.compile(r"[a-z0-9_-]{1,200}", re.ASCII)


@dataclass(frozen=True)
class Channel:
    """A channel whose every field is as it should be.

    Attributes
    ----------
    control_db : str
        The control database that its document lives in.
    owner_id : str
        The owner's id.
    members : frozenset of str
        The ids of those who share it, beside the owner.
    db : str
        The name of its database.
    as_of : int or None
        How many revisions its document has behind it: of two, the higher is the later. None if the
        document is gone.
    """

    channel_id: str
    control_db: str
    owner_id: str
    name: str
    public: bool
    members: frozenset[str]
    db: str
    as_of: int | None = None

    @property
    def roles(self) -> list[str]:
        """The roles of all who may write into it."""
        return sorted(owner_role(who) for who in {self.owner_id, *self.members})

    @property
    def mark(self) -> JsonDict:
        """What tells its database from every other: ``{control_db, channel}``."""
        return {"control_db": self.control_db, "channel": self.channel_id}

    @property
    def security(self) -> JsonDict:
        """The security object of its database, whole.

        Beside CouchDB's own two fields it holds `mark` and who may write: only administrators
        write a security object, so nobody can claim a database, or a place in it.
        """
        return {
            "admins": {"names": [], "roles": ["_admin"]},
            "members": {"names": [], "roles": [] if self.public else self.roles},
            "syncpoint": {**self.mark, "roles": self.roles},
        }

    def describe(self, description: JsonDict) -> JsonDict:
        """The database's own description of itself, with the channel's name in it."""
        return {**description, "type": DESCRIPTION_ID, "name": self.name}

    def owns(self, security: JsonDict) -> bool:
        """Whether a database with this security object is the channel's, or nobody's yet."""
        mark = security.get("syncpoint")
        return mark is None or all(mark.get(key) == value for key, value in self.mark.items())


def parse_channel(doc: JsonDict, control_db: str, owner_id: str | None) -> Channel:
    """Read a channel's document.

    Parameters
    ----------
    owner_id : str or None
        The id of the owner whose control database it lies in: that is the owner, whatever the
        document says. None in the installation's own control database, where only the cloud's
        administrators write: there the document's ``owner`` counts, and its id names the database,
        as in the original system.

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
        name=fields.text(doc, "name", 1, NAME_LENGTH) if "name" in doc else DEFAULT_NAME,
        public=fields.flag(doc, "public"),
        members=_members(doc) - {who},
        db=f"db-{channel_id}" if owner_id is None else channel_db(owner_id, channel_id),
        as_of=int(doc["_rev"].partition("-")[0]) if "_rev" in doc else None,
    )


def merge(winner: JsonDict, losers: Sequence[JsonDict]) -> JsonDict:
    """What a channel's conflicting revisions mean together; the winner's word on all else.

    The cloud alone lets guests in, and notes in ``joined`` when; devices only remove them. So a
    revision in which a guest is missing has removed them if it knows that they joined, and is older
    than that if it does not. A channel that was to be closed is closed: its database may be gone.

    Parameters
    ----------
    losers : sequence of dict
        All other leaves of the document.
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
    is_over = any(leaf.get("state") in ("closing", "closed") for leaf in leaves)
    return {**merged, "state": "closing"} if is_over else merged


def _members(doc: JsonDict) -> frozenset[str]:
    members = doc.get("members", [])
    if not isinstance(members, list) or len(members) > MAX_MEMBERS:
        raise Rejected(f"members must be a list, of at most {MAX_MEMBERS}")
    return frozenset(_owner(member, "members") for member in members)


def _owner(value: object, field: str) -> str:
    """The id of somebody who is named by it, or by an address."""
    if isinstance(value, str) and is_owner_id(value):
        return value
    if isinstance(value, str) and "@" in value:
        return owner_id_of(value)
    raise Rejected(f"{field} must be an e-mail address, or an owner's id (32 hex digits)")
