"""`make audit` with the real pip-audit, and a database of advisories on this machine."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from ops import audit
from ops.stage import OpsError
from ops.tools import Tools, run
from tests.kit.http_server import Answer, serving

pytestmark = pytest.mark.io

PINNED = f"certifi==2026.10.18 --hash=sha256:{'0' * 64}\n"


@contextmanager
def advisories(*vulnerable: str, status: int = 200) -> Iterator[str]:
    """An OSV that knows of vulnerabilities in these packages; yields its URL."""

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        package = json.loads(request.rfile.read(int(request.headers["Content-Length"])))["package"]
        known = [{"id": "PYSEC-2026-1", "affected": [{"package": package}]}]
        found = {"vulns": known} if package["name"] in vulnerable else {}
        return status, json.dumps(found).encode(), {}

    with serving(answer) as url:
        yield f"{url}/v1/query"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def tools(tmp_path: Path, said: list[str]) -> Tools:
    """A project with one package pinned."""
    (tmp_path / "requirements.txt").write_text(PINNED, encoding="utf-8")

    def no_client(service: str) -> None:
        raise AssertionError(service)

    return Tools(no_client, run, said.append, tmp_path)


def test_a_version_that_is_known_to_be_vulnerable_fails(
    tools: Tools, capfd: pytest.CaptureFixture[str]
) -> None:
    with advisories(audit.KNOWN_NAME, "certifi") as url, pytest.raises(OpsError, match="failed"):
        audit.main(["--osv-url", url], tools)
    assert "PYSEC-2026-1" in capfd.readouterr().out


def test_versions_that_nothing_is_known_against_pass(
    tools: Tools, said: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with advisories(audit.KNOWN_NAME) as url:
        assert audit.main(["--osv-url", url], tools) == 0
    assert said == []
    assert "No known vulnerabilities found" in capfd.readouterr().err


def test_a_package_without_a_hash_fails(tools: Tools) -> None:
    (tools.root / "requirements-dev.txt").write_text("requests==2.34.2\n", encoding="utf-8")
    with advisories(audit.KNOWN_NAME) as url, pytest.raises(OpsError, match="failed"):
        audit.main(["--osv-url", url], tools)


@pytest.mark.parametrize(
    ("vulnerable", "status"),
    [((audit.KNOWN_NAME, "certifi"), 404), ((audit.KNOWN_NAME,), 503), (("certifi",), 200)],
    ids=["not found", "out of order", "knows nothing"],
)
def test_a_service_without_advisories_audits_nothing_and_that_is_said(
    tools: Tools, said: list[str], vulnerable: tuple[str, ...], status: int
) -> None:
    with advisories(*vulnerable, status=status) as url:
        assert audit.main(["--osv-url", url], tools) == 0
    assert said == ["NOT AUDITED: 1 lock files; no advisories available from osv"]


def test_no_network_is_no_failure(tools: Tools, said: list[str]) -> None:
    with advisories() as url:
        pass
    assert audit.main(["--osv-url", url], tools) == 0
    assert said == ["NOT AUDITED: 1 lock files; no advisories available from osv"]
