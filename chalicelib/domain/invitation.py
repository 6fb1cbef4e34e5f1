"""An invitation's document, checked. No I/O."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.domain import fields
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict, Rejected, generation_of, revision_number
from chalicelib.domain.link_tokens import InvitationRef

# The id is the last part of a link's subject, which has no other dots.
_INVITATION_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


@dataclass(frozen=True)
class Invitation:
    """An invitation whose fields were all checked.

    Attributes
    ----------
    ref : InvitationRef
        The inviting owner, the guest and the document.
    address : str
        The normalised address: the mail is sent to it.
    channel_id : str
        The `_id` of a channel in the same database.
    """

    ref: InvitationRef
    address: str
    channel_id: str


def guest_and_channel(doc: JsonDict) -> list[str | None]:
    """Return for whom and for what an invitation is: with another guest it is another mail.

    All spellings of the guest's address are one guest. The document may be unchecked: where a field
    is no text, and where an address is none, no mail is sent.
    """
    guest, channel = (
        doc[name] if isinstance(doc.get(name), str) else None for name in ("email", "channel")
    )
    try:
        return [guest and owner_id_of(guest), channel]
    except ValueError:  # it has no UTF-8, or is no address
        return [guest, channel]


def parse_invitation(doc: JsonDict, owner_id: str, *, is_mailed: bool = False) -> Invitation:
    """Read and check an invitation's document.

    Parameters
    ----------
    owner_id : str
        The id of the owner whose control database has the document.
    is_mailed : bool
        Whether a mail was sent to the guest. Then only the address is not checked again.

    Raises
    ------
    Rejected
        If a field is missing or wrong; the reason names the field.
    """
    if not _INVITATION_ID.fullmatch(doc["_id"]):
        raise Rejected("_id must be letters, digits, _ and -, at most 128 of them")
    fields.check_generation(doc)
    address = (fields.known_address if is_mailed else fields.mail_address)(doc, "email")
    guest_id = owner_id_of(address)
    if guest_id == owner_id:
        raise Rejected("email is your own address: your devices have the channel already")
    channel_id = doc.get("channel")
    if not isinstance(channel_id, str) or not channel_id:
        raise Rejected("channel must be the _id of one of your channels")
    return Invitation(InvitationRef(owner_id, guest_id, doc["_id"]), address, channel_id)


def taken_back(doc: JsonDict, leaves: Sequence[JsonDict]) -> JsonDict | None:
    """Return the changes by which the owner took an invitation back, while its guest accepted it.

    The owner's device was offline, so its revision and that of the answer are in conflict, and
    CouchDB may show either. The owner withdrew the invitation, or deleted it, or sent it again, or
    made another one for somebody else under its id.

    Parameters
    ----------
    doc : dict
        The revision with the guest's answer.
    leaves : sequence of dict
        All leaf revisions of the document, deleted ones too.

    Returns
    -------
    dict or None
        The changes of `doc` that follow, with the next `state`; None if no revision takes it back.
    """
    others = [leaf for leaf in leaves if leaf["_rev"] != doc["_rev"]]
    living = [leaf for leaf in others if not leaf.get("_deleted")]
    for leaf in sorted(living, key=generation_of, reverse=True):
        if generation_of(leaf) < generation_of(doc):
            break
        if leaf.get("type") != "invitation":
            return {"state": "withdrawn"}
        state = "withdrawn" if leaf.get("state") == "withdrawn" else "new"
        if _mail_of(leaf) != _mail_of(doc):
            return {**_mail_of(leaf), "state": state}
        if state == "withdrawn":
            return {"state": "withdrawn"}
    # A deletion does not tell which mail it was for. If its revision is later than the one that was
    # mailed, it was for this mail. It counts once: after it, another mail may be accepted.
    deletion = max((revision_number(leaf) for leaf in others if leaf.get("_deleted")), default=0)
    if deletion > doc.get("sent_rev", 0):
        return {"state": "withdrawn", "sent_rev": deletion}
    return None


def _mail_of(doc: JsonDict) -> JsonDict:
    """Return what tells an invitation's mail from its other mails."""
    return {
        "generation": generation_of(doc),
        "email": doc.get("email"),
        "channel": doc.get("channel"),
    }
