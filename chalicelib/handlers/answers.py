"""Answers of people to documents that wait for them. Only the first answer counts."""

from chalicelib.couch import Database
from chalicelib.domain.documents import JsonDict, generation_of


def answer(database: Database, doc: JsonDict, waits_in: str, changes: JsonDict) -> JsonDict:
    """Apply an answer to a document that still waits for it; leave any other document unchanged.

    One request, more if others write the document at the same time.

    Parameters
    ----------
    doc : dict
        The document as it was just read.
    waits_in : str
        The state in which the document waits. In another state, or with another generation than
        `doc`, it no longer waits.

    Returns
    -------
    dict
        The current document, with this answer or without it.
    """
    generation = generation_of(doc)

    def change(current: JsonDict) -> JsonDict:
        waits = current.get("state") == waits_in and generation_of(current) == generation
        return {**current, **changes} if waits else current

    return database.update(doc["_id"], change, known=doc)
