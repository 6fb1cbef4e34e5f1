"""FakeCouch's indexes and queries: equality and comparisons with strings and numbers."""

import operator
from collections.abc import Callable
from typing import Any

from chalicelib.domain.documents import JsonDict
from tests.kit.fakes.couch_docs import StoredDatabase
from tests.kit.fakes.couch_edits import Edit
from tests.kit.fakes.couch_http import Asked, Refusal

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq,
    "$lt": operator.lt,
    "$lte": operator.le,
    "$gt": operator.gt,
    "$gte": operator.ge,
}


def create_index(database: StoredDatabase, asked: Asked) -> JsonDict:
    """An index is a design document, which shows in the changes as any other."""
    body = asked.object()
    ddoc, name, fields = f"_design/{body['ddoc']}", body["name"], body["index"]["fields"]
    doc = {"language": "query", "views": {name: {"options": {"def": {"fields": fields}}}}}
    known = database.documents.get(ddoc)
    if known and not known.is_deleted:
        if (known.winner.body or {}).get("views") != doc["views"]:
            raise NotImplementedError("an index that changes")
        return {"result": "exists", "id": ddoc, "name": name}
    database.write(Edit(ddoc, doc))
    return {"result": "created", "id": ddoc, "name": name}


def find(database: StoredDatabase, asked: Asked) -> JsonDict:
    """Documents that have all of the index's fields, in the order of these."""
    body = asked.object()
    ddoc, name = body["use_index"]
    index = database.documents.get(f"_design/{ddoc}")
    if index is None or index.is_deleted:
        raise Refusal(400, "no_usable_index", "No index exists for this selector.")
    views = (index.winner.body or {})["views"]
    fields: list[str] = views[name]["options"]["def"]["fields"]
    if not set(fields) <= body["selector"].keys():
        raise Refusal(400, "no_usable_index", "No index exists for this selector.")
    found = [
        doc
        for doc_id, doc in database.docs().items()
        if not doc_id.startswith("_design/") and _is_match(doc, body["selector"])
    ]
    found.sort(key=lambda doc: [doc[field] for field in fields])
    skip = body.get("skip", 0)
    return {"docs": found[skip : skip + body.get("limit", 25)], "bookmark": "nil"}


def _is_match(doc: JsonDict, selector: JsonDict) -> bool:
    return all(name in doc and _is_met(doc[name], rule) for name, rule in selector.items())


def _is_met(value: Any, rule: Any) -> bool:
    if not isinstance(rule, dict):
        rule = {"$eq": rule}
    return all(
        isinstance(value, type(bound)) and _COMPARE[name](value, bound)
        for name, bound in rule.items()
    )
