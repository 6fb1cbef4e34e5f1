"""Clients, programs and output for the operator's commands, and how errors are reported."""

import argparse
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)

from ops.stage import ROOT, OpsError

# Runs a program in a folder; raises OpsError if it fails.
Run = Callable[[Sequence[str], Path], None]
Client = Callable[[str], Any]


@dataclass(frozen=True)
class Tools:
    """Clients, programs, output and the project's folder; tests pass their own.

    Attributes
    ----------
    ask : callable or None
        Asks a question and returns what is typed; None if there is no terminal.
    """

    client: Client
    run: Run
    tell: Callable[[str], None] = print
    root: Path = field(default=ROOT)
    ask: Callable[[str], str] | None = None


def real_tools() -> Tools:
    """Return the tools for AWS, or for the service at AWS_ENDPOINT_URL. Sends no request."""
    return Tools(client=make_client, run=run, ask=input if sys.stdin.isatty() else None)


def make_parser(module: str, about: str | None) -> argparse.ArgumentParser:
    """Make the parser of the command line `python -m module STAGE`.

    Parameters
    ----------
    about : str
        The module's docstring; `--help` shows its first line.
    """
    first = (about or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=first)
    parser.add_argument("stage", help="the name of a stage in .chalice/config.json")
    return parser


@cache
def make_client(service: str) -> Any:
    """Make a boto3 client with time limits."""
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard"})
    return boto3.client(service, config=config)  # type: ignore[call-overload]


def run(command: Sequence[str], folder: Path) -> None:
    """Run a program of this virtual environment, with its output on the terminal.

    Raises
    ------
    OpsError
        If it cannot be started, or fails.
    """
    program = Path(sys.executable).with_name(command[0])
    shown = " ".join(command[:2])
    try:
        status = subprocess.run([str(program), *command[1:]], cwd=folder, check=False)  # noqa: S603
    except OSError as exc:
        raise OpsError(f"`{shown}` cannot be started: {exc.strerror}; run `make setup`") from exc
    if status.returncode:
        raise OpsError(f"`{shown}` failed, see its output above; the steps after it were not run")


def end(command: Callable[[], int]) -> int:
    """Run a command and return its status; print an error as a sentence on stderr."""
    try:
        return command()
    except (OpsError, BotoCoreError, ClientError) as exc:
        print(f"error: {plain(exc)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


def plain(exc: Exception) -> str:
    """Return an error as a sentence."""
    if isinstance(exc, ClientError):
        error: Mapping[str, str] = exc.response.get("Error", {})  # type: ignore[assignment]
        return f"AWS refused {exc.operation_name}: {error.get('Code')}: {error.get('Message')}"
    if isinstance(exc, NoRegionError):
        return "no region is set: run `export AWS_DEFAULT_REGION=…`"
    if isinstance(exc, NoCredentialsError):
        return "no AWS credentials: run `aws configure`, or set AWS_PROFILE"
    if isinstance(exc, EndpointConnectionError | ConnectTimeoutError):
        return f"AWS cannot be reached: {exc}"
    return str(exc)


def is_missing(exc: ClientError) -> bool:
    """Return whether AWS says that a resource does not exist. Each service has its own code."""
    error = exc.response.get("Error", {})
    code, message = error.get("Code", ""), error.get("Message", "")
    is_stack = code == "ValidationError" and "does not exist" in message
    return is_stack or code in {
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchEntity",
        "NotFound",
        "NotFoundException",
        "ParameterNotFound",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
