"""The data folder of the local system: one run has it at a time; it keeps the keys."""

import fcntl
import json
import logging
import secrets
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from local.aws import new_link_key

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
