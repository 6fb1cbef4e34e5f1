"""What SES says of mails: notifications as its configuration set publishes them."""

import json
from typing import Any

from tests.kit.basics import Mail


def notification(mail: Mail, kind: str, **said: Any) -> str:
    """As SES publishes it.

    Source: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-examples.html
    """
    tags = {"ses:configuration-set": ["syncpoint-test"]}
    return json.dumps(
        {
            "eventType": kind,
            "mail": {
                "timestamp": "2026-11-23T06:00:00.000Z",
                "messageId": mail.message_id,
                "destination": [mail.to],
                "tags": tags | {name: [value] for name, value in mail.tags.items()},
            },
            **said,
        }
    )


def bounce(mail: Mail, kind: str = "Permanent", sub_kind: str = "NoEmail") -> str:
    recipients = [{"emailAddress": mail.to, "diagnosticCode": f"550 no {mail.to} here"}]
    said = {"bounceType": kind, "bounceSubType": sub_kind, "bouncedRecipients": recipients}
    return notification(mail, "Bounce", bounce=said)


def complaint(mail: Mail) -> str:
    recipients = [{"emailAddress": mail.to}]
    return notification(mail, "Complaint", complaint={"complainedRecipients": recipients})
