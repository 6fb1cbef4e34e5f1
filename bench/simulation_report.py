"""What the simulation finds, as a table and as plots.

``python -m bench.simulation_report`` prints it; ``--write`` draws docs/plots/scale-*.svg, too.
"""

import argparse
import sys

from bench.measure import quantile
from bench.report import PLOTS, table
from bench.simulation import MAX_RUNS, Result, Setting, Simulation

# SES's rate, and how many batches are worked on at once: as Lambda likes, or as MAIL_RUNS says.
BOUNDED = {14: 2, 100: 12, 500: 62}
BURSTS = (1_000, 10_000)
# SES's daily quota grows with its rate, say.
SECONDS_OF_QUOTA = 3600


def result(burst: int, ses_rate: int, max_runs: int) -> Result:
    """One run of the simulation; one run of a Lambda in a thousand ends halfway."""
    setting = Setting(
        burst,
        ses_rate=ses_rate,
        ses_daily=ses_rate * SECONDS_OF_QUOTA,
        max_runs=max_runs,
        death_share=0.001,
    )
    return Simulation(setting).run()


def bursts_table() -> str:
    """Bursts of a minute at several rates of SES's, in Markdown."""
    rows = [
        _row(burst, rate, runs)
        for burst in BURSTS
        for rate, bounded in BOUNDED.items()
        for runs in (MAX_RUNS, bounded)
    ]
    head = ["registrations in a minute", "SES, mails a second", "batches at once", "mailed"]
    return table([*head, "dead letters", "to the mail: p50, s", "p99, s"], rows)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulation_report", description=__doc__)
    parser.add_argument("--write", action="store_true", help="draw the plots")
    asked = parser.parse_args()
    print(bursts_table())
    if asked.write:
        _draw()
    return 0


def _row(burst: int, rate: int, runs: int) -> list[str]:
    found = result(burst, rate, runs)
    waits_s = found.waits_s
    bounded = "as Lambda likes" if runs == MAX_RUNS else f"{runs}"
    times_s = [f"{quantile(waits_s, share):,.0f}" for share in (0.5, 0.99)]
    counts = [f"{len(waits_s):,}", f"{found.dead:,}" if found.dead else ""]
    return [f"{burst:,}", f"{rate}", bounded, *counts, *times_s]


def _draw() -> None:
    from bench import plots  # matplotlib: not for those who only read

    runs = {
        "SES takes 14/s, as Lambda likes": (14, MAX_RUNS),
        "SES takes 14/s, 2 batches at once": (14, 2),
        "SES takes 100/s, 12 batches at once": (100, 12),
    }
    found = {name: result(10_000, *how) for name, how in runs.items()}
    plots.lines(
        PLOTS / "scale-depth.svg",
        "10,000 registrations in a minute: neither mailed nor dead",
        "s",
        "registrations",
        {name: _thinned(one.depths) for name, one in found.items()},
    )
    plots.lines(
        PLOTS / "scale-mailed.svg",
        "10,000 registrations in a minute: from a registration to its mail",
        "s",
        "mailed within that time",
        {name: _within(one.waits_s) for name, one in found.items()},
    )


def _thinned(depths: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A point each half minute or so: a plot is no place for a thousand."""
    step = max(1, len(depths) // 40)
    return [*depths[::step], depths[-1]]


def _within(waits_s: list[float]) -> list[tuple[float, float]]:
    count = len(waits_s)
    places = [round(share / 40 * (count - 1)) for share in range(41)]
    return [(waits_s[place], place + 1.0) for place in places]


if __name__ == "__main__":
    sys.exit(main())
