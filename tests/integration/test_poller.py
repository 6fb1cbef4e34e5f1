"""The poller over a real changes feed, real queues and a real table."""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from chalicelib.couch import Database, JsonDict, Server
from chalicelib.settings import PollerSettings
from poller.app import run
from poller.checkpoint import Checkpoint, LeaseHeld, LeaseLost
from tests.support import wait_for


@dataclass
class Poller:
    """The poller that ships, over a control database, a queue and a table of the test's own."""

    settings: PollerSettings
    control: Database
    sqs: Any
    dynamodb: Any
    queue_url: str

    def run(self) -> JsonDict:
        return run(self.settings)

    def received(self) -> list[str]:
        """The ids of the documents that wait in the queue; they are taken out of it."""
        ids: list[str] = []
        while True:
            answer = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10)
            if not answer.get("Messages"):
                return sorted(ids)
            for message in answer["Messages"]:
                ids.append(json.loads(message["Body"])["id"])
                self.sqs.delete_message(
                    QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"]
                )

    def add(self, *doc_ids: str) -> None:
        for doc_id in doc_ids:
            self.control.put({"_id": doc_id, "type": "device", "state": "new"})

    def checkpoint(self, lease_s: int = 60, now_s: float | None = None) -> Checkpoint:
        """Another poller's view of the same table."""
        return Checkpoint(
            self.dynamodb,
            self.settings.table_name,
            self.settings.control_db,
            lease_s,
            time.time if now_s is None else lambda: now_s,
        )


@pytest.fixture
def poller(
    aws: Any, couch_url: str, control: Database, table_name: str, dynamodb: Any
) -> Iterator[Poller]:
    yield from make_poller(aws, couch_url, control, table_name, dynamodb, window_s=0)


def make_poller(
    aws: Any, couch_url: str, control: Database, table_name: str, dynamodb: Any, window_s: int
) -> Iterator[Poller]:
    sqs = aws.client("sqs")
    name = f"test-{uuid.uuid4().hex[:12]}"
    queue_url = sqs.create_queue(QueueName=name)["QueueUrl"]
    settings = PollerSettings.read(
        {
            "TABLE_NAME": table_name,
            "SECRET_ID": aws.create_secret(name, couch_url, "00" * 32),
            "CONTROL_DB": control.name,
            "ROUTES": json.dumps({"device/new": queue_url}),
            "POLL_WINDOW_SECONDS": str(window_s),
            "POLL_PAGE_SIZE": "3",
        }
    )
    yield Poller(settings, control, sqs, dynamodb, queue_url)
    sqs.delete_queue(QueueUrl=queue_url)


def test_every_document_is_sent_over_several_pages(poller: Poller) -> None:
    ids = [f"device-{number}" for number in range(8)]
    poller.add(*ids)
    assert poller.run() == {"polled": True, "changes": 8, "sent": 8}
    assert poller.received() == ids


def test_a_second_run_sends_only_what_is_new(poller: Poller) -> None:
    poller.add("device-1")
    poller.run()
    poller.add("device-2")
    assert poller.run()["sent"] == 1
    assert poller.received() == ["device-1", "device-2"]


def test_deleted_and_design_documents_are_passed_over(poller: Poller) -> None:
    poller.add("device-1", "device-2")
    poller.control.remove(poller.control.get("device-1"))
    poller.control.put({"_id": "_design/x", "type": "device", "state": "new"})
    poller.run()
    assert poller.received() == ["device-2"]


def test_a_lost_table_sends_everything_again(poller: Poller) -> None:
    poller.add("device-1", "device-2")
    poller.run()
    poller.dynamodb.delete_item(
        TableName=poller.settings.table_name,
        Key={"pk": {"S": f"feed#{poller.settings.control_db}"}},
    )
    poller.run()
    assert poller.received() == ["device-1", "device-1", "device-2", "device-2"]


def test_a_seq_that_couchdb_does_not_know_loses_nothing(poller: Poller) -> None:
    poller.add("device-1")
    checkpoint = poller.checkpoint()
    checkpoint.take()
    checkpoint.save_seq(poller.control.name, "99999-nonsense")
    checkpoint.release()
    poller.run()
    poller.run()
    assert "device-1" in poller.received()


def test_a_database_that_was_deleted_and_made_again_is_read_from_its_beginning(
    poller: Poller,
) -> None:
    poller.add("device-1", "device-2", "device-3")
    poller.run()
    poller.received()
    poller.control.delete()
    poller.control.create()
    poller.add("device-4")
    poller.run()
    assert poller.received() == ["device-4"]


def test_while_one_poller_has_the_lease_another_does_nothing(poller: Poller) -> None:
    poller.add("device-1")
    first = poller.checkpoint()
    first.take()
    assert poller.run() == {"polled": False, "changes": 0, "sent": 0}
    first.release()
    assert poller.run()["polled"]


def test_the_lease_of_a_poller_that_died_ends_by_itself(poller: Poller) -> None:
    poller.checkpoint(now_s=1000.0).take()
    with pytest.raises(LeaseHeld):
        poller.checkpoint(now_s=1060.0).take()
    poller.checkpoint(now_s=1060.001).take()


def test_a_poller_that_was_overtaken_cannot_put_the_feed_back(poller: Poller) -> None:
    stalled, later = poller.checkpoint(now_s=1000.0), poller.checkpoint(now_s=1061.0)
    stalled.take()
    stalled.save_seq("control", "1-old")
    later.take()
    later.save_seq("control", "2-new")
    with pytest.raises(LeaseLost):
        stalled.save_seq("control", "1-old")
    assert later.seq("control") == "2-new"


def test_a_poller_that_was_overtaken_stops_at_its_next_renewal(poller: Poller) -> None:
    now_s = 1000.0
    stalled = poller.checkpoint()
    stalled.now_s = lambda: now_s
    stalled.take()
    now_s = 1061.0
    poller.checkpoint(now_s=1061.0).take()
    with pytest.raises(LeaseLost):
        stalled.renew()
    stalled.release()
    with pytest.raises(LeaseHeld):
        poller.checkpoint(now_s=1062.0).take()


def test_the_lease_is_renewed_only_when_a_third_of_it_is_over(poller: Poller) -> None:
    now_s = 1000.0
    checkpoint = poller.checkpoint()
    checkpoint.now_s = lambda: now_s
    checkpoint.take()
    now_s = 1019.0
    checkpoint.renew()
    with pytest.raises(LeaseHeld):
        poller.checkpoint(now_s=1060.0).take()
    poller.checkpoint(now_s=1060.001).take()


def test_two_pollers_at_once_deliver_every_document(poller: Poller) -> None:
    ids = [f"device-{number:02}" for number in range(20)]
    poller.add(*ids)
    threads = [threading.Thread(target=poller.run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(poller.received())) == ids


def test_within_its_window_a_change_is_sent_as_it_happens(
    aws: Any, couch_url: str, control: Database, table_name: str, dynamodb: Any, server: Server
) -> None:
    for poller in make_poller(aws, couch_url, control, table_name, dynamodb, window_s=60):
        stopped = threading.Event()
        thread = threading.Thread(target=run, args=(poller.settings, stopped.is_set))
        thread.start()
        poller.add("device-1")
        wait_for(poller.received, "the first document in the queue")
        poller.add("device-2")
        wait_for(poller.received, "the second document in the queue")
        stopped.set()
        poller.add("device-3")  # ends the wait for changes
        thread.join(timeout=30)
        assert not thread.is_alive()
