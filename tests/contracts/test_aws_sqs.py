"""What this project relies on in SQS: one suite for moto and for FakeAws."""

import json
from collections.abc import Iterator

import pytest

from poller.messages import MAX_MESSAGE_BYTES
from tests.kit.cloud.account import (
    Account,
    Queue,
    a_name,
    bodies,
    code_of,
    entry_ids,
    groups,
    receipts,
)

VISIBILITY_S = 180
MAX_RECEIVES = 5


@pytest.fixture
def queue(account: Account) -> Iterator[Queue]:
    sqs, name = account.client("sqs"), a_name()
    if account.fake:
        fake = account.fake
        url = fake.create_queue(name, visibility_s=VISIBILITY_S, max_receives=MAX_RECEIVES)
        letters = fake._sqs.queues[name].dead_letters
        yield Queue(sqs, name, url, lambda: [(letter.body, letter.group) for letter in letters])
        return
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    redrive = {"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": MAX_RECEIVES}
    attributes = {"VisibilityTimeout": str(VISIBILITY_S), "RedrivePolicy": json.dumps(redrive)}
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    dead_queue = Queue(sqs, f"{name}-dead", dead, list)
    yield Queue(sqs, name, url, lambda: groups(dead_queue.receive()))
    sqs.delete_queue(QueueUrl=url)
    sqs.delete_queue(QueueUrl=dead)


def test_a_queue_is_found_by_its_name(queue: Queue) -> None:
    assert queue.client.get_queue_url(QueueName=queue.name)["QueueUrl"] == queue.url


def test_a_queue_that_does_not_exist_is_said_to(queue: Queue) -> None:
    missing = queue.client.exceptions.QueueDoesNotExist
    with pytest.raises(missing) as refused:
        queue.client.get_queue_url(QueueName=a_name())
    assert refused.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    with pytest.raises(missing):
        Queue(queue.client, "", f"{queue.url}-missing", list).send("a")


def test_what_was_accepted_is_named_and_received_once(queue: Queue) -> None:
    answer = queue.send("a", '{"ü": "\\u0000"}', "c")
    assert entry_ids(answer["Successful"]) == ["0", "1", "2"]
    assert not answer.get("Failed")
    assert bodies(queue.receive()) == ["a", "c", '{"ü": "\\u0000"}']
    assert queue.receive() == []
    assert queue.counts() == (0, 3)


def test_no_more_is_received_than_was_asked_for(queue: Queue) -> None:
    queue.send(*"abcde")
    assert len(queue.receive(2)) == 2
    assert queue.counts() == (3, 2)


def test_a_message_says_how_often_and_when_it_was_received(queue: Queue) -> None:
    queue.send("a")
    counts, first = [], set()
    for _ in range(3):
        [message] = queue.receive()
        attributes = message["Attributes"]
        assert int(attributes["SentTimestamp"]) <= int(
            attributes["ApproximateFirstReceiveTimestamp"]
        )
        counts.append(attributes["ApproximateReceiveCount"])
        first.add((message["MessageId"], attributes["ApproximateFirstReceiveTimestamp"]))
        queue.hide(0, message["ReceiptHandle"])
    assert counts == ["1", "2", "3"]
    assert len(first) == 1


def test_a_batch_without_entries_with_too_many_and_with_too_much_is_refused(queue: Queue) -> None:
    sqs = "AWS.SimpleQueueService."
    assert code_of(queue.send) == f"{sqs}EmptyBatchRequest"
    assert code_of(lambda: queue.send(*"abcdefghijk")) == f"{sqs}TooManyEntriesInBatchRequest"
    assert code_of(lambda: queue.send("x" * 600_000, "y" * 600_000)) == f"{sqs}BatchRequestTooLong"
    twice = [{"Id": "0", "MessageBody": body} for body in "ab"]
    send = queue.client.send_message_batch
    assert (
        code_of(lambda: send(QueueUrl=queue.url, Entries=twice)) == f"{sqs}BatchEntryIdsNotDistinct"
    )
    assert queue.receive() == []


def test_a_message_with_a_delay_is_neither_received_nor_hidden(queue: Queue) -> None:
    entries = [
        {"Id": "0", "MessageBody": "later", "DelaySeconds": 900},
        {"Id": "1", "MessageBody": "now", "DelaySeconds": 0},
    ]
    answer = queue.client.send_message_batch(QueueUrl=queue.url, Entries=entries)
    assert entry_ids(answer["Successful"]) == ["0", "1"]
    assert bodies(queue.receive()) == ["now"]
    assert queue.counts() == (0, 1)
    name = "ApproximateNumberOfMessagesDelayed"
    told = queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=[name])
    assert told["Attributes"] == {name: "1"}


