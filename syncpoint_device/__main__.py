"""The command line of a device, `syncpoint-device`: options, commands, exit codes."""

import getpass
import signal
import sys
import traceback
import warnings
from argparse import ArgumentTypeError
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chalicelib.couch import CouchError
from syncpoint_device import (
    __version__,
    channels,
    leftovers,
    lifecycle,
    logins,
    network,
    output,
    service,
    sharing_commands,
    texts,
)
from syncpoint_device.agent import Agent, Intervals
from syncpoint_device.cli import (
    Arguments,
    Parser,
    UsageError,
    add,
    add_common,
    add_group,
    device_of,
    now,
    print_result,
    say_nothing,
)
from syncpoint_device.errors import DeviceError, Revoked
from syncpoint_device.home import Home
from syncpoint_device.log import AgentLog
from syncpoint_device.reasons import of_error, says_what_to_do
from syncpoint_device.refusals import undo
from syncpoint_device.service import EXIT_REVOKED, EXIT_USAGE
from syncpoint_device.status import status
from syncpoint_device.trust import trust, trusted

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130
EXIT_PIPE = 141  # what a shell reports of a program that SIGPIPE has ended
DESCRIPTION = "Registers this device, and keeps the channels of its owner in sync on it."


def main(argv: list[str] | None = None) -> int:
    """Run one command, and print its errors. Return the exit code (docs/device.md)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that lacks a letter must not end us
            stream.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if argv is None else argv
    try:
        try:
            return _main(words)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:  # as of `status | head -1`
        output.discard_output()
        return EXIT_PIPE


def _main(words: list[str]) -> int:
    try:
        return _run_command(make_parser().parse_args(words))
    except UsageError as exc:
        as_json = "--json" in words
        if not as_json:
            print(exc.usage, end="", file=sys.stderr)
        output.print_error("usage", str(exc), as_json=as_json)
        return EXIT_USAGE


def _run_command(arguments: Arguments) -> int:
    try:
        network.use_ca_file(arguments.ca_file)
        arguments.run(arguments)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (BrokenPipeError, UsageError):
        raise
    except Exception as exc:  # noqa: BLE001  # a defect as well: its text is escaped
        code, message = _explain(exc, arguments)
        output.print_error(code, message, as_json=arguments.json)
        return EXIT_REVOKED if isinstance(exc, Revoked) else EXIT_FAILED
    return 0


def _explain(exc: Exception, arguments: Arguments) -> tuple[str, str]:
    """Return the code and the message of an error; docs/device.md lists the codes."""
    if isinstance(exc, DeviceError):
        return exc.code, str(exc)
    if isinstance(exc, CouchError):
        code, hint = _of_couch(exc)
        return code, f"this device's CouchDB: {_why(exc, arguments)}{hint}"
    if isinstance(exc, OSError):
        return "file", f"{exc.strerror}: {exc.filename}"
    for line in traceback.format_exc().splitlines():  # a defect; its text may have a name in it
        print(texts.printable(line), file=sys.stderr)
    return "defect", f"{type(exc).__name__}: {exc}"


def _why(exc: CouchError, arguments: Arguments) -> str:
    couch = getattr(arguments, "couch", None) or ""
    with suppress(DeviceError):
        couch = Home(arguments.home).load().couch
    return of_error(exc, couch)


def _of_couch(exc: CouchError) -> tuple[str, str]:
    """Return the code of an error of the device's own CouchDB, and what to do."""
    if exc.status == 0:
        return "couch_unreachable", "" if says_what_to_do(exc) else ". Is it running?"
    return "couch_failed", ""


# The commands


def _run(arguments: Arguments) -> None:
    """Run the agent until SIGINT or SIGTERM. CouchDB continues to replicate without it."""
    Home(arguments.home).load()  # without a device, no lock and no folder is made
    _end_in_order()
    every = arguments.every
    intervals = Intervals(
        max_retry_s=every, check_s=every, pending_s=min(every, Intervals.pending_s)
    )
    log = AgentLog(as_json=arguments.json, is_quiet=arguments.quiet, file=arguments.log_file)
    try:
        Agent(Home(arguments.home), log.say, now, intervals).run()
    except KeyboardInterrupt:
        log.say("agent", "stopped; this device's CouchDB continues to replicate")
    except Exception as exc:
        log.end(exc)
        raise
    finally:
        log.close()


def _end_in_order() -> None:
    """Let a signal end the command as Ctrl-C does, so that it leaves nothing half done."""
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):  # the last one on Windows only
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)


def _service(arguments: Arguments) -> None:
    """Print a systemd unit. The agent's environment is that of this command."""
    Home(arguments.home).load()  # without a device the service could not start
    unit = service.unit(arguments.home, network.environment())
    print_result(arguments, {"unit": unit}, unit.rstrip("\n"))


