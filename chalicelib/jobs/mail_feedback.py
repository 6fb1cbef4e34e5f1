"""What SES says of mails that were sent: bounces and complaints, by its configuration set and SNS.

Source: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

import json

from chalicelib.couch import InvalidName, NoDatabase
from chalicelib.domain import documents
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict, generation_of, timestamp
from chalicelib.domain.names import is_owner_id
from chalicelib.emails.sending import MailRef
from chalicelib.engine.context import Context
from chalicelib.handlers import devices, invitations, owners

# A mailbox that answers by itself is told as a bounce, too, though the mail arrived.
_ARRIVED = ("Transient", "General")


class TooEarly(Exception):
    """The document does not say yet that its mail was sent: Lambda tries again in a minute."""


class InvalidNotification(Exception):
    """The topic brought something that SES did not send."""


def take(context: Context, message: str) -> str:
    """Take one notification: the document moves on, and after a complaint all mail stops.

    Parameters
    ----------
    message : str
        The text of an SNS message: ``{eventType, mail: {destination, tags}, bounce | complaint}``.

    Returns
    -------
    str
        What it was, for the metric: ``bounce``, ``complaint``, or ``other``.

    Raises
    ------
    InvalidNotification
        If it is none.
    TooEarly
        If the mail's document still waits for the mail to be sent.
    """
    if not message.startswith("{"):
        return "other"  # SES says in plain words that it has found the topic
    try:
        said = json.loads(message)
        kind = str(said.get("eventType") or said.get("notificationType")).lower()
        mail = said["mail"]
        ref, reason = MailRef.parse(mail.get("tags", {})), _reason(kind, said)
        addresses = [str(address) for address in mail["destination"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise InvalidNotification(f"no notification of SES's: {type(exc).__name__}") from exc
    if reason is None:
        return "other"
    if kind == "complaint":
        for address in addresses:
            context.suppressions.add(owner_id_of(address), reason, timestamp(context.clock()))
    if ref is not None:
        _move(context, ref, reason)
    return kind


def _reason(kind: str, said: JsonDict) -> str | None:
    """Why the mail is of no use, in words without an address; None if it is."""
    if kind == "complaint":
        # By RFC 5965 that is whoever took it out of the junk mail: no complaint at all.
        if said.get("complaint", {}).get("complaintFeedbackType") == "not-spam":
            return None
        return "somebody at this address complained about the mail"
    bounce = said.get("bounce", {})
    types = (str(bounce.get("bounceType")), str(bounce.get("bounceSubType")))
    if kind != "bounce" or types == _ARRIVED:
        return None
    return f"the mail did not arrive: {'/'.join(types)}"


def _move(context: Context, ref: MailRef, reason: str) -> None:
    """Tell the document of it, if it still waits for its owner's, or its guest's, answer."""
    if ref.owner_id is not None and not is_owner_id(ref.owner_id):
        return  # no mail of ours is tagged so
    database = (
        owners.database_of(context, ref.owner_id) if ref.owner_id else context.control_database
    )
    try:
        doc = database.find_one(ref.doc_id)
    except (InvalidName, NoDatabase):
        return  # of an owner that there is not, or not any more
    if doc is None or generation_of(doc) != ref.generation:
        return  # gone, or another mail is on its way
    if doc.get("state") == "new":
        raise TooEarly(ref.doc_id)
    if ref.owner_id:
        changes = documents.rejection(f"email: {reason}", context.clock())
        invitations.answer(context, ref.owner_id, doc, changes)
    else:
        changes = {"state": "undeliverable", "undeliverable_reason": reason}
        devices.answer(context, doc, changes)
