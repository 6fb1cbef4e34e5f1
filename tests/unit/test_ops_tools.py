"""How the operator's commands end, and what is printed of what strangers wrote."""

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.handlers.all import registry
from ops.dead_letters import DeadLetter, age, shown
from ops.findings import Finding, Level
from ops.stage import OpsError
from ops.tools import end, is_missing, run


def aws_refusal(code: str, message: str = "") -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}}
    return ClientError(response, "DescribeStacks")


@pytest.mark.io
def test_a_program_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        OpsError, match="`python -c` failed, see its output above; the steps after it were not run"
    ):
        run(["python", "-c", "raise SystemExit(3)"], tmp_path)


@pytest.mark.io
def test_a_program_that_works_is_run_in_the_projects_folder(tmp_path: Path) -> None:
    run(["python", "-c", "open('made', 'w')"], tmp_path)
    assert (tmp_path / "made").exists()


@pytest.mark.io
def test_a_program_that_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(OpsError, match=r"`terraform plan` cannot be started: .*; run `make setup`"):
        run(["terraform", "plan"], tmp_path)


@pytest.mark.parametrize(
    ("exc", "sentence"),
    [
        (OpsError("there is no stage"), "error: there is no stage\n"),
        (NoRegionError(), "error: no region is set: run `export AWS_DEFAULT_REGION=…`\n"),
        (
            NoCredentialsError(),
            "error: no AWS credentials: run `aws configure`, or set AWS_PROFILE\n",
        ),
        (
            EndpointConnectionError(endpoint_url="https://sts"),
            'error: AWS cannot be reached: Could not connect to the endpoint URL: "https://sts"\n',
        ),
        (
            ConnectTimeoutError(endpoint_url="https://sts"),
            'error: AWS cannot be reached: Connect timeout on endpoint URL: "https://sts"\n',
        ),
        (aws_refusal("Denied", "no"), "error: AWS refused DescribeStacks: Denied: no\n"),
    ],
)
def test_what_stops_a_command_is_a_sentence_on_stderr(
    exc: Exception, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> int:
        raise exc

    assert end(command) == 1
    assert capsys.readouterr() == ("", sentence)


def test_an_interrupted_command_shows_no_stack(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise KeyboardInterrupt

    assert end(command) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_a_stack_that_is_not_there_is_told_from_a_request_that_is_wrong() -> None:
    assert is_missing(aws_refusal("ValidationError", "Stack with id x does not exist"))
    assert not is_missing(aws_refusal("ValidationError", "1 validation error detected"))
    assert not is_missing(aws_refusal("AccessDenied"))


def test_a_findings_line_can_be_read_as_a_column() -> None:
    line = Finding(Level.WARNING, "SES", "the account is in SES's sandbox").line()
    assert line == "warning  SES                the account is in SES's sandbox"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 seconds"), (59, "59 seconds"), (90, "1.5 minutes"), (7200, "2.0 hours")],
)
def test_ages(seconds: float, text: str) -> None:
    assert age(seconds) == text


@given(st.text())
def test_nothing_unprintable_and_no_address_is_shown(text: str) -> None:
    seen = shown(f"{text} ada@example.com")
    assert seen.isprintable()
    assert "ada@example" not in seen
    assert len(seen) <= 121


@given(st.text())
def test_whatever_is_in_the_dead_letters_can_be_read(body: str) -> None:
    received = {"MessageId": "1", "ReceiptHandle": "r", "Body": body}
    letter = DeadLetter.read(received, registry)
    assert letter.message is None
    assert "not a message of the poller" in letter.summary(0)
