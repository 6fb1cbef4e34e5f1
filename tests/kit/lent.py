"""A CouchDB that is lent for a run is given back as it was: no test leaves anything there.

What COUCHDB_URL and DEVICE_COUCHDB_URL name is looked at when the run begins, and when all its
workers have ended. The run fails for what is new or changed. Others may use the server, too, so
only names are looked at that our tests give. Two runs at a time would fail for each other.
"""

import os
import re
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from chalicelib.couch import MAX_NAMES_BYTES, CouchError, NotFound, Server

DATABASES = r"(syncpoint-test|syncpoint-local|test-device|db)-.+"
DOCUMENTS = {
    "_users": r"org\.couchdb\.user:(device-.+|.+@example\.com)",
    "_replicator": r"syncpoint-.+",
}
SETTINGS = {
    "admins": r"(syncpoint-device|ops|test)-.+",
    "chttpd_auth": r"upgrade_hash_on_auth",
    "oauth_consumer_secrets": r".+",
    "oauth_token_secrets": r".+",
    "oauth_token_users": r".+",
    "syncpoint_test": r".+",
}

_before = pytest.StashKey[dict[str, dict[str, str]]]()
_left = pytest.StashKey[list[str]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Look at each lent CouchDB; at none that does not answer, where nothing can be left."""
    before = session.config.stash[_before] = {}
    if hasattr(session.config, "workerinput"):
        return
    for name in ("COUCHDB_URL", "DEVICE_COUCHDB_URL"):
        if os.environ.get(name):
            with suppress(CouchError):
                before[name] = made_by_tests(os.environ[name])


@pytest.hookimpl(wrapper=True, trylast=True)  # when fixtures and workers have ended
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Fail the run if something was left."""
    yield
    left = session.config.stash[_left] = []
    for name, before in session.config.stash[_before].items():
        try:
            after = made_by_tests(os.environ[name])
            left += sorted(what for what in after if before.get(what) != after[what])
        except CouchError as exc:
            left.append(f"{name} does not answer any more: {exc}")
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name what was left."""
    left = config.stash.get(_left, [])
    if left:
        terminalreporter.section("left on the lent CouchDB", red=True)
    for what in left:
        terminalreporter.line(what)


def made_by_tests(url: str) -> dict[str, str]:
    """Return what is on a CouchDB that tests may have made: its kind and name, and its value."""
    with closing(Server(url.rstrip("/"))) as server:
        names = server.http.request_list("GET", "/_all_dbs", max_bytes=MAX_NAMES_BYTES)
        found = {f"database {name}": "" for name in names if re.fullmatch(DATABASES, name)}
        for database, ours in DOCUMENTS.items():
            for doc_id in _doc_ids(server, database):
                if re.fullmatch(ours, doc_id):
                    found[f"document {database}/{doc_id}"] = ""
        for section, ours in SETTINGS.items():
            for key, value in server.config_section(section).items():
                if re.fullmatch(ours, key):
                    found[f"setting [{section}] {key}"] = str(value)
    return found


def _doc_ids(server: Server, database: str) -> list[str]:
    try:
        path = f"/{database}/_all_docs"
        answer = server.http.request_object("GET", path, max_bytes=MAX_NAMES_BYTES)
    except NotFound:
        return []
    return [row["id"] for row in answer["rows"]]
