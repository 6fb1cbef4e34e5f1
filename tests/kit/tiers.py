"""Markers that say which tier a test belongs to, put on by the fixtures that it uses.

`make unit` takes what has neither `io` nor `slow`, `make test` what is not `slow`, `make check`
everything, `make couchdb` what has `couchdb`. A test that reaches for the world in another way
than by these fixtures names its marker itself.
"""

import os
import sys
from collections.abc import Iterator
from functools import cache
from threading import get_ident

import pytest
import requests

# By fixture, whatever else asks for that one. tests/README.md says what the markers mean.
OF_FIXTURE = {
    "couch_url": ("couchdb", "io"),
    "couches": ("couchdb", "io"),
    "system": ("couchdb", "io"),
    "aws": ("io",),
    "own_aws": ("slow", "io"),
    "browser": ("browser", "slow", "io"),
    "artifacts": ("slow", "io"),
}
REACHES_OUT = {"socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen"}
STAND_IN = "stand-in"  # what tests/couchdb3 names as its vendor

_guarded: set[int] = set()  # the threads in which a test without `io` runs


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the markers on; skip what only a real CouchDB can pass where there is none."""
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            for name in OF_FIXTURE.get(fixture, ()):
                item.add_marker(name)
        if item.get_closest_marker("real"):
            item.add_marker("couchdb")
            item.add_marker("io")
            why = why_not_real(os.environ.get("COUCHDB_URL", ""))
            if why:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Let no test reach out that does not say so: `make unit` is without network and processes.

    Not at its teardown: the last test of a run also ends the servers that others have used.
    """
    if not item.get_closest_marker("io"):
        _guarded.add(get_ident())
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """End the guard of the test."""
    _guarded.discard(get_ident())


@cache
def why_not_real(url: str) -> str:
    """Why the `real` tests cannot run on a CouchDB, or nothing if they can."""
    if not url:
        return "COUCHDB_URL is not set: only a real CouchDB can pass this"
    welcome = requests.get(url, timeout=10).json()
    if "couchdb" not in welcome:
        return "COUCHDB_URL is not a CouchDB: only a real one can pass this"
    if welcome.get("vendor", {}).get("name") == STAND_IN:
        return "COUCHDB_URL is the stand-in: only a real CouchDB can pass this"
    return ""


def _refuse(event: str, args: tuple[object, ...]) -> None:
    if event in REACHES_OUT and get_ident() in _guarded:
        raise RuntimeError(f"{event} in a test without the marker `io` (tests/README.md)")


sys.addaudithook(_refuse)
