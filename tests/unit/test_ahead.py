import threading
from typing import Any, cast

import pytest

from poller.ahead import _threads, in_threads, when_needed
from poller.forward import Follower
from poller.messages import NotAccepted, Sender, messages_for
from tests.fake_poller_state import FakeCheckpoint
from tests.fake_sqs import ROUTES, FakeSqs, row
from tests.fakes.couch_watched import WatchedCouch
from tests.support import wait_for

LIMIT_S = 30


@pytest.fixture(autouse=True)
def own_threads() -> None:
    """New ones: none outlives a fork, and a mutation run forks for each mutant."""
    _threads.cache_clear()


class MeetingSqs(FakeSqs):
    """Answers no request before so many are on their way."""

    meeting = threading.Barrier(3)

    def send_message_batch(self, QueueUrl: str, Entries: list[Any]) -> Any:  # noqa: N803
        self.meeting.wait(LIMIT_S)
        return super().send_message_batch(QueueUrl, Entries)


def messages(count: int) -> list[Any]:
    return list(messages_for("control", [row(f"device-{n}") for n in range(count)], ROUTES))


def test_a_call_begins_in_a_thread_before_anybody_waits_for_it() -> None:
    begun = threading.Event()
    result = in_threads(begun.set)
    assert begun.wait(LIMIT_S)
    result()


def test_a_call_begins_when_it_is_waited_for_where_all_is_in_order() -> None:
    begun: list[int] = []
    result = when_needed(lambda: begun.append(1))
    assert begun == []
    result()
    assert begun == [1]


def test_what_a_call_raised_in_a_thread_is_raised_to_who_waits() -> None:
    result = in_threads(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        result()


def test_batches_of_a_page_are_sent_at_once() -> None:
    sqs = MeetingSqs()
    assert Sender(cast(Any, sqs), lambda s: None, in_threads).send(messages(25)) == 25
    assert sum(map(len, sqs.accepted.values())) == 25


def test_a_page_is_not_sent_while_one_of_its_batches_is_refused() -> None:
    sqs = FakeSqs(refuse=lambda call, entry: "device-17" in entry["MessageBody"])
    sender = Sender(cast(Any, sqs), lambda s: None, in_threads)
    with pytest.raises(NotAccepted, match="1 of 10"):
        sender.send(messages(25))


def test_the_next_page_is_read_while_one_is_sent() -> None:
    couch = WatchedCouch()
    couch.create("control")
    couch.add("control", "device-1", "device-2")

    class WaitingSqs(FakeSqs):
        def send_message_batch(self, QueueUrl: str, Entries: list[Any]) -> Any:  # noqa: N803
            asked = couch.asked
            wait_for(lambda: asked.count("GET /control/_changes") > 1, "a second page", LIMIT_S)
            return super().send_message_batch(QueueUrl, Entries)

    checkpoint = FakeCheckpoint()
    follower = Follower(
        server=couch.server(),
        checkpoint=cast(Any, checkpoint),
        sender=Sender(cast(Any, WaitingSqs()), lambda s: None),
        control_db="control",
        routes=ROUTES,
        page_size=1,
        remaining_s=lambda: 100.0,
        warn=lambda what, why: None,
        begin=in_threads,
    )
    follower.follow({"control": ""})
    assert follower.summary.sent == 2
