"""Reconciles databases with a document that others may write at the same time.

In this package, `apply_…` writes once, `reconcile_…` repeats that until the document no longer
changes, and `reconcile_moved` corrects what a late run wrote.
"""

from collections.abc import Callable

from chalicelib.domain.documents import JsonDict
from chalicelib.errors import StillConflicting

_ATTEMPTS = 5


def reconcile(
    doc: JsonDict | None,
    apply: Callable[[JsonDict | None], bool],
    read: Callable[[], JsonDict | None],
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
    doc : dict or None
        The document as it was just read; None if it is gone.
    apply : callable
        Writes what follows from the document; returns whether there was anything to write.
    read : callable
        Reads the document again; None if it is gone.

    Returns
    -------
    dict or None
        The document that was applied last.

    Raises
    ------
    StillConflicting
        If others changed the document at every attempt.
    """
    for _ in range(_ATTEMPTS):
        if not apply(doc):
            return doc
        newer = read()
        if _rev(newer) == _rev(doc):
            return newer
        doc = newer
    raise StillConflicting("a document changed each time that it was applied")


def _rev(doc: JsonDict | None) -> str | None:
    return None if doc is None else doc.get("_rev")
