"""What can be typed after `python -m device`."""

import argparse
from contextlib import suppress
from pathlib import Path

from device.agent import Pace
from device.channels import STATES

DESCRIPTION = "Registers this device, and keeps its owner's channels in sync on it."


def make_parser() -> argparse.ArgumentParser:
    """The command line of `python -m device`; what it parses has `command`, a name."""
    parser = argparse.ArgumentParser(prog="python -m device", description=DESCRIPTION)
    parser.add_argument(
        "--home",
        type=Path,
        default=Path.home() / ".syncpoint",
        help="the folder of this device's file (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="for programs: JSON, not sentences")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    register = commands.add_parser("register", help="begin; shows the device code")
    register.add_argument("--owner", required=True, metavar="ADDRESS", help="your e-mail address")
    register.add_argument("--mailbox", required=True, metavar="URL", help="the cloud's mailbox")
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
    register.set_defaults(command="register")

    commands.add_parser("resend", help="ask for the mail with the link once more").set_defaults(
        command="resend"
    )

    run = commands.add_parser("run", help="follow the registration, then keep channels in sync")
    run.add_argument(
        "--every",
        type=_seconds,
        default=Pace.steady_s,
        metavar="SECONDS",
        help="how often to look whether the cloud is there (%(default)g)",
    )
    run.set_defaults(command="run")

    commands.add_parser("status", help="how everything stands").set_defaults(command="status")
    _add_channel(commands.add_parser("channel", help="create a channel, or invite somebody"))
    _add_subscription(commands.add_parser("subscription", help="pause, resume or stop the sync"))

    unlink = commands.add_parser("unlink", help="revoke this device, and forget it here")
    unlink.add_argument("--purge", action="store_true", help="delete its databases, too")
    unlink.add_argument("--offline", action="store_true", help="forget it without the cloud")
    unlink.add_argument("--force", action="store_true", help="even what was not sent yet")
    unlink.set_defaults(command="unlink")
    revoke = commands.add_parser("revoke", help="revoke another device of yours: a lost one, say")
    revoke.add_argument("device", help="its name, or its id")
    revoke.set_defaults(command="revoke")
    return parser


def _seconds(text: str) -> float:
    """Between a tenth of a second and a day: with less the agent would never rest."""
    with suppress(ValueError):
        if 0.1 <= float(text) <= 86_400:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not 0.1 to 86400 seconds")


def _add_channel(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="a new channel of yours")
    create.add_argument("name")
    create.set_defaults(command="create")
    invite = commands.add_parser("invite", help="share one with somebody, by mail")
    invite.add_argument("channel", help="its name, or its id")
    invite.add_argument("address")
    invite.set_defaults(command="invite")


def _add_subscription(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for what, state in STATES.items():
        command = commands.add_parser(what, help=f"{state}, on all your devices")
        command.add_argument("channel", help="its name, or its id")
        command.set_defaults(command="subscription", what=what, purge=False, force=False)
        if what == "stop":
            command.add_argument("--purge", action="store_true", help="delete the copy here, too")
            command.add_argument("--force", action="store_true", help="even what was not sent yet")
