"""The counters of an hour's mails, over DynamoDB."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from chalicelib.aws.hour_counters import HourCounters
from tests.kit.fakes.aws import FakeAws
from tests.kit.fakes.couch import noted

NOW_S = 1_795_413_600.0
HOUR_S = 3600


@pytest.fixture
def counters(dynamodb: Any, table_name: str) -> HourCounters:
    return HourCounters(dynamodb, table_name)


def test_a_counter_begins_at_none_and_counts(counters: HourCounters) -> None:
    assert counters.read(["all", "other"], NOW_S) == ([0, 0], None)
    counters.increment(["all"], NOW_S)
    assert counters.read(["other", "all"], NOW_S) == ([0, 1], None)
    counters.increment(["all", "other"], NOW_S)
    assert counters.read(["all", "other"], NOW_S) == ([2, 1], None)
    assert counters.read(["other", "all"], NOW_S) == ([1, 2], None)


def test_each_hour_of_the_clock_has_counters_of_its_own(counters: HourCounters) -> None:
    begun_s = NOW_S // HOUR_S * HOUR_S
    counters.increment(["all"], begun_s)
    assert counters.read(["all"], begun_s + HOUR_S - 1) == ([1], None)
    assert counters.read(["all"], begun_s + HOUR_S) == ([0], None)


def test_a_counter_may_be_forgotten_an_hour_after_its_own(
    counters: HourCounters, dynamodb: Any
) -> None:
    counters.increment(["all"], NOW_S)
    [item] = dynamodb.scan(TableName=counters.table_name)["Items"]
    assert item["pk"] == {"S": f"hour#{int(NOW_S) // HOUR_S}#all"}
    assert int(item["expires_at"]["N"]) >= NOW_S + HOUR_S


def test_workers_that_count_at_once_are_all_counted(counters: HourCounters) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: counters.increment(["all"], NOW_S), range(40)))
    assert counters.read(["all"], NOW_S) == ([40], None)


def test_reading_is_one_request_and_counting_is_one_for_each_counter() -> None:
    aws, asked = FakeAws(lambda: NOW_S), list[str]()
    aws.create_table("t")
    counters = HourCounters(aws.client("dynamodb", partial(noted, asked)), "t")
    counters.read(["all", "other"], NOW_S)
    counters.increment(["all", "other"], NOW_S)
    assert asked == ["dynamodb.BatchGetItem", *["dynamodb.UpdateItem"] * 2]
