"""Which databases are control databases, and which of them are this poller's. No I/O."""

import hashlib
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """One poller's share: the databases whose name's hash falls on its number.

    Parameters
    ----------
    control_db : str
        ``CONTROL_DB``; an owner's is ``<control_db>-<owner>``.
    shard, shards : int
        This poller's number, from 0, and how many there are.
    """

    control_db: str
    shard: int = 0
    shards: int = 1

    def holds(self, db: str) -> bool:
        """Whether this is a control database, and this poller's."""
        return self._is_control_db(db) and _hash(db) % self.shards == self.shard

    @property
    def last_key(self) -> str:
        """What comes after the names of all owners' control databases."""
        return f"{self.control_db}-g"

    def _is_control_db(self, db: str) -> bool:
        owner = db.removeprefix(f"{self.control_db}-")
        return db == self.control_db or (owner != db and bool(re.fullmatch("[0-9a-f]{32}", owner)))


def _hash(db: str) -> int:
    return int.from_bytes(hashlib.sha256(db.encode()).digest())
