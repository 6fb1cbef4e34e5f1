"""The metrics and the warnings of a run of the poller."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from chalicelib.couch import Unavailable
from poller import app
from tests.kit.basics import logged
from tests.kit.metrics import Metric, Metrics
from tests.kit.poller.in_memory import PollerSite


def test_a_run_puts_metrics_of_what_it_did(metrics: Metrics) -> None:
    on = PollerSite()
    on.couch.add("control", "device-1", "device-2")
    on.couch.add("control", "device-3", state="of no interest")
    on.run()
    said = metrics()
    assert {name: value for name, value, _ in said} == {
        "PollerRuns": 1,
        "PollerChanges": 3,
        "PollerMessages": 2,
        "PollerLag": 0,
    }
    assert all(dimensions == {"Stage": "test"} for *_, dimensions in said)


def test_a_run_that_fails_lags_since_the_last_that_did_not(
    metrics: Metrics,
) -> None:
    on = PollerSite()
    on.run()
    on.passed_s += 3600
    on.couch.add("control", "device-1")
    metrics()
    with pytest.raises(ClientError):
        on.run(routes={"device/new": f"{on.settings.routes['device/new']}-that-is-not-there"})
    assert [value for name, value, _ in metrics() if name == "PollerLag"] == [3600]
    on.run()
    assert [value for name, value, _ in metrics() if name == "PollerLag"] == [0]
    assert on.sent() == ["device-1"]


def test_a_run_that_does_not_reach_all_ends_lags(
    metrics: Metrics,
) -> None:
    on = PollerSite()
    on.run()
    on.passed_s += 60
    metrics()
    on.run(lambda: True)
    assert [value for name, value, _ in metrics() if name == "PollerLag"] == [60]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    with logged(app.logger) as stream:
        yield stream


def warnings(log: io.StringIO) -> list[tuple[str, str]]:
    """What is warned of, and why."""
    said = [json.loads(line) for line in log.getvalue().splitlines()]
    return [(one["message"], one["reason"]) for one in said if one["level"] == "WARNING"]


def counted(metrics: list[Metric]) -> list[tuple[float, dict[str, str]]]:
    return [(value, dimensions) for name, value, dimensions in metrics if name == "FeedWarnings"]


def test_a_feed_that_restarts_is_warned_of(metrics: Metrics, log: io.StringIO) -> None:
    on = PollerSite()
    lease = on.lease()
    cursor = lease.take()
    lease.save(replace(cursor, db_updates_seq="99-nonsense"))
    lease.release()
    on.run()
    what = "_db_updates restarted, and all databases are scanned"
    assert counted(metrics()) == [(1, {"Stage": "test", "Warning": what})]
    assert warnings(log) == [(what, "Malformed sequence supplied in 'since' parameter.")]


def test_a_database_that_fails_is_warned_of_by_name(metrics: Metrics, log: io.StringIO) -> None:
    on = PollerSite()
    db = f"control-{'0a' * 16}"
    on.couch.create(db)
    on.couch.refuse(f"GET /{db}/_changes")
    with pytest.raises(Unavailable):
        on.run()
    what = "the changes of a database could not be sent"
    assert counted(metrics()) == [(1, {"Stage": "test", "Warning": what})]
    [(said, why)] = warnings(log)
    assert (said, db in why) == (what, True)


def test_each_metric_has_its_unit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "false")
    on = PollerSite()
    on.couch.refuse("GET /control/_changes")
    with pytest.raises(Unavailable):
        on.run()
    records = [json.loads(line)["_aws"] for line in capsys.readouterr().out.splitlines()]
    said = [one for record in records for one in record["CloudWatchMetrics"][0]["Metrics"]]
    assert {one["Name"]: one["Unit"] for one in said} == {
        "PollerRuns": "Count",
        "PollerChanges": "Count",
        "PollerMessages": "Count",
        "PollerLag": "Seconds",
        "FeedWarnings": "Count",
    }
