"""The plots of what it costs: docs/plots/money-services.svg and money-window.svg."""

from bench import plots
from bench.money import WINDOWS_S, columns, usd, usd_by_service
from bench.money_units import Assumed, at_rest, mean_wait_s
from bench.report import PLOTS


def draw() -> None:
    """Draw both anew."""
    by_service = {what: usd_by_service(units) for what, units in columns(Assumed()).items()}
    plots.bars(
        PLOTS / "money-services.svg",
        "What is paid to whom",
        "USD",
        {
            service.replace(" ", "\n"): {what: one[service] for what, one in by_service.items()}
            for service in next(iter(by_service.values()))
            if any(one[service] > 1 for one in by_service.values())
        },
    )
    plots.lines(
        PLOTS / "money-window.svg",
        "The price of being fast: windows of 0, 10 … 50 s of each minute",
        "a change waits for the poller, mean, s",
        "USD a month at rest",
        {
            "one poller": [
                (mean_wait_s(window_s), usd(at_rest(Assumed(window_s=window_s))))
                for window_s in WINDOWS_S
            ]
        },
    )
