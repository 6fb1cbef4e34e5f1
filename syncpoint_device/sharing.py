"""What an owner does with channels, members and invitations that exist already.

All of it is written into this device's copy of the control database, so it works offline. Each
function first checks that the cloud will do it, by the moves that `domain.moves` allows.
"""

from chalicelib.couch import Conflict
from chalicelib.domain import fields
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.channel import CHANNEL_NAME_LENGTH, DEFAULT_NAME, ENDED
from chalicelib.domain.documents import ERROR_STATE, JsonDict, Rejected, generation_of
from chalicelib.domain.moves import TYPES
from chalicelib.domain.names import subscription_id
from syncpoint_device import channels
from syncpoint_device.databases import Device, exists
from syncpoint_device.errors import (
    Changed,
    DeviceError,
    NotAllowed,
    NothingToDo,
    Unconfirmed,
    Unknown,
)
from syncpoint_device.texts import counted

# The states of an invitation that its guest can still answer, or will be able to.
_WAITING = ("new", "sent")
_INVITATION = TYPES["invitation"]
_WITHDRAWABLE = {state for state in _WAITING if "withdrawn" in _INVITATION.moves[state]}
# A mail that was sent is withdrawn and asked for again, in one revision.
_RESENDABLE = {
    state
    for state in _INVITATION.moves
    if state != "new" and "new" in _INVITATION.by_asking_again(state)
}


def list_channels(device: Device) -> JsonDict:
    """List the channels, own and shared. A request, and one for each closed channel.

    Returns
    -------
    dict
        ``{channels: [{channel, name, state, subscription?, is_shared_with_me, members?, database?,
        error?}]}``: `subscription` is the state of the owner's subscription. `members` of an own
        channel, as in `status`: addresses, or None for a guest whose address is not known.
        `database` is missing if the channel is closed and has no copy here.
    """
    docs = channels.documents(device)
    states = {
        doc["_id"]: channels.state_of(doc) for doc in docs if doc.get("type") == "subscription"
    }
    addresses, found = channels.addresses(docs), []
    for doc in channels.named(docs):
        local, is_shared = device.channel(doc["_id"]), channels.is_shared_with_me(doc)
        row = {
            "channel": doc["_id"],
            "name": doc["name"],
            "state": channels.state_of(doc),
            "is_shared_with_me": is_shared,
            **_reason(doc),
            **_subscription(states.get(subscription_id(doc["_id"], device.profile.owner_id))),
        }
        if not is_shared:
            row["members"] = [addresses.get(who) for who in channels.member_ids(doc)]
        if row["state"] not in ENDED or exists(local):
            row["database"] = local.name
        found.append(row)
    return {"channels": sorted(found, key=lambda one: (one["name"], one["channel"]))}


def rename(device: Device, channel: str, name: str) -> JsonDict:
    """Rename a channel, for its members too.

    A channel that the cloud rejected is handed to it again with the new name.

    Returns
    -------
    dict
        ``{channel, name, former}``.

    Raises
    ------
    DeviceError
        If the name is invalid or taken, the channel has it already, or it is not the owner's own.
    """
    name = name.strip()
    try:
        fields.text({"name": name}, "name", 1, CHANNEL_NAME_LENGTH)
    except Rejected as exc:
        raise DeviceError(exc.reason) from exc
    doc, former = _own_channel(device, channel, "rename it")
    if doc.get("name") == name:
        raise NothingToDo(f"the name of this channel is “{name}” already")
    for other in channels.list_all(device):
        is_other = other["_id"] != doc["_id"] and channels.state_of(other) not in ENDED
        if is_other and channels.is_same_name(other["name"], name):
            raise NotAllowed(f"another channel is called “{other['name']}”; choose another name")
    state = "new" if channels.state_of(doc) == ERROR_STATE else doc["state"]
    _write(device, {**doc, "name": name, "state": state}, f"“{former}”")
    return {"channel": doc["_id"], "name": name, "former": former}


