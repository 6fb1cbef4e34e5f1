"""Checks of the CouchDB that the stage's secret names. Each sends a request or two, to look."""

import re
import ssl
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests

from chalicelib.couch import NotFound, Server
from ops.findings import Verdict, ok, warning, wrong

TIME_LIMIT_S = (3.05, 10.0)
MAX_SKEW_S = 60
OLDEST = (3, 4)
HERE = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True)
class CouchDB:
    """A server, and an answer of its own to a request without credentials.

    Parameters
    ----------
    url : str
        With an administrator's credentials.
    time_limit_s : tuple
        For the connection, and for the answer.
    """

    url: str
    time_limit_s: tuple[float, float] = TIME_LIMIT_S

    @property
    def server(self) -> Server:
        """The server as the Lambdas see it."""
        return Server(self.url)

    def get(self, path: str) -> requests.Response:
        """What a stranger is answered."""
        with requests.Session() as session:
            session.trust_env = False
            return session.get(
                self.server.url + path, timeout=self.time_limit_s, allow_redirects=False
            )


def check_tls(couchdb: CouchDB) -> Verdict:
    """Passwords travel encrypted; the certificate itself is checked by every request."""
    parts = urlsplit(couchdb.server.url)
    if parts.scheme == "https":
        return ok("https")
    if parts.hostname in HERE:
        return ok("http, on this machine")
    return wrong("http: passwords would travel in the clear; give the secret an https URL")


def check_reachable(couchdb: CouchDB) -> Verdict:
    """It answers, in time, and its certificate is one that Lambdas trust."""
    try:
        answer = couchdb.get("/")
    except requests.exceptions.SSLError as exc:
        return wrong(f"its certificate is not valid: {_reason(exc)}")
    except requests.exceptions.Timeout:
        return wrong(
            "no answer in time; the Lambdas reach it by the internet, so must this machine"
        )
    except requests.exceptions.ConnectionError:
        return wrong("no connection: is the host in the secret's couchdb_url right, is it up?")
    return ok(f"answers in {answer.elapsed.total_seconds() * 1000:.0f} ms")


def check_version(couchdb: CouchDB) -> Verdict:
    """What it is, and whether it is one that Syncpoint is made for."""
    info = couchdb.server.info()
    if "express-pouchdb" in info:
        version = info.get("version", "")
        return warning(f"express-pouchdb {version}: good for trying out, not for a deployment")
    version = str(info.get("version", "unknown"))
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST:
        return warning(f"CouchDB {version}: 3.4 or later is what the tests run on")
    return ok(f"CouchDB {version}")


def check_rights(couchdb: CouchDB) -> Verdict:
    """The secret's credentials are an administrator's."""
    user = couchdb.server.session().get("userCtx", {})
    if "_admin" in user.get("roles", []):
        return ok("the credentials are an administrator's")
    return wrong("the credentials in the secret's couchdb_url are no server administrator's")


def check_users(couchdb: CouchDB) -> Verdict:
    """There is a database for the devices' logins."""
    return _check_database(couchdb, "_users", wrong("is not there: `curl -X PUT …/_users`"))


def check_global_changes(couchdb: CouchDB) -> Verdict:
    """There is a feed of databases, by which a change is seen at once."""
    is_missing = warning(
        "is not there: the poller makes it where it may, else it looks at one database after "
        "another, and changes take minutes: `curl -X PUT …/_global_changes`"
    )
    return _check_database(couchdb, "_global_changes", is_missing)


def check_control(couchdb: CouchDB, control_db: str) -> Verdict:
    """There is a control database, and strangers may not read it."""
    is_missing = wrong(f"is not there: `curl -X PUT …/{control_db}`")
    verdict = _check_database(couchdb, control_db, is_missing)
    if verdict is not is_missing and couchdb.get(f"/{control_db}").ok:
        return wrong(
            f"everyone can read it, addresses and all: give {control_db}/_security "
            '{"admins": {"roles": ["_admin"]}, "members": {"roles": ["_admin"]}}'
        )
    return verdict


def check_clock(couchdb: CouchDB, now_s: float) -> Verdict:
    """CouchDB's clock is ours: links and leases are counted by both."""
    return compare_clocks("CouchDB", couchdb.get("/").headers.get("Date"), now_s)


def compare_clocks(whose: str, date: str | None, now_s: float) -> Verdict:
    """Compare a Date header with the time here."""
    if date is None:
        return warning(f"{whose} does not say what time it is")
    ahead_s = parsedate_to_datetime(date).timestamp() - now_s
    if abs(ahead_s) <= MAX_SKEW_S:
        return ok(f"{whose}'s and this machine's are the same within {MAX_SKEW_S} s")
    direction = "ahead of" if ahead_s > 0 else "behind"
    return wrong(
        f"{whose}'s is {abs(ahead_s):.0f} s {direction} this machine's: one of them needs NTP"
    )


def _check_database(couchdb: CouchDB, name: str, is_missing: Verdict) -> Verdict:
    try:
        couchdb.server.database(name).info()
    except NotFound:
        return is_missing
    return ok("is there")


def _reason(exc: BaseException) -> str:
    """OpenSSL's own words, if they can be found in what requests makes of them."""
    inner: Any = exc
    while inner is not None and not isinstance(inner, ssl.SSLCertVerificationError):
        inner = getattr(inner, "reason", None) or inner.__cause__ or inner.__context__
    return inner.verify_message if inner is not None else "TLS fails"
