"""The data folder of the local system: one run has it at a time; it keeps the keys and ports."""

import argparse
import errno
import fcntl
import json
import logging
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from local.aws import new_link_key
from local.errors import LocalError

MAX_PORT = 65535
Obstacle = Callable[[int], str | None]

log = logging.getLogger("local")


def open_folder(wanted: Path | None, exits: ExitStack) -> Path:
    """The folder that is wanted; a temporary one if none is, or another run holds it.

    Parameters
    ----------
    exits : ExitStack
        Gives it up at the end.
    """
    if wanted is not None:
        wanted.mkdir(parents=True, exist_ok=True)
        lock = (wanted / "lock").open("w")
        exits.callback(lock.close)
        if _is_ours(lock):
            return wanted
        log.warning("another run holds %s; this one keeps its data for itself", wanted.name)
    temporary = Path(tempfile.mkdtemp(prefix="syncpoint-"))
    exits.callback(shutil.rmtree, temporary, ignore_errors=True)
    return temporary


def read_keys(folder: Path) -> dict[str, str]:
    """The administrator's password and the link key: made once for a folder, then kept in it."""
    path = folder / "keys.json"
    if not path.exists():
        path.touch(mode=0o600)
        keys = {"admin_password": secrets.token_urlsafe(12), "link_key": new_link_key()}
        path.write_text(json.dumps(keys))
    kept: dict[str, str] = json.loads(path.read_text())
    return kept


def _is_ours(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def port_number(text: str) -> int:
    """What an option for a port says.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is no port's number.
    """
    if not (text.isascii() and text.isdecimal() and int(text) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to {MAX_PORT}, not {text!r}")
    return int(text)


class Ports:
    """Devices know the ports that they registered with: a data folder remembers them.

    Parameters
    ----------
    folder : Path
        Where the data lives.
    obstacle : callable
        Why a port cannot be had now; None if it can.
    """

    def __init__(self, folder: Path, obstacle: Obstacle | None = None) -> None:
        self._path = folder / "ports.json"
        self._obstacle = obstacle or find_obstacle
        self._kept = _read(self._path)
        self._chosen: set[int] = set()
        self._elsewhere: set[str] = set()

    def choose(self, part: str, asked: int | None) -> int:
        """The port that a part is to take; 0 for a free one.

        Parameters
        ----------
        part : str
            ``api``, ``outbox`` or ``couch``, as in its option.
        asked : int or None
            Its option, if it was given.

        Raises
        ------
        LocalError
            If the one that was asked for cannot be had.
        """
        port = self._kept.get(part, 0) if asked is None else asked
        obstacle = "is in use" if port in self._chosen else self._obstacle(port)
        if obstacle and asked is not None:
            raise LocalError(f"--{part}-port {asked} {obstacle}")
        if obstacle:
            self._elsewhere.add(part)
            log.warning(
                "port %d, the %s's at the last run, %s: it has another one this time, where "
                "devices that registered do not look",
                port,
                part,
                obstacle,
            )
            port = 0
        self._chosen |= {port} - {0}
        return port

    def keep(self, **urls: str) -> None:
        """Remember where the parts are; but not of one that had to go elsewhere this time."""
        taken = {part: urlsplit(url).port for part, url in urls.items()}
        mine = {part: port for part, port in taken.items() if part not in self._elsewhere}
        self._path.write_text(json.dumps(self._kept | mine))


def find_obstacle(port: int) -> str | None:
    """Why a port of this machine cannot be taken; None if it can."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            return "is in use"
        return f"cannot be taken: {exc.strerror}"
    return None


def _read(path: Path) -> dict[str, int]:
    try:
        kept: dict[str, int] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):  # the last run may have been killed while it wrote
        return {}
    return kept
