"""What FakeCouch answers below a database's path."""

from collections.abc import Callable
from typing import Any

from chalicelib.domain.documents import JsonDict
from tests.kit.fakes import couch_mango as mango
from tests.kit.fakes.couch_bulk import all_docs, bulk_docs, revs_diff
from tests.kit.fakes.couch_docs import CONFLICT, Document, Revision, StoredDatabase
from tests.kit.fakes.couch_edits import Edit, checked_rev
from tests.kit.fakes.couch_feeds import changes, seq_at
from tests.kit.fakes.couch_http import Answer, Asked, Refusal
from tests.kit.fakes.couch_users import check_user_doc


def info(database: StoredDatabase) -> JsonDict:
    """What ``GET /db`` and ``_dbs_info`` say."""
    deleted = len(database.documents) - database.doc_count
    return {
        "db_name": database.name,
        "update_seq": seq_at(database, len(database.log), "info"),
        "doc_count": database.doc_count,
        "doc_del_count": deleted,
        "instance_start_time": "0",
        "cluster": {"q": 1, "n": 1, "w": 1, "r": 1},
    }


def get_security(database: StoredDatabase, asked: Asked) -> JsonDict:
    return database.security


def put_security(database: StoredDatabase, asked: Asked) -> JsonDict:
    database.security = asked.object()
    return {"ok": True}


def document(database: StoredDatabase, asked: Asked) -> JsonDict | Answer:
    """``GET``, ``PUT`` and ``DELETE`` of one document."""
    doc_id = asked.path[1]
    if doc_id in ("_design", "_local"):
        doc_id = "/".join(asked.path[1:])
    elif len(asked.path) > 2:
        raise Refusal(404, "not_found", "Document is missing attachment")
    if doc_id.startswith("_local/"):
        return _local(database, asked, doc_id)
    if asked.method not in _METHODS:
        raise NotImplementedError(f"{asked.method} of a document")
    return _METHODS[asked.method](database, asked, doc_id)


ROUTES: dict[tuple[str, str], Callable[[StoredDatabase, Asked], Any]] = {
    ("GET", "_security"): get_security,
    ("PUT", "_security"): put_security,
    ("GET", "_changes"): changes,
    ("GET", "_all_docs"): all_docs,
    ("POST", "_all_docs"): all_docs,
    ("POST", "_bulk_docs"): bulk_docs,
    ("POST", "_revs_diff"): revs_diff,
    ("POST", "_ensure_full_commit"): lambda *_: Answer(
        {"ok": True, "instance_start_time": "0"}, 201
    ),
    ("POST", "_index"): mango.create_index,
    ("POST", "_find"): mango.find,
}


def _leaves(database: StoredDatabase, asked: Asked, doc_id: str) -> Answer:
    asked.allow_params("open_revs", "revs")
    if asked.params["open_revs"] != "all":
        raise NotImplementedError("open_revs with a list")
    found = database.documents.get(doc_id)
    leaves = found.ranked() if found else []
    with_history = asked.param("revs", False)
    return Answer([{"ok": _shown(found, leaf, with_history)} for leaf in leaves if found])


def _shown(found: Document, revision: Revision, with_history: bool) -> JsonDict:
    doc = found.shown(revision)
    if with_history:
        chain = [one.partition("-") for one in found.ancestors(revision.rev)]
        doc["_revisions"] = {"start": int(chain[0][0]), "ids": [digest for _, _, digest in chain]}
    return doc


def _get(database: StoredDatabase, asked: Asked, doc_id: str) -> JsonDict | Answer:
    if "open_revs" in asked.params:
        return _leaves(database, asked, doc_id)
    asked.allow_params("rev", "conflicts", "revs")
    if rev := checked_rev(asked.params.get("rev")):
        found = database.documents.get(doc_id)
        revision = found.revs.get(rev) if found else None
        if found is None or revision is None or revision.body is None:
            raise Refusal(404, "not_found", "missing")
    else:
        found = database.find(doc_id)
        revision = found.winner
    doc = _shown(found, revision, asked.param("revs", False))
    losers = [one.rev for one in found.ranked()[1:] if not one.is_deleted]
    if asked.param("conflicts", False) and losers:
        doc["_conflicts"] = losers
    return doc


def _put(database: StoredDatabase, asked: Asked, doc_id: str) -> Answer:
    asked.allow_params("rev")
    doc = asked.object()
    edit = Edit.of(doc, doc_id, asked.params.get("rev"))
    if database.name == "_users":
        check_user_doc(doc_id, doc)
    return Answer({"ok": True, "id": doc_id, "rev": database.write(edit)}, 201)


def _delete(database: StoredDatabase, asked: Asked, doc_id: str) -> JsonDict:
    asked.allow_params("rev")
    database.find(doc_id)
    rev = checked_rev(asked.params.get("rev"))
    if rev is None:
        raise Refusal(409, "conflict", CONFLICT)
    return {"ok": True, "id": doc_id, "rev": database.write(Edit(doc_id, {}, rev, True))}


def _local(database: StoredDatabase, asked: Asked, doc_id: str) -> JsonDict | Answer:
    if asked.method == "PUT":
        database.local_docs[doc_id] = {**asked.object(), "_id": doc_id, "_rev": "0-1"}
        return Answer({"ok": True, "id": doc_id, "rev": "0-1"}, 201)
    if doc_id not in database.local_docs:
        raise Refusal(404, "not_found", "missing")
    return database.local_docs[doc_id]


_METHODS: dict[str, Callable[[StoredDatabase, Asked, str], JsonDict | Answer]] = {
    "GET": _get,
    "HEAD": _get,
    "PUT": _put,
    "DELETE": _delete,
}
