"""What commands print: results and errors, in words or as JSON, and never what a terminal obeys."""

import json
import os
import sys
from contextlib import suppress

from chalicelib.domain.documents import JsonDict
from syncpoint_device.texts import printable


def to_json(value: JsonDict) -> str:
    """Return JSON in ASCII: any program reads it, on any screen, and no terminal obeys it."""
    return json.dumps(value)


def print_result(result: JsonDict, text: str, *, as_json: bool) -> None:
    """Print the result of a command."""
    lines = [to_json(result)] if as_json else [printable(line) for line in text.split("\n")]
    print("\n".join(lines), flush=True)


def print_error(code: str, message: str, *, as_json: bool) -> None:
    """Print why a command failed, on stderr."""
    error = {"error": {"code": code, "message": message}}
    print(to_json(error) if as_json else f"error: {printable(message)}", file=sys.stderr)


def discard_output() -> None:
    """Let what is still to be printed go nowhere, because nobody reads it any more.

    Python writes what is buffered when it ends, and would fail once more.
    """
    with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
