"""FakeCouch's databases, and the feed that tells what happens to them."""

import re
import threading
from dataclasses import dataclass, field

from chalicelib.domain.documents import JsonDict
from tests.kit.fakes.couch_docs import StoredDatabase
from tests.kit.fakes.couch_edits import Edit
from tests.kit.fakes.couch_http import Refusal
from tests.kit.fakes.couch_users import USER_PREFIX

SYSTEM_DATABASES = ("_users", "_replicator", "_global_changes")

_NAME = re.compile(r"[a-z][a-z0-9_$()+/-]{0,237}")
_NAMES_ARE = "Only lowercase characters (a-z), digits (0-9), and any of _, $, (, ), +, -, and /."


@dataclass
class Store:
    """What a server keeps.

    Attributes
    ----------
    databases : dict
        By name; ``databases["control"].docs()`` is what it holds.
    config : dict
        ``{(section, key): value}``.
    admins : dict
        ``{name: password}``.
    is_telling : bool
        Whether ``_db_updates`` is told of what happens: a node that crashes forgets some.
    """

    databases: dict[str, StoredDatabase] = field(default_factory=dict)
    config: dict[tuple[str, str], str] = field(default_factory=dict)
    admins: dict[str, str] = field(default_factory=lambda: {"admin": "secret"})
    is_telling: bool = True
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        for name in SYSTEM_DATABASES:
            self.create(name)

    def users(self) -> dict[str, JsonDict]:
        """The logins, by name."""
        with self.lock:
            docs = self.databases["_users"].docs()
        return {doc_id.removeprefix(USER_PREFIX): doc for doc_id, doc in docs.items()}

    def database(self, name: str) -> StoredDatabase:
        """The database, if there is one of this name."""
        if name not in self.databases:
            raise Refusal(404, "not_found", "Database does not exist.")
        return self.databases[name]

    def create(self, name: str) -> StoredDatabase:
        """Make a database, as ``PUT /name`` does."""
        with self.lock:
            if not _NAME.fullmatch(name) and name not in SYSTEM_DATABASES:
                raise Refusal(400, "illegal_database_name", f"Name: '{name}'. {_NAMES_ARE}")
            if name in self.databases:
                reason = "The database could not be created, the file already exists."
                raise Refusal(412, "file_exists", reason)
            made = StoredDatabase(name, lambda: self.tell(name, "updated"))
            self.databases[name] = made
            self.tell(name, "created")
            return made

    def delete(self, name: str) -> None:
        """Delete a database, as ``DELETE /name`` does."""
        with self.lock:
            self.database(name)
            del self.databases[name]
            self.tell(name, "deleted")

    def tell(self, name: str, kind: str) -> None:
        """A row of ``_db_updates``, if CouchDB keeps that; the last of its kind and name stays."""
        with self.lock:
            feed = self.databases.get("_global_changes")
            if not self.is_telling or feed is None or name == "_global_changes":
                return
            doc_id = f"{kind}:{name}"
            known = feed.documents.get(doc_id)
            feed.write(Edit(doc_id, {}, known.winner.rev if known else None))
