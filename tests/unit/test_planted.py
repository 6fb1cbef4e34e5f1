"""The look at what tests print finds what it is meant to find."""

import logging
import uuid
from typing import Any

import pytest

from chalicelib.domain.documents import JsonDict
from tests.kit.planted import plant, pytest_runtest_makereport


def looked_at(text: str) -> pytest.TestReport:
    """The report of a test that passed and printed something."""
    sections: Any = [("Captured log call", text)]
    report = pytest.TestReport("test", ("", None, ""), {}, "passed", None, "call", sections)
    hook = pytest_runtest_makereport(None)  # type: ignore[arg-type]
    next(hook)
    with pytest.raises(StopIteration) as ended:
        hook.send(report)
    after: pytest.TestReport = ended.value.value
    return after


def test_a_test_in_whose_output_a_secret_is_fails_and_does_not_show_it() -> None:
    secret = plant(uuid.uuid4().hex)
    report = looked_at(f'{{"reason": "wrong password {secret}"}}')
    assert report.outcome == "failed"
    assert secret not in str(report.longrepr)
    assert report.sections == []


def test_a_test_that_prints_no_secret_passes() -> None:
    plant(uuid.uuid4().hex)
    assert looked_at("wrong password").outcome == "passed"


def test_what_the_product_logs_is_among_what_is_looked_at(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    from chalicelib.telemetry import logger

    extra: JsonDict = {"outcome": "saved"}
    logger.info("a transition", extra=extra)
    logging.getLogger("local").info("a step")
    assert "a transition" in caplog.text + capfd.readouterr().err
    assert "a step" in caplog.text
