"""Write all documents of a database into a file, so that it can be deleted and nothing is lost.

A file has a line for each leaf revision: its JSON as `_bulk_docs` takes it with
``"new_edits": false``, with its history and its attachments. So the conflicting revisions and the
deletions are in it, too.
"""

import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from chalicelib.couch import CouchError, Database, InvalidName, NotFound
from chalicelib.domain.documents import JsonDict
from syncpoint_device.errors import DeviceError
from syncpoint_device.purge import described_name
from syncpoint_device.replications import leaf_page, revision

# A revision whose id is in no path is read as a whole.
_MAX_BYTES = 64 * 1024 * 1024
# Revisions without attachments are read together.
_BATCH, _MAX_BATCH_BYTES = 200, 16 * 1024 * 1024


def export(database: Database, path: Path) -> JsonDict:
    """Write all leaf revisions of a database into a new file.

    A request for each two hundred revisions, and one for each with attachments or of many bytes.
    The file appears when it is complete. No attachment is in memory as a whole.

    Returns
    -------
    dict
        ``{database, name?, file, documents, revisions, bytes}``: `name` is that of the channel.

    Raises
    ------
    DeviceError
        If the file exists, or a revision cannot be read. Then there is no file.
    """
    _refuse_existing([path])
    if not path.parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "there is no such folder", str(path.parent))
    new = path.with_name(f".{path.name}.new")
    name = described_name(database)
    try:
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            documents, revisions = _write_all(database, file)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        _move(new, path)
    except OSError as exc:  # the hidden file has a name that nobody typed
        raise OSError(exc.errno, exc.strerror, str(path)) from exc
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
    return {
        "database": database.name,
        **({} if name is None else {"name": name}),
        "file": str(path),
        "documents": documents,
        "revisions": revisions,
        "bytes": size,
    }


def export_all(databases: Sequence[Database], folder: Path) -> list[JsonDict]:
    """Write each database into a file of its own in a folder, which is created if it is missing.

    Raises
    ------
    DeviceError
        As `export`. If one of the files exists, none is written.
    """
    paths = [folder / f"{database.name}.jsonl" for database in databases]
    _refuse_existing(paths)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [export(database, path) for database, path in zip(databases, paths, strict=True)]


def _refuse_existing(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.exists():
            raise DeviceError(f"{path} exists, and is not overwritten; name another one")


def _move(new: Path, path: Path) -> None:
    """Give a complete file its name, unless there is a file of that name by now."""
    try:
        os.link(new, path)  # unlike a rename, it never replaces a file
    except FileExistsError:
        _refuse_existing([path])
    except OSError:  # a file system without links, as of many USB sticks
        _refuse_existing([path])
        new.rename(path)


def _write_all(database: Database, file: IO[bytes]) -> tuple[int, int]:
    """Write the leaf revisions, and return how many documents and revisions there are.

    A revision that was replaced meanwhile may be gone. Its document then follows in the changes.
    """
    page = leaf_page(database, "0", with_design=True)
    documents = revisions = 0
    gone: set[str] = set()
    while not page.is_last:
        documents += len(page.revs)
        gone -= page.revs.keys()
        leaves = [(doc_id, rev) for doc_id, revs in page.revs.items() for rev in revs]
        for begin in range(0, len(leaves), _BATCH):
            batch = leaves[begin : begin + _BATCH]
            read = _read(database, batch)
            for doc_id, rev in batch:
                try:
                    doc = read.get((doc_id, rev))
                    parts = [_to_json(doc)] if doc else _parts(database, doc_id, rev)
                    _write_line(file, parts)
                    revisions += 1
                except NotFound:
                    gone.add(doc_id)
                except CouchError as exc:
                    raise DeviceError(f"“{doc_id[:80]}” cannot be read: {exc}") from exc
        page = leaf_page(database, page.last_seq, with_design=True)
    for doc_id in gone:
        raise DeviceError(f"“{doc_id[:80]}” cannot be read: a revision of it is missing")
    return documents, revisions


def _read(database: Database, leaves: Sequence[tuple[str, str]]) -> dict[tuple[str, str], JsonDict]:
    """Return those of some revisions that have no attachments. One request.

    None of them if one cannot be parsed, or they are too large together. Each that is not returned
    has to be read by itself.
    """
    try:
        answer = database.request(
            "POST",
            "_bulk_get",
            params={"revs": "true", "attachments": "false"},
            body={"docs": [{"id": doc_id, "rev": rev} for doc_id, rev in leaves]},
            max_bytes=_MAX_BATCH_BYTES,
        )
    except CouchError:
        return {}
    docs = [row["ok"] for result in answer["results"] for row in result["docs"] if "ok" in row]
    return {(doc["_id"], doc["_rev"]): doc for doc in docs if not doc.get("_attachments")}


def _parts(database: Database, doc_id: str, rev: str) -> Iterator[bytes]:
    with suppress(InvalidName):
        return database.revision_parts(doc_id, rev)
    found = revision(database, doc_id, rev, max_bytes=_MAX_BYTES)
    if found is None:
        raise NotFound(404, "not_found", "missing")
    return iter([_to_json(found)])


def _to_json(doc: JsonDict) -> bytes:
    return json.dumps(doc).encode()


def _write_line(file: IO[bytes], parts: Iterable[bytes]) -> None:
    """Write JSON as one line. A line break in it stands between its values, never in a text."""
    for part in parts:
        file.write(part.translate(None, b"\r\n"))
    file.write(b"\n")
