"""Handles the notifications from SES about bounces and complaints, which come through SNS.

Source: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

import json

from chalicelib.couch import InvalidName, NoDatabase
from chalicelib.domain import documents
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict, generation_of, timestamp
from chalicelib.domain.names import is_owner_id
from chalicelib.emails import sending
from chalicelib.emails.sending import MailRef
from chalicelib.engine.context import Context
from chalicelib.handlers import devices, invitations, owners

# Bounces that say nothing of whether the mail arrived. SES reports automatic replies in this way,
# such as out-of-office notes. The document goes on waiting for its answer, until it expires.
_MAY_HAVE_ARRIVED = {("Transient", "General")}
# Only these types say that a mail did not arrive: "Undetermined" and unknown ones do not.
_PERMANENT = "Permanent"
_FAILED = {_PERMANENT, "Transient"}


class TooEarly(Exception):
    """Raised when the document does not record yet that its mail was sent.

    Lambda retries the notification after a minute.
    """


class InvalidNotification(Exception):
    """Raised when a message in the topic is not from SES."""


def handle_notification(context: Context, message: str) -> str:
    """Handle one notification: change the mail's document; after a complaint, suppress the address.

    A complaint, and a bounce for good, counts against the mail's sender.

    Parameters
    ----------
    message : str
        The text of an SNS message:
        ``{eventType, mail: {messageId, destination, tags}, bounce | complaint}``.

    Returns
    -------
    str
        The kind of notification, for the metric: ``bounce``, ``complaint``, or ``other``.

    Raises
    ------
    InvalidNotification
        If the message is not a notification from SES.
    TooEarly
        If the mail's document is still in state ``new``.
    """
    if not message.startswith("{"):
        return "other"  # SES tests a new topic with a message in plain text
    try:
        notification = json.loads(message)
        kind = str(notification.get("eventType") or notification.get("notificationType")).lower()
        mail = notification["mail"]
        ref, reason = MailRef.parse(mail.get("tags", {})), _reason(kind, notification)
        addresses = [str(address) for address in mail["destination"]]
        message_id = str(mail.get("messageId"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise InvalidNotification(f"no notification of SES's: {type(exc).__name__}") from exc
    if reason is None:
        return "other"
    if kind == "complaint":
        for address in addresses:
            context.suppressions.add(owner_id_of(address), reason, timestamp(context.clock()))
    if ref is not None:
        is_temporary = kind == "bounce" and notification["bounce"]["bounceType"] != _PERMANENT
        if ref.sender and not is_temporary:
            sending.count_failed(context, ref.sender, message_id)
        _record_failure(context, ref, reason)
    return kind


def _reason(kind: str, notification: JsonDict) -> str | None:
    """Return why the mail failed, in words without an address; None if it did not fail."""
    if kind == "complaint":
        # RFC 5965: the reader has moved the mail out of the junk folder. That is no complaint.
        if notification.get("complaint", {}).get("complaintFeedbackType") == "not-spam":
            return None
        return "somebody at this address complained about the mail"
    bounce = notification.get("bounce", {})
    types = (str(bounce.get("bounceType")), str(bounce.get("bounceSubType")))
    if kind != "bounce" or types[0] not in _FAILED or types in _MAY_HAVE_ARRIVED:
        return None
    return f"the mail did not arrive: {'/'.join(types)}"


def _record_failure(context: Context, ref: MailRef, reason: str) -> None:
    """Record the failure in the mail's document, if that still waits for an answer."""
    if ref.owner_id is not None and not is_owner_id(ref.owner_id):
        return  # none of our mails has such a tag
    database = (
        owners.database_of(context, ref.owner_id) if ref.owner_id else context.control_database
    )
    try:
        doc = database.find_one(ref.doc_id)
    except (InvalidName, NoDatabase):
        return  # the owner's database does not exist, or the id is invalid
    if doc is None or generation_of(doc) != ref.generation:
        return  # the document is gone, or another mail was requested
    if doc.get("state") == "new":
        raise TooEarly(ref.doc_id)
    if ref.owner_id:
        changes = documents.rejection(f"email: {reason}", context.clock())
        invitations.answer(context, ref.owner_id, doc, changes)
    else:
        changes = {"state": "undeliverable", "undeliverable_reason": reason}
        devices.answer(context, doc, changes)
