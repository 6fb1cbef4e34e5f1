"""No secret that tests work with shows in what they print and log: asked of each test of the suite.

What the product logs in this process is among it, from INFO on; what it logs in Lambda's runtime,
tests/runtime/test_logs.py looks at.
"""

from collections.abc import Generator

import pytest

_planted: set[str] = set()


def plant(secret: str) -> str:
    """A secret or an address that must not be printed from now on."""
    _planted.add(secret)
    return secret


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail the test in whose output a secret is; the secret itself is not shown."""
    report = yield
    for title, text in report.sections:
        shown = [secret for secret in _planted if secret in text]
        if shown and report.outcome == "passed":
            report.outcome = "failed"
            report.longrepr = f"{title}: {len(shown)} secrets or addresses in what was printed"
            report.sections.clear()
    return report
