"""What people answer to a document that waits for them: it moves on once, and then no more."""

from chalicelib.couch import Database, JsonDict
from chalicelib.docstate import generation_of


def answer(
    database: Database, doc_id: str, waits_in: str, generation: int, changes: JsonDict
) -> JsonDict:
    """Move a document on that waits for an answer; leave any other as it is.

    A request to read it and one to write it; more if others write it at the same time.

    Parameters
    ----------
    waits_in : str
        The state in which it waits; in another, or in another generation, it does not.

    Returns
    -------
    dict
        The document as it is now, whoever wrote it.
    """

    def change(doc: JsonDict) -> JsonDict:
        waits = doc.get("state") == waits_in and generation_of(doc) == generation
        return {**doc, **changes} if waits else doc

    return database.update(doc_id, change)