def _completion(arguments: Arguments) -> None:
    """Print the completion of commands and options for a shell."""
    # Imported here, because no other command needs it.
    import shtab

    script = shtab.complete(make_parser(), arguments.shell)
    print_result(arguments, {"completion": script}, script)


def _register(arguments: Arguments) -> None:
    result = lifecycle.register(
        Home(arguments.home),
        say_nothing,
        now,
        owner=arguments.owner,
        registrations=arguments.registrations,
        couch=_with_password(arguments.couch),
        name=arguments.name,
        prefix=arguments.prefix,
        trust=arguments.trust,
        ca_file=arguments.ca_file,
    )
    result["home"] = str(arguments.home.absolute())
    run = service.typed("--home", result["home"], "run")
    print_result(arguments, result, texts.registered(result, run))


def _with_password(couch: str) -> str:
    """Return the URL of the device's own CouchDB, and ask for a password that is not in it.

    Other users of the machine can read what is typed on a command line.
    """
    head, at, host = couch.rpartition("@")
    scheme, separator, name = head.partition("://")
    if not at or not separator or ":" in name:
        return couch
    password = _ask(texts.printable(f"password of {name} at {host}: "))
    return f"{scheme}://{name}:{quote(password, safe='')}@{host}"


def _ask(prompt: str) -> str:
    """Read a password from the terminal without echo, or from stdin if there is no terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(prompt)
        except (EOFError, getpass.GetPassWarning):  # stdin has no echo to turn off
            line = sys.stdin.readline()
    if not line:
        raise DeviceError(
            "the CouchDB's URL has no password, and there is no terminal to ask for it"
        )
    return line.rstrip("\r\n")


def _clean(arguments: Arguments) -> None:
    if arguments.yes and arguments.database:
        arguments.fail("name the databases, or say --yes for all of them")
    if arguments.force and not (arguments.yes or arguments.database):
        arguments.fail("--force means nothing without a database or --yes")
    place = _place(arguments)
    result = leftovers.clean(
        place, arguments.database, all_of_them=arguments.yes, force=arguments.force
    )
    print_result(arguments, result, texts.cleaned(result, place.options))


def _export(arguments: Arguments) -> None:
    if arguments.all == (arguments.channel is not None):
        arguments.fail("say `export CHANNEL FILE` or `export --all FOLDER`")
    _end_in_order()
    place = _place(arguments)
    if arguments.all:
        result = leftovers.export_everything(place, arguments.path)
    else:
        result = leftovers.export_one(place, arguments.channel, arguments.path)
    print_result(arguments, result, texts.exported(result))


def _place(arguments: Arguments) -> leftovers.Place:
    device = device_of(arguments) if Home(arguments.home).is_registered else None
    couch = None if arguments.couch is None else _with_password(arguments.couch)
    return leftovers.Place.of(device, couch, arguments.prefix)


def _couch(arguments: Arguments) -> None:
    url = _with_password(arguments.url)
    result = logins.change_couch(Home(arguments.home), device_of(arguments), url)
    print_result(arguments, result, texts.couch_changed(result))


def _trust(arguments: Arguments) -> None:
    result = trust(device_of(arguments), arguments.ca_file)
    print_result(arguments, result, trusted(result))


def _resend(arguments: Arguments) -> None:
    result = lifecycle.resend(Home(arguments.home), device_of(arguments))
    print_result(arguments, result, texts.resent(result))


def _unlink(arguments: Arguments) -> None:
    _check_force(arguments)
    device = device_of(arguments)
    result = lifecycle.unlink(
        Home(arguments.home),
        device,
        purge=arguments.purge,
        offline=arguments.offline,
        force=arguments.force,
    )
    options = leftovers.place_options(device.profile.couch, device.profile.prefix)
    print_result(arguments, result, texts.unlinked(result, options))


def _check_force(arguments: Arguments) -> None:
    if arguments.force and not arguments.purge:
        arguments.fail("--force means nothing without --purge")


def _revoke(arguments: Arguments) -> None:
    result = lifecycle.revoke_other(device_of(arguments), arguments.device)
    print_result(arguments, result, texts.revoked(result))


def _status(arguments: Arguments) -> None:
    result = status(device_of(arguments), Home(arguments.home), is_exact=arguments.exact)
    print_result(arguments, result, texts.status(result))


def _undo(arguments: Arguments) -> None:
    result = undo(Home(arguments.home), device_of(arguments), arguments.document)
    if not result["undone"]:
        raise DeviceError(texts.undone(result))
    print_result(arguments, result, texts.undone(result))


def _create(arguments: Arguments) -> None:
    result = channels.create(device_of(arguments), arguments.name)
    result["running"] = Home(arguments.home).running_agent() is not None
    print_result(arguments, result, texts.created(result))


def _invite(arguments: Arguments) -> None:
    result = channels.invite(device_of(arguments), arguments.channel, arguments.address)
    print_result(arguments, result, texts.invited(result))


def _change_subscription(arguments: Arguments) -> None:
    _check_force(arguments)
    result = channels.change_subscription(
        device_of(arguments),
        arguments.channel,
        arguments.command,
        purge=arguments.purge,
        force=arguments.force,
        home=Home(arguments.home),
    )
    print_result(arguments, result, texts.changed(result))


# The parser


def make_parser() -> Parser:
    """Create the parser. What it parses has `run`, the function of the command."""
    parser = Parser(prog=service.PROGRAM, description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    add_common(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_register(commands)
    add(commands, "trust", _trust, "make this device's CouchDB check certificates")
    add(commands, "resend", _resend, "ask for another mail with a link")
    run = add(commands, "run", _run, "run the agent, which keeps the channels in sync")
    run.add_argument(
        "--every",
        type=_seconds,
        default=Intervals.check_s,
        metavar="SECONDS",
        help="how often to check that the cloud can be reached (default: %(default)g)",
    )
    run.add_argument(
        "--log-file",
        type=Path,
        metavar="FILE",
        help="also write what it says into a file; a new one is begun after a megabyte",
    )
    run.add_argument("--quiet", action="store_true", help="print problems and their ends only")
    add(commands, "service", _service, "print a systemd unit that runs the agent")
    completion = add(commands, "completion", _completion, "print the completion for a shell")
    completion.add_argument("shell", choices=("bash", "zsh"))
    _add_channel(add_group(commands, "channel", "create, share, rename and close channels"))
    sharing_commands.add_invitation(
        add_group(commands, "invitation", "list, withdraw and send again what you invited to")
    )
    shown = add(commands, "status", _status, "show whether this device is in sync, and what waits")
    shown.add_argument(
        "--exact", action="store_true", help="compare all documents, which may take minutes"
    )
    _add_subscription(
        add_group(commands, "subscription", "pause, resume or stop the sync of a channel")
    )
    unlink = add(commands, "unlink", _unlink, "revoke this device, and end its registration here")
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
    revoke = add(commands, "revoke", _revoke, "revoke another device of yours, such as a lost one")
    revoke.add_argument("device", help="its name or id, as in `status`")
    couch = add(commands, "couch", _couch, "change the URL or login of this device's own CouchDB")
    couch.add_argument("url", help="http://NAME@HOST:PORT; asks for the password")
    export = add(commands, "export", _export, "save all documents of a channel in a file")
    export.add_argument("channel", nargs="?", help="its name or id, or a database of `clean`")
    export.add_argument("path", type=Path, metavar="FILE", help="a new file; with --all a folder")
    export.add_argument("--all", action="store_true", help="all channels of this device")
    _add_place(export)
    clean = add(commands, "clean", _clean, "list, or delete, the databases that an unlink left")
    clean.add_argument("database", nargs="*", help="delete this one")
    clean.add_argument("--yes", action="store_true", help="delete all of them")
    clean.add_argument("--force", action="store_true", help="even what is not in the cloud")
    _add_place(clean)
    command = add(commands, "undo", _undo, "undo a change that the cloud refused")
    command.add_argument("document", help="its id, as in `status`")
    return parser


def _add_place(command: Parser) -> None:
    command.add_argument("--couch", metavar="URL", help="if no device is registered: the CouchDB")
    command.add_argument("--prefix", default="", help="if no device is registered: its prefix")


def _add_register(commands: Any) -> None:
    register = add(commands, "register", _register, "register this device; shows the device code")
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
    register.add_argument(
        "--trust", action="store_true", help="make this device's CouchDB check certificates"
    )


def _add_channel(parser: Parser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = add(commands, "create", _create, "create a channel")
    create.add_argument("name", help="its name, as your guests see it")
    invite = add(commands, "invite", _invite, "share a channel with a person, by mail")
    invite.add_argument("channel", help="its name or id")
    invite.add_argument("address", help="the person's e-mail address")
    sharing_commands.add_channel(commands)


def _add_subscription(parser: Parser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in channels.STATES:
        text = f"{name} the sync of a channel on all your devices"
        command = add(commands, name, _change_subscription, text)
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
    raise ArgumentTypeError(f"“{text}” is not a number of seconds from 0.1 to 86400")


if __name__ == "__main__":
    sys.exit(main())
