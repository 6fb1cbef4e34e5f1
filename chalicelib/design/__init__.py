"""The design documents that Syncpoint writes into databases, and how it upgrades them."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from chalicelib.couch import Database, NotFound
from chalicelib.domain import moves
from chalicelib.domain.documents import JsonDict

DESIGN_ID = "_design/syncpoint"
_FOLDER = Path(__file__).parent
# In a file: the place of the moves, which are data (chalicelib/domain/moves.py).
_MOVES = "{/* from chalicelib/domain/moves.py */}"


@dataclass(frozen=True)
class DesignDoc:
    """The document ``_design/syncpoint`` of one kind of database.

    Attributes
    ----------
    file : str
        The file in ``design/`` with its ``validate_doc_update``. The moves are put into it.
    version : int
        Raised with every change of the text. A lower version never replaces a higher one.
    """

    file: str
    version: int

    @cached_property
    def doc(self) -> JsonDict:
        """Return the design document, without a revision."""
        text = (_FOLDER / self.file).read_text(encoding="utf-8")
        return {
            "_id": DESIGN_ID,
            "language": "javascript",
            "version": self.version,
            "validate_doc_update": text.replace(_MOVES, _as_javascript(moves.for_javascript())),
        }

    def install(self, database: Database, *, is_new: bool = False) -> bool:
        """Write this version into the database, unless it has the same or a later one.

        One request, one more if it writes.

        Parameters
        ----------
        is_new : bool
            Whether the database was just created. Then the document is written without reading it
            first.

        Returns
        -------
        bool
            Whether this call wrote the document.
        """
        return self._write(database, {"_id": DESIGN_ID}, is_new=is_new)

    def upgrade(self, database: Database) -> bool:
        """Do the same as `install`, but only if some version is installed already."""
        try:
            return self._write(database, None)
        except NotFound:
            return False

    def _write(self, database: Database, default: JsonDict | None, *, is_new: bool = False) -> bool:
        is_written = False

        def change(current: JsonDict) -> JsonDict:
            nonlocal is_written
            changed = self._newer(current)
            is_written = changed is not current
            return changed

        database.update(DESIGN_ID, change, default, is_likely_new=is_new)
        return is_written

    def _newer(self, current: JsonDict) -> JsonDict:
        if current.get("version", 0) >= self.version:
            return current
        rev = {"_rev": current["_rev"]} if "_rev" in current else {}
        return {**self.doc, **rev}


def _as_javascript(types: JsonDict) -> str:
    """Return the moves as an object in JavaScript, with a line for each of its members."""
    blocks = []
    for name, rules in types.items():
        lines = [f"      {json.dumps(key)}: {json.dumps(value)}" for key, value in rules.items()]
        blocks.append(f"    {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n    }")
    return "{\n" + ",\n".join(blocks) + "\n  }"


OWNER_CONTROL = DesignDoc("owner_control.js", version=5)
PUBLIC_CHANNEL = DesignDoc("public_channel.js", version=1)
