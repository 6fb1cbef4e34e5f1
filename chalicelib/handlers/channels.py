"""The transitions of channels: new → ready → closing → closed.

A channel has a database, which the transitions reconcile with the channel's document.
"""

from contextlib import suppress
from functools import partial

from chalicelib.couch import Conflict, Database, NotFound, Unreadable
from chalicelib.design import PUBLIC_CHANNEL
from chalicelib.domain.channel import DEFAULT_NAME, DESCRIPTION_ID, Channel, merge, parse_channel
from chalicelib.domain.documents import JsonDict, Rejected, timestamp
from chalicelib.engine.context import Context
from chalicelib.handlers import sharing
from chalicelib.handlers.channel_quota import count_channel
from chalicelib.handlers.reconcile import reconcile
from chalicelib.handlers.registry import registry

# A device may write any number of conflicting revisions. Each costs two requests, and a run has
# half a minute. Removing one changes the document, so a new message handles the next ones.
_MAX_LOSERS = 50
_NO_DESCRIPTION: JsonDict = {"_id": DESCRIPTION_ID}


def reconcile_moved(doc: JsonDict, context: Context) -> None:
    """Correct what a late run of ``new`` wrote, after another run moved the channel on.

    A: reads new ................................ creates the database, writes its security
    B:             ready, renamed; or closed, with no database to delete
    """
    if doc.get("state") == "ready":
        reconcile_database(doc, context)
    elif doc.get("state") in ("closing", "closed"):
        channel = _channel_to_close(doc, context)
        database = context.server.database(channel.db)
        security = _security(database)
        if security is not None and channel.owns(security):
            database.delete()


@registry.safe("channel", "new", to="ready", conflicts=True, on_stale=reconcile_moved)
def provision(doc: JsonDict, context: Context) -> JsonDict | None:
    """Create the channel's database, with its security and its description → ``ready``.

    Raises
    ------
    Rejected
        If a field is missing or wrong, the database belongs to another channel, or the owner's
        quota of new channels is used up.
    """
    if _merge_conflicts(doc, context):
        return None
    channel = channel_of(doc, context)
    count_channel(context, doc)
    database = context.server.database(channel.db)
    write_database(context, channel, is_new=database.create())
    return {
        "state": "ready",
        "syncpoint": context.public_url(database),
        "ready_at": doc.get("ready_at", timestamp(context.clock())),
    }


@registry.safe("channel", "ready", to="ready", conflicts=True)
def update_database(doc: JsonDict, context: Context) -> None:
    """Reconcile the database with the document, after each change of the document.

    Raises
    ------
    Rejected
        If a field is wrong, or the database belongs to another channel, or it is gone.
    """
    if not _merge_conflicts(doc, context):
        reconcile_database(doc, context)


@registry.safe("channel", "closing", to="closed")
def close(doc: JsonDict, context: Context) -> JsonDict:
    """Stop all subscriptions, and delete the channel's database with its content → ``closed``."""
    channel = _channel_to_close(doc, context)
    database = context.server.database(channel.db)
    security = _security(database) or {}
    reason = "the channel was closed"
    if channel.owns(security):  # else it was rejected: it has no database and no guests
        for guest_id in channel.members | _writers(security) - {channel.owner_id}:
            sharing.unshare(context, channel, guest_id, reason)
        database.delete()
    sharing.stop_own_subscription(context, channel, reason)
    return {"state": "closed", "closed_at": timestamp(context.clock())}


def channel_of(doc: JsonDict, context: Context) -> Channel:
    """Read and check a channel's document from the context's database.

    Raises
    ------
    Rejected
        If a field is missing or wrong, or the database is not a control database. Members may write
        any document into a channel's database, and such a document must have no effect.
    """
    if context.owner_id is None and not context.in_control_database:
        raise Rejected("channels are written in a control database")
    return parse_channel(doc, context.database.name, context.owner_id)


