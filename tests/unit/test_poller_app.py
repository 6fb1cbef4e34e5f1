"""A whole run of the poller: what is sent, by whom, and until when."""

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.couch import NotFound, Unauthorized
from poller.app import PollerDependencies, logger
from poller.databases import Shard
from poller.lease import LeaseHeld, LeaseLost
from tests.kit.basics import logged
from tests.kit.fakes.couch_http import Refusal
from tests.kit.metrics import printed
from tests.kit.poller.in_memory import TABLE, PollerSite

# What is sent


def test_a_run_sends_all_that_is_there_and_says_how_much() -> None:
    on = PollerSite()
    ids = [f"device-{number}" for number in range(8)]
    on.couch.add("control", *ids)
    assert on.run() == {"polled": True, "databases": 1, "changes": 8, "sent": 8}
    assert sorted(on.sent()) == ids


def test_the_next_run_continues_from_the_checkpoint() -> None:
    on = PollerSite()
    on.couch.add("control", "device-1")
    on.run()
    on.couch.add("control", "device-2")
    assert on.run()["sent"] == 1
    assert on.sent() == ["device-1", "device-2"]


def test_everything_is_sent_again_after_the_table_was_lost() -> None:
    on = PollerSite()
    on.couch.add("control", "device-1")
    on.run()
    on.aws.drop_table_items(TABLE)
    on.run()
    assert on.sent() == ["device-1", "device-1"]


def test_pages_are_no_larger_than_the_setting_says() -> None:
    on = PollerSite()
    on.couch.add("control", *(f"device-{number}" for number in range(6)))
    on.run(page_size=2)
    assert on.couch.asked.count("GET /control/_changes") == 4


@pytest.mark.parametrize(("page_size", "submitted"), [(100, 2), (9, 2)])
def test_batches_and_pages_that_need_not_wait_for_one_another_are_submitted(
    page_size: int, submitted: int
) -> None:
    on = PollerSite()
    on.couch.add("control", *(f"device-{number}" for number in range(25)))
    assert on.run(page_size=page_size)["sent"] == 25
    assert on.executor.submitted == submitted


def test_in_lambda_and_on_this_machine_requests_run_in_threads() -> None:
    with PollerDependencies().executor() as executor:
        assert isinstance(executor, ThreadPoolExecutor)


def test_a_control_database_that_is_gone_is_an_error() -> None:
    on = PollerSite()
    on.couch.delete("control")
    with pytest.raises(NotFound):
        on.run()


def test_a_refused_login_fails_the_run_and_is_warned_of_and_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "false")
    on = PollerSite()
    on.couch.refuse("GET /_db_updates", Refusal(401, "unauthorized", "Wrong password."))
    with logged(logger) as said, pytest.raises(Unauthorized):
        on.run()
    assert "CouchDB refuses the cloud's login" in said.getvalue()
    counted = {name: dimensions for name, _, dimensions in printed(capsys)}
    assert counted["LoginRefused"] == {"Stage": "test"}
    assert {"PollerRuns", "FeedWarnings"} <= set(counted)


def test_what_sqs_refuses_is_sent_again_after_a_pause() -> None:
    on = PollerSite()
    on.couch.add("control", "device-1")
    refused: list[str] = []

    def refuse_once(name: str, call: "functools.partial[Any]") -> Any:
        if name != "sqs.SendMessageBatch" or refused:
            return call()
        refused.append(name)
        return {"Failed": [{"Id": entry["Id"]} for entry in call.keywords["Entries"]]}

    on.around = refuse_once
    assert on.run()["sent"] == 1
    assert on.sent() == ["device-1"]
    assert on.passed_s > 0


def test_unprocessed_keys_are_requested_again_after_a_pause() -> None:
    on = PollerSite()
    on.couch.add("control", "device-1")
    on.run()
    left: list[str] = []

    def leave_once(name: str, call: "functools.partial[Any]") -> Any:
        if name != "dynamodb.BatchGetItem" or left:
            return call()
        left.append(name)
        return {"Responses": {}, "UnprocessedKeys": call.keywords["RequestItems"]}

    on.around = leave_once
    assert on.run()["sent"] == 0
    assert on.passed_s > 0


@pytest.mark.parametrize("number", range(2))
def test_a_shard_forwards_its_own_databases_and_no_others(number: int) -> None:
    on, shard = PollerSite(), Shard("control", number, 2)
    owners = [f"control-{number:032x}" for number in range(8)]
    for db in owners:
        on.couch.create(db)
        on.couch.add(db, f"device-{db}")
    on.couch.add("control", "device-control")
    on.run(shard=number, shards=2)
    ours = [f"device-{db}" for db in ["control", *owners] if shard.holds(db)]
    assert sorted(on.sent()) == sorted(ours)
    assert 0 < len(ours) < 9


# One at a time


def test_each_shard_has_a_lease_of_its_own() -> None:
    on = PollerSite()
    on.lease(0, 2).take()
    assert not on.run(shard=0, shards=2)["polled"]
    assert on.run(shard=1, shards=2)["polled"]
    assert on.run()["polled"]


def test_nothing_is_read_or_sent_while_another_poller_holds_the_lease() -> None:
    on = PollerSite()
    on.couch.add("control", "device-1")
    holder = on.lease()
    holder.take()
    assert on.run() == {"polled": False, "databases": 0, "changes": 0, "sent": 0}
    assert (on.couch.asked, on.sent()) == ([], [])
    holder.release()
    assert on.run()["polled"]


def test_the_lease_runs_as_long_as_the_setting_says() -> None:
    on = PollerSite()
    holder = replace(on.lease(), lease_s=100)
    holder.take()

    def still_held() -> bool:
        return not on.run(lease_s=30)["polled"]

    on.passed_s += 100
    assert still_held()
    on.passed_s += 0.001
    assert not still_held()


def test_a_run_releases_its_lease_at_its_end() -> None:
    on = PollerSite()
    on.run()
    on.lease().take()


def test_a_poller_that_loses_its_lease_stops_and_does_not_release_it() -> None:
    on = PollerSite()

    def overtake() -> None:
        on.passed_s += 61
        other.take()

    other, on.on_wait = on.lease(), overtake
    with pytest.raises(LeaseLost):
        on.run(window_s=600)
    with pytest.raises(LeaseHeld):
        on.lease().take()


# When it ends


def test_one_pass_does_not_wait() -> None:
    on = PollerSite()
    on.couch.add("control", "device-1")
    on.run()
    assert on.passed_s == 0


def test_within_its_window_what_happens_is_sent_as_it_happens() -> None:
    on = PollerSite()
    on.on_wait = lambda: on.couch.add("control", f"device-{on.passed_s:.0f}")
    assert on.run(window_s=50)["sent"] >= 3
    assert on.passed_s == 50


def test_a_run_that_is_stopped_reads_nothing_more() -> None:
    on = PollerSite()
    on.couch.add("control", "device-1")
    assert on.run(lambda: True, window_s=50)["sent"] == 0
    assert on.passed_s == 0
    assert on.run(lambda: on.passed_s > 0, window_s=50)["sent"] == 1
    assert 0 < on.passed_s < 50


def test_without_db_updates_it_scans_again_after_a_pause() -> None:
    on = PollerSite()
    on.couch.refuse("GET /_db_updates", Refusal(404, "not_found", "no such feed"))
    on.on_wait = lambda: on.couch.add("control", f"device-{on.passed_s:.0f}")
    assert on.run(window_s=20)["sent"] > 3
    assert on.passed_s == 20
