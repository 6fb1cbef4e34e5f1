"""A poller's requests, one by one in the scheduler's hands, and what else may become of each."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import ReadTimeoutError

from tests.kit.fakes.couch_http import Answer, Asked
from tests.model.poller_notes import MAX_DOCS, PAGE_SIZE, START_S, Notes
from tests.model.scheduler import Scheduler

Call = Callable[[], Any]


@dataclass(frozen=True)
class Requests:
    """What a poller's clients are given to ask.

    Parameters
    ----------
    name : str
        The poller's.
    notes : callable
        The notes of the state at hand.
    stops_at_reads : bool
        Whether anything may happen before CouchDB is read.
    """

    name: str
    scheduler: Scheduler
    notes: Callable[[], Notes]
    stops_at_reads: bool

    def to_aws(self, request: str, call: Any) -> Any:
        """A request to AWS."""
        if request == "sqs.SendMessageBatch":
            return self.send(call)
        if request == "secretsmanager.GetSecretValue":
            return call()  # the same at any time
        return self.to_dynamodb(request, call)

    def to_couchdb(self, request: str, asked: Asked, answer: Callable[[Asked], Answer]) -> Answer:
        """A request to CouchDB, which may fail, know no such seq, or restart the feed by itself."""
        if not self.stops_at_reads:
            read: Answer = self.scheduler.hear(lambda: answer(asked))
            return read
        others = {"failed": self._fault(lambda: Answer({"error": "timeout", "reason": ""}, 500))}
        if asked.params.get("since", "0") not in ("0", "now"):
            refused = Answer({"error": "bad_request", "reason": "Malformed sequence"}, 400)
            restarted = replace(asked, params=asked.params | {"since": "0"})
            others["refused"] = self._fault(lambda: refused, costs=MAX_DOCS)
            others["rewound"] = self._fault(lambda: answer(restarted), costs=MAX_DOCS)
        answered: Answer = self.scheduler.request(request, lambda: answer(asked), **others)
        return answered

    def to_dynamodb(self, request: str, call: Any) -> Any:
        """A request to DynamoDB: of the answers, only one to a take has the item."""

        def watched() -> Any:
            answer = kept()
            if "Attributes" in answer:
                self.notes().take(self.name)
            return answer

        def kept() -> Any:
            answer, at_work = call(), self.notes().at_work
            values = call.keywords.get("ExpressionAttributeValues", {})
            if ":until_ms" in values:
                until_ms, now_ms = (int(values[name]["N"]) for name in (":until_ms", ":now_ms"))
                at_work.pop(self.name, None)
                if until_ms > now_ms:  # else it gives the lease back
                    at_work[self.name] = until_ms / 1000 - START_S
            return answer

        return self.scheduler.request(
            request,
            watched,
            unsent=self._fault(_time_out),
            lost=self._fault(kept, _time_out),
            resent=self._fault(watched, call),
        )

    def send(self, call: Any) -> Any:
        """A request to SQS, which may refuse some of it."""
        entries = call.keywords["Entries"]

        def send(accepted: int = len(entries)) -> Any:
            taken = entries[:accepted]
            answer = call.func(**{**call.keywords, "Entries": taken}) if taken else {}
            for entry in taken:
                self.notes().deliver(json.loads(entry["MessageBody"]))
            failed = [{"Id": entry["Id"], "Code": "InternalError"} for entry in entries[accepted:]]
            return {**answer, "Failed": failed}

        return self.scheduler.request(
            "sqs.SendMessageBatch",
            send,
            refused=self._fault(lambda: send(0)),
            partly=self._fault(lambda: send(1)),
            unsent=self._fault(_time_out),
            lost=self._fault(send, _time_out),
            resent=self._fault(send, send),
        )

    def _fault(self, *calls: Call, costs: int = PAGE_SIZE) -> Call:
        def happen() -> Any:
            self.notes().excused += costs
            return [call() for call in calls][-1]

        return happen


def _time_out() -> None:
    raise ReadTimeoutError(endpoint_url="aws")