def reconcile_database(doc: JsonDict, context: Context) -> None:
    """Reconcile an open channel's database with its document, even if that changes meanwhile.

    Raises
    ------
    Rejected
        If a field is wrong, or the database belongs to another channel, or it is gone.
    """
    reconcile(doc, partial(apply_to_database, context), partial(context.reread, doc))


def apply_to_database(context: Context, doc: JsonDict | None) -> bool:
    """Write an open channel's document into its database, without looking for later changes.

    Returns
    -------
    bool
        Whether there was anything to write.

    Raises
    ------
    Rejected
        As `reconcile_database`.
    """
    if doc is None or not is_open(doc):
        return False
    try:
        return write_database(context, channel_of(doc, context))
    except NotFound:
        newer = context.reread(doc)
        if newer is not None and newer.get("state") == "ready":
            raise Rejected(
                "the channel's database is gone; set the state to new to make another"
            ) from None
        return False  # the database is being created, or the channel is closed


def is_open(doc: JsonDict) -> bool:
    """Return whether a document is a channel that has a database, or will have one."""
    return doc.get("type") == "channel" and doc.get("state") in ("new", "ready")


def _merge_conflicts(doc: JsonDict, context: Context) -> bool:
    """Merge the conflicting leaf revisions that devices and the cloud wrote independently.

    Returns
    -------
    bool
        Whether that changed the document. If so, the change brings its own message.
    """
    winner, revs = dict(doc), doc.get("_conflicts", [])[:_MAX_LOSERS]
    if not revs:
        return False
    del winner["_conflicts"]
    losers = [context.database.get(doc["_id"], rev) for rev in revs]
    merged = merge(winner, losers)
    if merged != winner:
        context.database.put(merged)
    for loser in losers:
        with suppress(Conflict, NotFound):  # another run has removed it
            context.database.remove(loser)
    return merged != winner


def write_database(context: Context, channel: Channel, *, is_new: bool = False) -> bool:
    """Write whatever differs: the channel's security, what guests see, the description.

    Parameters
    ----------
    is_new : bool
        Whether the database was just created. Then it is written without reading it first.

    Returns
    -------
    bool
        Whether anything was written.

    Raises
    ------
    NotFound
        If the database is gone.
    Rejected
        If the database belongs to another channel.
    """
    database = context.server.database(channel.db)
    security = {} if is_new else database.security()
    if not channel.owns(security):
        raise Rejected("the database of that name belongs to another channel; choose another _id")
    # Former members that the security object still names.
    for guest_id in _writers(security) - {channel.owner_id} - channel.members:
        sharing.unshare(context, channel, guest_id, "you are no longer a member")
    has_rights = security == channel.security
    if not has_rights:
        if channel.public:
            PUBLIC_CHANNEL.install(database, is_new=is_new)  # before everybody has access
        database.put_security(channel.security)
    description = _NO_DESCRIPTION if is_new else _description(database)
    is_described = description.get("name") == channel.name
    if not is_described:
        # Guests first: a new name in the description means that all guests' copies have it.
        sharing.rename(context, channel)
        with suppress(Unreadable):
            database.update(DESCRIPTION_ID, channel.describe, _NO_DESCRIPTION, known=description)
    return not (has_rights and is_described)


def _description(database: Database) -> JsonDict:
    """Return the database's description document; an empty one if it is missing or unreadable.

    Every member may write this document. No member may stop the reconciliation by a bad one.
    """
    try:
        return database.find_one(DESCRIPTION_ID) or _NO_DESCRIPTION
    except Unreadable:
        return _NO_DESCRIPTION


def _security(database: Database) -> JsonDict | None:
    try:
        return database.security()
    except NotFound:
        return None


def _writers(security: JsonDict) -> frozenset[str]:
    roles = security.get("syncpoint", {}).get("roles", [])
    return frozenset(role.removeprefix("owner-") for role in roles)


def _channel_to_close(doc: JsonDict, context: Context) -> Channel:
    """Do the same as `channel_of`, but ignore the name and publicity, which may be wrong."""
    return channel_of({**doc, "name": DEFAULT_NAME, "public": False}, context)
