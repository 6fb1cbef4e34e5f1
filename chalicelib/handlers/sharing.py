"""What a guest has of somebody else's channel, in the guest's own control database. Idempotent.

Two documents: the channel in state ``shared``, under its database's name (an id that the guest's
own channels do not have), and a subscription to it.
"""

from chalicelib.channel import Channel
from chalicelib.cloud import Cloud
from chalicelib.couch import Database, JsonDict, NotFound
from chalicelib.docstate import Rejected
from chalicelib.handlers import owners
from chalicelib.identity import owner_id, subscription_id


def share(cloud: Cloud, channel: Channel, address: str) -> None:
    """Give a guest the channel, and an active subscription to it; four or five requests.

    Parameters
    ----------
    address : str
        The guest's e-mail address; no device of theirs need be registered yet.

    Raises
    ------
    Rejected
        If one of the guest's devices made a document where the channel's would be.
    """
    guest = owner_id(address)
    database = owners.ensure_database(cloud, address)
    url = cloud.public_url(cloud.server.database(channel.db))

    def shared(doc: JsonDict) -> JsonDict:
        if doc.get("state", "shared") not in ("shared", "closed"):
            raise Rejected("the guest has a channel of that id already")
        return {
            **_without(doc, "reason"),
            "type": "channel",
            "state": "shared",
            "name": channel.name,
            "owner": channel.owner,
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
        (subscription_id(channel.db, guest), subscribed),
    ):
        new = {"_id": doc_id}
        database.update(doc_id, change, default=new, known=new)


def rename(cloud: Cloud, channel: Channel) -> None:
    """Tell the guests the channel's name; a request for each, and another where it is new."""
    for guest in channel.members:
        _change_shared(cloud, channel, guest, {"name": channel.name})


def unshare(cloud: Cloud, channel: Channel, guest: str, reason: str) -> None:
    """Take the channel from a guest, and stop the guest's subscription; four requests.

    Parameters
    ----------
    guest : str
        The guest's owner id.
    reason : str
        Why, for people; while it stands in the subscription, no device can start that again.
    """
    _change_shared(cloud, channel, guest, {"state": "closed", "reason": reason})
    stop_subscription(owners.database_of(cloud, guest), channel.db, guest, reason)


def stop_subscription(database: Database, channel_id: str, owner: str, reason: str) -> None:
    """Stop an owner's subscription to a channel, if there is one; two requests."""
    try:
        database.update(
            subscription_id(channel_id, owner),
            lambda doc: {**doc, "state": "stopped", "reason": reason},
        )
    except NotFound:
        return


def _change_shared(cloud: Cloud, channel: Channel, guest: str, changes: JsonDict) -> None:
    def change(doc: JsonDict) -> JsonDict:
        return {**doc, **changes} if doc.get("state") == "shared" else doc

    try:
        owners.database_of(cloud, guest).update(channel.db, change)
    except NotFound:
        return  # a member by another way than an invitation: rights, and no documents


def _without(doc: JsonDict, field: str) -> JsonDict:
    return {name: value for name, value in doc.items() if name != field}
