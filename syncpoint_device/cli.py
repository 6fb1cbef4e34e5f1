"""What all commands of the command line share: options, the device, and the time."""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from chalicelib.domain.documents import JsonDict
from syncpoint_device import output
from syncpoint_device.databases import Device
from syncpoint_device.home import Home

Arguments = argparse.Namespace


class UsageError(Exception):
    """What was typed is not a command line of this program."""

    def __init__(self, usage: str, message: str) -> None:
        super().__init__(message)
        self.usage = usage


class Parser(argparse.ArgumentParser):
    """A parser that raises `UsageError`, and prints nothing itself but help."""

    def error(self, message: str) -> NoReturn:
        """Raise the error."""
        raise UsageError(self.format_usage(), message)


def add_group(commands: Any, name: str, text: str) -> Parser:
    """Add a command that has commands of its own. Its help says what it does, too."""
    parser: Parser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    return parser


def add(commands: Any, name: str, run: Callable[[Arguments], None], text: str) -> Parser:
    """Add a command. The common options are also accepted after its name.

    `run` may call `arguments.fail(message)` when the options do not go together.
    """
    parser = add_group(commands, name, text)
    add_common(parser, default=argparse.SUPPRESS)
    parser.set_defaults(run=run, fail=parser.error)
    return parser


def add_common(parser: Parser, *, default: str | None = None) -> None:
    """Add the options that all commands have.

    Parameters
    ----------
    default : str or None
        ``argparse.SUPPRESS`` for a command: what was given before its name counts then.
    """
    parser.add_argument(
        "--home",
        type=Path,
        default=default or Path.home() / ".syncpoint",
        metavar="FOLDER",
        help="the folder of this device's file (default: ~/.syncpoint)",
    )
    parser.add_argument(
        "--json", action="store_true", default=default or False, help="print JSON, for programs"
    )
    parser.add_argument(
        "--ca-file",
        type=Path,
        default=default,
        metavar="FILE",
        help="trust the certificates in this file instead of the public ones",
    )


def device_of(arguments: Arguments) -> Device:
    """Return the device whose file is in `--home`. Sends no request."""
    return Device.of(Home(arguments.home).load(), say_nothing, now)


def print_result(arguments: Arguments, result: JsonDict, text: str) -> None:
    """Print the result of a command, as `--json` asks for it."""
    output.print_result(result, text, as_json=arguments.json)


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def say_nothing(about: str, what: str) -> None:
    """Print nothing, because a command prints its result only."""
