"""Workers that handle one unsafe step, with the real `handle` and the real `Claims`.

The time moves by the handler's time-out, which ends all workers that are older; or by more than a
lease and the margin of the clocks, after which every lease is over by every clock.
"""

import pickle
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self, cast

from botocore.exceptions import ReadTimeoutError

from chalicelib.aws.claims import Claim, Claims, claim_key
from chalicelib.couch import Database, Unavailable
from chalicelib.domain.documents import JsonDict, Rejected
from chalicelib.engine.docstate import Registry
from chalicelib.engine.runner import Message, handle
from chalicelib.errors import NoEffect
from tests.kit.basics import START, FakeDatabase
from tests.kit.fakes.aws import FakeClient
from tests.kit.fakes.dynamodb import DynamoDb
from tests.model.claim_notes import LEASE_S, MARGIN_S, TIMEOUT_S, Notes, Worker
from tests.model.scheduler import Program, Scheduler

TABLE = "claims"
RESCUER = "rescuer"

Call = Callable[[], Any]


class ScheduledDatabase(FakeDatabase):
    """CouchDB, which may fail, and whose answers may be lost."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._request = scheduler.request

    def get(self, doc_id: str) -> JsonDict:
        get = super().get
        return cast(JsonDict, self._request("GET", lambda: get(doc_id), failed=_unavailable))

    def put(self, doc: JsonDict) -> str:
        def put() -> str:
            return FakeDatabase.put(self, doc)

        lost = _then(put, _unavailable)
        return str(self._request("PUT", put, failed=_unavailable, lost=lost))


@dataclass(frozen=True)
class Tools:
    worker: str
    database: Database
    clock: Callable[[], datetime]

    def at(self, db: str) -> Self:
        return self


class ClaimWorld:
    """Workers over one document in state new; each has a message for it.

    Parameters
    ----------
    skews : sequence of int
        For each worker, how many seconds its clock is ahead of the time.
    jumps, edits : int
        How often the time may jump, and the document be edited by others.
    may_stall : bool
        Whether a worker may go on after its time-out, as in the local system.
    claims : type
        The real ones, or broken ones that must be found out.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        skews: Sequence[int] = (0, 0),
        *,
        jumps: int = 1,
        edits: int = 0,
        may_stall: bool = False,
        claims: type[Claims] = Claims,
    ) -> None:
        self._scheduler = scheduler
        self._dynamodb = DynamoDb()
        self._dynamodb.tables[TABLE] = {}
        self._database = ScheduledDatabase(scheduler)
        self._database.put({"_id": "x", "type": "mail", "state": "new"})
        self._message = Message("control", "x", "mail", "new", self._database.get("x"))
        workers = {
            f"{number:032x} {skew_s:+}": Worker(skew_s) for number, skew_s in enumerate(skews)
        }
        rescuer = {RESCUER: Worker(skew_s=0, has_message=False)}
        self._notes = Notes(workers | rescuer, jumps, edits, may_stall)
        self._claims = {
            name: claims(self._client(name), TABLE, LEASE_S) for name in workers | rescuer
        }
        self._control = Registry()
        self._control.unsafe("mail", "new", to="sent")(self._send)
        self.programs: Mapping[str, Program] = {name: self._program(name) for name in workers}

    def save(self) -> bytes:
        return pickle.dumps((self._notes, self._dynamodb.tables, self._database.docs))

    def load(self, saved: bytes) -> None:
        self._notes, self._dynamodb.tables, self._database.docs = pickle.loads(saved)

    def describe(self, name: str = "") -> str:
        if name:
            return repr(self._notes.workers[name])
        rest = replace(self._notes, workers={}, done=set())  # what is done is among the items
        return repr((rest, sorted(self._items().items()), self._database.docs))

    def events(self) -> dict[str, Callable[[], Collection[str]]]:
        events: dict[str, Callable[[], Collection[str]]] = {}
        if self._notes.jumps:
            events["the time-out passes"] = lambda: self._notes.jump(TIMEOUT_S)
            events["every lease passes"] = lambda: self._notes.jump(LEASE_S + MARGIN_S + 1)
        if self._notes.edits:
            events["an unrelated edit"] = lambda: self._edit(note="edited")
            events["moved on by somebody"] = lambda: self._edit(state="elsewhere")
            events["wanted again"] = lambda: self._edit(generation=1)
        return events

    def crash(self, name: str) -> None:
        self._notes.workers[name].began_s = None
        self._notes.leave(name)

    def check(self) -> None:
        self._notes.check(self._items(), self._database.docs["x"]["state"])

    def check_end(self) -> None:
        """Whoever has a message left brings the document to its next state; nobody else need."""
        is_any_left = any(worker.has_message for worker in self._notes.workers.values())
        message, tools = replace(self._message, doc=None), self._tools(RESCUER)
        for _ in range(3 if is_any_left or self._notes.is_edited else 0):
            self._notes.jump(10 * LEASE_S)
            try:
                handle(message, self._control, tools, self._claims[RESCUER])
            except Exception as exc:
                raise AssertionError(f"the document is stuck: {exc!r}") from exc
        self.check()
        assert self._database.docs["x"]["state"] != "new", "the document is stuck"

    def _program(self, name: str) -> Program:
        request, tools = self._scheduler.request, self._tools(name)

        def begin() -> None:
            self._notes.workers[name].began_s = self._notes.passed_s

        def delete() -> None:
            self.crash(name)
            self._notes.workers[name].has_message = False

        def handle_once() -> bool:
            request("receive", begin)
            try:
                handle(self._message, self._control, tools, self._claims[name])
            except Exception:
                request("hide", lambda: self.crash(name))
                return False
            request("delete", delete)
            return True

        return handle_once

    def _tools(self, name: str) -> Tools:
        def now() -> datetime:
            ahead_s = self._notes.workers[name].skew_s
            return START + timedelta(seconds=self._notes.passed_s + ahead_s)

        def clock() -> datetime:
            return cast(datetime, self._scheduler.hear(now))

        return Tools(name, cast(Database, self._database), clock)

    def _send(self, doc: JsonDict, tools: Tools, claim: Claim) -> JsonDict:
        def send() -> None:
            self._notes.send(tools.worker, claim.pk, claim.token)

        self._scheduler.request(
            "send",
            send,
            refused=_raise(NoEffect("429")),
            rejected=_raise(Rejected("no such address")),
            failed=_raise(TimeoutError()),
            lost=_then(send, _raise(TimeoutError())),
        )
        return {"state": "sent"}

    def _client(self, name: str) -> Any:
        def watched(*calls: Call) -> Call:
            return lambda: self._watch(name, _then(*calls))

        def around(request: str, call: Call) -> Any:
            if request == "dynamodb.GetItem":
                return self._scheduler.request(request, call)
            return self._scheduler.request(
                request,
                watched(call),
                unsent=watched(_time_out),
                lost=watched(call, _time_out),
                resent=watched(call, call),
            )

        return FakeClient("dynamodb", self._dynamodb, around)

    def _watch(self, name: str, call: Call) -> Any:
        """Note what came of a request to DynamoDB: only a take is answered with the item."""
        before = self._items()
        try:
            answer = call()
        except Exception:
            self._notes.leave(name)
            raise
        if "Attributes" in answer:
            item, doc = answer["Attributes"], self._database.docs["x"]
            key = claim_key("control", "x", doc["state"], str(doc.get("generation", 0)))
            self._notes.take(name, item, stood=item["pk"]["S"] == key)
        else:
            self._notes.give_back(name, before)
        return answer

    def _items(self) -> dict[str, JsonDict]:
        items = self._dynamodb.scan(TableName=TABLE)["Items"]
        return {item["pk"]["S"]: item for item in items}

    def _edit(self, **fields: Any) -> list[str]:
        self._notes.edits -= 1
        self._notes.is_edited = True  # the poller sends a message for it
        self._database.put({**self._database.get("x"), **fields})
        return []


def _raise(exc: Exception) -> Call:
    def fail() -> Any:
        raise exc

    return fail


_unavailable = _raise(Unavailable(503, "unreachable", "gone"))
_time_out = _raise(ReadTimeoutError(endpoint_url="dynamodb"))


def _then(*calls: Call) -> Call:
    """One after another; the last one's answer."""
    return lambda: [call() for call in calls][-1]
