"""What a guest sees of another owner's channel, in the guest's own control database. Idempotent.

There are two documents. One is a copy of the channel, in state ``shared``. Its id is the name of
the channel's database, so it cannot be the id of one of the guest's own channels. The other is a
subscription to the channel. The field `as_of` of both names the revision of the channel's own
document that they reflect. A late run that read an earlier revision does not change them.

The guest's devices write into that database too. So each of the two may be anything: unreadable, of
another type, or a revision that wins over the cloud's. The cloud overwrites what has one of these
two ids, and passes over all other documents. A guest whose database does not take a document delays
nobody else.
"""

import random
from collections.abc import Collection
from datetime import timedelta

from chalicelib.couch import NotFound
from chalicelib.domain.channel import DEFAULT_NAME, Channel
from chalicelib.domain.documents import JsonDict, Rejected
from chalicelib.domain.names import subscription_id
from chalicelib.engine.context import Context
from chalicelib.handlers import owners

# No further guest is told after this time: a run has half a minute, and one guest may take long.
TELLING_S = 4.0


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
        If the guest has a channel of their own with that id.
    """
    database = owners.database_of(context, guest_id)
    copy, subscription = _copy(context, channel), _subscription(context, channel)

    def share_channel(doc: JsonDict) -> JsonDict:
        if _is_own_channel(doc):
            raise Rejected("the guest has a channel of that id already")
        return _merge(doc, channel, copy, copy, removed="reason")

    def subscribe(doc: JsonDict) -> JsonDict:
        return _merge(doc, channel, subscription, subscription, removed="reason")

    for doc_id, change in (
        (channel.db, share_channel),
        (subscription_id(channel.db, guest_id), subscribe),
    ):
        database.update(
            doc_id,
            change,
            default={"_id": doc_id},
            is_likely_new=True,
            overwrites_unreadable=True,
        )


def rename(context: Context, channel: Channel, guest_id: str) -> None:
    """Write the channel's name into a guest's copy. One request; two if it changes."""
    changes = {"name": channel.name}
    _change_shared(context, channel, guest_id, changes, _copy(context, channel))


def unshare(context: Context, channel: Channel, guest_id: str, reason: str) -> None:
    """Take the channel from a guest, and stop the guest's subscription. Four requests.

    Parameters
    ----------
    guest_id : str
        The guest's owner id.
    reason : str
        The reason, for people. While the subscription has a reason, no device can start it again.
    """
    closed = {"state": "closed", "reason": reason}
    # A former guest is not told how the channel is called now.
    copy = {**_copy(context, channel), "name": DEFAULT_NAME, **closed}
    _change_shared(context, channel, guest_id, closed, copy)
    stopped = {"state": "stopped", "reason": reason}
    subscription = {**_subscription(context, channel), **stopped}

    def stop(doc: JsonDict) -> JsonDict:
        return _merge(doc, channel, stopped, subscription)

    try:
        owners.database_of(context, guest_id).update(
            subscription_id(channel.db, guest_id), stop, overwrites_unreadable=True
        )
    except NotFound:
        return  # a member whom an administrator added has access, but no documents


def tell_all(
    context: Context, channel: Channel, guest_ids: Collection[str], reason: str = ""
) -> list[str]:
    """Tell guests of the channel's name or of its end, each in isolation.

    Parameters
    ----------
    guest_ids : collection of str
        Their owner ids. The owner may be among them, whose subscription ends with the channel.
    reason : str
        Why they have the channel no more; empty if only its name has changed.

    Returns
    -------
    list of str
        The owner ids of those whose databases did not take it, or for whom there was no time.
    """
    untold = []
    until = context.clock() + timedelta(seconds=TELLING_S)
    # In another order each time, so that nobody is always behind a database that is slow.
    for guest_id in random.sample(sorted(guest_ids), len(guest_ids)):
        try:
            if context.clock() >= until:
                untold.append(guest_id)
            elif not reason:
                rename(context, channel, guest_id)
            elif guest_id == channel.owner_id:
                stop_own_subscription(context, channel, reason)
            else:
                unshare(context, channel, guest_id, reason)
        except Exception:  # noqa: BLE001 - whatever it is, it is this guest's alone
            untold.append(guest_id)
    return untold


def stop_own_subscription(context: Context, channel: Channel, reason: str) -> None:
    """Stop the subscription of the channel's owner, if there is one. Two requests."""
    doc_id = subscription_id(channel.channel_id, channel.owner_id)
    stopped = {"state": "stopped", "reason": reason}
    own = {"type": "subscription", "channel": channel.channel_id}

    def stop(doc: JsonDict) -> JsonDict:
        return {**own, **doc, **stopped}

    try:
        owners.database_of(context, channel.owner_id).update(
            doc_id, stop, overwrites_unreadable=True
        )
    except NotFound:
        return


def _copy(context: Context, channel: Channel) -> JsonDict:
    """Return a guest's copy of a channel, without its id."""
    return {
        "type": "channel",
        "state": "shared",
        "name": channel.name,
        "owner": channel.owner_id,
        "syncpoint": context.public_url(context.server.database(channel.db)),
    }


def _subscription(context: Context, channel: Channel) -> JsonDict:
    """Return a guest's subscription to a channel, without its id."""
    return {
        "type": "subscription",
        "state": "active",
        "channel": channel.db,
        "remote": context.public_url(context.server.database(channel.db)),
    }


def _is_own_channel(doc: JsonDict) -> bool:
    """Return whether a document is a channel of the guest's own, which is never overwritten.

    No device may write a channel under such an id, but an administrator may have done it.
    """
    return doc.get("type") == "channel" and doc.get("state") not in ("shared", "closed")


def _change_shared(
    context: Context, channel: Channel, guest_id: str, changes: JsonDict, whole: JsonDict
) -> None:
    """Change a guest's copy of a channel, if it is in state ``shared``."""

    def change(doc: JsonDict) -> JsonDict:
        if _is_own_channel(doc):
            return doc
        return _merge(doc, channel, {} if doc.get("state") == "closed" else changes, whole)

    try:
        owners.database_of(context, guest_id).update(channel.db, change, overwrites_unreadable=True)
    except NotFound:
        return  # a member whom an administrator added has access, but no documents


def _merge(
    doc: JsonDict, channel: Channel, changes: JsonDict, whole: JsonDict, removed: str = ""
) -> JsonDict:
    """Merge changes into a guest's document, unless it reflects this or a later revision already.

    Parameters
    ----------
    whole : dict
        What the document is to be if it is of another type, or could not be read.
    removed : str
        The name of a field that is removed from the document.
    """
    if doc.get("type") != whole["type"]:
        merged = {name: doc[name] for name in ("_id", "_rev") if name in doc} | whole
    else:
        as_of = doc.get("as_of")  # a device may write any value into a subscription
        if channel.as_of is not None and isinstance(as_of, int) and as_of >= channel.as_of:
            return doc
        merged = {name: value for name, value in doc.items() if name != removed} | changes
    return merged if channel.as_of is None else {**merged, "as_of": channel.as_of}
