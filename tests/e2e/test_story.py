"""Two devices and a guest, through all that can happen to them: no revision is lost.

Counted by revision: the leaf revisions that people wrote are those of each copy, no more, no less.

    small           the embedded server, or whatever COUCHDB_URL names
    large           20,000 documents and an attachment of 5 MB, on a real CouchDB only

`DEVICE_COUCHDB_URL` is the devices' CouchDB where it is another one than the cloud's.
`COUCHDB_RESTART` is a command that restarts it; without one, a given CouchDB is not restarted.
"""

import base64
import random
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial

import pytest

from chalicelib.couch import Database
from chalicelib.domain.channel import DESCRIPTION_ID
from chalicelib.domain.documents import JsonDict
from local.net import Net
from local.system import ROOT
from syncpoint_device import lifecycle, sharing
from syncpoint_device.errors import Revoked
from tests.e2e.conftest import Couches, MakeGadget
from tests.kit.basics import wait_for
from tests.kit.device.gadget import (
    Gadget,
    in_cloud,
    is_gone,
    share_with,
    wait_for_sync,
    wait_for_word,
)

pytestmark = pytest.mark.slow

PAGE = 500
LIMIT_S = 1200
KILLED_AT = 20  # the request before which an agent is killed


@dataclass(frozen=True)
class Size:
    documents: int
    attachment: int


@dataclass
class Ledger:
    """The leaf revisions of the documents that people wrote in one channel."""

    leaves: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    deleted: int = 0

    def put(self, database: Database, doc: JsonDict) -> None:
        """Write a document; its revision takes the place of the one that it was made from."""
        self._note(doc, database.put(doc))

    def put_many(self, database: Database, docs: list[JsonDict]) -> None:
        for start in range(0, len(docs), PAGE):
            page = docs[start : start + PAGE]
            body = {"docs": page}
            rows = database._http.request("POST", f"/{database.name}/_bulk_docs", body=body)
            for doc, row in zip(page, rows, strict=True):
                self._note(doc, row["rev"])

    def edit(self, database: Database, doc_id: str, **changes: object) -> None:
        self.put(database, {**database.get(doc_id), **changes})

    def _note(self, doc: JsonDict, rev: str) -> None:
        leaves = self.leaves[doc["_id"]]
        leaves.discard(doc.get("_rev", ""))
        leaves.add(rev)
        self.deleted += "_deleted" in doc

    def is_in(self, database: Database) -> bool:
        """Whether a copy has these leaves, and no others."""
        if database.info()["doc_count"] < len(self.leaves) - self.deleted:
            return False  # the first look is a cheap one
        return not self.differences(database)

    def differences(self, database: Database) -> dict[str, tuple[set[str], set[str]]]:
        """The leaves that were written, and those of a copy, of each document with other ones."""
        found = leaves_of(database)
        return {
            doc_id: (self.leaves.get(doc_id, set()), found.get(doc_id, set()))
            for doc_id in self.leaves.keys() | found.keys()
            if self.leaves.get(doc_id) != found.get(doc_id)
        }

    def wait_for(self, *databases: Database) -> None:
        for database in databases:
            count = sum(map(len, self.leaves.values()))
            wait_for(partial(self.is_in, database), f"{count} revisions", limit_s=LIMIT_S)


def leaves_of(database: Database) -> dict[str, set[str]]:
    """All leaf revisions of what people wrote, by document, deleted ones among them."""
    answer = database._http._session.get(
        f"{database.url}/_changes", params={"style": "all_docs"}, timeout=120
    )
    rows = answer.json()["results"]
    return {
        row["id"]: {change["rev"] for change in row["changes"]}
        for row in rows
        if row["id"] != DESCRIPTION_ID and not row["id"].startswith("_design/")
    }


