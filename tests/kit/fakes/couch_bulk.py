"""FakeCouch's requests about many documents at once."""

from chalicelib.domain.documents import JsonDict
from tests.kit.fakes.couch_docs import StoredDatabase
from tests.kit.fakes.couch_edits import Edit
from tests.kit.fakes.couch_http import Answer, Asked, Refusal


def bulk_docs(database: StoredDatabase, asked: Asked) -> Answer:
    body = asked.object()
    is_replicated = body.get("new_edits") is False
    rows = [_bulk_row(database, doc, is_replicated) for doc in body["docs"]]
    return Answer([row for row in rows if not is_replicated or "error" in row], 201)


def all_docs(database: StoredDatabase, asked: Asked) -> JsonDict:
    asked.allow_params("include_docs", "limit", "startkey", "endkey", "start_key", "end_key")
    docs = database.docs()
    ids: list[str] = sorted(docs)
    start = asked.param("start_key", asked.param("startkey"))
    end = asked.param("end_key", asked.param("endkey"))
    within = [key for key in ids if (not start or key >= start) and (not end or key <= end)]
    keys = asked.object()["keys"] if asked.method == "POST" else within[: asked.param("limit")]
    rows: list[JsonDict] = []
    for key in keys:
        row: JsonDict = {"key": key, "error": "not_found"}
        if key in docs:
            row = {"id": key, "key": key, "value": {"rev": docs[key]["_rev"]}}
            row |= {"doc": docs[key]} if asked.param("include_docs", False) else {}
        rows.append(row)
    return {"total_rows": len(ids), "offset": 0, "rows": rows}


def revs_diff(database: StoredDatabase, asked: Asked) -> JsonDict:
    """Which of these revisions are not here."""
    answer: JsonDict = {}
    for doc_id, revs in asked.object().items():
        document = database.documents.get(doc_id)
        missing = [rev for rev in revs if document is None or rev not in document.revs]
        if missing:
            answer[doc_id] = {"missing": missing}
    return answer


def _bulk_row(database: StoredDatabase, doc: JsonDict, is_replicated: bool) -> JsonDict:
    row: JsonDict = {"id": doc["_id"]}
    try:
        edit = Edit.of(doc, doc["_id"])
        if is_replicated:
            database.replicate(edit)
            return row
        return {"ok": True, **row, "rev": database.write(edit)}
    except Refusal as refusal:
        return {**row, **refusal.body}
