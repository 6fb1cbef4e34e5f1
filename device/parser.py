"""What can be typed after `python -m device`."""

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

from device.agent import Pace
from device.channels import STATES

DESCRIPTION = "Registers this device, and keeps its owner's channels in sync on it."


def make_parser() -> argparse.ArgumentParser:
    """The command line of `python -m device`; what it parses has `command`, a name."""
    parser = argparse.ArgumentParser(prog="python -m device", description=DESCRIPTION)
    _add_common(parser, home=Path.home() / ".syncpoint", json=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_register(commands)
    _add(commands, "resend", "ask for the mail with the link once more")
    run = _add(commands, "run", "follow the registration, then keep channels in sync")
    run.add_argument(
        "--every",
        type=_seconds,
        default=Pace.steady_s,
        metavar="SECONDS",
        help="how often to look whether the cloud is there (%(default)g)",
    )
    _add(commands, "status", "how everything stands")
    _add_channel(commands.add_parser("channel", help="create a channel, or invite somebody"))
    _add_subscription(commands.add_parser("subscription", help="pause, resume or stop the sync"))
    unlink = _add(commands, "unlink", "revoke this device, and forget it here")
    unlink.add_argument("--purge", action="store_true", help="delete its databases, too")
    unlink.add_argument("--offline", action="store_true", help="forget it without the cloud")
    unlink.add_argument("--force", action="store_true", help="even what was not sent yet")
    revoke = _add(commands, "revoke", "revoke another device of yours: a lost one, say")
    revoke.add_argument("device", help="its name, or its id")
    return parser


def _add(commands: Any, name: str, what: str, command: str = "") -> argparse.ArgumentParser:
    """Add a command; the options of all commands may stand behind it, too."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=what)
    _add_common(parser, home=argparse.SUPPRESS, json=argparse.SUPPRESS)
    parser.set_defaults(command=command or name)
    return parser


def _add_common(parser: argparse.ArgumentParser, *, home: Path | str, json: bool | str) -> None:
    parser.add_argument(
        "--home", type=Path, default=home, help="the folder of this device's file (~/.syncpoint)"
    )
    parser.add_argument(
        "--json", action="store_true", default=json, help="for programs: JSON, not sentences"
    )


def _add_register(commands: Any) -> None:
    register = _add(commands, "register", "begin; shows the device code")
    register.add_argument("--owner", required=True, metavar="ADDRESS", help="your e-mail address")
    register.add_argument(
        "--registrations", required=True, metavar="URL", help="the cloud's registrations endpoint"
    )
    register.add_argument(
        "--couch",
        required=True,
        metavar="URL",
        help="the CouchDB or PouchDB Server here; with a name and no password, that is asked for",
    )
    register.add_argument("--name", required=True, help="what you call this device")
    register.add_argument(
        "--prefix", default="", help="what the names of its databases begin with (nothing)"
    )


def _add_channel(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add(commands, "create", "a new channel of yours").add_argument("name")
    invite = _add(commands, "invite", "share one with somebody, by mail")
    invite.add_argument("channel", help="its name, or its id")
    invite.add_argument("address")


def _add_subscription(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for what, state in STATES.items():
        command = _add(commands, what, f"{state}, on all your devices", "subscription")
        command.add_argument("channel", help="its name, or its id")
        command.set_defaults(what=what, purge=False, force=False)
        if what == "stop":
            command.add_argument("--purge", action="store_true", help="delete the copy here, too")
            command.add_argument("--force", action="store_true", help="even what was not sent yet")


def _seconds(text: str) -> float:
    """Between a tenth of a second and a day: with less the agent would never rest."""
    with suppress(ValueError):
        if 0.1 <= float(text) <= 86_400:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not 0.1 to 86400 seconds")
