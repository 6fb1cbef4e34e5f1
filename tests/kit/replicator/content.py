"""The documents that are replicated in the recording, in two batches."""

import base64
import hashlib
from typing import Any

from chalicelib.domain.documents import JsonDict

LARGE = 70_000  # above 64 KB, where CouchDB compresses or splits what it sends


def _doc(doc_id: str, *path: str, **fields: Any) -> JsonDict:
    """A document with its history, the oldest revision first, as a replicator brings it."""
    ids = [hashlib.md5(f"{doc_id} {name}".encode()).hexdigest() for name in path]
    revisions = {"start": len(ids), "ids": ids[::-1]}
    return {"_id": doc_id, "_rev": f"{len(ids)}-{ids[-1]}", "_revisions": revisions, **fields}


def _file(content_type: str, data: bytes, revpos: int = 1) -> JsonDict:
    text = base64.b64encode(data).decode()
    return {"content_type": content_type, "revpos": revpos, "data": text}


_FILES = {
    "photo.jpg": _file("image/jpeg", bytes(range(256))),
    'a folder/ü "1".txt': _file("text/plain", b"compressed by CouchDB " * 20),
    "empty": _file("application/octet-stream", b""),
    "large.bin": _file("application/octet-stream", b"x" * LARGE),
    "line ends": _file("image/png", b"\r\n--\r\n\r\n--x--\r\n"),
}

FIRST = [
    _doc("note", "a", text="one"),
    _doc("edited", "a", "b", "c", text="three"),
    _doc("removed", "a", "b", _deleted=True),
    _doc("conflict", "a", "b", by="phone"),
    _doc("conflict", "a", "c", by="laptop"),
    _doc("half removed", "a", "b", by="phone"),
    _doc("half removed", "a", "c", "d", _deleted=True),
    _doc("large", "a", text="y" * LARGE),
    _doc("a/b +%2F&?#ü", "a", text="an odd id"),
    _doc("_design/list", "a", views={"all": {"map": "function (doc) { emit(doc._id, null); }"}}),
    _doc("photo", "a", _attachments=_FILES),
    _doc("album", "a", "b", _attachments={"one": _file("text/plain", b"of the phone", 2)}),
    _doc("album", "a", "c", _attachments={"one": _file("text/plain", b"of the laptop", 2)}),
    _doc("big photo", "a", text="z" * LARGE, _attachments={"p": _FILES["photo.jpg"]}),
]

SECOND = [
    _doc("note", "a", "b", text="two"),
    _doc("edited", "a", "b", "c", "d", _deleted=True),
    _doc("removed", "a", "b", "c", text="here again"),
    _doc("conflict", "a", "b", "e", _deleted=True),
    _doc("_design/list", "a", "b", language="javascript"),
    _doc("photo", "a", "b", "c", _attachments={**_FILES, "new": _file("text/plain", b"new", 3)}),
    _doc("album", "a", "c", "d", _deleted=True),
]
