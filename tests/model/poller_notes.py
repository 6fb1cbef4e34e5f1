"""What pollers delivered so far, and the rules that they must keep to."""

from dataclasses import dataclass, field

from chalicelib.domain.documents import JsonDict
from tests.kit.fakes.couch_docs import Document, StoredDatabase
from tests.kit.fakes.couch_feeds import number_of
from tests.kit.fakes.couch_http import Refusal

START_S = 1_800_000_000
PAGE_SIZE = 2
MAX_DOCS = 8
ROUTED = ("device", "new")


@dataclass
class Notes:
    """All that the rules ask for.

    Attributes
    ----------
    jumps, edits : int
        How often the time may still jump, and the databases be changed.
    changes : list of str
        What was done to the databases, which tells what they hold.
    delivered : dict
        How often SQS accepted a message about a document's revision: by database, id, revision.
        Of a database that is deleted and made again, all is to be delivered again.
    clocks_agree : bool
        If not, a poller may find a lease over too early.
    at_work : dict
        The pollers that took the lease and did not give it back; until when it is theirs.
    excused : int
        How many messages may come twice. Whatever interrupts a poller (a crash, a fault, another
        that takes its lease) costs a page; a feed that restarts, all that it has.
    """

    jumps: int
    edits: int
    clocks_agree: bool = True
    passed_s: float = 0
    changes: list[str] = field(default_factory=list)
    delivered: dict[tuple[str, str, str], int] = field(default_factory=dict)
    at_work: dict[str, float] = field(default_factory=dict)
    excused: int = 0

    def take(self, name: str) -> None:
        """A poller was told that the lease is its own."""
        for other, until_s in self.at_work.items():
            if other != name:
                is_over = until_s < self.passed_s
                assert is_over or not self.clocks_agree, "two pollers at once"
                # By its own clock, too, its lease is over: it renews it before it sends more.
                self.excused += PAGE_SIZE if self.clocks_agree else MAX_DOCS

    def deliver(self, body: JsonDict) -> None:
        """SQS has accepted a message."""
        key = body["db"], body["id"], body["rev"]
        self.delivered[key] = self.delivered.get(key, 0) + 1

    def forget(self, db: str) -> None:
        """A database was deleted; who has read two pages of it, one ahead, may send them yet."""
        self.excused += 2 * PAGE_SIZE
        for key in [key for key in self.delivered if key[0] == db]:
            del self.delivered[key]

    def check(self, database: StoredDatabase, item: JsonDict) -> None:
        """A saved seq never stands behind a change that was not delivered."""
        for kind in ("seq", "update_seq"):
            try:
                saved = number_of(item[kind]["S"], database)
            except Refusal:
                continue
            for document in self.undelivered(database):
                assert document.seq > saved, f"the {kind} passed {document.doc_id}"

    def undelivered(self, database: StoredDatabase) -> list[Document]:
        """The documents in a routed state whose revision no queue has."""
        return [
            document
            for document in database.documents.values()
            if is_routed(document) and revision_key(database, document) not in self.delivered
        ]

    def check_end(self, databases: list[StoredDatabase]) -> None:
        """All was delivered; and twice, only what is excused."""
        left = [
            document.doc_id for database in databases for document in self.undelivered(database)
        ]
        assert not left, f"never delivered: {left}"
        twice = sum(self.delivered.values()) - len(self.delivered)
        assert twice <= self.excused, f"{twice} messages twice, {self.excused} excused"


def revision_key(database: StoredDatabase, document: Document) -> tuple[str, str, str]:
    return database.name, document.doc_id, document.winner.rev


def is_routed(document: Document) -> bool:
    body = document.winner.body or {}
    return not document.is_deleted and (body.get("type"), body.get("state")) == ROUTED
