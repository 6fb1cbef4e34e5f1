"""FakeCouch's feeds of changes, and the opaque seqs that one reads them by."""

import base64
import binascii
import re

from chalicelib.domain.documents import JsonDict
from tests.kit.fakes.couch_docs import Document, StoredDatabase
from tests.kit.fakes.couch_http import Asked, Refusal

_SEQ = re.compile(r"(?:\d+-)?g1AAAA([A-Za-z0-9_-]+)")
_DECODED = re.compile(r"(?:seq|info):([0-9a-f]+):(\d+)")


def seq_at(database: StoredDatabase, number: int, kind: str = "seq") -> str:
    """The seq of a database's change; a database's `update_seq` is another string ("info")."""
    inside = base64.urlsafe_b64encode(f"{kind}:{database.uid}:{number}".encode())
    return f"{number}-g1AAAA{inside.decode().rstrip('=')}"


def number_of(since: str, database: StoredDatabase) -> int:
    """Where a seq stands; the beginning for another database's, or one that was there before."""
    if since in ("0", "now"):
        return 0 if since == "0" else len(database.log)
    decoded = _DECODED.fullmatch(_decoded(since))
    if decoded is None:
        raise Refusal(400, "bad_request", "Malformed sequence supplied in 'since' parameter.")
    return int(decoded[2]) if decoded[1] == database.uid else 0


def changes(database: StoredDatabase, asked: Asked) -> JsonDict:
    """A page of ``_changes``; without ``pending``."""
    asked.allow_params("since", "limit", "include_docs", "feed", "timeout", "style", "heartbeat")
    with_docs = asked.param("include_docs", False)
    is_whole = asked.params.get("style") == "all_docs"
    page, last = _page(database, asked)
    rows: list[JsonDict] = []
    for document in page:
        revs = [revision.rev for revision in document.ranked()]
        row: JsonDict = {"seq": seq_at(database, document.seq), "id": document.doc_id}
        row["changes"] = [{"rev": rev} for rev in (revs if is_whole else revs[:1])]
        if document.is_deleted:
            row["deleted"] = True
        if with_docs:
            row["doc"] = document.shown(document.winner)
        rows.append(row)
    return {"results": rows, "last_seq": seq_at(database, last)}


def db_updates(feed: StoredDatabase, asked: Asked) -> JsonDict:
    """A page of ``_db_updates``: the documents of ``_global_changes`` in their order."""
    asked.allow_params("since", "limit", "feed", "timeout", "heartbeat")
    page, last = _page(feed, asked)
    rows: list[JsonDict] = []
    for document in page:
        kind, _, db_name = document.doc_id.partition(":")
        rows.append({"db_name": db_name, "type": kind, "seq": seq_at(feed, document.seq)})
    return {"results": rows, "last_seq": seq_at(feed, last)}


def _page(database: StoredDatabase, asked: Asked) -> tuple[list[Document], int]:
    since = number_of(asked.params.get("since", "0"), database)
    limit = max(asked.param("limit", 1 << 31), 1)  # CouchDB takes 0 for 1
    page: list[Document] = []
    for document in database.changed_after(since):
        page.append(document)
        if len(page) == limit:
            break
    return page, page[-1].seq if page else len(database.log)


def _decoded(seq: str) -> str:
    inside = _SEQ.fullmatch(seq)
    if inside is None:
        return ""
    padded = inside[1] + "=" * (-len(inside[1]) % 4)
    try:
        return base64.urlsafe_b64decode(padded).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
