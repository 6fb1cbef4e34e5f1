"""What a guest sees of another owner's channel, in the guest's own control database. Idempotent.

There are two documents. One is a copy of the channel, in state ``shared``. Its id is the name of
the channel's database, so it cannot be the id of one of the guest's own channels. The other is a
subscription to the channel. The field `as_of` of both names the revision of the channel's own
document that they reflect. A late run that read an earlier revision does not change them.
"""

from chalicelib.couch import Database, NotFound
from chalicelib.domain.channel import Channel
from chalicelib.domain.documents import JsonDict, Rejected
from chalicelib.domain.names import subscription_id
from chalicelib.engine.context import Context
from chalicelib.handlers import owners


def share(context: Context, channel: Channel, guest_id: str) -> None:
    """Give a guest the channel, and an active subscription to it.

    Two requests if both documents are new, four if they exist.

    Parameters
    ----------
    guest_id : str
        The guest's owner id. Their control database exists, whether they have a device or not.

    Raises
    ------
    Rejected
        If one of the guest's devices wrote another channel with that id.
    """
    database = owners.database_of(context, guest_id)
    url = context.public_url(context.server.database(channel.db))
    shared = {
        "type": "channel",
        "state": "shared",
        "name": channel.name,
        "owner": channel.owner_id,
        "syncpoint": url,
    }
    subscribed = {
        "type": "subscription",
        "state": "active",
        "channel": channel.db,
        "remote": url,
    }

    def share_channel(doc: JsonDict) -> JsonDict:
        if doc.get("state", "shared") not in ("shared", "closed"):
            raise Rejected("the guest has a channel of that id already")
        return _merge(doc, channel, shared, removed="reason")

    def subscribe(doc: JsonDict) -> JsonDict:
        return _merge(doc, channel, subscribed, removed="reason")

    for doc_id, change in (
        (channel.db, share_channel),
        (subscription_id(channel.db, guest_id), subscribe),
    ):
        database.update(doc_id, change, default={"_id": doc_id}, is_likely_new=True)


def rename(context: Context, channel: Channel) -> None:
    """Write the channel's name into the guests' copies. One request a guest; two if it changes."""
    for guest_id in channel.members:
        database = owners.database_of(context, guest_id)
        _change_shared(database, channel, {"name": channel.name})


def unshare(context: Context, channel: Channel, guest_id: str, reason: str) -> None:
    """Take the channel from a guest, and stop the guest's subscription. Four requests.

    Parameters
    ----------
    guest_id : str
        The guest's owner id.
    reason : str
        The reason, for people. While the subscription has a reason, no device can start it again.
    """
    database = owners.database_of(context, guest_id)
    _change_shared(database, channel, {"state": "closed", "reason": reason})
    stopped = {"state": "stopped", "reason": reason}

    def stop(doc: JsonDict) -> JsonDict:
        return _merge(doc, channel, stopped)

    try:
        database.update(subscription_id(channel.db, guest_id), stop)
    except NotFound:
        return  # a member whom an administrator added has access, but no documents


def stop_own_subscription(context: Context, channel: Channel, reason: str) -> None:
    """Stop the subscription of the channel's owner, if there is one. Two requests."""
    database = owners.database_of(context, channel.owner_id)

    def stop(doc: JsonDict) -> JsonDict:
        return {**doc, "state": "stopped", "reason": reason}

    try:
        database.update(subscription_id(channel.channel_id, channel.owner_id), stop)
    except NotFound:
        return


def _change_shared(database: Database, channel: Channel, changes: JsonDict) -> None:
    """Change a guest's copy of a channel, if it is in state ``shared``."""

    def change(doc: JsonDict) -> JsonDict:
        return _merge(doc, channel, changes if doc.get("state") == "shared" else {})

    try:
        database.update(channel.db, change)
    except NotFound:
        return  # a member whom an administrator added has access, but no documents


def _merge(doc: JsonDict, channel: Channel, changes: JsonDict, removed: str = "") -> JsonDict:
    """Merge changes into a guest's document, unless it reflects this or a later revision already.

    Parameters
    ----------
    removed : str
        The name of a field that is removed from the document.
    """
    as_of = doc.get("as_of")  # a device may write any value into a subscription
    if channel.as_of is not None and isinstance(as_of, int) and as_of >= channel.as_of:
        return doc
    merged = {name: value for name, value in doc.items() if name != removed} | changes
    return merged if channel.as_of is None else {**merged, "as_of": channel.as_of}
