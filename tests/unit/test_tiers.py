"""A test has the markers of what it does."""

import socket
import subprocess
import sys
from typing import Any

import pytest
import requests

from tests.kit.tiers import pytest_collection_modifyitems, why_not_real


def test_a_test_without_io_opens_no_connection() -> None:
    with socket.socket() as one, pytest.raises(RuntimeError, match="without the marker `io`"):
        one.connect(("127.0.0.1", 9))


def test_a_test_without_io_starts_no_process() -> None:
    with pytest.raises(RuntimeError, match="without the marker `io`"):
        subprocess.run([sys.executable, "-c", ""], check=True)


def test_a_fixture_puts_its_markers_on_what_uses_it(request: pytest.FixtureRequest) -> None:
    item = request.node
    item.fixturenames.append("couch_url")
    pytest_collection_modifyitems([item])
    assert {marker.name for marker in item.iter_markers()} == {"couchdb", "io"}


def test_what_needs_a_real_couchdb_is_skipped_without(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COUCHDB_URL", raising=False)
    item = request.node
    item.add_marker("real")
    pytest_collection_modifyitems([item])
    assert {marker.name for marker in item.iter_markers()} == {"real", "couchdb", "io", "skip"}


@pytest.mark.parametrize(
    ("url", "welcome", "why"),
    [
        ("", {}, "COUCHDB_URL is not set: only a real CouchDB can pass this"),
        ("http://a", {"express-pouchdb": "Welcome!"}, "COUCHDB_URL is not a CouchDB"),
        ("http://b", {"couchdb": "Welcome", "vendor": {"name": "stand-in"}}, "is the stand-in"),
        ("http://c", {"couchdb": "Welcome", "vendor": {"name": "The Apache …"}}, ""),
        ("http://d", {"couchdb": "Welcome"}, ""),
    ],
)
def test_a_real_couchdb_is_known_by_its_welcome(
    url: str, welcome: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = requests.Response()
    monkeypatch.setattr(answer, "json", lambda: welcome)
    monkeypatch.setattr(requests, "get", lambda url, timeout: answer)
    found = why_not_real(url)
    assert why in found
    assert bool(why) == bool(found)
