"""Whether the device's own CouchDB checks certificates, and how to make it check them.

CouchDB's replicator checks none unless it is told to. It then sends the device's password to
whoever answers in the cloud's place. PouchDB Server checks them by itself, as Node.js does.

Source: couch_replicator_parse, ssl_params
"""

import re
from pathlib import Path

import certifi

from chalicelib.couch import CouchError, Server
from chalicelib.domain.documents import JsonDict
from syncpoint_device.errors import DeviceError, Unverified, without_full_stop

_CONFIG = "/_node/_local/_config/replicator"
_VERIFY, _CA_FILE = "verify_ssl_certificates", "ssl_trusted_certificates_file"
# From this version on, CouchDB knows the operating system's authorities without a file.
_NEEDS_NO_FILE = (3, 5, 1)
# From this version on, CouchDB leaves it to Erlang to check, and Erlang does so from this one on.
_LEFT_TO_ERLANG, _ERLANG = (3, 5, 2), 26
# Debian, Fedora, Alpine and BSD, openSUSE.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
)


def check_verifies(server: Server) -> None:
    """Check that the replicator of a CouchDB checks certificates. One to three requests.

    Raises
    ------
    Unverified
        If it does not, or if that cannot be found out.
    CouchError
        If the server does not answer.
    """
    welcome = server.http.request_object("GET", "/")
    if _is_pouchdb(welcome):
        return
    _check_erlang(server, welcome)
    config = _read(server, _CONFIG)
    if config.get(_VERIFY) != "true":
        raise Unverified(server.url, "checks no certificates")
    is_old = _numbers(welcome.get("version")) < _NEEDS_NO_FILE
    if is_old and not config.get(_CA_FILE):
        raise Unverified(server.url, f"has no `{_CA_FILE}` to check certificates with")


def _check_erlang(server: Server, welcome: JsonDict) -> None:
    """Check that a CouchDB could check certificates, whatever its settings. One request at most."""
    if _numbers(welcome.get("version")) < _LEFT_TO_ERLANG:
        return
    erlang = _read(server, "/_node/_local/_versions").get("erlang")
    known = erlang.get("version") if isinstance(erlang, dict) else None
    if _numbers(known) < (_ERLANG,):
        raise Unverified(
            server.url,
            f"checks no certificates, because it runs on Erlang {known}",
            f"This CouchDB needs Erlang {_ERLANG} or later; install another build of it",
        )


def verify(server: Server, ca_file: Path | None) -> str | None:
    """Make the replicator of a CouchDB check certificates from now on. Some requests.

    Replications that run already go on as before, until they are restarted.

    Parameters
    ----------
    ca_file : Path or None
        The certificates of the authorities to trust, as CouchDB's own machine sees the file. None
        for those of the operating system.

    Returns
    -------
    str or None
        The file. None if the server is a PouchDB Server, where nothing is to be changed.

    Raises
    ------
    DeviceError
        If the configuration cannot be changed.
    Unverified
        If the server checks no certificates all the same. If it cannot, nothing was changed.
    """
    welcome = server.http.request_object("GET", "/")
    if _is_pouchdb(welcome):
        return None
    _check_erlang(server, welcome)
    file = str(ca_file.absolute() if ca_file else _bundle())
    for key, value in ((_CA_FILE, file), (_VERIFY, "true")):
        try:
            server.http.request("PUT", f"{_CONFIG}/{key}", body=value)
        except CouchError as exc:
            if exc.status == 0 or exc.status >= 500:
                raise
            raise DeviceError(
                f"the configuration of the CouchDB at {server.url} cannot be changed: "
                f"{without_full_stop(exc)}. Write `{_VERIFY} = true` and `{_CA_FILE} = {file}` "
                "into the section [replicator] of its local.ini, and restart it"
            ) from exc
    check_verifies(server)
    return file


def _read(server: Server, path: str) -> JsonDict:
    try:
        return server.http.request_object("GET", path)
    except CouchError as exc:
        if exc.status == 0 or exc.status >= 500:
            raise
        why = f"does not say whether it checks certificates ({without_full_stop(exc)})"
        advice = "CouchDB 3 says so to its administrator, unless a proxy is in front of it"
        raise Unverified(server.url, why, advice) from exc


def _is_pouchdb(welcome: JsonDict) -> bool:
    return "express-pouchdb" in welcome


def _numbers(version: object) -> tuple[int, ...]:
    """Return the numbers at the beginning of a version; none if it is not one."""
    found = re.match(r"\d+(\.\d+)*", str(version), re.ASCII)
    return tuple(int(number) for number in found[0].split(".")) if found else ()


def _bundle() -> Path:
    """Return the file of the operating system's authorities, or that of certifi."""
    found = (Path(name) for name in _BUNDLES if Path(name).is_file())
    return next(found, Path(certifi.where()))
