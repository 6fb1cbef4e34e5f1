"""What `make doctor` says: a line for each thing that was looked at."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import requests
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.couch import CouchError
from ops.stage import OpsError
from ops.tools import plain


class Level(StrEnum):
    """How it is."""

    OK = "ok"
    WARNING = "warning"  # it works, but not as one may think
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    text : str
        How it is; and, unless it is well, what to do.
    """

    level: Level
    about: str
    text: str

    def line(self) -> str:
        """As it is printed."""
        return f"{self.level:<8} {self.about:<18} {self.text}"


# What a check says of its subject.
Verdict = tuple[Level, str]


def ok(text: str) -> Verdict:
    """It is well."""
    return Level.OK, text


def warning(text: str) -> Verdict:
    """It works, but not as one may think."""
    return Level.WARNING, text


def wrong(text: str) -> Verdict:
    """It does not work."""
    return Level.WRONG, text


def find(about: str, check: Callable[[], Verdict]) -> Finding:
    """Look at one thing; what keeps us from it is a finding, too."""
    try:
        level, text = check()
    except CouchError as exc:
        level, text = wrong(f"CouchDB answers {exc.status} {exc.error}: {exc.reason}")
    except requests.RequestException as exc:
        level, text = wrong(f"no answer: {type(exc).__name__}")
    except (BotoCoreError, ClientError, OpsError) as exc:
        level, text = wrong(plain(exc))
    return Finding(level, about, text)
