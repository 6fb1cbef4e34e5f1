"""A CouchDB 3 in memory, behind an adapter of `requests`: the product's own client runs over it.

It imitates what the cloud asks, and what a replicator asks of its target; what else it is asked
fails the test. Design documents are stored, and not run. What happens to a database is told in
``_db_updates`` at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from requests import Response

from chalicelib.couch import Server
from tests.kit.fakes import couch_server as of_server
from tests.kit.fakes.couch_http import Answer, Around, Asked, FakeAdapter
from tests.kit.fakes.couch_routes import ROUTES, document, info
from tests.kit.fakes.couch_store import SYSTEM_DATABASES, Store
from tests.kit.fakes.couch_users import User, allow_database, allow_server, user_of

ADMIN_URL = "http://admin:secret@couch.test"


def just_ask(name: str, call: Callable[[], Response]) -> Response:
    """Let a request through."""
    return call()


def no_pause(seconds: float) -> None:
    """Nobody waits for a CouchDB in memory."""


@dataclass
class FakeCouch(Store):
    """The server; may be used by several threads.

    Attributes
    ----------
    waited : callable
        Told of every longpoll that finds nothing, in seconds; what was written meanwhile is found.
    """

    waited: Callable[[float], None] = lambda wait_s: None

    def adapter(self, around: Around = just_ask) -> FakeAdapter:
        """What `Server` is given; `around` runs around each request, for faults and counts."""
        return FakeAdapter(self.answer, around)

    def server(self, around: Around = just_ask) -> Server:
        """The product's client, as the administrator."""
        return Server(ADMIN_URL, self.adapter(around), pause=no_pause)

    def answer(self, asked: Asked) -> Answer:
        """What a request is answered; a longpoll at once, after `waited`."""
        answer = self._answer_now(asked)
        is_feed = asked.path[-1:] in (["_changes"], ["_db_updates"])
        if is_feed and asked.wait_s and not answer.body["results"]:
            self.waited(asked.wait_s)
            since = {"since": answer.body["last_seq"]}
            answer = self._answer_now(replace(asked, params=asked.params | since))
        return answer

    def _answer_now(self, asked: Asked) -> Answer:
        with self.lock:
            user = user_of(asked, self.admins, self.databases.get("_users"))
            name = asked.path[0] if asked.path else ""
            is_database = name in SYSTEM_DATABASES or (name and not name.startswith("_"))
            body = self._of_database(asked, name, user) if is_database else None
            if not is_database:
                allow_server(user, asked.path)
                body = of_server.answer(self, asked, user)
            return body if isinstance(body, Answer) else Answer(body)

    def _of_database(self, asked: Asked, name: str, user: User) -> Any:
        if len(asked.path) > 1:
            database = self.database(name)
            allow_database(user, database, asked)
            return ROUTES.get((asked.method, asked.path[1]), document)(database, asked)
        if asked.method in ("PUT", "DELETE"):
            allow_server(user, asked.path)
        if asked.method == "PUT":
            self.create(name)
            return Answer({"ok": True}, 201)
        if asked.method == "DELETE":
            self.delete(name)
            return {"ok": True}
        database = self.database(name)
        allow_database(user, database, asked)
        return info(database)
