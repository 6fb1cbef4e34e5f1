"""The transitions of channels: new → ready → closing → closed.

A channel has a database, which the transitions reconcile with the channel's document.
"""

from contextlib import suppress
from functools import partial

from chalicelib.couch import Conflict, Database, NotFound, Unavailable, Unreadable
from chalicelib.design import PUBLIC_CHANNEL
from chalicelib.domain.channel import (
    DEFAULT_NAME,
    DESCRIPTION_ID,
    MERGED_FIELDS,
    Channel,
    leaving_of,
    merge,
    parse_channel,
)
from chalicelib.domain.documents import JsonDict, Rejected, timestamp
from chalicelib.engine.context import Context
from chalicelib.errors import Unfinished
from chalicelib.handlers import sharing
from chalicelib.handlers.channel_quota import count_channel
from chalicelib.handlers.reconcile import reconcile
from chalicelib.handlers.registry import registry

# A device may write any number of conflicting revisions. Each costs two requests, and a run has
# half a minute. Removing one changes the document, so a new message handles the next ones.
_MAX_LOSERS = 50
_NO_DESCRIPTION: JsonDict = {"_id": DESCRIPTION_ID}
_REMOVED = "you are no longer a member"
_CLOSED = "the channel was closed"


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
    is_new = database.create()
    write_rights(context, channel, is_new=is_new)
    with suppress(Unfinished):  # the transition of ``ready`` tells those guests
        write_name(context, channel, is_new=is_new)
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
    Unfinished
        If a guest could not be told.
    """
    if not _merge_conflicts(doc, context):
        reconcile_database(doc, context)


def tell_of_the_end(doc: JsonDict, context: Context) -> None:
    """Tell those whom the run that closed the channel could not tell.

    Raises
    ------
    Unfinished
        If a guest still could not be told.
    """
    if doc.get("state") == "closed":
        untold = _tell_leaving(doc, context, _channel_to_close(doc, context))
        if untold:
            raise _unfinished(untold)


@registry.safe("channel", "closing", to="closed", on_stale=tell_of_the_end)
def close(doc: JsonDict, context: Context) -> JsonDict:
    """Delete the channel's database with its content, then stop all subscriptions → ``closed``.

    All rights end first, so no guest goes on while the database is deleted. Where that takes too
    long, the deletion ends them.

    Raises
    ------
    Unfinished
        If a guest could not be told. The document is ``closed`` all the same.
    """
    channel = _channel_to_close(doc, context)
    database = context.server.database(channel.db)
    security = _security(database)
    told = {channel.owner_id}
    if security is None or channel.owns(security):  # else it was rejected, and has no guests
        told |= channel.members | channel.leaving
    if security is not None and channel.owns(security):
        told |= _note_leaving(context, channel, security)
        # Gone: another run has deleted it. Unavailable: a member may keep a database so busy that
        # its rights wait for minutes. CouchDB deletes it at once, and that ends them as well.
        with suppress(NotFound, Unavailable):
            database.put_security(channel.closed_security)
        database.delete()
    untold = sharing.tell_all(context, channel, told, _CLOSED)
    changes = {
        "state": "closed",
        "closed_at": timestamp(context.clock()),
        "leaving": sorted(untold),
    }
    if untold:  # the message comes again: `tell_of_the_end`
        context.database.put({**doc, **changes})
        raise _unfinished(untold)
    return changes


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

    Rights come first. Then those are told who have left, and then all members of a new name.

    Raises
    ------
    Rejected
        If a field is wrong, or the database belongs to another channel, or it is gone.
    Unfinished
        If a guest could not be told. Rights are written, and all others are told.
    """
    again = partial(reconcile, context.database, doc["_id"])
    current = again(doc, partial(apply_to_database, context))
    if current is None or not is_open(current):
        return
    untold = _tell_leaving(current, context, channel_of(current, context))
    again(current, partial(_apply_name, context))
    if untold:
        raise _unfinished(untold)


