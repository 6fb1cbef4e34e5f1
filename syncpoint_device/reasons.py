"""Plain words for the errors of replicators and of servers. No I/O.

A replicator reports its own error, often as an Erlang term. People get one of the sentences below,
and programs the raw text as well.
"""

import re
from urllib.parse import urlsplit

from chalicelib.couch import CouchError

# What a replicator reports, and what it means. The first pattern that is found counts.
_REPLICATOR_REASONS = (
    (
        r"certificate|tls_alert|unknown_ca|self[- ]signed|bad_cert",
        "the certificate of {host} is not valid",
    ),
    (
        r"unauthorized|auth_error|name or password is incorrect|invalid_credentials",
        "{host} refuses the login",
    ),
    (r"forbidden|not allowed to access|access denied", "{host} denies access"),
    (r"nxdomain|could not resolve|enotfound|eai_again", "the name {host} is not known"),
    (
        r"econnrefused|conn_failed|ehostunreach|enetunreach|fetch failed|could not open https",
        "nothing answers at {host}",
    ),
    (
        r"db_not_found|could not open|no_db_file|database does not exist|not_found|missing",
        "{host} does not answer, or the database is not there",
    ),
    (r"timed? ?out|timeout|req_timedout", "{host} does not answer in time"),
    (
        r"econnreset|connection_closed|connection_closing|socket hang up|epipe|\bclosed\b",
        "{host} closed the connection",
    ),
    (r"too_large|max_document_size", "a document is too large for {host}"),
    (r"\b(429|too_many_requests)\b", "{host} asks to wait"),
    (r"\b(500|502|503|504)\b|internal_server_error|service_unavailable", "{host} has an error"),
    (r"duplicate", "another replication of the same two databases runs on this CouchDB"),
)
# Those that may mean that only a proxy leads to the host.
_UNREACHED = (
    "the name {host} is not known",
    "nothing answers at {host}",
    "{host} does not answer, or the database is not there",
    "{host} does not answer in time",
)
_NO_PROXY = "; HTTPS_PROXY does not count for this device's CouchDB, which asks the cloud directly"
UNKNOWN = "see the log of this device's CouchDB"
_URL = re.compile(r"https?://[^\s\"'<>{}]+")
# What is wrong with a certificate (the classes of `syncpoint_device.network`), and what to do.
_OF_CERTIFICATE = {
    "UntrustedCertificate": (
        "the certificate of {host} is not signed by an authority that is trusted here; if it is a "
        "private one, name its file with --ca-file FILE, else do not go on and ask whoever runs "
        "the server"
    ),
    "WrongCertificate": (
        "the certificate of {host} is for another name, so this may be another server; check the "
        "URL, and if it is right, do not go on and ask whoever runs the server"
    ),
    "ExpiredCertificate": (
        "the certificate of {host} has expired; check the date of this machine, and if it is "
        "right, ask whoever runs the server for a new one"
    ),
    "EarlyCertificate": (
        "the certificate of {host} is not valid yet; check the date of this machine"
    ),
    "SSLError": (
        "{host} does not speak https, or only in a form that is no longer secure; check the URL"
    ),
}
# Why the agent does not replicate a channel.
ODD_ID = "its id is not the name of a shared channel's database"
ANOTHERS = (
    "the database {database} does not belong to this device; run `unlink`, and then `register` "
    "with another --prefix"
)
# What `requests` calls a request without an answer, and what it means.
_NO_ANSWER = {
    **_OF_CERTIFICATE,
    "ProxyError": "the proxy does not answer",
    "ConnectTimeout": "{host} does not answer in time",
    "ReadTimeout": "{host} does not answer in time",
    "Timeout": "{host} does not answer in time",
}
_BY_STATUS = {
    401: "{host} refuses this device's login",
    403: "{host} denies access to this device",
    404: "{host} has no such database",
    429: "{host} asks to wait",
}


def of_replication(raw: object, url: str, *, is_behind_proxy: bool = False) -> str:
    """Return in plain words why a replication has stopped.

    Parameters
    ----------
    raw : object
        What the replicator reports.
    url : str
        The URL of the remote database. If `raw` has a URL, that counts instead.
    is_behind_proxy : bool
        Whether the agent itself reaches `url` through a proxy.
    """
    text = str(raw)
    found = _URL.search(text)
    host = host_of(found[0] if found else url)
    for pattern, reason in _REPLICATOR_REASONS:
        if re.search(pattern, text, re.IGNORECASE):
            hint = _NO_PROXY if is_behind_proxy and reason in _UNREACHED else ""
            return reason.format(host=host) + hint
    return UNKNOWN


def of_error(exc: Exception, url: str = "", kind: str = "CouchDB") -> str:
    """Return in plain words why the server at `url` did not do what it was asked for.

    Parameters
    ----------
    kind : str
        What answers there if the URL is right.
    """
    if not isinstance(exc, CouchError):
        return str(exc)
    host = host_of(url)
    if exc.status == 0:
        return _NO_ANSWER.get(exc.reason, "nothing answers at {host}").format(host=host)
    if exc.status >= 500:
        return f"{host} answers with an error ({exc.status})"
    if exc.error in ("bad_answer", "unreadable", "unknown"):
        return f"{host} does not answer as a {kind}"
    reason = _BY_STATUS.get(exc.status, "{host} answers with an error ({status})")
    return reason.format(host=host, status=exc.status)


def says_what_to_do(exc: Exception) -> bool:
    """Tell whether the words for an error say what to do. Then a general hint would be wrong."""
    return isinstance(exc, CouchError) and exc.status == 0 and exc.reason in _OF_CERTIFICATE


def host_of(url: str) -> str:
    """Return the host and the port of a URL, without a login; “the cloud” if it has none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "the cloud"
    except ValueError:
        return "the cloud"
