"""The transitions of invitations: new → sent → accepting → accepted.

An invitation may also be declined, withdrawn or expired. An owner who takes it back while the guest
accepts it wins, as long as the guest is not a member.
"""

from datetime import timedelta
from functools import partial

from chalicelib.aws.claims import Claim
from chalicelib.couch import InvalidName, NotFound, Unreadable
from chalicelib.domain.channel import MAX_MEMBERS
from chalicelib.domain.documents import (
    JsonDict,
    Rejected,
    generation_of,
    revision_number,
    timestamp,
)
from chalicelib.domain.invitation import (
    Invitation,
    guest_and_channel,
    parse_invitation,
    taken_back,
)
from chalicelib.domain.link_tokens import InvitationRef, LinkToken
from chalicelib.emails import sending
from chalicelib.emails.sending import HOUR_S
from chalicelib.engine.context import Context
from chalicelib.handlers import answers, channels, owners, sharing
from chalicelib.handlers.reconcile import reconcile
from chalicelib.handlers.registry import registry

# The states that can follow ``sent``, unless a device moves it, and what causes each of them.
NEXT_STATES = {
    "accepting": "the guest accepts",
    "declined": "the guest declines",
    "expired": "an answer after its time, or the daily sweep",
    "error": "the mail bounced, or somebody complained of it",
}


@registry.unsafe("invitation", "new", to="sent", key_of=guest_and_channel)
def request_answer(doc: JsonDict, context: Context, claim: Claim) -> JsonDict:
    """Mail the guest a link for the answer → ``sent``.

    Raises
    ------
    Rejected
        If a field is missing or wrong, there is no such channel, the guest has it already, or a
        quota for mails is used up.
    """
    invitation = _checked(doc, context)
    channel_doc = _find_channel(context, invitation)
    channel = channels.channel_of(channel_doc, context)
    if invitation.ref.guest_id in channel.members:
        raise Rejected("email: this guest has the channel already")
    inviter = owners.owner_of(context.database)
    sending.count_by_owner(
        context, invitation.ref.owner_id, inviter.network, claim.pk, invitation.address
    )
    sending.count_to_address(context, claim.pk, invitation.address)
    now = context.clock()
    expires_at = timestamp(now + timedelta(seconds=context.settings.invitation_ttl_s))
    _note_expiry(context, doc, invitation.ref.owner_id, expires_at)
    mail = _mail(invitation, generation_of(doc), inviter.address, channel.name, context)
    sending.send(context, claim, doc, invitation.address, mail, field="email")
    return {
        "state": "sent",
        "invited_by": inviter.address,
        "channel_name": channel.name,
        "sent_at": timestamp(now),
        "sent_rev": max(revision_number(doc), doc.get("sent_rev", 0)),
        "expires_at": expires_at,
    }


def reconcile_moved(doc: JsonDict, context: Context) -> None:
    """Correct what a late run wrote, after the guest was added or removed meanwhile.

    A: reads the channel (with Ben) .............................. writes its security
    B:                               accepted; Ben is removed again
    """
    invitation = _checked(doc, context, is_mailed=True)
    channel_doc = context.database.find_one(invitation.channel_id)
    if channel_doc is None or not _has_member(channel_doc, invitation.ref.guest_id):
        _reconcile_guest(context, invitation, channel_doc)
    else:
        channels.reconcile_database(channel_doc, context)


@registry.safe("invitation", "accepting", to="accepted withdrawn new", on_stale=reconcile_moved)
def accept(doc: JsonDict, context: Context) -> JsonDict:
    """Make the guest a member, and share the channel with them → ``accepted``.

    If the owner took the invitation back meanwhile, nothing is shared → ``withdrawn``, or ``new``
    if it is to be sent again.

    Raises
    ------
    Rejected
        If the answer did not come by the link in the mail, the channel is closed or full, or there
        are too many conflicting revisions.
    """
    invitation = _checked(doc, context, is_mailed=True)
    receipt = context.invitation_links.verify(str(doc.get("answer_code")))
    if receipt != LinkToken(invitation.ref.acceptance, generation_of(doc)):
        raise Rejected("an invitation is accepted by the link in its mail")
    changes = _taken_back(context, doc)
    if changes is not None and not _has_joined(context, invitation, doc):
        return changes
    channel_doc = _add_member(context, invitation, doc)
    if channel_doc is not None and invitation.ref.guest_id in channel_doc.get("joined", {}):
        # Also for a guest who left again: an earlier run may have stopped halfway through this.
        owners.ensure_database(context, doc["email"])
    channel_doc = _reconcile_guest(context, invitation, channel_doc)
    if channel_doc is None or not channels.is_open(channel_doc):
        raise Rejected("the channel was closed before it was shared")
    return {"state": "accepted", "guest": invitation.ref.guest_id}


def find(context: Context, ref: InvitationRef) -> JsonDict | None:
    """Find an invitation's document.

    Returns
    -------
    dict or None
        None if it is missing, or to another guest by now, or cannot be read.
    """
    try:
        doc = owners.database_of(context, ref.owner_id).get(ref.invitation_id)
        is_invitation = doc.get("type") == "invitation"
        is_it = is_invitation and parse_invitation(doc, ref.owner_id, is_mailed=True).ref == ref
    except (NotFound, Rejected, Unreadable):
        return None
    return doc if is_it else None


