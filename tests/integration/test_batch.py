"""A batch of messages, of which each stands or falls alone: over a real queue."""

import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from chalicelib.aws.claims import RunningElsewhere
from chalicelib.couch import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Unavailable
from chalicelib.engine.batch import (
    LONGEST_BACK_OFF_S,
    MAX_TRIES,
    BatchFailed,
    back_off_s,
    handle_batch,
)
from chalicelib.engine.runner import Message, Outcome
from chalicelib.errors import NoEffect, Unfinished
from chalicelib.handlers.all import registry
from local.lambdas import Record, receive
from tests.kit.basics import FakeWork
from tests.kit.fakes.aws import FakeAws
from tests.world.region import Clock

LEASE_S = 90
TRANSITION = registry.transition("device", "new")
SAFE = registry.transition("channel", "new")


@dataclass
class Queue:
    sqs: Any
    url: str
    name: str

    def send(self, *doc_ids: str) -> None:
        for doc_id in doc_ids:
            body = {"db": "control", "id": doc_id, "rev": "1-a", "type": "device", "state": "new"}
            self.sqs.send_message(QueueUrl=self.url, MessageBody=json.dumps(body))

    def receive(self) -> list[Record]:
        return receive(self.sqs, self.url, self.name, 10)

    def handle(self, records: list[Record], handle: Callable[[Message], Outcome]) -> None:
        handle_batch(records, self.work(handle))

    def work(
        self, handle: Callable[[Message], Outcome], remaining_s: Callable[[], float] = lambda: 30.0
    ) -> FakeWork:
        return FakeWork(TRANSITION, handle, self.sqs, self.url, remaining_s, LEASE_S)

    def make_visible(self, record: Record) -> None:
        self.sqs.change_message_visibility(
            QueueUrl=self.url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=0
        )

    def counts(self) -> tuple[int, int]:
        """How many messages wait, and how many are hidden."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return int(answer["Attributes"][names[0]]), int(answer["Attributes"][names[1]])


@pytest.fixture
def queue(aws: Any) -> Iterator[Queue]:
    sqs, name = aws.client("sqs"), f"test-{uuid.uuid4().hex[:12]}"
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "180"})["QueueUrl"]
    yield Queue(sqs, url, name)
    sqs.delete_queue(QueueUrl=url)


def failing(*doc_ids: str) -> Callable[[Message], Outcome]:
    def handle(message: Message) -> Outcome:
        if message.doc_id in doc_ids:
            raise RuntimeError(message.doc_id)
        return Outcome.SAVED

    return handle


def test_a_batch_that_succeeded_is_left_for_lambda_to_delete(queue: Queue) -> None:
    queue.send("a", "b", "c")
    handled: list[str] = []

    def handle(message: Message) -> Outcome:
        handled.append(message.doc_id)
        return Outcome.SAVED

    queue.handle(queue.receive(), handle)
    assert sorted(handled) == ["a", "b", "c"]
    assert queue.counts() == (0, 3)


def test_of_a_batch_that_failed_in_part_only_the_failed_come_back(queue: Queue) -> None:
    queue.send("a", "b", "c", "d")
    with pytest.raises(BatchFailed, match="2 of 4"):
        queue.handle(queue.receive(), failing("b", "d"))
    assert queue.counts() == (0, 2)


def test_a_failed_message_does_not_keep_the_next_from_being_handled(queue: Queue) -> None:
    queue.send("a", "b", "c")
    handled: list[str] = []

    def handle(message: Message) -> Outcome:
        handled.append(message.doc_id)
        raise RuntimeError

    with pytest.raises(BatchFailed):
        queue.handle(queue.receive(), handle)
    assert sorted(handled) == ["a", "b", "c"]


def test_a_message_that_is_none_of_the_pollers_fails_alone(queue: Queue) -> None:
    queue.send("a")
    queue.sqs.send_message(QueueUrl=queue.url, MessageBody="no JSON")
    with pytest.raises(BatchFailed, match="1 of 2"):
        queue.handle(queue.receive(), failing())
    assert queue.counts() == (0, 1)


def test_a_message_that_failed_is_handled_when_it_comes_back(queue: Queue) -> None:
    queue.send("a")
    [record] = queue.receive()
    with pytest.raises(BatchFailed):
        queue.handle([record], failing("a"))
    queue.make_visible(record)
    [again] = queue.receive()
    assert again["attributes"]["ApproximateReceiveCount"] == "2"
    queue.handle([again], failing())


def test_a_message_that_always_fails_lies_in_the_dead_letters_after_five_tries(
    queue: Queue,
) -> None:
    dead = queue.sqs.create_queue(QueueName=f"{queue.name}-dead")["QueueUrl"]
    attributes = queue.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
    redrive = {"deadLetterTargetArn": attributes["Attributes"]["QueueArn"], "maxReceiveCount": 5}
    queue.sqs.set_queue_attributes(
        QueueUrl=queue.url, Attributes={"RedrivePolicy": json.dumps(redrive)}
    )
    queue.send("a")
    tries = 0
    while records := queue.receive():
        tries += 1
        with pytest.raises(BatchFailed):
            queue.handle(records, failing("a"))
        queue.make_visible(records[0])
    assert tries == 5
    [letter] = receive(queue.sqs, dead, queue.name, 10)
    assert json.loads(letter["body"])["id"] == "a"
    queue.sqs.delete_queue(QueueUrl=dead)


def test_what_there_is_no_time_for_comes_back_later_and_the_rest_is_done(queue: Queue) -> None:
    queue.send("a", "b", "c", "d")
    left = iter([30.0, 20.0, 14.9, 5.0])
    handled: list[str] = []

    def handle(message: Message) -> Outcome:
        handled.append(message.doc_id)
        return Outcome.SAVED

    with pytest.raises(BatchFailed, match="2 of 4"):
        handle_batch(queue.receive(), queue.work(handle, lambda: next(left)))
    assert len(handled) == 2
    assert queue.counts() == (0, 2)


@dataclass
class Lambdas:
    """One Lambda after the other, each with 30 s, in a time that only they make pass."""

    messages: int
    handle: Callable[["Lambdas", Message], Outcome]
    clock: Clock = field(default_factory=lambda: Clock(0.0))
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.aws = FakeAws(lambda: self.clock.now_s)
        self.url = self.aws.create_queue("q", visibility_s=180, max_receives=5)
        self.sqs = self.aws.client("sqs")

    def run(self) -> None:
        """Until the queue is empty."""
        for number in range(self.messages):
            body = {"db": "c", "id": f"{number}", "rev": "1-a", "type": "channel", "state": "new"}
            entry = {"Id": "0", "MessageBody": json.dumps(body)}
            self.sqs.send_message_batch(QueueUrl=self.url, Entries=[entry])
        while (visible_at_s := self.aws.next_visible_at_s()) is not None or self.aws.waiting("q"):
            if records := self.aws.receive("q", 10):
                self._run_one(records)
            else:
                self.clock.now_s = visible_at_s or self.clock.now_s

    def _run_one(self, records: list[Record]) -> None:
        ends_s = self.clock.now_s + 30
        work = FakeWork(
            SAFE, partial(self.handle, self), self.sqs, self.url, lambda: ends_s - self.clock.now_s
        )
        try:
            handle_batch(records, work)
        except BatchFailed:
            assert self.clock.now_s <= ends_s  # else it would have been cut off
        else:
            self.aws.delete("q", records)


def test_no_message_dies_while_couchdb_hangs_for_five_minutes() -> None:
    times = itertools.cycle([CONNECT_TIMEOUT_S + READ_TIMEOUT_S, 4.5])

    def handle(lambdas: Lambdas, message: Message) -> Outcome:
        if lambdas.clock.now_s < 300:
            lambdas.clock.move(next(times))
            raise Unavailable(0, "unreachable", "ReadTimeout", "GET /")
        lambdas.done.append(message.doc_id)
        return Outcome.SAVED

    lambdas = Lambdas(10, handle)
    lambdas.run()
    assert (len(lambdas.done), lambdas.aws.dead_letters("q")) == (10, [])


@pytest.mark.parametrize("takes_s", [1.0, 4.0, 9.0, 14.0])
def test_no_message_dies_untried_because_each_takes_long(takes_s: float) -> None:
    """One hundred at once; of a batch of ten, a Lambda has time for all, some or one."""

    def handle(lambdas: Lambdas, message: Message) -> Outcome:
        lambdas.clock.move(takes_s)
        lambdas.done.append(message.doc_id)
        return Outcome.SAVED

    lambdas = Lambdas(100, handle)
    lambdas.run()
    assert (len(lambdas.done), lambdas.aws.dead_letters("q")) == (100, [])


def test_what_somebodys_database_does_not_take_is_tried_and_is_no_dead_letter() -> None:
    def handle(lambdas: Lambdas, message: Message) -> Outcome:
        lambdas.done.append(message.doc_id)
        raise Unfinished("the databases of 1 guests")

    lambdas = Lambdas(3, handle)
    lambdas.run()
    assert sorted(lambdas.done) == sorted(["0", "1", "2"] * MAX_TRIES)
    assert lambdas.aws.dead_letters("q") == []


@pytest.mark.parametrize(
    ("receive_count", "expected"),
    [(1, 10), (2, 40), (3, 160), (4, 640), (5, LONGEST_BACK_OFF_S), (50, LONGEST_BACK_OFF_S)],
)
def test_the_back_off_grows_with_each_try(queue: Queue, receive_count: int, expected: int) -> None:
    record = {"attributes": {"ApproximateReceiveCount": str(receive_count)}}
    assert back_off_s(record, queue.work(failing()), NoEffect()) == expected


def test_five_tries_outlast_ten_minutes_of_an_outage(queue: Queue) -> None:
    records = [{"attributes": {"ApproximateReceiveCount": str(tries)}} for tries in range(1, 5)]
    work = queue.work(failing())
    assert sum(back_off_s(record, work, NoEffect()) for record in records) > 600


def test_after_an_error_of_unknown_effect_a_step_is_hidden_until_its_lease_ends(
    queue: Queue,
) -> None:
    record = {"attributes": {"ApproximateReceiveCount": "1"}}
    assert back_off_s(record, queue.work(failing()), TimeoutError()) == LEASE_S + 1


def test_a_step_that_runs_elsewhere_is_hidden_until_its_lease_ends(queue: Queue) -> None:
    record = {"attributes": {"ApproximateReceiveCount": "1"}}
    assert back_off_s(record, queue.work(failing()), RunningElsewhere("claim#x", 77)) == 77
