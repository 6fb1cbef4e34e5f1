"""How the agent's own requests leave this machine: private certificates, and a proxy.

They are taken from the environment, as by other programs, except for `.netrc`: a password from
there would go to a server that we did not choose. CouchDB's replicator has settings of its own
(docs/device.md).
"""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.exceptions import SSLError
from requests.utils import get_environ_proxies

from chalicelib.couch import LOCKED, POOL_CONNECTIONS, Server
from syncpoint_device.errors import DeviceError, LoginRefused

# The first that is set counts. A bundle replaces the certificates that come with the agent.
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}


class UntrustedCertificate(SSLError):
    """The certificate is not signed by an authority that is trusted here."""


class WrongCertificate(SSLError):
    """The certificate is for another name."""


class ExpiredCertificate(SSLError):
    """The certificate has expired."""


class EarlyCertificate(SSLError):
    """The certificate is not valid yet."""


# By OpenSSL's number; any other one means that nobody vouches for the certificate.
# Source: https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error
_BY_VERIFY_CODE = {
    9: EarlyCertificate,
    10: ExpiredCertificate,
    62: WrongCertificate,  # a name
    64: WrongCertificate,  # an IP address
}


def use_ca_file(path: Path | None) -> None:
    """Trust the certificates in a file, and check that they can be read.

    Parameters
    ----------
    path : Path or None
        None for the file that the environment names, if any.

    Raises
    ------
    DeviceError
        If there is no such file, or it has no certificates.
    """
    if path is not None:
        os.environ[_CA_VARIABLES[0]] = str(path.absolute())
    bundle = _ca_bundle()
    if bundle is None or Path(bundle).is_dir():
        return
    try:
        ssl.create_default_context(cafile=bundle)
    except OSError as exc:  # SSLError is one
        why = "has no certificates in PEM format" if isinstance(exc, ssl.SSLError) else exc.strerror
        raise DeviceError(f"the file of certificates {bundle} cannot be used: {why}") from exc


def environment() -> dict[str, str]:
    """Return the variables that this module reads, as far as they are set."""
    names = (*_CA_VARIABLES, *_PROXY_VARIABLES)
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def is_behind_proxy(url: str) -> bool:
    """Tell whether the agent reaches a URL of the cloud through a proxy."""
    return urlsplit(url).scheme in _proxies_for(url)


def _proxies_for(url: str) -> Mapping[str, str]:
    is_here = urlsplit(url).hostname in _THIS_MACHINE
    return {} if is_here else get_environ_proxies(url)


class CloudAdapter(HTTPAdapter):
    """Sends requests to the cloud: through a proxy, if the environment names one.

    A request to this machine goes through none. If a certificate is not accepted, the error says
    why by its class; `syncpoint_device.reasons` has the words.
    """

    def __init__(self) -> None:
        super().__init__(pool_connections=1, pool_maxsize=POOL_CONNECTIONS)

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        """Send one request."""
        try:
            return super().send(
                request,
                stream=stream,
                timeout=timeout,
                verify=_ca_bundle() or verify,
                cert=cert,
                proxies=self._proxies(str(request.url)),
            )
        except SSLError as exc:
            raise _certificate_error(exc) from exc

    def _proxies(self, url: str) -> Mapping[str, str]:
        return _proxies_for(url)


class OwnAdapter(CloudAdapter):
    """Sends requests to the device's own CouchDB, by no proxy; ends the command at a refused login.

    `LoginRefused` is no `CouchError`. So nobody who handles the errors of a request, or takes them
    for those of the cloud, sends the same login again.
    """

    def send(self, *args: Any, **kwargs: Any) -> Response:
        """Send one request."""
        response = super().send(*args, **kwargs)
        is_locked = response.status_code == 403 and LOCKED.encode() in response.content
        if response.status_code == 401 or is_locked:
            raise LoginRefused
        return response

    def _proxies(self, url: str) -> Mapping[str, str]:
        return {}


def _certificate_error(exc: SSLError) -> SSLError:
    """Return the error that names what is wrong with a certificate; `exc` itself if nothing is.

    `requests` wraps the error of `ssl` several times, in `args` and in `reason`.
    """
    cause: object = exc
    while isinstance(cause, Exception) and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = getattr(cause, "reason", None) or next(iter(cause.args), None)
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return exc
    kind = _BY_VERIFY_CODE.get(cause.verify_code, UntrustedCertificate)
    return kind(exc, request=exc.request)


def own_server(url: str) -> Server:
    """Return the client of the device's own CouchDB. Sends no request.

    Each of its requests raises `LoginRefused` if the server refuses or has locked the login.
    """
    return Server(url, OwnAdapter())


def _ca_bundle() -> str | None:
    return next((os.environ[name] for name in _CA_VARIABLES if os.environ.get(name)), None)
