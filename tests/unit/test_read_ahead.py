"""What is sent and read at the same time, in real threads."""

import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, cast

import pytest

from poller.forward import Forwarder
from poller.messages import NotAccepted, Sender, messages_for
from tests.kit.basics import wait_for
from tests.kit.fakes.couch_watched import WatchedCouch
from tests.kit.poller.sender import ROUTES, FakeSqs, row
from tests.kit.poller.state import FakeCheckpoints

LIMIT_S = 30


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(3) as executor:
        yield executor


class MeetingSqs(FakeSqs):
    """Answers no request before so many are on their way."""

    meeting = threading.Barrier(3)

    def send_message_batch(self, QueueUrl: str, Entries: list[Any]) -> Any:  # noqa: N803
        self.meeting.wait(LIMIT_S)
        return super().send_message_batch(QueueUrl, Entries)


def messages(count: int) -> list[Any]:
    return list(messages_for("control", [row(f"device-{n}") for n in range(count)], ROUTES))


def test_batches_of_a_page_are_sent_at_once(threads: Executor) -> None:
    sqs = MeetingSqs()
    assert Sender(cast(Any, sqs), lambda s: None, threads).send(messages(25)) == 25
    assert sum(map(len, sqs.accepted.values())) == 25


def test_a_page_is_not_sent_while_one_of_its_batches_is_refused(threads: Executor) -> None:
    sqs = FakeSqs(refuse=lambda call, entry: "device-17" in entry["MessageBody"])
    sender = Sender(cast(Any, sqs), lambda s: None, threads)
    with pytest.raises(NotAccepted, match="1 of 10"):
        sender.send(messages(25))


def test_the_next_page_is_read_while_one_is_sent(threads: Executor) -> None:
    couch = WatchedCouch()
    couch.create("control")
    couch.add("control", "device-1", "device-2")

    class WaitingSqs(FakeSqs):
        def send_message_batch(self, QueueUrl: str, Entries: list[Any]) -> Any:  # noqa: N803
            asked = couch.asked
            wait_for(lambda: asked.count("GET /control/_changes") > 1, "a second page", LIMIT_S)
            return super().send_message_batch(QueueUrl, Entries)

    checkpoints = FakeCheckpoints()
    forwarder = Forwarder(
        server=couch.server(),
        checkpoints=cast(Any, checkpoints),
        sender=Sender(cast(Any, WaitingSqs()), lambda s: None, threads),
        control_db="control",
        routes=ROUTES,
        page_size=1,
        remaining_s=lambda: 100.0,
        monotonic_s=lambda: 0.0,
        warn=lambda what, why: None,
        executor=threads,
    )
    forwarder.forward({"control": ""})
    assert forwarder.summary.sent == 2