def close(device: Device, channel: str, *, confirmed: bool) -> JsonDict:
    """Close a channel: the cloud deletes its database, for all members.

    Parameters
    ----------
    confirmed : bool
        Whether the person has confirmed that.

    Returns
    -------
    dict
        ``{channel, name, database}``: its copy on this device, which stays.

    Raises
    ------
    DeviceError
        If it is closed already, not the owner's own, or not confirmed.
    """
    doc, name = _own_channel(device, channel, "close it")
    count = len(channels.member_ids(doc))
    if not confirmed:
        ends = f", and ends it for its {counted(count, 'member')}" if count else ""
        raise Unconfirmed(
            f"closing “{name}” deletes it in the cloud, with everything in it{ends}. Copies on "
            "devices stay, but are in sync no more. This cannot be undone. To do it, add --yes"
        )
    _write(device, {**doc, "state": "closing"}, f"“{name}”")
    return {"channel": doc["_id"], "name": name, "database": device.channel(doc["_id"]).name}


def members(device: Device, channel: str) -> JsonDict:
    """List the members of a channel of the owner's, and who is invited to it.

    Returns
    -------
    dict
        ``{channel, name, members: [{member, email?}], invited: [{invitation, email, state}]}``.
        `member` is an owner id. The address is known from the invitation, as long as there is one.
    """
    doc, name = _own_channel(device, channel, "see its members", even_if_ended=True)
    known = channels.addresses(_invitations(device))
    found = [
        {"member": member, **({"email": known[member]} if member in known else {})}
        for member in channels.member_ids(doc)
    ]
    waiting = [_listed(one, name) for one in _invited(device, doc)]
    return {"channel": doc["_id"], "name": name, "members": found, "invited": waiting}


def remove(device: Device, channel: str, member: str) -> JsonDict:
    """Remove a member from a channel.

    Parameters
    ----------
    member : str
        The member's e-mail address or owner id.

    Returns
    -------
    dict
        ``{channel, name, member}``.

    Raises
    ------
    DeviceError
        If there is no such member, or the channel is closed or not the owner's own.
    """
    doc, name = _own_channel(device, channel, "remove a member")
    found = member if member in channels.member_ids(doc) else owner_id_of(member)
    if found not in channels.member_ids(doc):
        for one in _invited(device, doc):
            if owner_id_of(one["email"]) == found:
                raise Unknown(
                    f"{member} has not accepted yet, so is no member; run `invitation withdraw "
                    f"{one['_id']}` instead"
                )
        raise Unknown(f"{member} is no member of “{name}”; `channel members` lists the members")
    left = [one for one in doc["members"] if one != found]
    _write(device, {**doc, "members": left}, f"“{name}”")
    return {"channel": doc["_id"], "name": name, "member": member}


def list_invitations(device: Device) -> JsonDict:
    """List the owner's invitations.

    Returns
    -------
    dict
        ``{invitations: [{invitation, email, channel, name, state, outdated?, expires_at?,
        error?}]}``: `outdated` says what became of it after its state was written.
    """
    known = {doc["_id"]: doc for doc in channels.list_all(device)}
    found = []
    for doc in _invitations(device):
        channel = known.get(str(doc.get("channel")))
        name = DEFAULT_NAME if channel is None else channel["name"]
        found.append(_listed(doc, name) | channels.outdated(doc, channel))
    return {"invitations": sorted(found, key=lambda one: (one["name"], one["email"]))}


def withdraw(device: Device, text: str) -> JsonDict:
    """Withdraw an invitation, so that nobody can accept it.

    Parameters
    ----------
    text : str
        The invitation's id, or the guest's address.

    Returns
    -------
    dict
        ``{invitation, email, channel, name, state}``.

    Raises
    ------
    DeviceError
        If there is no such invitation, or it was answered already.
    """
    doc = _invitation(device, text, _WITHDRAWABLE)
    state = channels.state_of(doc)
    if state in ("accepted", "accepting"):
        raise NotAllowed(
            f"{doc['email']} has accepted already; run `channel remove` to remove the guest"
        )
    if state not in _WITHDRAWABLE:
        raise NothingToDo(f"nobody can accept this invitation: it is {state}")
    return _write_invitation(device, {**doc, "state": "withdrawn"})


