"""`python -m ops.front STAGE`: write nginx's configuration for the machine before CouchDB."""

import re
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from chalicelib.settings import (
    CONTROL_DB,
    Count,
    FromEnvironment,
    InvalidSettings,
    app_origins,
    match,
    optional,
    variable,
)
from ops.stage import ROOT, OpsError, read_stage, where_to_set
from ops.tools import Tools, end, make_parser, real_tools

TEMPLATE = ROOT / "front/nginx.conf"
# A feed's parameters that are passed on as they are. Three others have rules in the template.
FEED_PARAMETERS = (
    "since",
    "limit",
    "style",
    "descending",
    "include_docs",
    "conflicts",
    "attachments",
    "att_encoding_info",
    "seq_interval",
)
_CHARACTER = r"(?:[A-Za-z0-9._~!*'()@:,$=-]|%[0-9A-Fa-f]{2})"
# A part of a path that is neither "." nor "..", and one that begins with no underscore either.
_PART = rf"/(?!(?:\.|%2[Ee]){{1,2}}(?:/|$)){_CHARACTER}+"
_NAME = rf"(?!/_|/%5[Ff]){_PART}"
_FILE = match(r"/[A-Za-z0-9._/-]+", "the whole path of a file (letters, digits, . _ - and /)")


_NEIGHBOURS = [
    IPv4Network(text) for text in ("127.0.0.1/32", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
]


class _Template(Template):
    """A template whose names cannot be taken for nginx's variables."""

    delimiter = "%%"


def _couchdb(value: str) -> str:
    wrong = ValueError(
        "must be ADDRESS:PORT, 127.0.0.1 or a private IPv4 address: CouchDB believes the address "
        "of a client from such neighbours only"
    )
    address, _, port = value.partition(":")
    try:
        is_near = any(IPv4Address(address) in network for network in _NEIGHBOURS)
    except ValueError:
        raise wrong from None
    if not is_near or not re.fullmatch(r"[1-9][0-9]{0,4}", port):
        raise wrong
    return value


@dataclass(frozen=True)
class FrontSettings(FromEnvironment):
    """The settings of the front."""

    public_url: str = variable(
        "COUCHDB_PUBLIC_URL",
        "CouchDB's URL for devices, which is the front's",
        None,
        match(
            r"https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?/?",
            "https://HOST or https://HOST:PORT, in lower case",
        ),
    )
    control_db: str = variable("CONTROL_DB", "the control database", "control", CONTROL_DB)
    device_auth: str = variable(
        "DEVICE_AUTH",
        "how devices log in; the front passes `login` on only",
        "login",
        match("login", "login: the front does not pass OAuth 1 on"),
    )
    app_origins: tuple[str, ...] = variable(
        "APP_ORIGINS",
        "the origins of web apps that may ask CouchDB, with spaces between them; empty: none",
        "",
        app_origins,
    )
    couchdb: str = variable(
        "FRONT_COUCHDB",
        "where the front finds CouchDB: 127.0.0.1 or a private IPv4 address, and the port",
        "127.0.0.1:5984",
        _couchdb,
    )
    certificate: str = variable(
        "FRONT_CERTIFICATE",
        "the file with the certificate and its chain; empty: that of Let's Encrypt",
        "",
        optional(_FILE),
    )
    certificate_key: str = variable(
        "FRONT_CERTIFICATE_KEY",
        "the file with the certificate's key; empty: that of Let's Encrypt",
        "",
        optional(_FILE),
    )
    # CouchDB ends a quiet feed after 60 s by itself, if it has no heartbeat.
    feed_s: int = variable(
        "FRONT_FEED_SECONDS", "after how many seconds a quiet feed ends", "55", Count(1, 60)
    )
    requests_second: int = variable(
        "FRONT_REQUESTS_PER_SECOND",
        "how many requests a second one address may send in the long run, and one login; ten times"
        " as many at once",
        "100",
        Count(1, 10_000),
    )
    connections: int = variable(
        "FRONT_CONNECTIONS",
        "how many requests of one address may be open at the same time; each channel of a device"
        " keeps one open",
        "500",
        Count(1, 100_000),
    )
    body_mb: int = variable(
        "FRONT_BODY_MB",
        "how many megabytes a request may have, attachments included",
        "64",
        Count(1, 4096),
    )


def main(arguments: list[str], tools: Tools) -> int:
    """Write the file and say what to do with it; return 0.

    Raises
    ------
    OpsError
        If there is no such stage, or a setting is missing or wrong.
    """
    given = make_parser("ops.front", __doc__).parse_args(arguments)
    stage = read_stage(given.stage, tools.root)
    try:
        text = render(FrontSettings.read(stage.variables))
    except InvalidSettings as exc:
        raise OpsError(f"{exc}; set it {where_to_set(stage)}") from exc
    path = Path("dist") / f"front-{stage.name}.conf"
    (tools.root / path).parent.mkdir(exist_ok=True)
    (tools.root / path).write_text(text, encoding="utf-8")
    tools.tell(
        f"wrote {path}. Copy it to the machine before CouchDB, as\n"
        "  /etc/nginx/conf.d/syncpoint.conf\n"
        "and there run\n"
        "  sudo nginx -t && sudo systemctl reload nginx"
    )
    return 0


def render(settings: FrontSettings) -> str:
    """Return nginx's configuration."""
    url = urlsplit(settings.public_url)
    live = f"/etc/letsencrypt/live/{url.hostname}"
    feed_ms = settings.feed_s * 1000
    control = re.escape(settings.control_db)
    return _Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        host=url.hostname,
        host_and_port=url.netloc,
        port=url.port or 443,
        couchdb=settings.couchdb,
        certificate=settings.certificate or f"{live}/fullchain.pem",
        key=settings.certificate_key or f"{live}/privkey.pem",
        control=control,
        db=f"/(?:{control}|db)-[0-9a-f]{{32}}",
        part=_PART,
        name=_NAME,
        feed_maps="\n".join(
            f'map $arg_{name} $sp_{name} {{ default "&{name}=$arg_{name}"; "" ""; }}'
            for name in FEED_PARAMETERS
        ),
        feed_arguments="".join(f"$sp_{name}" for name in ("feed", "filter", *FEED_PARAMETERS)),
        feed_ms=feed_ms,
        up_to_feed_ms=up_to(feed_ms),
        origins="\n".join(
            f'    "~^{re.escape(origin)}$" $http_origin;' for origin in settings.app_origins
        ),
        requests=settings.requests_second,
        burst=settings.requests_second * 10,
        connections=settings.connections,
        body_mb=settings.body_mb,
    )


def up_to(maximum: int) -> str:
    """Return a regular expression for the numbers from 0 to a maximum."""
    digits = str(maximum)
    choices = [f"[0-9]{{1,{len(digits) - 1}}}", digits]
    for at, digit in enumerate(digits):
        if digit != "0":
            rest = len(digits) - at - 1
            choices.append(f"{digits[:at]}[0-{int(digit) - 1}][0-9]{{{rest}}}")
    return "|".join(choices)


if __name__ == "__main__":
    sys.exit(end(lambda: main(sys.argv[1:], real_tools())))
