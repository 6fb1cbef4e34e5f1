"""The data folder of the local system: its lock, and the keys and ports that it keeps."""

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
    """Lock a folder for this run. If none is wanted, or another run has it, create a temporary one.

    Parameters
    ----------
    exits : ExitStack
        Releases the folder at the end.
    """
    if wanted is not None:
        wanted.mkdir(parents=True, exist_ok=True)
        lock = (wanted / "lock").open("w")
        exits.callback(lock.close)
        if _try_lock(lock):
            return wanted
        log.warning("another run uses the folder %s; this one uses a temporary folder", wanted.name)
    temporary = Path(tempfile.mkdtemp(prefix="syncpoint-"))
    exits.callback(shutil.rmtree, temporary, ignore_errors=True)
    return temporary


def read_keys(folder: Path) -> dict[str, str]:
    """Return the administrator's password and the link key. Create them at the first run."""
    path = folder / "keys.json"
    if not path.exists():
        path.touch(mode=0o600)
        keys = {"admin_password": secrets.token_urlsafe(12), "link_key": new_link_key()}
        path.write_text(json.dumps(keys))
    kept: dict[str, str] = json.loads(path.read_text())
    return kept


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def port_number(text: str) -> int:
    """Parse the number of a port.

    Raises
    ------
    argparse.ArgumentTypeError
        If the text is not such a number.
    """
    if not (text.isascii() and text.isdecimal() and int(text) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to {MAX_PORT}, not {text!r}")
    return int(text)


class Ports:
    """The ports of the local system. Each run takes those of the last one, which devices know.

    Parameters
    ----------
    folder : Path
        The data folder.
    obstacle : callable
        Returns why a port cannot be taken now, or None; `find_obstacle` by default.
    """

    def __init__(self, folder: Path, obstacle: Obstacle | None = None) -> None:
        self._path = folder / "ports.json"
        self._obstacle = obstacle or find_obstacle
        self._kept = _read(self._path)
        self._chosen: set[int] = set()
        self._elsewhere: set[str] = set()

    def choose(self, part: str, asked: int | None) -> int:
        """Choose the port of a part; 0 means a free one.

        Parameters
        ----------
        part : str
            ``api``, ``outbox`` or ``couch``, as in its option.
        asked : int or None
            The value of its option, if given.

        Raises
        ------
        LocalError
            If the port of the option cannot be taken.
        """
        port = self._kept.get(part, 0) if asked is None else asked
        obstacle = "is in use" if port in self._chosen else self._obstacle(port)
        if obstacle and asked is not None:
            raise LocalError(
                f"--{part}-port {asked} {obstacle}; choose another, or 0 for a free one"
            )
        if obstacle:
            self._elsewhere.add(part)
            log.warning(
                "port %d, which the %s had in the last run, %s. This run uses another port, so "
                "registered devices cannot reach the %s",
                port,
                part,
                obstacle,
                part,
            )
            port = 0
        self._chosen |= {port} - {0}
        return port

    def keep(self, **urls: str) -> None:
        """Save the ports of all parts, except those that had to use another port this time."""
        taken = {part: urlsplit(url).port for part, url in urls.items()}
        mine = {part: port for part, port in taken.items() if part not in self._elsewhere}
        self._path.write_text(json.dumps(self._kept | mine))


def find_obstacle(port: int) -> str | None:
    """Return why a port of this machine cannot be taken, or None if it can."""
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
