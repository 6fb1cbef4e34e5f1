"""What people answer to a document that waits for them: it moves on once, and then no more."""

from chalicelib.couch import Database
from chalicelib.domain.documents import JsonDict, generation_of


def answer(database: Database, doc: JsonDict, waits_in: str, changes: JsonDict) -> JsonDict:
    """Move a document on that waits for an answer; leave any other as it is.

    One request, more if others write it at the same time.

    Parameters
    ----------
    doc : dict
        The document as it was just read.
    waits_in : str
        The state in which it waits; in another, or in another generation than `doc`, it does not.

    Returns
    -------
    dict
        The document as it is now, whoever wrote it.
    """
    generation = generation_of(doc)

    def change(current: JsonDict) -> JsonDict:
        waits = current.get("state") == waits_in and generation_of(current) == generation
        return {**current, **changes} if waits else current

    return database.update(doc["_id"], change, known=doc)
