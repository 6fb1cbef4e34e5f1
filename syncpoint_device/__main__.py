"""The command line of a device, `python -m syncpoint_device`: options, commands, exit codes."""

import argparse
import getpass
import json
import shlex
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chalicelib.couch import CouchError
from chalicelib.domain.documents import JsonDict
from syncpoint_device import channels, lifecycle, texts
from syncpoint_device.agent import Agent, Intervals
from syncpoint_device.databases import Device
from syncpoint_device.errors import DeviceError, Revoked, without_full_stop
from syncpoint_device.home import Home
from syncpoint_device.reasons import of_error
from syncpoint_device.refusals import undo
from syncpoint_device.status import status

EXIT_FAILED, EXIT_REVOKED, EXIT_INTERRUPTED = 1, 3, 130
DESCRIPTION = "Registers this device, and keeps the channels of its owner in sync on it."

Arguments = argparse.Namespace


def main(argv: list[str] | None = None) -> int:
    """Run one command. Return 0, or 1 with the reason on stderr, or 3 if the device was revoked."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that lacks a letter must not end us
            stream.reconfigure(errors="backslashreplace")
    arguments = make_parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except Revoked as exc:
        _print_error(str(exc))
        return EXIT_REVOKED
    except DeviceError as exc:
        _print_error(str(exc))
        return EXIT_FAILED
    except CouchError as exc:
        _print_error(f"this device's CouchDB: {_why(exc, arguments)}{_hint(exc, arguments)}")
        return EXIT_FAILED
    except OSError as exc:
        _print_error(f"{exc.strerror}: {exc.filename}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def _print_error(text: str) -> None:
    print(f"error: {texts.printable(text)}", file=sys.stderr)


def _why(exc: CouchError, arguments: Arguments) -> str:
    with suppress(DeviceError):
        return of_error(exc, Home(arguments.home).load().couch)
    return without_full_stop(exc)


def _hint(exc: CouchError, arguments: Arguments) -> str:
    if exc.status == 0:
        return ". Is it running?"
    if exc.status == 401:
        return f". Correct its URL, with name and password, in {Home(arguments.home).path}"
    return ""


# The commands


def _run(arguments: Arguments) -> None:
    """Run the agent until SIGINT or SIGTERM. CouchDB continues to replicate without it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    every = arguments.every
    intervals = Intervals(
        max_retry_s=every, check_s=every, pending_s=min(every, Intervals.pending_s)
    )

    def say(about: str, what: str) -> None:
        now = _now()
        if arguments.json:
            line = {"at": now.isoformat(timespec="milliseconds"), "about": about, "what": what}
            print(json.dumps(line, ensure_ascii=False), flush=True)
        else:
            said = texts.printable(f"{about:<14} {what}")
            print(f"{now.astimezone():%H:%M:%S}  {said}", flush=True)

    try:
        Agent(Home(arguments.home), say, _now, intervals).run()
    except KeyboardInterrupt:
        say("agent", "stopped; this device's CouchDB continues to replicate")


def _register(arguments: Arguments) -> None:
    result = lifecycle.register(
        Home(arguments.home),
        _say_nothing,
        _now,
        owner=arguments.owner,
        registrations=arguments.registrations,
        couch=_with_password(arguments.couch),
        name=arguments.name,
        prefix=arguments.prefix,
    )
    result["home"] = str(arguments.home)
    run = _command_line("--home", result["home"], "run")
    _print(arguments, result, texts.registered(result, run))


def _command_line(*words: str) -> str:
    """Return a command as it is typed in this folder, with the Python that runs this one."""
    python = Path(sys.executable)
    with suppress(ValueError):  # it is not below this folder
        python = python.relative_to(Path.cwd())
    return shlex.join([str(python), "-m", "syncpoint_device", *words])


def _with_password(couch: str) -> str:
    """Return the URL of the device's own CouchDB, and ask for a password that is not in it.

    Other users of the machine can read what is typed on a command line.
    """
    head, at, host = couch.rpartition("@")
    scheme, separator, name = head.partition("://")
    if not at or not separator or ":" in name:
        return couch
    password = _ask(f"password of {name} at {host}: ")
    return f"{scheme}://{name}:{quote(password, safe='')}@{host}"