def answer(context: Context, owner_id: str, doc: JsonDict, changes: JsonDict) -> JsonDict:
    """Apply an answer to an invitation that still waits for its guest; see `answers.answer`."""
    return answers.answer(owners.database_of(context, owner_id), doc, "sent", changes)


def expire(context: Context, owner_id: str, doc: JsonDict) -> JsonDict:
    """Expire an invitation, if it still waits; return its current document."""
    return answer(context, owner_id, doc, {"state": "expired"})


def _checked(doc: JsonDict, context: Context, *, is_mailed: bool = False) -> Invitation:
    if context.owner_id is None:
        raise Rejected("invitations are written in the control database of the channel's owner")
    return parse_invitation(doc, context.owner_id, is_mailed=is_mailed)


def _find_channel(context: Context, invitation: Invitation) -> JsonDict:
    try:
        doc = context.database.get(invitation.channel_id)
    except (NotFound, InvalidName):
        doc = {}
    if not channels.is_open(doc):
        raise Rejected("channel: you have no such channel, or it is closed")
    return doc


def _taken_back(context: Context, doc: JsonDict) -> JsonDict | None:
    try:
        leaves = context.database.leaves(doc["_id"])
    except Unreadable:
        raise Rejected("too many revisions are in conflict; write another invitation") from None
    return taken_back(doc, leaves)


def _has_joined(context: Context, invitation: Invitation, doc: JsonDict) -> bool:
    """Return whether an earlier run made the guest a member by this answer."""
    channel_doc = context.database.find_one(invitation.channel_id) or {}
    joined: JsonDict = channel_doc.get("joined", {})
    return joined.get(invitation.ref.guest_id) == _name_of_answer(doc)


def _name_of_answer(doc: JsonDict) -> str:
    return f"{doc.get('answered_at')} {doc['_id']}.{generation_of(doc)}"


def _add_member(context: Context, invitation: Invitation, doc: JsonDict) -> JsonDict | None:
    """Add the guest to the channel's members; return its document, None if it is gone.

    The update is retried after a conflict, so two guests who accept at once are both added.
    `joined` records by which answer a guest joined. The owner may have removed the guest since
    then. So a retry of the same answer does not add the guest again.
    """
    guest_id = invitation.ref.guest_id
    by_answer = _name_of_answer(doc)

    def change(channel_doc: JsonDict) -> JsonDict:
        members, joined = channel_doc.get("members", []), channel_doc.get("joined", {})
        has_joined = guest_id in members or joined.get(guest_id) == by_answer
        if has_joined or not channels.is_open(channel_doc):
            return channel_doc
        if len(members) >= MAX_MEMBERS:
            raise Rejected(f"the channel has {MAX_MEMBERS} members: there is no room for another")
        return {
            **channel_doc,
            "members": [*members, guest_id],
            "joined": {**joined, guest_id: by_answer},
        }

    try:
        return context.database.update(invitation.channel_id, change)
    except NotFound:
        return None


def _reconcile_guest(
    context: Context, invitation: Invitation, channel_doc: JsonDict | None
) -> JsonDict | None:
    """Share the channel with the guest, or stop sharing it, by the channel's latest document.

    Returns
    -------
    dict or None
        The channel's document that was applied last; None if it is gone.
    """
    apply = partial(_apply_to_guest, context, invitation)
    return reconcile(context.database, invitation.channel_id, channel_doc, apply)


def _apply_to_guest(context: Context, invitation: Invitation, doc: JsonDict | None) -> bool:
    """Update the database's security, then the guest's documents, from the channel's document."""
    guest_id = invitation.ref.guest_id
    if doc is not None:
        channels.apply_to_database(context, doc)  # rights first, so that a subscription works
    channel = channels.channel_of(doc or {"_id": invitation.channel_id}, context)
    if doc is not None and _has_member(doc, guest_id):
        sharing.share(context, channel, guest_id)
    else:
        sharing.unshare(context, channel, guest_id, "you are no longer a member")
    return True


def _has_member(channel_doc: JsonDict, guest_id: str) -> bool:
    """Return whether the channel is open and the guest is a member."""
    return channels.is_open(channel_doc) and guest_id in channel_doc.get("members", [])


def _note_expiry(context: Context, doc: JsonDict, owner_id: str, expires_at: str) -> None:
    """Write a note of when the invitation expires into `<CONTROL_DB>`.

    The sweep reads these notes, because it cannot read every owner's control database.
    """
    note_id = f"expiry-{owner_id}-{doc['_id']}"
    context.control_database.update(
        note_id,
        lambda note: {**note, "generation": generation_of(doc), "expires_at": expires_at},
        default={"_id": note_id, "type": "expiry", "owner": owner_id, "invitation": doc["_id"]},
        is_likely_new=True,
    )


def _mail(
    invitation: Invitation, generation: int, inviter: str, channel_name: str, context: Context
) -> sending.Mail:
    # Imported here, because only the Lambdas that send mail or show pages need templates.
    from chalicelib.emails import texts

    token = context.invitation_links.sign(invitation.ref.subject, generation)
    return texts.invitation(
        context.page_url("invitation", token),
        inviter,
        channel_name,
        hours=context.settings.invitation_ttl_s / HOUR_S,
    )
