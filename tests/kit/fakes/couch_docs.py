"""One database of FakeCouch: documents as trees of revisions, in the order of their last change."""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from chalicelib.domain.documents import JsonDict
from tests.kit.fakes.couch_edits import Edit
from tests.kit.fakes.couch_http import Refusal

CONFLICT = "Document update conflict."


@dataclass(frozen=True)
class Revision:
    """`body` without the members that CouchDB adds; None of an ancestor that is only known of."""

    rev: str
    parent: str | None
    body: JsonDict | None
    is_deleted: bool = False

    @property
    def rank(self) -> tuple[bool, int, str]:
        """The leaf of the highest rank is the one that is shown."""
        generation, _, digest = self.rev.partition("-")
        return not self.is_deleted, int(generation), digest


@dataclass
class Document:
    """A document; `seq` is the number of its last change."""

    doc_id: str
    revs: dict[str, Revision] = field(default_factory=dict)
    leaves: set[str] = field(default_factory=set)
    seq: int = 0

    def ranked(self) -> list[Revision]:
        """The leaves, the winner first."""
        return sorted((self.revs[rev] for rev in self.leaves), key=lambda r: r.rank, reverse=True)

    @property
    def winner(self) -> Revision:
        return self.ranked()[0]

    @property
    def is_deleted(self) -> bool:
        return not self.leaves or self.winner.is_deleted

    def shown(self, revision: Revision) -> JsonDict:
        """The document in one of its revisions."""
        deleted = {"_deleted": True} if revision.is_deleted else {}
        return {"_id": self.doc_id, "_rev": revision.rev, **deleted, **(revision.body or {})}

    def add(self, revision: Revision) -> None:
        self.revs[revision.rev] = revision
        self.leaves.discard(revision.parent or "")
        self.leaves.add(revision.rev)

    def ancestors(self, rev: str) -> list[str]:
        """The revision and those before it."""
        chain: list[str] = []
        while rev:
            chain.append(rev)
            rev = self.revs[rev].parent or ""
        return chain


@dataclass
class StoredDatabase:
    """A database; `uid` is another one after it was deleted and made again."""

    name: str
    on_write: Callable[[], None] = lambda: None
    uid: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    security: JsonDict = field(
        default_factory=lambda: {"members": {"roles": ["_admin"]}, "admins": {"roles": ["_admin"]}}
    )
    documents: dict[str, Document] = field(default_factory=dict)
    local_docs: dict[str, JsonDict] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    doc_count: int = 0

    def docs(self) -> dict[str, JsonDict]:
        """What there is now, by id: for tests to look at."""
        living = (document for document in self.documents.values() if not document.is_deleted)
        shown = {document.doc_id: document.shown(document.winner) for document in living}
        copied: dict[str, JsonDict] = json.loads(json.dumps(shown))
        return copied

    def find(self, doc_id: str) -> Document:
        document = self.documents.get(doc_id)
        if document is None or document.is_deleted:
            raise Refusal(404, "not_found", "deleted" if document else "missing")
        return document

    def write(self, edit: Edit) -> str:
        """An ordinary edit, on a leaf; a document that is there must be named in its revision."""
        document = self.documents.get(edit.doc_id) or Document(edit.doc_id)
        parent = edit.rev
        if parent is None and document.leaves and document.is_deleted:
            parent = document.winner.rev  # it is written again, on top of its deletion
        if (parent or document.leaves) and parent not in document.leaves:
            raise Refusal(409, "conflict", CONFLICT)
        generation = int(parent.partition("-")[0]) + 1 if parent else 1
        told = json.dumps([edit.is_deleted, parent, edit.body], sort_keys=True)
        digest = hashlib.md5(told.encode(), usedforsecurity=False).hexdigest()
        revision = Revision(f"{generation}-{digest}", parent, edit.body, edit.is_deleted)
        self._add(document, [revision])
        return revision.rev

    def replicate(self, edit: Edit) -> None:
        """Take a revision as it is (``new_edits=false``), with its ancestors."""
        document = self.documents.get(edit.doc_id) or Document(edit.doc_id)
        chain = edit.revisions or [str(edit.rev)]
        unknown = [rev for rev in chain if rev not in document.revs]
        if not unknown or unknown[0] != chain[0]:
            return  # it is here already
        parents = [*chain[1:], None]
        pairs = list(zip(chain, parents, strict=True))[: len(unknown)]
        stubs = [Revision(rev, parent, None) for rev, parent in pairs[:0:-1]]
        self._add(document, [*stubs, Revision(*pairs[0], edit.body, edit.is_deleted)])

    def changed_after(self, number: int) -> Iterator[Document]:
        """The documents whose last change came later, in order."""
        for seq in range(number + 1, len(self.log) + 1):
            document = self.documents[self.log[seq - 1]]
            if document.seq == seq:
                yield document

    def _add(self, document: Document, revisions: list[Revision]) -> None:
        was_deleted = document.is_deleted
        for revision in revisions:
            document.add(revision)
        self.doc_count += was_deleted - document.is_deleted
        self.documents[document.doc_id] = document
        self.log.append(document.doc_id)
        document.seq = len(self.log)
        self.on_write()
