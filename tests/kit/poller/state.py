"""The poller's lease and seqs in memory."""

from collections.abc import Collection
from dataclasses import dataclass, field

from poller.checkpoint import Sent
from poller.lease import Cursor


@dataclass
class FakeLease:
    """Keeps the places that are saved."""

    cursors: list[Cursor] = field(default_factory=list)
    renewed: int = 0

    def renew(self) -> None:
        self.renewed += 1

    def save(self, cursor: Cursor) -> None:
        self.cursors.append(cursor)


@dataclass
class FakeCheckpoint:
    """Keeps the seqs that are saved, and the order of what was asked."""

    lease: FakeLease = field(default_factory=FakeLease)
    known: dict[str, Sent] = field(default_factory=dict)
    saved: list[tuple[str, Sent]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    reads: list[list[str]] = field(default_factory=list)

    def sent(self, dbs: Collection[str]) -> dict[str, Sent]:
        self.reads.append(list(dbs))
        return {db: self.known[db] for db in dbs if db in self.known}

    def save(self, db: str, sent: Sent) -> None:
        self.saved.append((db, sent))
        self.known[db] = sent

    def forget(self, db: str) -> None:
        self.forgotten.append(db)
        self.known.pop(db, None)
