"""The poller's lease and checkpoints in memory."""

from collections.abc import Collection
from dataclasses import dataclass, field

from poller.checkpoint import Checkpoint
from poller.lease import Cursor


@dataclass
class FakeLease:
    """Keeps the cursors that are saved."""

    cursors: list[Cursor] = field(default_factory=list)
    renewed: int = 0

    def renew(self) -> None:
        self.renewed += 1

    def save(self, cursor: Cursor) -> None:
        self.cursors.append(cursor)


@dataclass
class FakeCheckpoints:
    """Keeps the checkpoints that are saved, and what was asked, in order."""

    lease: FakeLease = field(default_factory=FakeLease)
    known: dict[str, Checkpoint] = field(default_factory=dict)
    saved: list[tuple[str, Checkpoint]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    reads: list[list[str]] = field(default_factory=list)

    def read(self, dbs: Collection[str]) -> dict[str, Checkpoint]:
        self.reads.append(list(dbs))
        return {db: self.known[db] for db in dbs if db in self.known}

    def save(self, db: str, checkpoint: Checkpoint) -> None:
        self.saved.append((db, checkpoint))
        self.known[db] = checkpoint

    def delete(self, db: str) -> None:
        self.deleted.append(db)
        self.known.pop(db, None)
