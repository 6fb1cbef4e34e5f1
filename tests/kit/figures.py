"""What tests have counted is printed at the end of a run, summed up over tests and workers.

A test counts by ``record_property("figure: points of crash tried", 17)``.
"""

from collections import Counter

import pytest

PREFIX = "figure: "


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each figure by its name."""
    figures: Counter[str] = Counter()
    for report in terminalreporter.getreports(""):  # of what passed, but for the calls
        for name, value in report.user_properties if report.when == "teardown" else ():
            if name.startswith(PREFIX):
                figures[name.removeprefix(PREFIX)] += int(str(value))
    if figures:
        terminalreporter.section("figures")
    for name, value in sorted(figures.items()):
        terminalreporter.line(f"{value:>9,} {name}")
