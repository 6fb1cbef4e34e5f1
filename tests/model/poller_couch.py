"""The control databases of the model: what they hold, and what may be done to them meanwhile."""

import copy
from collections.abc import Callable, Mapping

from tests.kit.fakes.couch import FakeCouch
from tests.kit.fakes.couch_edits import Edit
from tests.model.poller_notes import ROUTED

CONTROL, OWNERS = "control", "control-" + 32 * "a"

Change = Callable[[str], None]


class ControlDatabases:
    """The databases of a `FakeCouch`; a state's own are never changed, but copied before."""

    def __init__(self, couch: FakeCouch, docs: int) -> None:
        self._couch = couch
        self._made = 0
        self.make(CONTROL, docs)
        self.make(OWNERS, 1)

    def changes(self, db: str) -> Mapping[str, Change]:
        """What may be done to a database, by what it is called."""
        if db not in self._couch.databases:
            return {"made again with less": self.make, "made again with more": self._make_more}
        return {
            "a new document": self._add,
            "a new document, untold": self._add_untold,
            "another revision": self._edit,
            "a document moved on": self._move_on,
            "deleted": self._couch.delete,
            "replaced by one with less": self._replace_by_less,
            "replaced by one with more": self._replace_by_more,
        }

    def copy(self) -> None:
        """From here on, what is changed is no other state's."""
        self._couch.databases = copy.deepcopy(self._couch.databases)

    def make(self, db: str, docs: int = 1) -> None:
        """A database that holds some documents in a routed state."""
        self._made += 1
        self._couch.create(db).uid = f"{self._made:012x}"
        for number in range(docs):
            self._write(db, f"d{number}")

    def _make_more(self, db: str) -> None:
        self.make(db, 4)

    def _replace_by_less(self, db: str) -> None:
        self._couch.delete(db)
        self.make(db)

    def _replace_by_more(self, db: str) -> None:
        self._couch.delete(db)
        self._make_more(db)

    def _add(self, db: str) -> None:
        self._write(db, "new")

    def _add_untold(self, db: str) -> None:
        """CouchDB forgot to say in ``_db_updates`` that the database was updated."""
        self._couch.is_telling = False
        self._add(db)
        self._couch.is_telling = True

    def _edit(self, db: str) -> None:
        self._write(db, "d0")

    def _move_on(self, db: str) -> None:
        self._write(db, "d0", "done")

    def _write(self, db: str, doc_id: str, state: str = ROUTED[1]) -> None:
        database = self._couch.databases[db]
        known = database.documents.get(doc_id)
        body = {"type": ROUTED[0], "state": state, "number": len(database.log)}
        database.write(Edit(doc_id, body, known.winner.rev if known else None))
