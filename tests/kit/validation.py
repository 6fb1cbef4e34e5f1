"""Runs a design document's validation function by itself, in Node.js as if that were ES5."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from chalicelib.domain.documents import JsonDict
from local.couchdb_process import find_node

_SCRIPT = Path(__file__).with_suffix(".js")
ADMIN_ROLES = ("_admin",)


class ValidationFailed(Exception):
    """The function neither returned nor refused: it is at fault."""


class Engine:
    """One Node.js, which runs many functions on many documents."""

    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        self._stdin = stdin
        self._stdout = stdout

    def refusal(
        self,
        text: str,
        new: JsonDict,
        old: JsonDict | None = None,
        roles: tuple[str, ...] = (),
        security: JsonDict | None = None,
        copied: bool = False,
    ) -> str | None:
        """Why a write is refused; None where it is not.

        Parameters
        ----------
        copied : bool
            Hand the document over as PouchDB does: ``__proto__`` becomes its prototype.

        Raises
        ------
        ValidationFailed
            If the function is not ES5, or throws anything but ``{forbidden: reason}``.
        """
        user = {"db": "a-database", "name": "a-login", "roles": roles}
        case = {"text": text, "args": [new, old, user, security], "copied": copied}
        self._stdin.write(json.dumps(case, allow_nan=False) + "\n")
        self._stdin.flush()
        answer: JsonDict = json.loads(self._stdout.readline())
        if "failed" in answer:
            raise ValidationFailed(answer["failed"])
        reason: str | None = answer.get("forbidden")
        return reason


@contextmanager
def running_engine() -> Iterator[Engine]:
    """Node.js, ended with the block."""
    with subprocess.Popen(
        [find_node(), str(_SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Engine(process.stdin, process.stdout)