def _ask(prompt: str) -> str:
    """Read a password from the terminal without echo, or from stdin if there is no terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", getpass.GetPassWarning)  # stdin has no echo to turn off
        try:
            return getpass.getpass(prompt)
        except EOFError:
            print(file=sys.stderr)  # end the line of the prompt
            raise DeviceError(
                "--couch has no password, and there is no terminal to ask for it"
            ) from None


def _resend(arguments: Arguments) -> None:
    result = lifecycle.resend(Home(arguments.home), _device(arguments))
    _print(arguments, result, texts.resent(result))


def _unlink(arguments: Arguments) -> None:
    result = lifecycle.unlink(
        Home(arguments.home),
        _device(arguments),
        purge=arguments.purge,
        offline=arguments.offline,
        force=arguments.force,
    )
    _print(arguments, result, texts.unlinked(result))


def _revoke(arguments: Arguments) -> None:
    result = lifecycle.revoke_other(_device(arguments), arguments.device)
    _print(arguments, result, texts.revoked(result))


def _status(arguments: Arguments) -> None:
    result = status(_device(arguments), Home(arguments.home), is_exact=arguments.exact)
    _print(arguments, result, texts.status(result))


def _undo(arguments: Arguments) -> None:
    result = undo(Home(arguments.home), _device(arguments), arguments.document)
    if not result["undone"]:
        raise DeviceError(texts.undone(result))
    _print(arguments, result, texts.undone(result))


def _create(arguments: Arguments) -> None:
    result = channels.create(_device(arguments), arguments.name, Home(arguments.home))
    _print(arguments, result, texts.created(result))


def _invite(arguments: Arguments) -> None:
    home = Home(arguments.home)
    result = channels.invite(_device(arguments), arguments.channel, arguments.address, home)
    _print(arguments, result, texts.invited(result))


def _change_subscription(arguments: Arguments) -> None:
    result = channels.change_subscription(
        _device(arguments),
        arguments.channel,
        arguments.command,
        purge=arguments.purge,
        force=arguments.force,
        home=Home(arguments.home),
    )
    _print(arguments, result, texts.changed(result))


def _device(arguments: Arguments) -> Device:
    return Device.of(Home(arguments.home).load(), _say_nothing, _now)


def _now() -> datetime:
    return datetime.now(UTC)


def _say_nothing(about: str, what: str) -> None:
    """Print nothing, because a command prints its result only."""


def _print(arguments: Arguments, result: JsonDict, text: str) -> None:
    if arguments.json:
        print(json.dumps(result, ensure_ascii=False), flush=True)
        return
    for line in text.split("\n"):
        print(texts.printable(line), flush=True)


# The parser


def make_parser() -> argparse.ArgumentParser:
    """Create the parser. What it parses has `run`, the function of the command."""
    parser = argparse.ArgumentParser(prog="python -m syncpoint_device", description=DESCRIPTION)
    _add_common(parser, home=Path.home() / ".syncpoint", json=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_register(commands)
    _add(commands, "resend", _resend, "ask for another mail with a link")
    run = _add(commands, "run", _run, "run the agent, which keeps the channels in sync")
    run.add_argument(
        "--every",
        type=_seconds,
        default=Intervals.check_s,
        metavar="SECONDS",
        help="how often to check that the cloud can be reached (default: %(default)g)",
    )
    shown = _add(commands, "status", _status, "show whether this device is in sync, and what waits")
    shown.add_argument(
        "--exact", action="store_true", help="compare all documents, which may take minutes"
    )
    _add_channel(commands.add_parser("channel", help="create a channel, or invite a person to it"))
    _add_subscription(
        commands.add_parser("subscription", help="pause, resume or stop the sync of a channel")
    )
    unlink = _add(commands, "unlink", _unlink, "revoke this device, and end its registration here")
    unlink.add_argument("--purge", action="store_true", help="also delete its databases")
    unlink.add_argument(
        "--offline",
        action="store_true",
        help="only forget the registration here; the cloud is not told",
    )
    unlink.add_argument(
        "--force",
        action="store_true",
        help="with --purge: delete even documents that are not in the cloud",
    )
    revoke = _add(commands, "revoke", _revoke, "revoke another device of yours, such as a lost one")
    revoke.add_argument("device", help="its name or id, as in `status`")
    command = _add(commands, "undo", _undo, "undo a change that the cloud refused")
    command.add_argument("document", help="its id, as in `status`")
    return parser


def _add(
    commands: Any, name: str, run: Callable[[Arguments], None], text: str
) -> argparse.ArgumentParser:
    """Add a command. The common options are also accepted after its name."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text)
    _add_common(parser, home=argparse.SUPPRESS, json=argparse.SUPPRESS)
    parser.set_defaults(run=run)
    return parser


def _add_common(parser: argparse.ArgumentParser, *, home: Path | str, json: bool | str) -> None:
    parser.add_argument(
        "--home",
        type=Path,
        default=home,
        help="the folder of this device's file (default: ~/.syncpoint)",
    )
    parser.add_argument(
        "--json", action="store_true", default=json, help="print JSON, for programs"
    )


def _add_register(commands: Any) -> None:
    register = _add(commands, "register", _register, "register this device; shows the device code")
    register.add_argument("--owner", required=True, metavar="ADDRESS", help="your e-mail address")
    register.add_argument(
        "--registrations",
        required=True,
        metavar="URL",
        help="the cloud's registrations endpoint, https://…/registrations",
    )
    register.add_argument(
        "--couch",
        required=True,
        metavar="URL",
        help="this device's own CouchDB or PouchDB Server, http://NAME@HOST:PORT; "
        "asks for the password",
    )
    register.add_argument("--name", required=True, help="a name for this device")
    register.add_argument(
        "--prefix", default="", help="a prefix for the names of its databases (default: none)"
    )


def _add_channel(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = _add(commands, "create", _create, "create a channel")
    create.add_argument("name", help="its name, as your guests see it")
    invite = _add(commands, "invite", _invite, "share a channel with a person, by mail")
    invite.add_argument("channel", help="its name or id")
    invite.add_argument("address", help="the person's e-mail address")


def _add_subscription(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in channels.STATES:
        text = f"{name} the sync of a channel on all your devices"
        command = _add(commands, name, _change_subscription, text)
        command.add_argument("channel", help="its name or id")
        command.set_defaults(command=name, purge=False, force=False)
        if name == "stop":
            command.add_argument(
                "--purge", action="store_true", help="also delete the copy on this device"
            )
            command.add_argument(
                "--force",
                action="store_true",
                help="with --purge: delete even documents that are not in the cloud",
            )


def _seconds(text: str) -> float:
    """Parse a time between 0.1 s, so that the agent does not run without a pause, and a day."""
    with suppress(ValueError):
        if 0.1 <= float(text) <= 86_400:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 86400")


if __name__ == "__main__":
    sys.exit(main())
