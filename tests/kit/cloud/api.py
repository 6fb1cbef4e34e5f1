"""The API on a port of this machine, and documents in all states for its routes to find."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from chalicelib.couch import Database, Server
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.link_tokens import InvitationRef
from chalicelib.domain.names import owner_control_db
from chalicelib.engine.context import Context
from chalicelib.engine.dependencies import Dependencies
from chalicelib.settings import MAX_QUOTA, poller_key, queue_name
from local.aws import LocalAws
from local.cleanup import remove_all_of
from local.lambdas import Api, load_app
from local.system import ROOT
from tests.kit.basics import a_device, an_address, create_table

STAGE = "fuzz"
DEVICE_STATES = (
    *("new", "confirming", "confirmed", "active", "revoking", "revoked"),
    *("expired", "rejected", "undeliverable", "error"),
)
INVITATION_STATES = (
    *("new", "sent", "accepting", "accepted", "declined", "withdrawn", "expired", "error"),
)
OPEN = ("confirming", "sent")  # an answer changes these, so there are several of them
COPIES = 8
DEVICE_CODE = "ABCD-EFGH"  # of all devices, so that the two fit together that a request has
LATER = "2999-01-01T00:00:00Z"
# What strangers may have put there, and a page must bear.
NAMES = ("Ada's phone", "<script>alert(1)</script>", "{{ 7 * 7 }}", "\u05d0 & \u4f60\U0001f4f1")


@dataclass
class ApiPlace:
    """Where the API is, and what is behind it.

    Attributes
    ----------
    known : dict
        By the names of formats in docs/openapi.yaml: what has documents behind it, in all states.
    """

    url: str
    context: Context
    known: dict[str, list[str]] = field(default_factory=dict)

    def renew(self) -> None:
        """Write new documents, for requests to come; nobody has answered these."""
        self.known = {"confirm-token": [], "invitation-token": [], "doc-id": [], "device-code": []}
        for number, state in enumerate(_with_copies(DEVICE_STATES)):
            self._add_device(state, NAMES[number % len(NAMES)])
        owner = an_address()
        name = owner_control_db(self.context.database.name, owner_id_of(owner))
        database = self.context.server.database(name)
        database.create()
        for number, state in enumerate(_with_copies(INVITATION_STATES)):
            self._add_invitation(database, owner, state, NAMES[number % len(NAMES)])

    def _add_device(self, state: str, name: str) -> None:
        device = a_device(an_address(), name)
        doc: JsonDict = {**device.doc, "state": state, "confirm_expires_at": LATER}
        self.context.database.put(doc | {"device_code": DEVICE_CODE} | _reason(state))
        self.known["confirm-token"].append(
            self.context.confirmation_links.sign(device.device_id, 0)
        )
        self.known["device-code"].append(DEVICE_CODE)
        self.known["doc-id"].append(device.device_id)

    def _add_invitation(self, database: Database, owner: str, state: str, name: str) -> None:
        guest, doc_id = an_address(), f"invitation-{uuid.uuid4().hex}"
        doc: JsonDict = {"_id": doc_id, "type": "invitation", "state": state, "email": guest}
        doc |= {"channel": "channel-1", "channel_name": name, "invited_by": owner}
        database.put(doc | {"expires_at": LATER} | _reason(state))
        ref = InvitationRef(owner_id_of(owner), owner_id_of(guest), doc_id)
        self.known["invitation-token"].append(self.context.invitation_links.sign(ref.subject, 0))


@contextmanager
def opened(couch_url: str, aws: LocalAws) -> Iterator[ApiPlace]:
    """The API over a real CouchDB and moto; nobody works at the documents that come in."""
    name = f"syncpoint-test-{uuid.uuid4().hex[:12]}"
    secret = aws.create_secret(name, couch_url, uuid.uuid4().hex * 2)
    dynamodb, sqs = aws.client("dynamodb"), aws.client("sqs")
    queue_url = sqs.create_queue(QueueName=queue_name(STAGE, "device", "new"))["QueueUrl"]
    create_table(dynamodb, name)
    server = Server(couch_url)
    server.database(name).create()
    dependencies = Dependencies(_environment(name, secret))
    _let_the_poller_be_seen(dynamodb, name)
    module: Any = load_app(ROOT)
    module.dependencies = dependencies
    api = Api(module, ROOT)
    api.start()
    try:
        yield ApiPlace(api.url, dependencies.context())
    finally:
        api.stop()
        dependencies.context().server.close()
        remove_all_of(server, name)
        dynamodb.delete_table(TableName=name)
        sqs.delete_queue(QueueUrl=queue_url)


def _environment(name: str, secret: str) -> dict[str, str]:
    return {
        "STAGE": STAGE,
        "TABLE_NAME": name,
        "SECRET_ID": secret,
        "CONTROL_DB": name,
        "PUBLIC_URL": "https://sync.example.com/api",
        "MAIL_FROM": "sync@example.com",
        # All of these requests come from one network.
        "MAILS_PER_NETWORK_HOUR": str(MAX_QUOTA),
        "MAILS_PER_NETWORK_DAY": str(MAX_QUOTA),
        "MAILS_SHARE_HOUR": str(MAX_QUOTA),
    }


def _let_the_poller_be_seen(dynamodb: Any, name: str) -> None:
    item = {"pk": {"S": poller_key(name, 0, 1)}}
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    dynamodb.put_item(TableName=name, Item=item | {"seen_at_ms": {"N": str(now_ms)}})


def _with_copies(states: tuple[str, ...]) -> tuple[str, ...]:
    return states + tuple(state for state in states if state in OPEN) * COPIES


def _reason(state: str) -> JsonDict:
    return {"error": {"reason": json.dumps(NAMES)}} if state == "error" else {}
