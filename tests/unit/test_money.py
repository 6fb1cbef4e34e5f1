"""Money: sums, units, and that nothing that is used is without a price."""

from dataclasses import replace

import pytest

from bench import cost
from bench.money import columns, services_table, usd, usd_by_service
from bench.money_units import (
    KEPT,
    MONTH_S,
    Assumed,
    at_rest,
    handler_memory_gb,
    mean_wait_s,
    of_kept_device,
    of_registration,
    of_steps,
    times,
)
from bench.prices import DISK, MACHINE_HOUR, PRICES, Price
from local.system import ROOT

WINDOWS_S = [0, 1, 10, 25, 50, 59]
ASSUMED = Assumed()


def test_a_price_is_for_so_many_units() -> None:
    assert Price("Any", 0.40, 1_000_000, "requests", "").of(2_500_000) == pytest.approx(1.0)


def test_all_that_is_used_has_a_price() -> None:
    for units in columns(ASSUMED).values():
        assert set(units) <= set(PRICES)
    for requests in cost.kept().values():
        cost.kinds(requests)


def test_every_price_is_above_all_reasonable_and_says_where_it_is_from() -> None:
    for price in [*PRICES.values(), MACHINE_HOUR, DISK]:
        assert 0 <= price.usd <= 10
        assert price.source.startswith("https://")
        assert price.unit


def test_what_the_services_cost_is_together_what_all_costs() -> None:
    for units in columns(ASSUMED).values():
        assert sum(usd_by_service(units).values()) == pytest.approx(usd(units))
        assert usd(units) > 0


def test_a_registration_sends_one_mail_and_as_many_requests_as_were_counted() -> None:
    units = of_registration(ASSUMED)
    counted = cost.of_registration(cost.kept())
    assert units["ses"] == counted["SES"] == 1
    assert units["sqs"] == counted["SQS"]
    assert units["dynamodb writes"] == counted["DynamoDB write"]
    assert units["dynamodb reads"] == counted["DynamoDB read"]


def test_a_step_more_costs_what_the_step_costs() -> None:
    one = of_steps({"channel/new": 1}, ASSUMED)
    with_another = of_steps({"channel/new": 1, "device/new": 1}, ASSUMED)
    difference = usd(with_another) - usd(one)
    assert difference == pytest.approx(usd(of_steps({"device/new": 1}, ASSUMED)))


def test_a_million_cost_a_million_times_as_much_as_one() -> None:
    one = of_kept_device(ASSUMED)
    assert usd(times(1_000_000, one)) == pytest.approx(1_000_000 * usd(one))


def test_a_device_that_is_kept_does_only_what_was_counted() -> None:
    assert set(KEPT) <= set(cost.kept())


def test_the_wider_the_window_the_more_it_costs_and_the_shorter_a_change_waits() -> None:
    dollars = [usd(at_rest(Assumed(window_s=window_s))) for window_s in WINDOWS_S]
    waits = [mean_wait_s(window_s) for window_s in WINDOWS_S]
    assert dollars == sorted(set(dollars))
    assert waits == sorted(set(waits), reverse=True)
    assert waits[0] == 30
    assert mean_wait_s(60) == 0


def test_the_poller_is_paid_for_its_window_in_every_minute() -> None:
    narrow, wide = (at_rest(Assumed(window_s=window_s))["lambda time"] for window_s in (0, 50))
    assert wide - narrow == pytest.approx(MONTH_S / 60 * 50 * handler_memory_gb())


def test_a_slower_couchdb_makes_lambdas_dearer() -> None:
    slower = replace(ASSUMED, couchdb_ms=100)
    assert of_registration(slower)["lambda time"] > of_registration(ASSUMED)["lambda time"]


def test_a_service_that_costs_nothing_is_not_in_the_table() -> None:
    shown = services_table()
    assert "| SES " in shown
    assert "| SNS " not in shown


def test_the_figures_in_the_text_are_those_that_are_computed() -> None:
    deploy, page = (
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("deploy.md", "cost.md")
    )
    at_rest_usd, a_thousand_usd = usd(at_rest(ASSUMED)), 1000 * usd(of_registration(ASSUMED))
    assert f"About {at_rest_usd:.0f} USD a month at rest" in deploy
    assert f"and {a_thousand_usd:.2f} a thousand registrations" in deploy
    cluster_usd = 3 * (MACHINE_HOUR.of(MONTH_S / 3600) + DISK.of(200))
    assert f"{round(cluster_usd, -1):.0f} USD a month at list price" in page
