"""Follow a database's documents from state to state, with a line and a time for each step."""

import threading
import time
from collections.abc import Callable

from chalicelib.couch import CouchError, Database
from chalicelib.domain.documents import JsonDict
from local.errors import LocalError

# Longer than a claim's lease: a step may need a second try.
STEP_LIMIT_S = 120.0
_LONGPOLL_S = 5.0
_PAGE = 100


class Watch:
    """Follows the changes feed in a thread, from where it stands when the watch is made.

    Parameters
    ----------
    database : Database
        With a `Server` of the watch's own: it holds a connection open.
    tell : callable
        Given (document, state before or None) for each change of state.
    """

    def __init__(self, database: Database, tell: Callable[[JsonDict, str | None], None]) -> None:
        self._database = database
        self._tell = tell
        self._docs: dict[str, JsonDict] = {}
        self._changed = threading.Condition()
        self._failure: CouchError | None = None
        self._since = str(database.info()["update_seq"])
        threading.Thread(target=self._follow, name="watch", daemon=True).start()

    def wait_for(self, doc_id: str, state: str) -> JsonDict:
        """The document, as soon as it is in `state`.

        Raises
        ------
        LocalError
            If it is not there within the limit, or ends in ``error``.
        """
        deadline = time.monotonic() + STEP_LIMIT_S
        with self._changed:
            while True:
                doc = self._docs.get(doc_id, {})
                if doc.get("state") == state:
                    return doc
                self._fail_if_hopeless(doc, state, deadline)
                self._changed.wait(timeout=0.5)

    def wait_for_error(self, doc_id: str) -> JsonDict:
        """The error of a document, ``{reason, at}``, as soon as it has one.

        Raises
        ------
        LocalError
            If it has none within the limit.
        """
        deadline = time.monotonic() + STEP_LIMIT_S
        with self._changed:
            while "error" not in (doc := self._docs.get(doc_id, {})):
                self._fail_if_hopeless(doc, "error", deadline)
                self._changed.wait(timeout=0.5)
        error: JsonDict = doc["error"]
        return error

    def _fail_if_hopeless(self, doc: JsonDict, state: str, deadline: float) -> None:
        if self._failure is not None:
            raise LocalError(f"the changes feed ended: {self._failure}")
        if doc.get("state") == "error":
            raise LocalError(f"the {doc['type']} ended in error: {doc['error']['reason']}")
        if time.monotonic() > deadline:
            raise LocalError(
                f"no document in state {state} within {STEP_LIMIT_S:.0f} s; "
                f"its state is {doc.get('state', 'unknown')}"
            )

    def _follow(self) -> None:
        try:
            while True:
                page = self._database.changes(self._since, limit=_PAGE, wait_s=_LONGPOLL_S)
                self._since = str(page["last_seq"])
                with self._changed:
                    for row in page["results"]:
                        self._take(row.get("doc") or {})
                    self._changed.notify_all()
        except CouchError as exc:  # when the server ends, so does the watch
            with self._changed:
                self._failure = exc
                self._changed.notify_all()

    def _take(self, doc: JsonDict) -> None:
        before = self._docs.get(doc.get("_id", ""), {}).get("state")
        if doc.get("state") not in (None, before):
            self._tell(doc, before)
        self._docs[doc.get("_id", "")] = doc