def apply_to_database(context: Context, doc: JsonDict | None) -> bool:
    """Write the rights of an open channel's document, without looking for later changes.

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
        return write_rights(context, channel_of(doc, context))
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
    losers = [_leaf(context.database, doc["_id"], rev) for rev in revs]
    merged = merge(winner, losers)
    if merged != winner:
        context.database.put(merged)
    for loser in losers:
        with suppress(Conflict, NotFound):  # another run has removed it
            context.database.remove(loser)
    return merged != winner


def _leaf(database: Database, doc_id: str, rev: str) -> JsonDict:
    """Return what `merge` reads of a leaf revision. The rest might take much memory."""
    leaf = database.leaf(doc_id, rev)
    return {name: leaf[name] for name in ("_id", "_rev", *MERGED_FIELDS) if name in leaf}


def write_rights(context: Context, channel: Channel, *, is_new: bool = False) -> bool:
    """Write the security object of the channel's database, if it differs.

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
    if security == channel.security:
        return False
    _note_leaving(context, channel, security)
    if channel.public:
        PUBLIC_CHANNEL.install(database, is_new=is_new)  # before everybody has access
    database.put_security(channel.security)
    return True


def write_name(context: Context, channel: Channel, *, is_new: bool = False) -> bool:
    """Write the channel's name into the guests' copies, then into the description, if it differs.

    A new name in the description means that all guests' copies have it. Whoever can delay that by
    a copy of their own may write the description anyway.

    Returns
    -------
    bool
        Whether anything was written.

    Raises
    ------
    NotFound
        If the database is gone.
    Unfinished
        If a guest could not be told. All others are, and the description keeps the old name.
    """
    database = context.server.database(channel.db)
    description = _NO_DESCRIPTION if is_new else _description(database)
    if description.get("name") == channel.name:
        return False
    untold = sharing.tell_all(context, channel, channel.members)
    if untold:
        raise _unfinished(untold)
    # Every member may write the description. Whoever does that again and again stops nothing else.
    with suppress(Conflict):
        database.update(
            DESCRIPTION_ID,
            channel.describe,
            _NO_DESCRIPTION,
            known=description,
            overwrites_unreadable=True,
        )
    return True


def _apply_name(context: Context, doc: JsonDict | None) -> bool:
    """Write an open channel's name, without looking for later changes; see `write_name`."""
    if doc is None or not is_open(doc):
        return False
    try:
        return write_name(context, channel_of(doc, context))
    except NotFound:
        return False  # the database is being created, or the channel is closed


def _note_leaving(context: Context, channel: Channel, security: JsonDict) -> frozenset[str]:
    """Note in the channel's document who has rights but is no member any more; return them.

    Call this before their rights end. Until then the security object names them, and afterwards
    nothing does: a crash between the two would forget them if the note came second.
    """
    former = channel.former(security)

    def note(doc: JsonDict) -> JsonDict:
        leaving = leaving_of(doc)
        if former <= leaving or doc.get("state") == "closed":  # then another run has told them
            return doc
        return {**doc, "leaving": sorted(leaving | former)}

    if not former <= channel.leaving:
        with suppress(NotFound):  # the channel's document is gone
            context.database.update(channel.channel_id, note)
    return former


def _tell_leaving(doc: JsonDict, context: Context, channel: Channel) -> list[str]:
    """Tell those who are leaving, and take those from the document who were told.

    Returns
    -------
    list of str
        Those who could not be told. The document still lists them for the next run.
    """
    if not channel.leaving:
        return []
    if is_open(doc):  # whoever has joined again has a copy that says so
        guests, reason = channel.leaving - channel.members, _REMOVED
    else:
        guests, reason = channel.leaving, _CLOSED
    untold = sharing.tell_all(context, channel, guests, reason)
    if set(untold) != channel.leaving:
        # In the revision that was read: whoever left after that has not been told yet. The newer
        # revision has its own message.
        with suppress(Conflict):
            kept = {name: value for name, value in doc.items() if name != "_conflicts"}
            context.database.put({**kept, "leaving": sorted(untold)})
    return untold


def _unfinished(untold: list[str]) -> Unfinished:
    return Unfinished(f"the databases of {len(untold)} guests did not take what they are told")


def _description(database: Database) -> JsonDict:
    """Return the database's description document, as a `stub` if it is unreadable.

    Every member may write this document. No member may stop the reconciliation by a bad one.
    """
    try:
        return database.find_one(DESCRIPTION_ID) or _NO_DESCRIPTION
    except Unreadable:
        return database.stub(DESCRIPTION_ID)


def _security(database: Database) -> JsonDict | None:
    try:
        return database.security()
    except NotFound:
        return None


def _channel_to_close(doc: JsonDict, context: Context) -> Channel:
    """Do the same as `channel_of`, but ignore the name and publicity, which may be wrong."""
    return channel_of({**doc, "name": DEFAULT_NAME, "public": False}, context)
