"""The poller's lease and checkpoints: in memory, and over a table in memory."""

import functools
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from poller.checkpoint import Checkpoint
from poller.lease import Cursor, Lease, LeaseHeld
from tests.kit.fakes.aws import FakeAws

TABLE, KEY, LEASE_S, START_S = "table", "poller#control", 60, 1_000_000.0


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


@dataclass
class Pollers:
    """Some pollers' view of one table; time passes only when it is moved."""

    now_s: float = START_S
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.aws = FakeAws(lambda: self.now_s)
        self.aws.create_table(TABLE)

    def lease(self, key: str = KEY) -> Lease:
        client = self.aws.client("dynamodb", self.note)
        return Lease(client, TABLE, key, LEASE_S, lambda: self.now_s)

    def taken(self) -> Lease:
        lease = self.lease()
        lease.take()
        self.asked.clear()
        return lease

    def note(self, name: str, call: "functools.partial[Any]") -> Any:
        self.asked.append(name)
        return call()

    def is_free(self) -> bool:
        """Whether another poller would get the lease now; it gives it back if so."""
        lease = self.lease()
        try:
            lease.take()
        except LeaseHeld:
            return False
        lease.release()
        return True

    def seen_at_s(self) -> float:
        """When a poller was last at work, as /health and `make doctor` read it."""
        [item] = self.aws.items(TABLE)
        return int(item["seen_at_ms"]["N"]) / 1000