def resend(device: Device, text: str) -> JsonDict:
    """Have the mail of an invitation sent again. The earlier link no longer works.

    Parameters
    ----------
    text : str
        The invitation's id, or the guest's address.

    Returns
    -------
    dict
        ``{invitation, email, channel, name, state, former}``: `former` is its state before.

    Raises
    ------
    DeviceError
        If there is no such invitation, it was accepted, its mail has not been sent yet, or its
        channel is closed.
    """
    doc = _invitation(device, text, _RESENDABLE)
    state = channels.state_of(doc)
    if state == "new":
        raise NothingToDo("the cloud has not sent the first mail yet; it sends it when it can")
    if state in ("accepted", "accepting"):
        raise NothingToDo(f"{doc['email']} has accepted already")
    if state not in _RESENDABLE:
        raise NotAllowed(f"this invitation cannot be sent again: it is {state}")
    _own_channel(device, str(doc.get("channel")), "invite")
    new = {**doc, "state": "new", "generation": generation_of(doc) + 1}
    return {**_write_invitation(device, new), "former": state}


def _own_channel(
    device: Device, text: str, what: str, *, even_if_ended: bool = False
) -> tuple[JsonDict, str]:
    """Return the document of a channel that this device may change, and the channel's name."""
    channels.check_may_write(device)
    found = channels.find(device, text)
    name = str(found["name"])
    if channels.is_shared_with_me(found):
        raise NotAllowed(f"“{name}” is shared with you; only its owner can {what}")
    doc = device.database.get(found["_id"])
    state = channels.state_of(doc)
    if not even_if_ended and state not in TYPES["channel"].moves:
        if state in ENDED:
            raise NothingToDo(f"“{name}” is closed already")
        raise NotAllowed(f"“{name}” cannot be changed: its state is {state}")
    return doc, name


def _invitations(device: Device) -> list[JsonDict]:
    return channels.invitations(channels.documents(device))


def _invited(device: Device, channel: JsonDict) -> list[JsonDict]:
    """Return the invitations to a channel that were not answered yet."""
    return [
        doc
        for doc in _invitations(device)
        if doc.get("channel") == channel["_id"] and channels.state_of(doc) in _WAITING
    ]


def _invitation(device: Device, text: str, states: set[str]) -> JsonDict:
    """Find an invitation by its id, or by the guest's address: of several the one in `states`."""
    channels.check_may_write(device)
    found = _invitations(device)
    named = [doc for doc in found if text == doc["_id"]] or [
        doc for doc in found if owner_id_of(text) == owner_id_of(doc["email"])
    ]
    if not named:
        raise Unknown(f"there is no invitation “{text}”; `invitation list` lists them")
    fitting = [doc for doc in named if channels.state_of(doc) in states] or named[-1:]
    if len(fitting) > 1:
        ids = ", ".join(str(doc["_id"]) for doc in fitting)
        raise Unknown(f"“{text}” is invited more than once; use an id instead: {ids}")
    return fitting[0]


def _listed(doc: JsonDict, name: str) -> JsonDict:
    expires = {"expires_at": doc["expires_at"]} if isinstance(doc.get("expires_at"), str) else {}
    return {
        "invitation": doc["_id"],
        "email": doc["email"],
        "channel": str(doc.get("channel")),
        "name": name,
        "state": channels.state_of(doc),
        **(expires if channels.state_of(doc) == "sent" else {}),
        **_reason(doc),
    }


def _subscription(state: str | None) -> JsonDict:
    return {} if state is None else {"subscription": state}


def _reason(doc: JsonDict) -> JsonDict:
    """Return ``{error}``, what is wrong with a document, if the cloud rejected it."""
    why = channels.why_in_error(doc) if channels.state_of(doc) == ERROR_STATE else None
    return {} if why is None else {"error": why}


def _write_invitation(device: Device, doc: JsonDict) -> JsonDict:
    _write(device, doc, "the invitation")
    return _listed(doc, device.channel_name(str(doc.get("channel"))))


def _write(device: Device, doc: JsonDict, what: str) -> None:
    """Write a document over the revision that was checked, and over no other."""
    try:
        device.database.put(doc)
    except Conflict as exc:
        raise Changed(what) from exc
