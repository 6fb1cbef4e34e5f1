"""The client of the registrations endpoint: send a registration, ask for its state."""

from chalicelib.couch import Connection, CouchError, NotFound
from chalicelib.domain.documents import JsonDict


class Registrations:
    """The registrations endpoint at a URL. Every public method sends one request.

    Parameters
    ----------
    url : str
        ``https://…/registrations``.
    """

    def __init__(self, url: str) -> None:
        self._http = Connection(url)
        self.url = self._http.url

    def cloud(self) -> tuple[str, str]:
        """The URL of the cloud's CouchDB, and the name of its control database.

        Raises
        ------
        CouchError
            If no registrations endpoint of Syncpoint's answers.
        """
        said = self._http.request_object("GET", "/").get("syncpoint")
        if not isinstance(said, dict) or not {"couchdb", "control_db"} <= said.keys():
            raise self._bad_answer()
        return str(said["couchdb"]), str(said["control_db"])

    def state(self, device_id: str) -> str | None:
        """The state of a registration; None if the registrations endpoint has not heard of it."""
        try:
            state = self._http.request_object("GET", f"/{device_id}").get("state")
        except NotFound:
            return None
        if not isinstance(state, str):
            raise self._bad_answer()
        return state

    def refusal(self, doc: JsonDict) -> str | None:
        """Why the registrations endpoint does not take a registration, None if it takes it.

        Replication brings it there, but a replicator tells nobody why a document was refused.

        Parameters
        ----------
        doc : dict
            With its revision.
        """
        generation, _, digest = str(doc["_rev"]).partition("-")
        revisions = {"start": int(generation), "ids": [digest]}
        body = {"docs": [{**doc, "_revisions": revisions}], "new_edits": False}
        rows = self._http.request("POST", "/_bulk_docs", body=body)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._bad_answer()
        return str(rows[0].get("reason")) if rows else None

    def _bad_answer(self) -> CouchError:
        return CouchError(
            200, "bad_answer", f"{self.url} is no registrations endpoint of Syncpoint's"
        )
