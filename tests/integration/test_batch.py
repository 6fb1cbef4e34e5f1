"""A batch of messages, of which each stands or falls alone: over a real queue."""

import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.aws.claims import RunningElsewhere
from chalicelib.couch import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Unavailable, make_error
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
from tests.kit.cloud.account import Queue
from tests.kit.fakes.aws import FakeAws
from tests.kit.metrics import printed
from tests.world.region import Clock

LEASE_S = 90
DAY_S = 24 * 3600
TRANSITION = registry.transition("device", "new")
SAFE = registry.transition("channel", "new")


class BatchQueue(Queue):
    """A queue of messages about new devices, with the Lambda's loop that handles them."""

    def add(self, *doc_ids: str) -> None:
        about = {"db": "control", "rev": "1-a", "type": "device", "state": "new"}
        self.send(*[{**about, "id": doc_id} for doc_id in doc_ids])

    def records(self) -> list[Record]:
        return receive(self.client, self.url, self.name, 10)

    def handle(self, records: list[Record], handle: Callable[[Message], Outcome]) -> None:
        handle_batch(records, self.work(handle))

    def work(
        self, handle: Callable[[Message], Outcome], remaining_s: Callable[[], float] = lambda: 30.0
    ) -> FakeWork:
        return FakeWork(TRANSITION, handle, self.client, self.url, remaining_s, LEASE_S)

    def make_visible(self, record: Record) -> None:
        self.client.change_message_visibility(
            QueueUrl=self.url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=0
        )

    def delayed(self) -> int:
        """How many messages were sent with a delay that is not over."""
        name = "ApproximateNumberOfMessagesDelayed"
        answer = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=[name])
        return int(answer["Attributes"][name])


@pytest.fixture
def queue(aws: Any) -> Iterator[BatchQueue]:
    sqs, name = aws.client("sqs"), f"test-{uuid.uuid4().hex[:12]}"
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "180"})["QueueUrl"]
    yield BatchQueue(sqs, name, url)
    sqs.delete_queue(QueueUrl=url)


def failing(*doc_ids: str) -> Callable[[Message], Outcome]:
    def handle(message: Message) -> Outcome:
        if message.doc_id in doc_ids:
            raise RuntimeError(message.doc_id)
        return Outcome.SAVED

    return handle


def test_a_batch_that_succeeded_is_left_for_lambda_to_delete(queue: BatchQueue) -> None:
    queue.add("a", "b", "c")
    handled: list[str] = []

    def handle(message: Message) -> Outcome:
        handled.append(message.doc_id)
        return Outcome.SAVED

    queue.handle(queue.records(), handle)
    assert sorted(handled) == ["a", "b", "c"]
    assert queue.counts() == (0, 3)


def test_of_a_batch_that_failed_in_part_only_the_failed_come_back(queue: BatchQueue) -> None:
    queue.add("a", "b", "c", "d")
    with pytest.raises(BatchFailed, match="2 of 4"):
        queue.handle(queue.records(), failing("b", "d"))
    assert queue.counts() == (0, 2)


def test_a_failed_message_does_not_keep_the_next_from_being_handled(queue: BatchQueue) -> None:
    queue.add("a", "b", "c")
    handled: list[str] = []

    def handle(message: Message) -> Outcome:
        handled.append(message.doc_id)
        raise RuntimeError

    with pytest.raises(BatchFailed):
        queue.handle(queue.records(), handle)
    assert sorted(handled) == ["a", "b", "c"]


def test_a_message_that_is_none_of_the_pollers_fails_alone(queue: BatchQueue) -> None:
    queue.add("a")
    queue.send("no JSON")
    with pytest.raises(BatchFailed, match="1 of 2"):
        queue.handle(queue.records(), failing())
    assert queue.counts() == (0, 1)


def test_a_message_that_failed_is_handled_when_it_comes_back(queue: BatchQueue) -> None:
    queue.add("a")
    [record] = queue.records()
    with pytest.raises(BatchFailed):
        queue.handle([record], failing("a"))
    queue.hide(0, record["receiptHandle"])
    [again] = queue.records()
    assert again["attributes"]["ApproximateReceiveCount"] == "2"
    queue.handle([again], failing())