def test_a_batch_as_large_as_the_poller_makes_them_is_taken(queue: Queue) -> None:
    half = "x" * (MAX_MESSAGE_BYTES // 2)
    queue.send(half, half)
    assert queue.counts() == (2, 0)


def test_a_deleted_message_is_gone_and_may_be_deleted_again(queue: Queue) -> None:
    queue.send("a", "b")
    handles = receipts(queue.receive())
    assert entry_ids(queue.delete(*handles)["Successful"]) == ["0", "1"]
    assert queue.counts() == (0, 0)
    assert entry_ids(queue.delete(*handles)["Successful"]) == ["0", "1"]


def test_of_a_batch_of_deletions_each_stands_or_falls_alone(queue: Queue) -> None:
    queue.send("a", "b")
    [one, other] = receipts(queue.receive())
    answer = queue.delete(one, "no-handle", other)
    assert entry_ids(answer["Successful"]) == ["0", "2"]
    [failed] = answer["Failed"]
    assert (failed["Id"], failed["Code"]) == ("1", "ReceiptHandleIsInvalid")
    assert queue.counts() == (0, 0)


def test_a_message_whose_time_is_set_to_none_is_back_at_once(queue: Queue) -> None:
    queue.send("a", "b")
    [one, _] = queue.receive()
    queue.hide(0, one["ReceiptHandle"])
    assert queue.counts() == (1, 1)
    [again] = queue.receive()
    assert (again["MessageId"], again["Body"]) == (one["MessageId"], one["Body"])
    assert again["ReceiptHandle"] != one["ReceiptHandle"]
    queue.delete(again["ReceiptHandle"])
    assert queue.counts() == (0, 1)


def test_of_a_batch_of_new_times_each_stands_or_falls_alone(queue: Queue) -> None:
    queue.send("a", "b")
    [one, other] = receipts(queue.receive())
    queue.delete(other)
    answer = queue.hide(0, one, "no-handle", other)
    assert entry_ids(answer["Successful"]) == ["0"]
    assert [(failed["Id"], failed["Code"]) for failed in answer["Failed"]] == [
        ("1", "ReceiptHandleIsInvalid"),
        ("2", "ReceiptHandleIsInvalid"),
    ]
    assert queue.counts() == (1, 0)


def test_a_longer_time_hides_a_message_further(queue: Queue) -> None:
    queue.send("a")
    [handle] = receipts(queue.receive())
    queue.hide(900, handle)
    assert queue.counts() == (0, 1)
    [failed] = queue.hide(43_201, handle)["Failed"]
    assert failed["Code"] == "InvalidParameterValue"


def test_after_the_last_try_a_message_lies_among_the_dead_letters(queue: Queue) -> None:
    queue.send("dead")
    for _ in range(MAX_RECEIVES):
        [message] = queue.receive()
        queue.hide(0, message["ReceiptHandle"])
    queue.send("alive")
    assert bodies(queue.receive()) == ["alive"]
    assert queue.dead_letters() == [("dead", None)]
    assert queue.counts() == (0, 1)


def test_a_message_deleted_in_its_last_try_is_no_dead_letter(queue: Queue) -> None:
    queue.send("a")
    for _ in range(MAX_RECEIVES - 1):
        queue.hide(0, *receipts(queue.receive()))
    queue.delete(*receipts(queue.receive()))
    assert queue.receive() == []
    assert queue.dead_letters() == []


# Message groups, which make a standard queue fair.


def test_a_standard_queue_takes_messages_of_a_group_and_says_which(queue: Queue) -> None:
    queue.send("a", "b", group="ada")
    queue.send("c", group="ben")
    queue.send("d")
    # All at once: unlike in a FIFO queue, two of one group may be in flight.
    assert groups(queue.receive()) == [("a", "ada"), ("b", "ada"), ("c", "ben"), ("d", None)]


def test_a_message_that_comes_back_is_still_in_its_group(queue: Queue) -> None:
    queue.send("a", group="ada")
    queue.hide(0, *receipts(queue.receive()))
    assert groups(queue.receive()) == [("a", "ada")]


def test_a_dead_letter_is_still_in_its_group(queue: Queue) -> None:
    queue.send("a", group="ada")
    for _ in range(MAX_RECEIVES):
        queue.hide(0, *receipts(queue.receive()))
    assert queue.receive() == []
    assert queue.dead_letters() == [("a", "ada")]


def test_a_message_of_a_small_group_is_not_behind_all_of_a_large_one(queue: Queue) -> None:
    """At the latest when 30 of the large group are being worked on."""
    for _ in range(6):
        queue.send(*"abcdefghij", group="large")
    queue.send("z", group="small")
    received = [message["Body"] for _ in range(4) for message in queue.receive()]
    assert "z" in received
