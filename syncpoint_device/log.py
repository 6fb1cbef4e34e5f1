"""The agent's log: a line for each thing that it says, with date, time and level."""

import logging
import sys
from datetime import datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from syncpoint_device.output import discard_output, to_json
from syncpoint_device.private import private
from syncpoint_device.texts import printable

MAX_FILE_BYTES = 1_000_000
KEPT_FILES = 5


class Problem(str):
    """Something that the agent says and that a person should look at. It is a warning."""

    __slots__ = ()


class Recovery(str):
    """The end of a problem. It is no warning, but who was told of the problem hears of it."""

    __slots__ = ()


class AgentLog:
    """The screen, and a file if there is one. Neither of them can end the agent.

    Parameters
    ----------
    as_json : bool
        Whether a line is a JSON object: ``{at, level, about, what}``.
    is_quiet : bool
        Whether the screen shows problems and their ends only. The file has everything.
    file : Path, optional
        A new file is begun after a megabyte; five older ones are kept.
    """

    def __init__(self, *, as_json: bool, is_quiet: bool, file: Path | None) -> None:
        self._logger = logging.Logger("syncpoint_device")
        handlers: list[logging.Handler] = []
        if sys.stdout is not None:
            screen = _Screen(sys.stdout)
            screen.is_quiet = is_quiet
            handlers.append(screen)
        if file is not None:
            handlers.append(_File(file, maxBytes=MAX_FILE_BYTES, backupCount=KEPT_FILES))
        for handler in handlers:
            handler.setFormatter(_Formatter(as_json=as_json))
            self._logger.addHandler(handler)

    def say(self, about: str, what: str) -> None:
        """Log what the agent says of something."""
        level = logging.WARNING if isinstance(what, Problem) else logging.INFO
        is_important = isinstance(what, Problem | Recovery)
        self._logger.log(level, "%s", what, extra={"about": about, "is_important": is_important})

    def end(self, exc: Exception) -> None:
        """Log why the agent ends. The screen shows it as the command's error."""
        self._logger.error("%s", exc, extra={"about": "agent"})

    def close(self) -> None:
        """Close the file."""
        for handler in self._logger.handlers:
            handler.close()


class _Formatter(logging.Formatter):
    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone()
        about, what = str(vars(record)["about"]), record.getMessage()
        if self._as_json:
            level = record.levelname.lower()
            when = at.isoformat(timespec="milliseconds")
            return to_json({"at": when, "level": level, "about": about, "what": what})
        when = at.isoformat(" ", timespec="seconds")
        return printable(f"{when}  {record.levelname:<7}  {about:<14} {what}")


class _Screen(logging.StreamHandler[TextIO]):
    is_quiet = False

    def filter(self, record: logging.LogRecord) -> bool:
        is_hidden = self.is_quiet and not vars(record).get("is_important")
        return record.levelno < logging.ERROR and not is_hidden

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Go on without a screen: the replications are worth more than what is said of them."""
        discard_output()


class _File(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", opener=private)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Go on without this line: the disk may be full."""
