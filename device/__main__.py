"""`python -m device`: registers this device, and keeps its owner's channels in sync on it."""

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
from device import channels, lifecycle, texts
from device.agent import Agent, Pace
from device.channels import STATES
from device.databases import Device
from device.errors import DeviceError, Revoked, without_stop
from device.home import Home
from device.status import status

EXIT_FAILED, EXIT_REVOKED, EXIT_INTERRUPTED = 1, 3, 130

DESCRIPTION = "Registers this device, and keeps its owner's channels in sync on it."

Arguments = argparse.Namespace


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0, or 1 with the reason on stderr, or 3 if the device was revoked."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what it has no letters for must not end a command
            stream.reconfigure(errors="backslashreplace")
    arguments = make_parser().parse_args(argv)
    try:
        _COMMANDS[arguments.command](arguments)
    except Revoked as exc:
        print(f"error: {exc}", file=sys.stderr)
        return EXIT_REVOKED
    except DeviceError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return EXIT_FAILED
    except CouchError as exc:
        print(
            f"error: this device's CouchDB: {without_stop(exc)}{_hint(exc, arguments)}",
            file=sys.stderr,
        )
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
    pace = Pace(max_s=steady_s, steady_s=steady_s, waiting_s=min(steady_s, Pace.waiting_s))
    try:
        Agent(Home(arguments.home), _say(arguments), _now, pace).run()
    except KeyboardInterrupt:
        _say(arguments)("agent", "ended; this device's CouchDB goes on with what it replicates")


def _register(arguments: Arguments) -> None:
    said = lifecycle.register(
        Home(arguments.home),
        _say(arguments),
        _now,
        owner=arguments.owner,
        registrations=arguments.registrations,
        couch=_with_password(arguments.couch),
        name=arguments.name,
        prefix=arguments.prefix,
    )
    run = _typed("--home", str(arguments.home), "run")
    _show(
        arguments, {**said, "home": str(arguments.home)}, lambda told: texts.registered(told, run)
    )


def _typed(*words: str) -> str:
    """A command as it is typed in this folder, with the Python that runs this one."""
    python = Path(sys.executable)
    with suppress(ValueError):  # elsewhere
        python = python.relative_to(Path.cwd())
    return shlex.join([str(python), "-m", "device", *words])


def _with_password(couch: str) -> str:
    """The URL of the device's own CouchDB; a password that is not in it is asked for.

    What is typed on a command line can be read by others on the machine.
    """
    head, at, host = couch.rpartition("@")
    scheme, separator, name = head.partition("://")
    if not at or not separator or ":" in name:
        return couch
    password = _asked(f"password of {name} at {host}: ")
    return f"{scheme}://{name}:{quote(password, safe='')}@{host}"


def _asked(prompt: str) -> str:
    """What somebody types, unseen; or what a program writes, where there is no terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", getpass.GetPassWarning)  # of an echo that nobody sees
        try:
            return getpass.getpass(prompt)
        except EOFError:
            print(file=sys.stderr)  # the prompt has no end
            raise DeviceError("no password in --couch, and no terminal to ask at") from None


def _resend(arguments: Arguments) -> None:
    _show(arguments, lifecycle.resend(Home(arguments.home), _device(arguments)), texts.resent)


def _unlink(arguments: Arguments) -> None:
    home, device = Home(arguments.home), _device(arguments)
    said = lifecycle.unlink(
        home,
        device,
        purge=arguments.purge,
        offline=arguments.offline,
        force=arguments.force,
    )
    _show(arguments, said, texts.unlinked)


def _revoke(arguments: Arguments) -> None:
    said = lifecycle.revoke_other(_device(arguments), arguments.device)
    _show(arguments, said, texts.revoked)


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
        home=Home(arguments.home),
    )
    _show(arguments, said, texts.changed)


def _device(arguments: Arguments) -> Device:
    """The device; what it does it does without a word, the command has its own."""
    return Device.of(Home(arguments.home).load(), lambda about, what: None, _now)


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


_COMMANDS: dict[str, Callable[[Arguments], None]] = {
    "register": _register,
    "resend": _resend,
    "run": _run,
    "status": _status,
    "create": _create,
    "invite": _invite,
    "subscription": _subscription,
    "unlink": _unlink,
    "revoke": _revoke,
}


if __name__ == "__main__":
    sys.exit(main())
