"""The findings of `make doctor`: one for each check."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import requests
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.couch import CouchError
from ops.stage import OpsError
from ops.tools import plain


class Level(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"  # it works, but not as expected
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes
    ----------
    text : str
        What was found and, unless it is right, what to do.
    """

    level: Level
    about: str
    text: str

    def line(self) -> str:
        """Return the finding as it is printed."""
        return f"{self.level:<8} {self.about:<18} {self.text}"


# What a check returns.
Verdict = tuple[Level, str]


def ok(text: str) -> Verdict:
    """Return that it is right."""
    return Level.OK, text


def warning(text: str) -> Verdict:
    """Return that it works, but not as expected."""
    return Level.WARNING, text


def wrong(text: str) -> Verdict:
    """Return that it does not work."""
    return Level.WRONG, text


def find(about: str, check: Callable[[], Verdict]) -> Finding:
    """Run a check; an error that it raises is a finding, too."""
    try:
        level, text = check()
    except CouchError as exc:
        level, text = wrong(f"CouchDB answers {exc.status} {exc.error}: {exc.reason}")
    except requests.RequestException as exc:
        level, text = wrong(f"no answer: {type(exc).__name__}")
    except (BotoCoreError, ClientError, OpsError) as exc:
        level, text = wrong(plain(exc))
    return Finding(level, about, text)
