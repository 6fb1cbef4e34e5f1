"""The front's settings, the command that writes its configuration, and what is written."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.settings import InvalidSettings
from ops.front import FrontSettings, main, render, up_to
from ops.stage import OpsError
from ops.tools import Tools

ENVIRONMENT = {"COUCHDB_PUBLIC_URL": "https://couch.example.com"}


@given(st.integers(1000, 10**7), st.integers(0, 10**8))
def test_the_pattern_of_numbers_ends_at_the_maximum(maximum: int, number: int) -> None:
    for one in (number, maximum, maximum + 1, maximum - 1):
        assert bool(re.fullmatch(up_to(maximum), str(one))) == (one <= maximum)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("COUCHDB_PUBLIC_URL", "http://couch.example.com"),
        ("COUCHDB_PUBLIC_URL", "https://couch.example.com/couch"),
        ("COUCHDB_PUBLIC_URL", "https://couch.example.com; }"),
        ("COUCHDB_PUBLIC_URL", "https://COUCH.example.com"),
        ("DEVICE_AUTH", "oauth1"),
        ("CONTROL_DB", "control;"),
        ("APP_ORIGINS", "*"),
        ("APP_ORIGINS", "null"),
        ("APP_ORIGINS", "http://app.example.com"),
        ("APP_ORIGINS", "https://app.example.com/"),
        ("APP_ORIGINS", "https://App.example.com"),
        ("APP_ORIGINS", "https://app.example.com,https://b.example.com"),
        ("APP_ORIGINS", 'https://a.example.com";'),
        ("FRONT_COUCHDB", "http://127.0.0.1:5984"),
        ("FRONT_COUCHDB", "127.0.0.1"),
        ("FRONT_COUCHDB", "127.0.0.2:5984"),
        ("FRONT_COUCHDB", "localhost:5984"),
        ("FRONT_COUCHDB", "172.32.0.1:5984"),
        ("FRONT_COUCHDB", "8.8.8.8:5984"),
        ("FRONT_COUCHDB", "[::1]:5984"),
        ("FRONT_COUCHDB", "10.0.0.1:5984;"),
        ("FRONT_CERTIFICATE", "cert.pem"),
        ("FRONT_CERTIFICATE_KEY", "/etc/key.pem; }"),
        ("FRONT_FEED_SECONDS", "61"),
        ("FRONT_REQUESTS_PER_SECOND", "0"),
        ("FRONT_CONNECTIONS", "0"),
        ("FRONT_BODY_MB", "-1"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(variable: str, value: str) -> None:
    with pytest.raises(InvalidSettings, match=f"^{variable} must be"):
        FrontSettings.read({**ENVIRONMENT, variable: value})


def test_what_is_not_set_has_its_default() -> None:
    text = render(FrontSettings.read(ENVIRONMENT))
    for line in (
        "listen 443 ssl http2;",
        "server_name couch.example.com;",
        "server 127.0.0.1:5984 max_fails=0;",
        "ssl_certificate /etc/letsencrypt/live/couch.example.com/fullchain.pem;",
        "ssl_certificate_key /etc/letsencrypt/live/couch.example.com/privkey.pem;",
        "proxy_set_header Host couch.example.com;",
        "client_max_body_size 64m;",
    ):
        assert f" {line}\n" in text
    assert "%%" not in text
    assert "app.example" not in text


@pytest.mark.parametrize(
    "couchdb", ["10.255.0.1:1", "172.16.0.1:80", "172.31.9.9:2", "192.168.1.1:9"]
)
def test_couchdb_may_be_on_a_private_network(couchdb: str) -> None:
    settings = FrontSettings.read({**ENVIRONMENT, "FRONT_COUCHDB": couchdb})
    assert f"server {couchdb} " in render(settings)


def test_an_origin_is_compared_as_a_text_and_not_as_a_pattern() -> None:
    origins = "https://app.example.com http://localhost:8080"
    text = render(FrontSettings.read({**ENVIRONMENT, "APP_ORIGINS": origins}))
    assert r'"~^https://app\.example\.com$" $http_origin;' in text
    assert r'"~^http://localhost:8080$" $http_origin;' in text


# The command.


def no_client(service: str) -> Any:
    raise AssertionError(f"{service} is asked")


def a_project(folder: Path, **variables: str) -> tuple[Tools, list[str]]:
    """The tools over a project with a stage, and what is told."""
    names = {
        "STAGE": "dev",
        "TABLE_NAME": "syncpoint-dev",
        "SECRET_ID": "syncpoint/dev",
        "MAIL_CONFIGURATION_SET": "syncpoint-dev",
        "PUBLIC_URL_PARAMETER": "/syncpoint/dev/public-url",
    }
    stage = {"environment_variables": {**names, **variables}}
    (folder / ".chalice").mkdir()
    (folder / ".chalice/config.json").write_text(json.dumps({"stages": {"dev": stage}}))
    told: list[str] = []
    return Tools(no_client, lambda *_: None, told.append, folder), told


def test_the_command_writes_a_file_and_says_where_it_belongs(tmp_path: Path) -> None:
    tools, told = a_project(tmp_path, **ENVIRONMENT, CONTROL_DB="steering")
    assert main(["dev"], tools) == 0
    text = (tmp_path / "dist/front-dev.conf").read_text()
    assert text == render(FrontSettings.read({**ENVIRONMENT, "CONTROL_DB": "steering"}))
    assert "(?:steering|db)-[0-9a-f]{32}" in text
    [said] = told
    for part in (
        "dist/front-dev.conf",
        "/etc/nginx/conf.d/syncpoint.conf",
        "nginx -t",
        "systemctl reload nginx",
    ):
        assert part in said


def test_a_missing_setting_is_named_with_its_place(tmp_path: Path) -> None:
    tools, told = a_project(tmp_path)
    with pytest.raises(OpsError) as refused:
        main(["dev"], tools)
    assert str(refused.value) == (
        "COUCHDB_PUBLIC_URL is not set: CouchDB's URL for devices, which is the front's; set it in "
        ".chalice/config.json, stages.dev.environment_variables"
    )
    assert told == []
    assert not (tmp_path / "dist").exists()
