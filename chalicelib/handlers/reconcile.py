"""Reconciles databases with a document that others may write at the same time.

In this package, `apply_…` writes once, `reconcile_…` repeats that until the document no longer
changes, and `reconcile_moved` corrects what a late run wrote.
"""

from collections.abc import Callable

from chalicelib.couch import Database
from chalicelib.domain.documents import JsonDict
from chalicelib.errors import StillConflicting


def reconcile(
    database: Database,
    doc_id: str,
    doc: JsonDict | None,
    apply: Callable[[JsonDict | None], bool],
) -> JsonDict | None:
    """Apply a document, and apply it again as long as it has changed meanwhile.

    Security objects have no revisions, and two runs may write them in the wrong order:

        A reads the document (Ada)        B reads the document (Ada, Ben)
                                          B writes the security: Ada, Ben
        A writes the security: Ada

    So each run reads the document again after it has written. Run A then reads that Ben is a
    member, and writes again. The run that reads last has applied the last revision. A run that had
    nothing to write need not read again.

    Parameters
    ----------
    database : Database
        The database that has the document.
    doc : dict or None
        The document as it was just read; None if it is gone.
    apply : callable
        Writes what follows from the document; returns whether there was anything to write.

    Returns
    -------
    dict or None
        The document that was applied last.

    Raises
    ------
    StillConflicting
        If others changed the document at every attempt.
    """
    for _ in database.attempts():
        if not apply(doc):
            return doc
        newer = database.find_one(doc_id)
        if _rev(newer) == _rev(doc):
            return newer
        doc = newer
    raise StillConflicting(f"{database.name}/{doc_id} changed each time that it was applied")


def _rev(doc: JsonDict | None) -> str | None:
    return None if doc is None else doc.get("_rev")
