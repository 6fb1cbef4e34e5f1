"""Check the CouchDB that the stage's secret names. Each check sends one or two requests."""

import re
import ssl
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests

from chalicelib.couch import CouchError, NotFound, Server
from ops.findings import Verdict, ok, warning, wrong

TIME_LIMIT_S = (3.05, 10.0)
MAX_SKEW_S = 60
OLDEST = (3, 4)
HERE = {"127.0.0.1", "::1", "localhost"}

_UPGRADE_HASH = "/_node/_local/_config/chttpd_auth/upgrade_hash_on_auth"
_SETTING = "[chttpd_auth] upgrade_hash_on_auth"
_WHY = (
    "CouchDB raises each login's iterations to 600,000 at its first login, and sixteen wrong "
    "logins at once then take seconds"
)


@dataclass(frozen=True)
class CouchDB:
    """A server, asked as an administrator and as a stranger.

    Parameters
    ----------
    url : str
        The URL with an administrator's credentials.
    time_limit_s : tuple
        The time limits for the connection and for the answer.
    """

    url: str
    time_limit_s: tuple[float, float] = TIME_LIMIT_S

    @property
    def server(self) -> Server:
        """The server with the administrator's credentials, as the Lambdas use it."""
        return Server(self.url)

    def get(self, path: str) -> requests.Response:
        """Send a request without credentials; return the answer."""
        with requests.Session() as session:
            session.trust_env = False
            return session.get(
                self.server.url + path, timeout=self.time_limit_s, allow_redirects=False
            )


def check_tls(couchdb: CouchDB) -> Verdict:
    """Check that passwords are sent encrypted. Every request checks the certificate itself."""
    parts = urlsplit(couchdb.server.url)
    if parts.scheme == "https":
        return ok("https")
    if parts.hostname in HERE:
        return ok("http, on this machine")
    return wrong("http sends passwords unencrypted; put an https URL into the secret")


def check_reachable(couchdb: CouchDB) -> Verdict:
    """Check that it answers in time, with a certificate that Lambda trusts."""
    try:
        answer = couchdb.get("/")
    except requests.exceptions.SSLError as exc:
        return wrong(
            f"its certificate is not valid: {_reason(exc)}; install one that Lambda trusts"
        )
    except requests.exceptions.Timeout:
        return wrong(
            "no answer in time; it must be reachable over the internet, as Lambda is outside"
        )
    except requests.exceptions.ConnectionError:
        return wrong("no connection; check the host in the secret's couchdb_url, and that it is up")
    return ok(f"answers in {answer.elapsed.total_seconds() * 1000:.0f} ms")


def check_version(couchdb: CouchDB) -> Verdict:
    """Check that it is a version of CouchDB that Syncpoint is tested with."""
    info = couchdb.server.info()
    if "express-pouchdb" in info:
        version = info.get("version", "")
        return warning(f"express-pouchdb {version}: use it to try Syncpoint, not for a deployment")
    version = str(info.get("version", "unknown"))
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST:
        return warning(f"CouchDB {version} is not tested; use 3.4 or later")
    return ok(f"CouchDB {version}")


def check_rights(couchdb: CouchDB) -> Verdict:
    """Check that the secret's credentials are those of an administrator."""
    user = couchdb.server.session().get("userCtx", {})
    if "_admin" in user.get("roles", []):
        return ok("the credentials are those of an administrator")
    return wrong("the secret's couchdb_url must have the credentials of a server administrator")


def check_login_hashes(couchdb: CouchDB) -> Verdict:
    """Check that CouchDB leaves the iterations of the devices' logins as they are.

    It takes only the text ``false`` for that; every other value, and none, is the same as ``true``.
    """
    try:
        value = couchdb.server.http.request("GET", _UPGRADE_HASH)
    except CouchError as exc:
        if exc.reason != "unknown_config_value":
            return warning(
                f"CouchDB does not show its configuration ({exc.status} {exc.error}); "
                f"ask whoever runs it to set {_SETTING} to false: {_WHY}"
            )
        value = None
    if value == "false":
        return ok("CouchDB does not raise the iterations of logins")
    return warning(
        f"{_WHY}; set {_SETTING} to false, on each node: "
        f"`curl -X PUT …{_UPGRADE_HASH} -d '\"false\"'`"
    )


def check_users(couchdb: CouchDB) -> Verdict:
    """Check that the database for the devices' logins exists."""
    return _check_database(
        couchdb, "_users", wrong("does not exist; create it: `curl -X PUT …/_users`")
    )


def check_global_changes(couchdb: CouchDB) -> Verdict:
    """Check that `_db_updates` works, by which the poller sees a change at once."""
    is_missing = warning(
        "does not exist; the poller tries to create it, and without it changes take minutes; "
        "create it: `curl -X PUT …/_global_changes`"
    )
    return _check_database(couchdb, "_global_changes", is_missing)


def check_control(couchdb: CouchDB, control_db: str) -> Verdict:
    """Check that the control database exists, and that strangers cannot read it."""
    is_missing = wrong(f"does not exist; create it: `curl -X PUT …/{control_db}`")
    verdict = _check_database(couchdb, control_db, is_missing)
    if verdict is not is_missing and couchdb.get(f"/{control_db}").ok:
        return wrong(
            f"everyone can read it, and the addresses in it; set {control_db}/_security to "
            '{"admins": {"roles": ["_admin"]}, "members": {"roles": ["_admin"]}}'
        )
    return verdict


def check_clock(couchdb: CouchDB, now_s: float) -> Verdict:
    """Compare CouchDB's clock with this machine's: links and leases depend on both."""
    return compare_clocks("CouchDB", couchdb.get("/").headers.get("Date"), now_s)


def compare_clocks(whose: str, date: str | None, now_s: float) -> Verdict:
    """Compare a Date header with this machine's time."""
    if date is None:
        return warning(f"{whose} sent no Date header, so its clock is not known")
    ahead_s = parsedate_to_datetime(date).timestamp() - now_s
    if abs(ahead_s) <= MAX_SKEW_S:
        return ok(f"{whose}'s clock and this machine's differ by at most {MAX_SKEW_S} s")
    direction = "ahead of" if ahead_s > 0 else "behind"
    return wrong(
        f"{whose}'s clock is {abs(ahead_s):.0f} s {direction} this machine's; "
        "synchronise the wrong one with NTP"
    )


def _check_database(couchdb: CouchDB, name: str, is_missing: Verdict) -> Verdict:
    try:
        couchdb.server.database(name).info()
    except NotFound:
        return is_missing
    return ok("exists")


def _reason(exc: BaseException) -> str:
    """Return OpenSSL's reason, if the exception has one."""
    inner: Any = exc
    while inner is not None and not isinstance(inner, ssl.SSLCertVerificationError):
        inner = getattr(inner, "reason", None) or inner.__cause__ or inner.__context__
    return inner.verify_message if inner is not None else "TLS failed"
