"""A FakeCouch that notes what it is asked, and may answer some of it in another way."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.kit.fakes.couch import FakeCouch
from tests.kit.fakes.couch_docs import StoredDatabase
from tests.kit.fakes.couch_edits import Edit
from tests.kit.fakes.couch_feeds import seq_at
from tests.kit.fakes.couch_http import Answer, Asked, Refusal

BROKEN = Refusal(500, "internal_server_error", "badmatch")


@dataclass
class WatchedCouch(FakeCouch):
    """The server.

    Attributes
    ----------
    asked : list of str
        Every request in its order, without its parameters: ``GET /control/_changes``.
    instead : dict
        What answers such a request instead of the server.
    """

    asked: list[str] = field(default_factory=list)
    instead: dict[str, Callable[[Asked], Answer]] = field(default_factory=dict)

    def answer(self, asked: Asked) -> Answer:
        name = f"{asked.method} /{'/'.join(asked.path)}"
        self.asked.append(name)
        return self.instead.get(name, super().answer)(asked)

    def refuse(self, name: str, refusal: Refusal = BROKEN) -> None:
        """Answer a request with an error, whatever it is about."""

        def answer(asked: Asked) -> Answer:
            raise refusal

        self.instead[name] = answer

    def add(self, db: str, *doc_ids: str, state: str = "new") -> None:
        """Write devices' documents; no request."""
        for doc_id in doc_ids:
            self.databases[db].write(Edit(doc_id, {"type": "device", "state": state}))

    def seq(self, db: str, number: int | None = None, kind: str = "seq") -> str:
        """The seq of one of a database's changes, of the last one if no number is given."""
        database: StoredDatabase = self.databases[db]
        return seq_at(database, len(database.log) if number is None else number, kind)