def test_a_message_that_always_fails_lies_in_the_dead_letters_after_five_tries(
    queue: BatchQueue,
) -> None:
    dead = queue.client.create_queue(QueueName=f"{queue.name}-dead")["QueueUrl"]
    attributes = queue.client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
    redrive = {"deadLetterTargetArn": attributes["Attributes"]["QueueArn"], "maxReceiveCount": 5}
    queue.client.set_queue_attributes(
        QueueUrl=queue.url, Attributes={"RedrivePolicy": json.dumps(redrive)}
    )
    queue.add("a")
    tries = 0
    while records := queue.records():
        tries += 1
        with pytest.raises(BatchFailed):
            queue.handle(records, failing("a"))
        queue.hide(0, records[0]["receiptHandle"])
    assert tries == 5
    [letter] = receive(queue.client, dead, queue.name, 10)
    assert json.loads(letter["body"])["id"] == "a"
    queue.client.delete_queue(QueueUrl=dead)


def test_what_there_is_no_time_for_comes_back_later_and_the_rest_is_done(queue: BatchQueue) -> None:
    queue.add("a", "b", "c", "d")
    left = iter([30.0, 20.0, 14.9, 5.0])
    handled: list[str] = []

    def handle(message: Message) -> Outcome:
        handled.append(message.doc_id)
        return Outcome.SAVED

    with pytest.raises(BatchFailed, match="2 of 4"):
        handle_batch(queue.records(), queue.work(handle, lambda: next(left)))
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


# An outage of CouchDB: it does not answer, or it refuses our login.

