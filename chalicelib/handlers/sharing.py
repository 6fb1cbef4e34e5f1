"""What a guest has of somebody else's channel, in the guest's own control database. Idempotent.

Two documents: the channel in state ``shared``, under its database's name (an id that the guest's
own channels do not have), and a subscription to it. Both say as of which revision of the channel's
own document: a run that has read an earlier one, and comes late, does not undo what later ones did.
"""

from collections.abc import Callable

from chalicelib.couch import Database, NotFound
from chalicelib.domain.channel import Channel
from chalicelib.domain.documents import JsonDict, Rejected
from chalicelib.domain.names import subscription_id
from chalicelib.engine.context import Context
from chalicelib.handlers import owners

Change = Callable[[JsonDict], JsonDict]


def share(context: Context, channel: Channel, guest_id: str) -> None:
    """Give a guest the channel, and an active subscription to it; two requests, or four.

    Parameters
    ----------
    guest_id : str
        The guest's owner id; their control database is there, with or without a device of theirs.

    Raises
    ------
    Rejected
        If one of the guest's devices made a document where the channel's would be.
    """
    database = owners.database_of(context, guest_id)
    url = context.public_url(context.server.database(channel.db))

    def shared(doc: JsonDict) -> JsonDict:
        if doc.get("state", "shared") not in ("shared", "closed"):
            raise Rejected("the guest has a channel of that id already")
        return {
            **_without(doc, "reason"),
            "type": "channel",
            "state": "shared",
            "name": channel.name,
            "owner": channel.owner_id,
            "syncpoint": url,
        }

    def subscribed(doc: JsonDict) -> JsonDict:
        return {
            **_without(doc, "reason"),
            "type": "subscription",
            "state": "active",
            "channel": channel.db,
            "remote": url,
        }

    for doc_id, change in (
        (channel.db, shared),
        (subscription_id(channel.db, guest_id), subscribed),
    ):
        guarded = _unless_later(channel, change)
        database.update(doc_id, guarded, default={"_id": doc_id}, is_likely_new=True)


def rename(context: Context, channel: Channel) -> None:
    """Tell the guests the channel's name; a request for each, and another where it is new."""
    for guest_id in channel.members:
        _change_shared(context, channel, guest_id, {"name": channel.name})


def unshare(context: Context, channel: Channel, guest_id: str, reason: str) -> None:
    """Take the channel from a guest, and stop the guest's subscription; four requests.

    Parameters
    ----------
    guest_id : str
        The guest's owner id.
    reason : str
        Why, for people; while it stands in the subscription, no device can start that again.
    """
    _change_shared(context, channel, guest_id, {"state": "closed", "reason": reason})
    stop = _unless_later(channel, _stopped(reason))
    _change(owners.database_of(context, guest_id), subscription_id(channel.db, guest_id), stop)


def stop_own_subscription(context: Context, channel: Channel, reason: str) -> None:
    """Stop the subscription of the channel's owner, if there is one; two requests."""
    database = owners.database_of(context, channel.owner_id)
    _change(database, subscription_id(channel.channel_id, channel.owner_id), _stopped(reason))


def _change_shared(context: Context, channel: Channel, guest_id: str, changes: JsonDict) -> None:
    def change(doc: JsonDict) -> JsonDict:
        return {**doc, **changes} if doc.get("state") == "shared" else doc

    _change(owners.database_of(context, guest_id), channel.db, _unless_later(channel, change))


def _change(database: Database, doc_id: str, change: Change) -> None:
    try:
        database.update(doc_id, change)
    except NotFound:
        return  # a member by another way than an invitation has rights, and no documents


def _unless_later(channel: Channel, change: Change) -> Change:
    """The change, where the document does not say what this or a later revision made of it."""

    def guarded(doc: JsonDict) -> JsonDict:
        if channel.as_of is None:
            return change(doc)
        known = doc.get("as_of")  # a device may write what it likes into a subscription
        if isinstance(known, int) and known >= channel.as_of:
            return doc
        return {**change(doc), "as_of": channel.as_of}

    return guarded


def _stopped(reason: str) -> Change:
    return lambda doc: {**doc, "state": "stopped", "reason": reason}


def _without(doc: JsonDict, field: str) -> JsonDict:
    return {name: value for name, value in doc.items() if name != field}
