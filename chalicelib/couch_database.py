"""One CouchDB database: its documents, its changes, its security.

Every public method sends one request, unless it says otherwise, and every request has a time limit.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from chalicelib.couch_errors import Conflict, FileExists, InvalidName, NoDatabase, NotFound
from chalicelib.couch_http import READ_TIMEOUT_S, Connection

JsonDict = dict[str, Any]

UPDATE_ATTEMPTS = 5

_DATABASE_NAME = re.compile(r"_users|_replicator|_global_changes|[a-z][a-z0-9_$()+/-]{0,237}")


class Database:
    """One database of a `Server`."""

    def __init__(self, http: Connection, name: str) -> None:
        if not _DATABASE_NAME.fullmatch(name):
            raise InvalidName(f"{name[:80]!r} is no name of a CouchDB database")
        self._http = http
        self.name = name
        self._path = f"/{quote(name, safe='')}"

    @property
    def url(self) -> str:
        """The database's URL, without credentials."""
        return self._http.url + self._path

    def request(self, method: str, path: str, **kwargs: Any) -> JsonDict:
        """Any request below the database's path; as `Connection.request_object`."""
        return self._http.request_object(method, f"{self._path}/{path}", **kwargs)

    def create(self) -> bool:
        """Create the database with one shard (there are many databases, and they are small).

        Returns
        -------
        bool
            Whether it was created; False if it was there already.
        """
        try:
            self._http.request("PUT", self._path, params={"q": "1"})
        except FileExists:
            return False
        return True

    def delete(self) -> None:
        """Delete the database with all it holds, if it exists."""
        try:
            self._http.request("DELETE", self._path)
        except NotFound:
            return

    def info(self) -> JsonDict:
        """``{db_name, update_seq, doc_count, …}``."""
        return self._http.request_object("GET", self._path)

    def get(self, doc_id: str, rev: str | None = None, *, conflicts: bool = False) -> JsonDict:
        """The document, in its winning revision or the one asked for.

        Parameters
        ----------
        conflicts : bool
            Whether to name the revisions that lost against it, in ``_conflicts``.

        Raises
        ------
        NotFound
            If it does not exist, or was deleted.
        """
        params = {"rev": rev} if rev else {"conflicts": "true"} if conflicts else None
        return self._http.request_object("GET", self._doc_path(doc_id), params=params)

    def find_one(self, doc_id: str, *, conflicts: bool = False) -> JsonDict | None:
        """As `get`, but None if there is no such document (and `NoDatabase` if no database)."""
        try:
            return self.get(doc_id, conflicts=conflicts)
        except NoDatabase:
            raise
        except NotFound:
            return None

    def put(self, doc: JsonDict) -> str:
        """Write the document under its ``_id``, over the revision in its ``_rev``.

        Returns
        -------
        str
            The new revision.

        Raises
        ------
        Conflict
            If the document has another revision by now, or exists and `doc` has no ``_rev``.
        """
        answer = self._http.request_object("PUT", self._doc_path(doc["_id"]), body=doc)
        return str(answer["rev"])

    def update(
        self,
        doc_id: str,
        change: Callable[[JsonDict], JsonDict],
        default: JsonDict | None = None,
        known: JsonDict | None = None,
        *,
        is_likely_new: bool = False,
    ) -> JsonDict:
        """Read a document, change it and write it; again if others write it at the same time.

        Two requests, one if nothing changes; more if others write it too. The first is spared
        where the document is `known`, or likely to be new.

        Parameters
        ----------
        change : callable
            Given the document, returns it as it should be; the same one where it may stay.
        default : dict, optional
            What `change` is given if there is no such document.
        known : dict, optional
            The document as it was just read. Should it be another by now, its revision tells: it
            is read, and changed anew.
        is_likely_new : bool
            Whether most calls find no such document: then `default` is tried first, and the
            document is read only if it is there.

        Returns
        -------
        dict
            The document as it is now; `known` itself, if nothing changes.

        Raises
        ------
        NotFound
            If it does not exist, and there is no default.
        Conflict
            If others wrote it each time.
        """
        doc = default if is_likely_new else known
        for _ in range(UPDATE_ATTEMPTS):
            if doc is None:
                doc = self.get(doc_id) if default is None else self.find_one(doc_id) or default
            changed = change(doc)
            if changed == doc:
                return doc
            try:
                return {**changed, "_rev": self.put(changed)}
            except Conflict:
                doc = None
        raise Conflict(409, "conflict", f"{self.name}: a document changed at each try")

    def remove(self, doc: JsonDict) -> None:
        """Delete the document, in the revision in its ``_rev``."""
        self._http.request_object("DELETE", self._doc_path(doc["_id"]), params={"rev": doc["_rev"]})

    def security(self) -> JsonDict:
        """The database's security object."""
        return self.request("GET", "_security")

    def put_security(self, security: JsonDict) -> None:
        """Replace the security object whole: it has no revision, and so no conflicts."""
        self._http.request("PUT", f"{self._path}/_security", body=security)

    def changes(
        self,
        since: str,
        *,
        limit: int,
        wait_s: float = 0,
        include_docs: bool = True,
        most_bytes: int | None = None,
    ) -> JsonDict:
        """A page of the changes feed, with the documents.

        Parameters
        ----------
        since : str
            A ``last_seq`` of an earlier page, as it came; "0" for the beginning. Opaque.
        limit : int
            The largest number of rows.
        wait_s : float
            How long to wait for a change if there is none yet (``feed=longpoll``); 0 is not at all.
        most_bytes : int, optional
            The largest page that is read.

        Returns
        -------
        dict
            ``{results: [{id, seq, doc?, deleted?}], last_seq}``.

        Raises
        ------
        BadRequest
            If CouchDB does not know what to make of `since`.
        Unreadable
            If a document of the page cannot be read, or the page is too large.

        Source
        ------
        https://docs.couchdb.org/en/stable/api/database/changes.html
        """
        params = {"since": since, "limit": str(limit), "include_docs": str(include_docs).lower()}
        if wait_s >= 0.001:
            params |= {"feed": "longpoll", "timeout": str(int(wait_s * 1000))}
        limit_s = max(wait_s, 0) + READ_TIMEOUT_S
        return self.request(
            "GET", "_changes", params=params, read_timeout_s=limit_s, most_bytes=most_bytes
        )

    def create_index(self, name: str, fields: Sequence[str]) -> None:
        """Make an index for `find`, if it is not there yet, of documents that have all `fields`."""
        body = {"index": {"fields": list(fields)}, "ddoc": name, "name": name, "type": "json"}
        self._http.request("POST", f"{self._path}/_index", body=body)

    def find(self, selector: JsonDict, *, index: str, limit: int, skip: int = 0) -> list[JsonDict]:
        """Documents by an index that `create_index` made, in its order, at most `limit` of them.

        Parameters
        ----------
        selector : dict
            In Mango's words, about the index's fields in their order.
        skip : int
            How many to leave out at the beginning.

        Source
        ------
        https://docs.couchdb.org/en/stable/api/database/find.html
        """
        body = {"selector": selector, "use_index": [index, index], "limit": limit, "skip": skip}
        docs: list[JsonDict] = self.request("POST", "_find", body=body)["docs"]
        return docs

    def _doc_path(self, doc_id: str) -> str:
        prefix, slash, rest = doc_id.partition("/")
        is_special = slash and prefix in ("_design", "_local")
        folder, name = (f"{prefix}/", rest) if is_special else ("", doc_id)
        # An HTTP client would take these for the database itself, or for what is above it.
        if name in ("", ".", "..") or (name.startswith("_") and not folder):
            raise InvalidName(f"{doc_id[:80]!r} is no id of a document")
        try:
            return f"{self._path}/{folder}{quote(name, safe='')}"
        except UnicodeEncodeError:  # half a character has no place in a URL
            raise InvalidName(f"{doc_id[:80]!a} is no id of a document") from None