OUTAGES = {
    "no answer": Unavailable(0, "unreachable", "ReadTimeout", "GET /"),
    "a proxy's answer": make_error(502, None, "GET /"),
    "a wrong password": make_error(401, {"error": "unauthorized", "reason": "Wrong."}, "GET /"),
    "a locked account": make_error(
        403,
        {
            "error": "forbidden",
            "reason": "Account is temporarily locked due to multiple authentication failures",
        },
        "GET /",
    ),
}
OUR_FAULT = {
    "a busy server": make_error(500, {"error": "all_dbs_active", "reason": ""}, "GET /"),
    "a refused document": make_error(403, {"error": "forbidden", "reason": "No."}, "PUT /c/1"),
    "an error of the code": KeyError("name"),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
@pytest.mark.parametrize("takes_s", [0.1, CONNECT_TIMEOUT_S + READ_TIMEOUT_S])
def test_no_message_dies_in_a_day_without_couchdb(outage: Exception, takes_s: float) -> None:
    """Whether a batch has time for all of its messages, or for two; there is more than a batch."""

    def handle(lambdas: Lambdas, message: Message) -> Outcome:
        if lambdas.clock.now_s < DAY_S:
            lambdas.clock.move(takes_s)
            raise outage.with_traceback(None)
        lambdas.done.append(message.doc_id)
        return Outcome.SAVED

    lambdas = Lambdas(12, handle)
    lambdas.run()
    assert lambdas.aws.dead_letters("q") == []
    assert sorted(lambdas.done, key=int) == [f"{number}" for number in range(12)]
    assert lambdas.clock.now_s < DAY_S + 3600


@pytest.mark.parametrize("error", OUR_FAULT.values(), ids=OUR_FAULT)
def test_a_message_that_couchdb_or_the_code_fails_dies_after_five_tries(error: Exception) -> None:
    tries: list[str] = []

    def handle(lambdas: Lambdas, message: Message) -> Outcome:
        tries.append(message.doc_id)
        raise error.with_traceback(None)

    lambdas = Lambdas(1, handle)
    lambdas.run()
    assert (len(tries), len(lambdas.aws.dead_letters("q"))) == (5, 1)


def test_a_document_that_makes_couchdb_hang_is_a_dead_letter_before_sqs_drops_it() -> None:
    def handle(lambdas: Lambdas, message: Message) -> Outcome:
        raise OUTAGES["no answer"].with_traceback(None)

    lambdas = Lambdas(1, handle)
    lambdas.run()
    assert len(lambdas.aws.dead_letters("q")) == 1
    assert 12 * DAY_S < lambdas.clock.now_s < 13 * DAY_S


@pytest.mark.parametrize("outage", ["a wrong password", "a locked account"])
def test_a_refused_login_is_tried_once_in_a_batch_and_counted(
    queue: BatchQueue,
    outage: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Five wrong passwords lock the account."""
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "false")
    queue.add("a", "b", "c")
    tries: list[str] = []

    def handle(message: Message) -> Outcome:
        tries.append(message.doc_id)
        raise OUTAGES[outage].with_traceback(None)

    with pytest.raises(BatchFailed, match="3 of 3"):
        queue.handle(queue.records(), handle)
    assert len(tries) == 1
    refused = [dimensions for name, _, dimensions in printed(capsys) if name == "LoginRefused"]
    assert refused == [{"Stage": "dev"}]
    assert queue.counts() == (0, 3)


def received(queue: BatchQueue, times: int) -> Record:
    """The message that waits, received so often."""
    for _ in range(times - 1):
        [record] = queue.records()
        queue.make_visible(record)
    [record] = queue.records()
    return record


@pytest.mark.parametrize(("receives", "is_new"), [(3, False), (4, True), (5, True)])
def test_before_its_last_try_a_message_is_sent_again_with_a_delay(
    queue: BatchQueue, receives: int, is_new: bool
) -> None:
    queue.add("a")
    record = received(queue, receives)
    with pytest.raises(BatchFailed):
        queue.handle([record], raising(OUTAGES["no answer"]))
    assert queue.counts() == (0, 0 if is_new else 1)
    assert queue.delayed() == (1 if is_new else 0)


def raising(error: Exception) -> Callable[[Message], Outcome]:
    def handle(message: Message) -> Outcome:
        raise error.with_traceback(None)

    return handle


class NoDelay:
    """SQS, but messages with a delay can be received at once; it may refuse to take them."""

    def __init__(self, sqs: Any, accepts: Callable[[], bool] = lambda: True) -> None:
        self._sqs, self._accepts = sqs, accepts
        self.sent: list[dict[str, Any]] = []

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> Any:  # noqa: N803
        if not self._accepts():
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "SendMessageBatch")
        self.sent += Entries
        entries = [{"Id": entry["Id"], "MessageBody": entry["MessageBody"]} for entry in Entries]
        return self._sqs.send_message_batch(QueueUrl=QueueUrl, Entries=entries)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sqs, name)


def test_a_message_sent_again_knows_when_it_was_first_sent_and_its_group(queue: BatchQueue) -> None:
    queue.add("a")
    sqs, first_ms = NoDelay(queue.client), ""
    for _ in range(2):
        record = received(queue, 4)
        first_ms = first_ms or record["attributes"]["SentTimestamp"]
        record["attributes"]["MessageGroupId"] = "owner-1"
        work = replace(queue.work(raising(OUTAGES["no answer"])), sqs=sqs)
        with pytest.raises(BatchFailed):
            handle_batch([record], work)
    assert [entry["MessageGroupId"] for entry in sqs.sent] == ["owner-1", "owner-1"]
    [again] = queue.records()
    assert Message.parse(again["body"]) == Message(
        "control", "a", "device", "new", None, int(first_ms)
    )
    assert again["attributes"]["ApproximateReceiveCount"] == "1"


def test_a_message_that_sqs_does_not_take_again_stays_where_it_is(queue: BatchQueue) -> None:
    queue.add("a")
    record = received(queue, 4)
    sqs = NoDelay(queue.client, accepts=lambda: False)
    with pytest.raises(BatchFailed):
        handle_batch([record], replace(queue.work(raising(OUTAGES["no answer"])), sqs=sqs))
    assert queue.counts() == (0, 1)


@pytest.mark.parametrize(
    ("receive_count", "expected"),
    [(1, 10), (2, 40), (3, 160), (4, 640), (5, LONGEST_BACK_OFF_S), (50, LONGEST_BACK_OFF_S)],
)
def test_the_back_off_grows_with_each_try(
    queue: BatchQueue, receive_count: int, expected: int
) -> None:
    record = {"attributes": {"ApproximateReceiveCount": str(receive_count)}}
    assert back_off_s(record, queue.work(failing()), NoEffect()) == expected


def test_five_tries_outlast_ten_minutes_of_an_outage(queue: BatchQueue) -> None:
    records = [{"attributes": {"ApproximateReceiveCount": str(tries)}} for tries in range(1, 5)]
    work = queue.work(failing())
    assert sum(back_off_s(record, work, NoEffect()) for record in records) > 600


def test_after_an_error_of_unknown_effect_a_step_is_hidden_until_its_lease_ends(
    queue: BatchQueue,
) -> None:
    record = {"attributes": {"ApproximateReceiveCount": "1"}}
    assert back_off_s(record, queue.work(failing()), TimeoutError()) == LEASE_S + 1


def test_a_step_that_runs_elsewhere_is_hidden_until_its_lease_ends(queue: BatchQueue) -> None:
    record = {"attributes": {"ApproximateReceiveCount": "1"}}
    assert back_off_s(record, queue.work(failing()), RunningElsewhere("claim#x", 77)) == 77
