"""Queues in memory, and the rows of a changes feed that go there."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from chalicelib.domain.documents import JsonDict
from poller.messages import Sender
from tests.kit.fakes.executor import LazyExecutor

ROUTES = {
    "device/new": "https://sqs/device-new",
    "device/revoking": "https://sqs/device-revoking",
    "confirm/clicked": "https://sqs/confirm-clicked",
}


def row(doc_id: str = "device-1", **fields: Any) -> JsonDict:
    doc = {"_id": doc_id, "_rev": "1-a", "type": "device", "state": "new", **fields}
    return {"id": doc_id, "seq": "1", "changes": [{"rev": "1-a"}], "doc": doc}


@dataclass
class FakeSqs:
    """Accepts what `refuse` lets through; keeps what it accepted, by queue."""

    refuse: Callable[[int, JsonDict], bool] = lambda call, entry: False
    accepted: dict[str, list[str]] = field(default_factory=dict)
    calls: list[list[JsonDict]] = field(default_factory=list)

    def send_message_batch(self, QueueUrl: str, Entries: list[JsonDict]) -> JsonDict:  # noqa: N803
        self.calls.append(Entries)
        refused = [entry for entry in Entries if self.refuse(len(self.calls), entry)]
        taken = [entry for entry in Entries if entry not in refused]
        self.accepted.setdefault(QueueUrl, []).extend(entry["MessageBody"] for entry in taken)
        return {
            "Successful": [{"Id": entry["Id"]} for entry in taken],
            "Failed": [{"Id": entry["Id"], "Code": "InternalError"} for entry in refused],
        }


def sender_to(sqs: FakeSqs, pauses: list[float] | None = None) -> Sender:
    return Sender(cast(Any, sqs), (pauses if pauses is not None else []).append, LazyExecutor())
