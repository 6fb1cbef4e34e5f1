"""The errors of replicators and servers, in plain words."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.exceptions import SSLError

from chalicelib.couch import CouchError
from syncpoint_device import reasons
from syncpoint_device.__main__ import _of_couch
from syncpoint_device.errors import CloudFailed

CLOUD = "https://couch.example/db-1"
REFUSED = (
    '{http_request_failed,"GET","http://127.0.0.1:9/x/",\n'
    "                     {error,{error,{conn_failed,{error,econnrefused}}}}}"
)
UNAUTHORIZED = (
    '{replication_auth_error,\n    {session_request_unauthorized,"http://127.0.0.1:9/_session"'
    ',"device-1"}}'
)


# As CouchDB 3.5.2 and PouchDB Server report them.
@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (REFUSED, "nothing answers at 127.0.0.1:9"),
        (UNAUTHORIZED, "127.0.0.1:9 refuses the login"),
        ("nxdomain: could not resolve http://no.example/x/", "the name no.example is not known"),
        (
            "db_not_found: could not open http://ada:secret@couch.example/x/",
            "couch.example does not answer, or the database is not there",
        ),
        ("db_not_found: could not open https://c.example/x/", "nothing answers at c.example"),
        ("{tls_alert,{unknown_ca,…}}", "the certificate of couch.example is not valid"),
        ("{error,req_timedout}", "couch.example does not answer in time"),
        ("Name or password is incorrect.", "couch.example refuses the login"),
        ("fetch failed", "nothing answers at couch.example"),
        ("socket hang up", "couch.example closed the connection"),
        ("{worker_died,<0.5015.0>,{process_died,kaboom}}", reasons.UNKNOWN),
        ({}, reasons.UNKNOWN),
        ("error", reasons.UNKNOWN),
    ],
)
def test_what_a_replicator_reports_is_told_in_words(raw: object, expected: str) -> None:
    assert reasons.of_replication(raw, CLOUD) == expected


@pytest.mark.parametrize(
    ("raw", "is_told"),
    [(REFUSED, True), ("nxdomain", True), ("req_timedout", True), (UNAUTHORIZED, False)],
)
def test_where_only_a_proxy_leads_out_it_is_told_that_couchdb_uses_none(
    raw: str, is_told: bool
) -> None:
    said = reasons.of_replication(raw, CLOUD, is_behind_proxy=True)
    assert said.startswith(reasons.of_replication(raw, CLOUD))
    assert ("HTTPS_PROXY does not count for this device's CouchDB" in said) is is_told
    assert "PROXY" not in reasons.of_replication(raw, CLOUD)


_ERLANG = st.text("{}<>\"'[],._0123456789abcdeinortu/: \n", max_size=200)


@given(_ERLANG)
def test_no_erlang_and_no_login_gets_into_the_words(raw: str) -> None:
    said = reasons.of_replication(raw + " http://ada:secret@h.example/{x}", CLOUD)
    assert not set(said) & set('{}<>"[]_\n')
    assert "secret" not in said


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (CouchError(0, "unreachable", "ConnectionError", "GET /"), "nothing answers at {}"),
        (CouchError(0, "unreachable", "ReadTimeout", "GET /"), "{} does not answer in time"),
        (CouchError(401, "unauthorized", "x", "GET /"), "{} refuses this device's login"),
        (CouchError(403, "forbidden", "x", "GET /"), "{} denies access to this device"),
        (CouchError(429, "x", "x", "GET /"), "{} asks to wait"),
        (CouchError(418, "x", "x", "GET /"), "{} answers with an error (418)"),
        (CouchError(503, "x", "x", "GET /"), "{} answers with an error (503)"),
        (CouchError(200, "bad_answer", "x", "GET /"), "{} does not answer as a CouchDB"),
        (ValueError("it is odd"), "it is odd"),
    ],
)
def test_what_a_server_answers_is_told_in_words(exc: Exception, expected: str) -> None:
    assert reasons.of_error(exc, CLOUD) == expected.format("couch.example")
    assert not re.search("GET|http", reasons.of_error(exc))


def test_an_error_of_a_certificate_says_what_to_do_and_no_general_hint_follows() -> None:
    names = ["SSLError", *(kind.__name__ for kind in SSLError.__subclasses__())]
    assert len(names) == 5
    for name in names:
        exc = CouchError(0, "unreachable", name, "GET /")
        assert re.search("check the|do not go on", reasons.of_error(exc, CLOUD))
        assert str(CloudFailed(exc, CLOUD)).endswith(reasons.of_error(exc, CLOUD))
        assert _of_couch(exc) == ("couch_unreachable", "")
    exc = CouchError(0, "unreachable", "ConnectionError", "GET /")
    assert str(CloudFailed(exc, CLOUD)).endswith("couch.example. Try again when it can be reached")
    assert _of_couch(exc) == ("couch_unreachable", ". Is it running?")


@pytest.mark.parametrize("url", ["", "http://[::1/x", "nonsense"])
def test_without_a_host_it_is_the_cloud(url: str) -> None:
    assert reasons.host_of(url) == "the cloud"
