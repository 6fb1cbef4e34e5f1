"""The poller over a real changes feed, real queues and a real table."""

import threading
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from poller.app import logger, run
from poller.checkpoint import Checkpoint
from poller.lease import Cursor, LeaseHeld, LeaseLost
from tests.kit.basics import logged, wait_for
from tests.kit.metrics import printed
from tests.kit.poller.over_servers import Poller, seq_after


def test_every_document_is_sent_over_several_pages(poller: Poller) -> None:
    ids = [f"device-{number}" for number in range(8)]
    poller.add(*ids)
    run = poller.run()
    # The feed of databases may tell of it during the run, and it is looked at once more.
    assert run.pop("databases") in (1, 2)
    assert run == {"polled": True, "changes": 8, "sent": 8}
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
    lease = poller.lease()
    lease.take()
    poller.checkpoints(lease).save(poller.control.name, Checkpoint("99999-nonsense"))
    lease.release()
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


# A CouchDB that was restored from a backup: the kept seqs are of changes that are no longer there.


def keep_later_seqs(poller: Poller) -> None:
    """What the table would hold if CouchDB had been further, and was set back.

    Further than other tests bring a CouchDB that they share.
    """
    lease = poller.lease()
    cursor = lease.take()
    checkpoints = poller.checkpoints(lease)
    [kept] = checkpoints.read([poller.control.name]).values()
    checkpoints.save(poller.control.name, Checkpoint(seq_after(kept.seq, 1_000_000)))
    lease.save(replace(cursor, db_updates_seq=seq_after(cursor.db_updates_seq, 1_000_000)))
    lease.release()


def test_a_restored_couchdb_is_read_from_its_beginning(poller: Poller) -> None:
    poller.add("device-1", "device-2")
    poller.run()
    poller.received()
    keep_later_seqs(poller)
    with logged(logger) as said:
        poller.run()
    assert set(poller.received()) == {"device-1", "device-2"}
    assert "a feed restarted from its beginning" in said.getvalue()
    # Other tests write on the same CouchDB: that `_db_updates` restarts, unit/test_poll.py shows.
    poller.add("device-3")
    poller.run()
    assert poller.received() == ["device-3"]


def test_while_one_poller_has_the_lease_another_does_nothing(poller: Poller) -> None:
    poller.add("device-1")
    first = poller.lease()
    first.take()
    assert poller.run() == {"polled": False, "databases": 0, "changes": 0, "sent": 0}
    first.release()
    assert poller.run()["polled"]


def test_the_lease_of_a_poller_that_died_ends_by_itself(poller: Poller) -> None:
    poller.lease(now_s=1000.0).take()
    with pytest.raises(LeaseHeld):
        poller.lease(now_s=1060.0).take()
    poller.lease(now_s=1060.001).take()


def test_a_poller_that_lost_its_lease_cannot_set_a_feed_back(poller: Poller) -> None:
    stalled, later = poller.lease(now_s=1000.0), poller.lease(now_s=1061.0)
    stalled.take()
    poller.checkpoints(stalled).save("control", Checkpoint("1-old"))
    later.take()
    poller.checkpoints(later).save("control", Checkpoint("2-new"))
    with pytest.raises(LeaseLost):
        poller.checkpoints(stalled).save("control", Checkpoint("1-old"))
    with pytest.raises(LeaseLost):
        poller.checkpoints(stalled).delete("control")
    assert poller.checkpoints(later).read(["control"]) == {"control": Checkpoint("2-new")}


def test_a_poller_that_lost_its_lease_stops_at_its_next_renewal(poller: Poller) -> None:
    now_s = 1000.0
    stalled = poller.lease()
    stalled.now_s = lambda: now_s
    stalled.take()
    now_s = 1061.0
    poller.lease(now_s=1061.0).take()
    with pytest.raises(LeaseLost):
        stalled.renew()
    with pytest.raises(LeaseLost):
        stalled.save(Cursor("12-seq"))
    stalled.release()
    with pytest.raises(LeaseHeld):
        poller.lease(now_s=1062.0).take()


