"""The command `python -m local`, which runs the local system until Ctrl-C."""

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from chalicelib.couch import CouchError
from local.data_folder import port_number
from local.errors import LocalError
from local.system import ROOT, LocalSystem, Options, prepare_process


def main() -> int:
    """Run until SIGINT or SIGTERM; return the exit code."""
    arguments = _parse()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    prepare_process()
    # SIGINT too, because a shell that starts a process in the background ignores it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with LocalSystem(_options(arguments)) as system:
            with contextlib.suppress(KeyboardInterrupt):
                print(system.ready_line(), flush=True)
                _explain(system)
                _wait()
            _ignore_signals()
            print("\nstopping …", file=sys.stderr)
    except (LocalError, CouchError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # while it was starting
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


def _wait() -> None:
    """Wait for a signal.

    A signal may arrive in another thread, which does not end the wait of this one. So this one
    wakes up each second, and Python then handles the signal.
    """
    while not threading.Event().wait(1):
        pass


def _ignore_signals() -> None:
    """Ignore a second Ctrl-C, so that all parts are stopped."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _parse() -> argparse.Namespace:
    description = "Runs the whole system on this machine until Ctrl-C."
    parser = argparse.ArgumentParser(prog="python -m local", description=description)
    parser.add_argument(
        "--data",
        type=Path,
        default=ROOT / ".local",
        help="the folder that keeps the data (default: .local)",
    )
    for part, name in (("api", "API"), ("outbox", "outbox"), ("couch", "embedded CouchDB")):
        text = f"the port of the {name}; 0 takes a free one (default: that of the last run)"
        parser.add_argument(f"--{part}-port", type=port_number, metavar="PORT", help=text)
    return parser.parse_args()


def _options(arguments: argparse.Namespace) -> Options:
    return Options(
        couchdb_url=os.environ.get("COUCHDB_URL") or None,
        couchdb_public_url=os.environ.get("COUCHDB_PUBLIC_URL") or None,
        control_db=os.environ.get("CONTROL_DB") or None,
        folder=arguments.data,
        api_port=arguments.api_port,
        outbox_port=arguments.outbox_port,
        couch_port=arguments.couch_port,
    )


def _explain(system: LocalSystem) -> None:
    lines = [
        "",
        "Syncpoint is running on this machine.",
        f"  API      {system.api}",
        f"  Outbox   {system.outbox}   (shows all mails; no mail leaves this machine)",
        f"  CouchDB  {system.couch_url}/{system.control_db}",
        "",
        "To register a device, run these two commands, and then open the mail in the outbox",
        "(docs/device.md has more):",
        "  .venv/bin/python -m syncpoint_device --home .local/phone register \\",
        "    --name phone --prefix phone- \\",
        f"    --owner you@example.com --couch {system.couch_url} \\",
        f"    --registrations {system.api}/registrations",
        "  .venv/bin/python -m syncpoint_device --home .local/phone run",
        "",
        "A device with a CouchDB of its own: the same two commands, with another --home, without",
        "--prefix, and with --couch http://NAME:PASSWORD@127.0.0.1:5984",
        "",
        "Press Ctrl-C to stop.",
    ]
    print("\n".join(lines), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
