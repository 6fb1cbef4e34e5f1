"""A replication that has passed over documents is found, and restarted from the start."""

import base64
import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote

import pytest

from chalicelib.couch import CouchError, Database, Server
from chalicelib.domain.documents import JsonDict
from syncpoint_device.endpoints import split_login
from syncpoint_device.gaps import Gaps
from syncpoint_device.replications import Direction, Replication
from tests.kit.basics import wait_for
from tests.kit.device.by_hand import Kit, MakeKit

REFUSING = "function (doc) { if (doc._id === 'refused') throw({forbidden: 'no'}); }"


@dataclass
class Way:
    """One direction of a channel, between a device and a cloud on the same server."""

    kit: Kit
    server: Server
    source: Database
    target: Database
    direction: Direction
    group: str

    def start(self) -> None:
        self.kit.device.replications.reconcile(self.group, [self.direction])

    def stop(self) -> None:
        """Replicate nothing; the checkpoint is written when the replication ends."""
        self.kit.device.replications.reconcile(self.group, [])

    def wait_for(self, doc_id: str) -> None:
        wait_for(lambda: self.target.find_one(doc_id), doc_id)

    def checkpoint(self) -> JsonDict | None:
        """The checkpoint in the source, under whatever id the replicator has for it."""
        try:
            rows = self.source.request("GET", "_local_docs")["rows"]
            ids = [row["id"].removeprefix("_local/") for row in rows]
        except CouchError:
            ids = self._ids_of_pouchdb()
        for checkpoint_id in ids:
            try:
                doc = self.source.request("GET", f"_local/{quote(checkpoint_id, safe='')}")
            except CouchError:
                continue
            if "history" in doc:
                return dict(doc)
        return None

    def _ids_of_pouchdb(self) -> list[str]:
        found = self.server.http.request_object("GET", "/").get("uuid")
        parts = [
            [f"{found}{database.name}", database.url, f"{database.url}/"]
            for database in (self.source, self.target)
        ]
        digests = [
            hashlib.md5(("".join(pair)).encode()).digest() for pair in zip(*parts, strict=True)
        ]
        texts = [base64.b64encode(digest).decode() for digest in digests]
        return [text.replace("/", ".").replace("+", "_") for text in texts]

    def rewrite_checkpoint(self) -> None:
        """Move the checkpoint to the end, as whoever may write `_local` documents."""
        last_seq = self.source.changes("now", limit=1)["last_seq"]
        doc = wait_for(self.checkpoint, "the checkpoint")
        name = "source_last_seq" if "source_last_seq" in doc else "last_seq"
        seq: object = int(last_seq) if isinstance(doc[name], int) else last_seq
        checkpoint_id = quote(doc["_id"].removeprefix("_local/"), safe="")
        self.source.request("PUT", f"_local/{checkpoint_id}", body={**doc, name: seq})

    def find(self, gaps: Gaps, looks: int = 6) -> list[Replication]:
        """What some looks find; each is restarted from the start, as the agent does."""
        found = []
        for _ in range(looks):
            replication = gaps.find(self.kit.device)
            if replication is not None:
                found.append(replication)
                self.kit.device.replications.restart(replication, from_start=True)
        return found


@pytest.fixture(params=["send", "receive"])
def way(
    request: pytest.FixtureRequest, make_kit: MakeKit, couch_url: str, server: Server
) -> Iterator[Way]:
    kit = make_kit(cloud=server.url, control_db="control")
    login = split_login(couch_url)[1]
    assert login is not None
    doc = {**kit.profile.doc, "_id": login[0]}  # the cloud knows no device, but its administrator
    kit.home.update(lambda kept: replace(kept, doc=doc, password=login[1]))
    db = f"db-{uuid.uuid4().hex}"
    local, cloud = kit.device.channel(db), server.database(db)
    for database in (local, cloud):
        database.create()
    number = ["send", "receive"].index(request.param)
    source, target = ((local, cloud), (cloud, local))[number]
    direction = kit.device.both_ways(local, db)[number]
    yield Way(kit, server, source, target, direction, local.name)
    kit.device.replications.remove_all()
    cloud.delete()


def test_what_a_rewritten_checkpoint_hides_arrives_all_the_same(way: Way) -> None:
    way.source.put({"_id": "first"})
    way.start()
    way.wait_for("first")
    way.stop()
    wait_for(way.checkpoint, "the checkpoint")
    way.source.put({"_id": "hidden"})
    way.rewrite_checkpoint()
    way.start()
    way.source.put({"_id": "later"})
    way.wait_for("later")
    assert way.target.find_one("hidden") is None
    gaps = Gaps()
    wait_for(lambda: way.find(gaps), "the gap")
    way.wait_for("hidden")
    assert way.kit.device.replications.reconcile(way.group, [way.direction]) is False


def test_a_document_that_is_refused_causes_one_restart_and_no_more(way: Way) -> None:
    way.target.put({"_id": "_design/rules", "validate_doc_update": REFUSING})
    way.source.put({"_id": "refused"})
    way.start()
    way.source.put({"_id": "taken"})
    way.wait_for("taken")
    gaps = Gaps()
    wait_for(lambda: way.find(gaps, 1), "the gap")
    way.source.put({"_id": "more"})
    way.wait_for("more")
    wait_for(lambda: not way.kit.device.replications.all()[0].is_busy, "an idle replication")
    assert way.find(gaps, 12) == []


def test_what_is_replicated_is_no_gap(way: Way) -> None:
    for number in range(3):
        way.source.put({"_id": f"doc-{number}"})
    way.start()
    for number in range(3):  # they may arrive in any order
        way.wait_for(f"doc-{number}")
    assert way.find(Gaps(), 12) == []