def kill_an_agent(gadget: Gadget) -> None:
    """Start the agent again, kill it in the middle, and start another one."""
    gadget.stop()
    command = [sys.executable, "-m", "tests.kit.device.killed_agent", str(gadget.folder)]
    subprocess.run([*command, str(KILLED_AT)], cwd=ROOT, timeout=LIMIT_S)
    gadget.start()


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(Size(200, 100_000), id="small"),
        pytest.param(Size(20_000, 5_000_000), id="large", marks=pytest.mark.real),
    ],
)
def test_whatever_happens_to_devices_no_revision_is_lost(
    gadget: MakeGadget, net: Net, couches: Couches, size: Size
) -> None:
    phone = gadget("phone").become_active()
    laptop = gadget("laptop", owner=phone.owner).become_active()
    tablet = gadget("tablet").become_active()
    letters_id = phone.create("Letters")
    for one in (phone, laptop):
        wait_for_sync(one, letters_id)
    photos_id, db = share_with(phone, tablet)
    wait_for_sync(laptop, photos_id)
    photos, letters = Ledger(), Ledger()
    cloud = in_cloud(phone, photos_id)
    copies = [phone.copy(photos_id), laptop.copy(photos_id), tablet.copy(db), cloud]

    # All that the phone has is everywhere.
    photos.put(copies[0], with_attachment("photo", size.attachment))
    photos.put_many(copies[0], [{"_id": f"note-{n}", "n": n} for n in range(size.documents)])
    letters.put(phone.copy(letters_id), {"_id": "letter"})
    photos.wait_for(*copies)
    letters.wait_for(phone.copy(letters_id), laptop.copy(letters_id))

    # Offline edits on all sides, one of them in conflict.
    net.cut()
    for copy, by in zip(copies, ("phone", "laptop", "tablet"), strict=False):
        photos.put(copy, with_attachment(f"photo of the {by}", size.attachment // 10))
        photos.put_many(copy, [{"_id": f"{by}-{n}"} for n in range(size.documents // 20)])
    wait_for_word(phone, "cloud", "cannot be reached")
    base = copies[0].get("note-1")
    for copy, by in ((copies[0], "phone"), (copies[1], "laptop")):
        photos.put(copy, {**base, "by": by})
    photos.edit(copies[0], "note-2", _deleted=True)
    photos.edit(copies[0], "photo", caption="a ferry")
    letters.edit(laptop.copy(letters_id), "letter", by="laptop")

    # The agent is killed, CouchDB restarted, and the network there again.
    kill_an_agent(phone)
    net.restore()
    couches.restart("phone")
    photos.wait_for(*copies)
    assert len(photos.leaves["note-1"]) == 2

    # A guest who was removed keeps what they have. Nothing goes either way any more.
    kept = leaves_of(copies[2])
    sharing.remove(phone.device, "Photos", tablet.owner)
    wait_for(lambda: not tablet.replicates(db), "the end of the guest's replication")
    photos.put(copies[0], {"_id": "after the guest"})
    copies[2].put({"_id": "by the former guest"})
    photos.wait_for(copies[0], copies[1], cloud)
    assert leaves_of(copies[2]).keys() - kept.keys() == {"by the former guest"}

    # A channel that was closed is gone in the cloud. Its copies stay, also what was not sent.
    phone.stop()
    phone.end_replications()
    photos.put(copies[0], {"_id": "not sent"})
    sharing.close(laptop.device, "Photos", confirmed=True)
    wait_for(lambda: is_gone(cloud), "the end of the channel's database")
    phone.start()
    for one in (phone, laptop):
        wait_for_word(one, "Photos", "stopped: the channel was closed")
    assert photos.differences(copies[0]) == {}
    del photos.leaves["not sent"]
    assert photos.differences(copies[1]) == {}

    # A device that was revoked is registered again, and goes on with what it has.
    lifecycle.revoke_other(phone.device, laptop.id)
    wait_for(lambda: not laptop.is_running(), "the end of the agent")
    assert isinstance(laptop.failure, Revoked)
    letters.put(laptop.copy(letters_id), {"_id": "of a revoked device"})
    letters.put(phone.copy(letters_id), {"_id": "in the meantime"})
    laptop.stop()
    lifecycle.unlink(laptop.home, laptop.device, purge=False, offline=True)
    laptop.said.clear()
    laptop.become_active()
    wait_for_sync(laptop, letters_id)
    letters.wait_for(phone.copy(letters_id), laptop.copy(letters_id), in_cloud(phone, letters_id))
    assert photos.differences(laptop.copy(photos_id)) == {}


def with_attachment(doc_id: str, size: int) -> JsonDict:
    """A document with a file that cannot be compressed."""
    data = base64.b64encode(random.Random(doc_id).randbytes(size)).decode()
    return {"_id": doc_id, "_attachments": {"file": {"content_type": "image/jpeg", "data": data}}}
