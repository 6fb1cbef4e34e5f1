"""What it costs: the counted requests (costs.json) times AWS's list prices, and what is assumed.

``python -m bench.money [--window 50]`` prints it; ``--write`` draws docs/plots/money-*.svg, too.
"""

import argparse
import sys
from collections.abc import Mapping

from bench.money_units import (
    MINUTE_S,
    Assumed,
    Units,
    at_rest,
    mean_wait_s,
    of_kept_device,
    of_registration,
    times,
)
from bench.prices import MILLION, PRICES
from bench.report import table

WINDOWS_S = (0, 10, 20, 30, 40, 50)


def columns(assumed: Assumed) -> Mapping[str, Units]:
    """What is paid for."""
    return {
        "a month at rest": at_rest(assumed),
        "a million registrations": times(MILLION, of_registration(assumed)),
        "a million devices, kept for a month": times(MILLION, of_kept_device(assumed)),
    }


def usd(units: Units) -> float:
    """What that costs."""
    return sum(PRICES[key].of(count) for key, count in units.items())


def usd_by_service(units: Units) -> Mapping[str, float]:
    """What that costs, by service; all services are named."""
    by_service = dict.fromkeys((price.service for price in PRICES.values()), 0.0)
    for key, count in units.items():
        by_service[PRICES[key].service] += PRICES[key].of(count)
    return by_service


def services_table(assumed: Assumed | None = None) -> str:
    """Dollars by service, in Markdown."""
    paid = columns(assumed or Assumed())
    by_service = [usd_by_service(units) for units in paid.values()]
    rows = [
        [service, *(_shown(one[service]) for one in by_service)]
        for service in by_service[0]
        if any(one[service] for one in by_service)
    ]
    sums = ["**together**", *(_shown(sum(one.values())) for one in by_service)]
    return table(["USD", *paid], [*rows, sums])


def window_table() -> str:
    """What the poller's window costs, and what it is good for, in Markdown."""
    rows = [
        [
            f"{window_s}",
            _shown(usd(at_rest(Assumed(window_s=window_s)))),
            f"{mean_wait_s(window_s):.1f}",
            f"{MINUTE_S - window_s}",
        ]
        for window_s in WINDOWS_S
    ]
    head = ["window, s", "a month at rest, USD", "a change waits, mean, s", "longest, s"]
    return table(head, rows)


def prices_table() -> str:
    """The prices, in Markdown."""
    rows = [
        [price.service, f"{price.usd:.10g}", f"{price.per:,} {price.unit}", f"<{price.source}>"]
        for price in PRICES.values()
    ]
    return table(["service", "USD", "for", "source"], rows)


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.money", description=__doc__)
    parser.add_argument("--window", type=float, default=50, help="POLL_WINDOW_SECONDS")
    parser.add_argument("--write", action="store_true", help="draw the plots")
    asked = parser.parse_args()
    print(services_table(Assumed(window_s=asked.window)), window_table(), sep="\n\n")
    if asked.write:
        from bench import money_plot  # matplotlib: not for those who only read

        money_plot.draw()
    return 0


def _shown(dollars: float) -> str:
    return f"{dollars:,.2f}" if dollars else ""


if __name__ == "__main__":
    sys.exit(main())
