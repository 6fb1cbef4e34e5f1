"""What the poller's tests share: the poller that ships over a test's own databases and queue."""

import base64
import json
import re
import time
import uuid
import zlib
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from chalicelib.settings import PollerSettings, poller_key
from local.aws import LocalAws
from poller.app import run
from poller.checkpoint import Checkpoints
from poller.lease import Lease
from tests.kit.basics import create_table

# What the servers at hand bear; CouchDB itself refuses when too many databases open at once.
AT_ONCE = 8


@dataclass
class Poller:
    """The poller that ships, over a control database, a queue and a table of the test's own."""

    settings: PollerSettings
    control: Database
    sqs: Any
    dynamodb: Any
    queue_url: str

    def run(self, **changes: int) -> JsonDict:
        """One run; `changes` to its settings."""
        return run(replace(self.settings, **changes))  # type: ignore[arg-type]

    def received(self) -> list[str]:
        """The ids of the documents that wait in the queue; they are taken out of it."""
        return sorted(body["id"] for body in self.messages())

    def messages(self) -> list[JsonDict]:
        """The messages that wait in the queue; they are taken out of it."""
        bodies: list[JsonDict] = []
        while True:
            answer = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10)
            if not answer.get("Messages"):
                return bodies
            for message in answer["Messages"]:
                bodies.append(json.loads(message["Body"]))
                self.sqs.delete_message(
                    QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"]
                )

    def add(self, *doc_ids: str, database: Database | None = None) -> None:
        """Write documents that have a route."""
        for doc_id in doc_ids:
            (database or self.control).put({"_id": doc_id, "type": "device", "state": "new"})

    def lease(self, lease_s: int = 60, now_s: float | None = None, shards: int = 1) -> Lease:
        """Another poller's lease on the same databases."""
        return Lease(
            self.dynamodb,
            self.settings.table_name,
            poller_key(self.control.name, 0, shards),
            lease_s,
            time.time if now_s is None else lambda: now_s,
        )

    def checkpoints(self, lease: Lease) -> Checkpoints:
        """Another poller's view of the same table."""
        return Checkpoints(self.dynamodb, self.settings.table_name, lease, time.sleep)

    def items(self, prefix: str) -> dict[str, JsonDict]:
        """What the table holds, by key."""
        found = self.dynamodb.scan(TableName=self.settings.table_name)["Items"]
        return {item["pk"]["S"]: item for item in found if item["pk"]["S"].startswith(prefix)}


@contextmanager
def a_poller(aws: LocalAws, couch_url: str, control: Database) -> Iterator[Poller]:
    """A poller of one pass, with a small page."""
    sqs, dynamodb = aws.client("sqs"), aws.client("dynamodb")
    name = f"test-{uuid.uuid4().hex[:12]}"
    create_table(dynamodb, name)
    queue_url = sqs.create_queue(QueueName=name)["QueueUrl"]
    settings = PollerSettings.read(
        {
            "TABLE_NAME": name,
            "SECRET_ID": aws.create_secret(name, couch_url, "00" * 32),
            "CONTROL_DB": control.name,
            "ROUTES": json.dumps({"device/new": queue_url}),
            "POLL_WINDOW_SECONDS": "0",
            "POLL_PAGE_SIZE": "3",
        }
    )
    yield Poller(settings, control, sqs, dynamodb, queue_url)
    sqs.delete_queue(QueueUrl=queue_url)
    dynamodb.delete_table(TableName=name)


def seq_after(seq: str, by: int) -> str:
    """A seq that lies so far behind another one, as of before a backup was restored."""
    number, dash, rest = seq.partition("-")
    after = int(number) + by
    if re.fullmatch("g1AAAA[0-9a-f]+", rest):  # the stand-in's (tests/couchdb3/proxy.js)
        rest = "g1AAAA" + f"seq{after}".encode().hex()
    elif rest.startswith("g1AAAA"):  # CouchDB's: a compressed Erlang term
        term = zlib.decompress(base64.urlsafe_b64decode(rest + "=" * (-len(rest) % 4))[6:])
        found = re.search(rb"h\x03(?:a(.)|b(....))", term, re.DOTALL)  # {Seq, Uuid, Node}
        assert found, "the seq is no integer"
        moved_to = int.from_bytes(found[1] or found[2]) + by
        moved = term[: found.start()] + b"h\x03b" + moved_to.to_bytes(4) + term[found.end() :]
        packed = b"\x83P" + len(moved).to_bytes(4, "big") + zlib.compress(moved)
        rest = base64.urlsafe_b64encode(packed).decode().rstrip("=")
    return f"{after}{dash}{rest}"


@contextmanager
def owners(server: Server, control_db: str, count: int) -> Iterator[list[Database]]:
    """So many owners' control databases; they are removed afterwards."""
    databases = [
        server.database(f"{control_db}-{uuid.UUID(int=number).hex}") for number in range(count)
    ]
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(Database.create, databases))
        yield databases
    finally:
        remove(databases)


def remove(databases: Collection[Database]) -> None:
    """Delete databases, some at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda database: database.delete(), databases))
