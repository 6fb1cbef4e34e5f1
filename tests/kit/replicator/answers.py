"""What an answer to CouchDB's replicator means, whichever server gave it."""

import email
import gzip
import json
from email.message import Message
from typing import Any

# Positions in feeds and the like, which each server counts in its own way.
_OWN = {"seq", "last_seq", "pending", "possible_ancestors", "instance_start_time"}
_OF_DATABASES = {"db_name", "doc_count"}
Files = dict[str, bytes]


def meaning(content_type: str, body: bytes) -> tuple[Any, Files]:
    """What an answer says, in an order of its own, and the files that it brings."""
    if content_type.startswith("multipart/mixed"):
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        parts = [_revision(part) for part in _parts(email.message_from_bytes(head + body))]
        files = {name: file for _, found in parts for name, file in found.items()}
        return _plain([said for said, _ in parts]), files
    return _plain(json.loads(body or b"null")), {}


def _revision(part: Message) -> tuple[Any, Files]:
    """A document and its files, or the revision that is missing."""
    if not part.is_multipart():
        return {"error": part.get_param("error"), "says": json.loads(_content(part))}, {}
    first, *files = _parts(part)
    found = {str(file.get_filename()): _content(file) for file in files}
    return {"error": None, "says": json.loads(_content(first))}, found


def _parts(message: Message) -> list[Message]:
    parts = message.get_payload()
    assert isinstance(parts, list), "no parts"
    return [part for part in parts if isinstance(part, Message)]


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return gzip.decompress(content) if part["Content-Encoding"] == "gzip" else content


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return sorted(map(_plain, value), key=lambda one: json.dumps(one, sort_keys=True))
    if not isinstance(value, dict):
        return value
    if "db_name" in value:
        return {key: value[key] for key in _OF_DATABASES}
    if "_attachments" in value:  # which of them come whole, and how they are kept, may differ
        types = {name: file["content_type"] for name, file in value["_attachments"].items()}
        value = {**value, "_attachments": types}
    return {
        key: part if key == "_revisions" else _plain(part)
        for key, part in value.items()
        if key not in _OWN
    }