def test_the_lease_is_renewed_only_when_a_third_of_it_is_over(poller: Poller) -> None:
    now_s = 1000.0
    lease = poller.lease()
    lease.now_s = lambda: now_s
    lease.take()
    now_s = 1019.0
    lease.renew()
    with pytest.raises(LeaseHeld):
        poller.lease(now_s=1060.0).take()
    poller.lease(now_s=1060.001).take()


def test_the_next_holder_gets_the_cursor_that_was_saved(poller: Poller) -> None:
    first, cursor = poller.lease(), Cursor("12-seq", "control-ab", is_fully_scanned=True)
    assert first.take() == Cursor()
    first.save(cursor)
    first.renew()
    first.release()
    assert poller.lease().take() == cursor


def test_a_database_that_another_shard_had_can_be_saved_by_its_new_one(poller: Poller) -> None:
    many, alone = poller.lease(shards=2), poller.lease()
    for _ in range(3):
        many.take()
        many.release()
    poller.checkpoints(many).save("control", Checkpoint("1-a"))
    alone.take()
    poller.checkpoints(alone).save("control", Checkpoint("2-b"))
    assert poller.checkpoints(alone).read(["control"]) == {"control": Checkpoint("2-b")}


def test_a_checkpoint_saved_before_there_were_shards_can_be_moved(poller: Poller) -> None:
    poller.dynamodb.put_item(
        TableName=poller.settings.table_name,
        Item={"pk": {"S": "feed#control"}, "seq": {"S": "1-a"}, "fence": {"N": "7"}},
    )
    lease = poller.lease()
    lease.take()
    checkpoints = poller.checkpoints(lease)
    assert checkpoints.read(["control"]) == {"control": Checkpoint("1-a")}
    checkpoints.save("control", Checkpoint("2-b", "2-info"))
    assert checkpoints.read(["control"]) == {"control": Checkpoint("2-b", "2-info")}


def test_two_pollers_at_once_deliver_every_document(poller: Poller) -> None:
    ids = [f"device-{number:02}" for number in range(20)]
    poller.add(*ids)
    threads = [threading.Thread(target=poller.run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(poller.received())) == ids


def test_within_its_window_a_change_is_sent_as_it_happens(poller: Poller) -> None:
    stopped = threading.Event()
    settings = replace(poller.settings, window_s=60)
    thread = threading.Thread(target=run, args=(settings, stopped.is_set))
    thread.start()
    poller.add("device-1")
    wait_for(poller.received, "the first document in the queue")
    poller.add("device-2")
    wait_for(poller.received, "the second document in the queue")
    stopped.set()
    poller.add("device-3")  # ends the wait for changes
    thread.join(timeout=30)
    assert not thread.is_alive()


def caught_up_at_ms(poller: Poller) -> int:
    """When the poller had last caught up with every feed, as its item says."""
    [item] = poller.items("poller#").values()
    return int(item["caught_up_at_ms"]["N"])


def test_a_run_puts_metrics_of_what_it_did(
    poller: Poller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "false")
    poller.add("device-1", "device-2")
    poller.run()
    metrics = printed(capsys)
    assert {name: value for name, value, _ in metrics} == {
        "PollerRuns": 1,
        "PollerChanges": 2,
        "PollerMessages": 2,
        "PollerLag": pytest.approx(0, abs=30),
    }
    assert all(dimensions == {"Stage": "dev"} for *_, dimensions in metrics)


def test_a_run_that_fails_lags_since_the_last_that_did_not(
    poller: Poller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "false")
    poller.run()
    long_ago_ms = caught_up_at_ms(poller) - 3600 * 1000
    poller.dynamodb.update_item(
        TableName=poller.settings.table_name,
        Key={"pk": {"S": f"poller#{poller.settings.control_db}"}},
        UpdateExpression="SET caught_up_at_ms = :at",
        ExpressionAttributeValues={":at": {"N": str(long_ago_ms)}},
    )
    printed(capsys)
    poller.add("device-1")
    nowhere = {"device/new": f"{poller.queue_url}-that-is-not-there"}
    with pytest.raises(ClientError):
        run(replace(poller.settings, routes=nowhere))
    [age_s] = [value for name, value, _ in printed(capsys) if name == "PollerLag"]
    assert age_s >= 3600
    assert caught_up_at_ms(poller) == long_ago_ms
    poller.run()
    assert caught_up_at_ms(poller) > long_ago_ms
