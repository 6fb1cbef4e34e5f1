"""`python -m device`: registers this device, and keeps its owner's channels in sync on it."""

import argparse
import json
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path

from chalicelib.couch import CouchError, JsonDict
from device import channels, enrol, texts
from device.agent import Agent, Pace
from device.databases import Device
from device.errors import DeviceError, Revoked
from device.home import Home
from device.status import status

EXIT_FAILED, EXIT_REVOKED, EXIT_INTERRUPTED = 1, 3, 130

Arguments = argparse.Namespace


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0, or 1 with the reason on stderr, or 3 if the device was revoked."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what it has no letters for must not end a command
            stream.reconfigure(errors="backslashreplace")
    arguments = _parser().parse_args(argv)
    try:
        arguments.command(arguments)
    except Revoked as exc:
        print(f"error: {exc}", file=sys.stderr)
        return EXIT_REVOKED
    except DeviceError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return EXIT_FAILED
    except CouchError as exc:
        print(f"error: this device's CouchDB: {exc}{_hint(exc, arguments)}", file=sys.stderr)
        return EXIT_FAILED
    except OSError as exc:
        print(f"error: {exc.strerror}: {exc.filename}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def _hint(exc: CouchError, arguments: Arguments) -> str:
    if exc.status == 0:
        return ". Is it running?"
    if exc.status == 401:
        return f". Its URL, with name and password, is in {Home(arguments.home).path}"
    return ""


def _run(arguments: Arguments) -> None:
    """Until SIGINT or SIGTERM; what is in `_replicator` goes on without us."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    steady_s = arguments.every
    pace = Pace(most_s=steady_s, steady_s=steady_s, waiting_s=min(steady_s, Pace.waiting_s))
    try:
        Agent(Home(arguments.home), _say(arguments), _now, pace).run()
    except KeyboardInterrupt:
        _say(arguments)("agent", "ended; this device's CouchDB goes on with what it replicates")


def _register(arguments: Arguments) -> None:
    said = enrol.register(
        Home(arguments.home),
        _say(arguments),
        _now,
        owner=arguments.owner,
        mailbox=arguments.mailbox,
        couch=arguments.couch,
        name=arguments.name,
        prefix=arguments.prefix,
    )
    _show(arguments, said, texts.registered)


def _resend(arguments: Arguments) -> None:
    _show(arguments, enrol.resend(Home(arguments.home), _device(arguments)), texts.resent)


def _unlink(arguments: Arguments) -> None:
    home, device = Home(arguments.home), _device(arguments)
    said = enrol.unlink(home, device, purge=arguments.purge, offline=arguments.offline)
    _show(arguments, said, texts.unlinked)


def _status(arguments: Arguments) -> None:
    _show(arguments, status(_device(arguments)), texts.status)


def _create(arguments: Arguments) -> None:
    _show(arguments, channels.create(_device(arguments), arguments.name), texts.created)


def _invite(arguments: Arguments) -> None:
    said = channels.invite(_device(arguments), arguments.channel, arguments.address)
    _show(arguments, said, texts.invited)


def _subscription(arguments: Arguments) -> None:
    said = channels.change_subscription(
        _device(arguments),
        arguments.channel,
        arguments.what,
        purge=arguments.purge,
        force=arguments.force,
    )
    _show(arguments, said, texts.changed)


def _device(arguments: Arguments) -> Device:
    return Device.of(Home(arguments.home).load(), _say(arguments), _now)


def _now() -> datetime:
    return datetime.now(UTC)


def _show(arguments: Arguments, said: JsonDict, text: Callable[[JsonDict], str]) -> None:
    print(json.dumps(said, ensure_ascii=False) if arguments.json else text(said), flush=True)


def _say(arguments: Arguments) -> Callable[[str, str], None]:
    """Tells a line at a time, with the time of the day."""

    def say(about: str, what: str) -> None:
        if arguments.json:
            said = {"at": _now().isoformat(timespec="milliseconds"), "about": about, "what": what}
            print(json.dumps(said, ensure_ascii=False), flush=True)
        else:
            print(f"{datetime.now().astimezone():%H:%M:%S}  {about:<14} {what}", flush=True)

    return say


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m device", description=__doc__)
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
        "--couch", required=True, metavar="URL", help="the CouchDB or PouchDB Server here"
    )
    register.add_argument("--name", required=True, help="what you call this device")
    register.add_argument(
        "--prefix", default="", help="what the names of its databases begin with (nothing)"
    )
    register.set_defaults(command=_register)

    resend = commands.add_parser("resend", help="ask for the mail with the link once more")
    resend.set_defaults(command=_resend)

    run = commands.add_parser("run", help="follow the registration, then keep channels in sync")
    run.add_argument(
        "--every",
        type=_seconds,
        default=Pace.steady_s,
        metavar="SECONDS",
        help="how often to look whether the cloud is there (%(default)g)",
    )
    run.set_defaults(command=_run)

    commands.add_parser("status", help="how everything stands").set_defaults(command=_status)
    _add_channel(commands.add_parser("channel", help="create a channel, or invite somebody"))
    _add_subscription(commands.add_parser("subscription", help="pause, resume or stop the sync"))

    unlink = commands.add_parser("unlink", help="revoke this device, and forget it here")
    unlink.add_argument("--purge", action="store_true", help="delete its databases, too")
    unlink.add_argument("--offline", action="store_true", help="forget it without the cloud")
    unlink.set_defaults(command=_unlink)
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
    create.set_defaults(command=_create)
    invite = commands.add_parser("invite", help="share one with somebody, by mail")
    invite.add_argument("channel", help="its name, or its id")
    invite.add_argument("address")
    invite.set_defaults(command=_invite)


def _add_subscription(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for what, state in channels.STATES.items():
        command = commands.add_parser(what, help=f"{state}, on all your devices")
        command.add_argument("channel", help="its name, or its id")
        command.set_defaults(command=_subscription, what=what, purge=False, force=False)
        if what == "stop":
            command.add_argument("--purge", action="store_true", help="delete the copy here, too")
            command.add_argument("--force", action="store_true", help="even what was not sent yet")


if __name__ == "__main__":
    sys.exit(main())
