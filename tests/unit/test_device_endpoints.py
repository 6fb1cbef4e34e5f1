"""Where a device's password goes: to the databases of the cloud's own CouchDB, and nowhere else."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.couchdb_process import find_node
from syncpoint_device.endpoints import endpoint, is_in_cloud, is_plain_url, split_login
from tests.kit.cases.devices import any_text

CLOUD = "https://cloud.example.com"
DB = "db-0123456789abcdef0123456789abcdef"

# As replicators written in JavaScript read a URL: `[origin, username, password]`, or null.
READ_BY_NODE = """
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  let read = null;
  try { const url = new URL(JSON.parse(line)); read = [url.origin, url.username, url.password]; }
  catch { /* none */ }
  console.log(JSON.stringify(read));
});
"""

names = st.from_regex(r"[a-z][a-z0-9_-]{0,20}", fullmatch=True)
clouds = st.sampled_from(
    [
        CLOUD,
        "https://cloud.example.com:8443",
        "http://127.0.0.1:5984",
        "http://[::1]:5984",
        "https://Cloud.Example.com",
        "https://example.com/couchdb",
        "https://example.com/a/../couchdb",
        "http://10.1",
        "",
    ]
)
PIECES = [
    *(
        "https://",
        "http://",
        "https:",
        "//",
        "/",
        "\\",
        "@",
        ":",
        "?",
        "#",
        ".",
        "..",
        "%2f",
        "%2e",
    ),
    *("%40", "%00", "\t", "\n", "\r", " ", "\x00", "\u200b", "443", "80", "5984", "db", "DB", "-"),
    *("cloud.example.com", "evil.example", "127.0.0.1", "[::1]", "example.com", "couchdb", "a"),
    *("ｃloud", "。", "\u2100", "ſ", "K", "user:pass@", ";", "$", "10.1", "(", "|", "^"),
]
assembled = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)

alike = st.from_regex(
    r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[a-z.%]+)*", fullmatch=True
)

Reads = Callable[[str], list[str] | None]

# Another process is asked: on a busy machine an example may take its time.
unhurried = settings(suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def node_reads() -> Iterator[Reads]:
    """Node.js's own URL parser (WHATWG's)."""
    with subprocess.Popen(
        [find_node(), "-e", READ_BY_NODE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:

        def read(url: str) -> list[str] | None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(url) + "\n")
            process.stdin.flush()
            answer: list[str] | None = json.loads(process.stdout.readline())
            return answer

        yield read
        assert process.stdin is not None
        process.stdin.close()


# The password


@pytest.mark.parametrize("db", [DB, "control-0123", "a", "a_b-c"])
@pytest.mark.parametrize(
    "cloud", [CLOUD, "http://127.0.0.1:5984", "http://[::1]:5984", "https://example.com/couchdb"]
)
def test_the_clouds_databases_are_in_the_cloud(cloud: str, db: str) -> None:
    assert is_in_cloud(f"{cloud}/{db}", cloud)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://cloud.example.com@evil.example/db", id="the cloud as a user"),
        pytest.param("https://cloud.example.com:pw@evil.example/db", id="as a user with password"),
        pytest.param("https://cloud.example.com%40evil.example/db", id="an encoded at sign"),
        pytest.param("https://evil.example\\@cloud.example.com/db", id="a backslash"),
        pytest.param("https://cloud.example.com\\@evil.example/db", id="another backslash"),
        pytest.param("https://cloud.example.com\\.evil.example/db", id="a backslash for a slash"),
        pytest.param("https://cloud.example.com\\db", id="a backslash before the database"),
        pytest.param("https://cloud.example.com.evil.example/db", id="a longer host"),
        pytest.param("https://cloud.example.com./db", id="a host with a dot at its end"),
        pytest.param("https://evil-cloud.example.com/db", id="a host that ends like it"),
        pytest.param("https://a.cloud.example.com/db", id="a host below it"),
        pytest.param("https://cloud.example.com:444/db", id="another port"),
        pytest.param("https://cloud.example.com:443/db", id="the port said where the cloud is not"),
        pytest.param("https://cloud.example.com:/db", id="an empty port"),
        pytest.param("http://cloud.example.com/db", id="a weaker scheme"),
        pytest.param("ftp://cloud.example.com/db", id="another scheme"),
        pytest.param("HTTPS://cloud.example.com/db", id="a scheme in upper case"),
        pytest.param("https://CLOUD.example.com/db", id="a host in upper case"),
        pytest.param("//cloud.example.com/db", id="no scheme"),
        pytest.param("https:/cloud.example.com/db", id="one slash"),
        pytest.param("https:///cloud.example.com/db", id="three slashes"),
        pytest.param("cloud.example.com/db", id="no slashes"),
        pytest.param("https://cloud.example.com/db/../x", id="up a folder"),
        pytest.param("https://cloud.example.com/..", id="up"),
        pytest.param("https://cloud.example.com/db%2f..", id="up, encoded"),
        pytest.param("https://cloud.example.com/%64b", id="an encoded letter"),
        pytest.param("https://cloud.example.com/DB", id="a database in upper case"),
        pytest.param("https://cloud.example.com//db", id="two slashes"),
        pytest.param("https://cloud.example.com//evil.example/db", id="another host in the path"),
        pytest.param("https://cloud.example.com/db/", id="a slash at its end"),
        pytest.param("https://cloud.example.com/", id="no database"),
        pytest.param("https://cloud.example.com", id="the server"),
        pytest.param("https://cloud.example.com/_session", id="the login's own page"),
        pytest.param("https://cloud.example.com/_users", id="the logins"),
        pytest.param("https://cloud.example.com/1db", id="a name that begins with a digit"),
        pytest.param("https://cloud.example.com/db?x=@evil.example", id="a query"),
        pytest.param("https://cloud.example.com/db#x", id="a fragment"),
        pytest.param("https://cloud.example.com?/db", id="a query for a path"),
        pytest.param("https://cloud.example.com#/db", id="a fragment for a path"),
        pytest.param(" https://cloud.example.com/db", id="a space before"),
        pytest.param("https://cloud.example.com/db ", id="a space behind"),
        pytest.param("https://cloud.example.com/db\n", id="a newline behind"),
        pytest.param("https://cloud.example.com/d\tb", id="a tab"),
        pytest.param("https://cloud.example.com\n.evil.example/db", id="a newline in the host"),
        pytest.param("https://cloud.example.com\t@evil.example/db", id="a tab before the at sign"),
        pytest.param("https://cloud.example.com\x00/db", id="a NUL"),
        pytest.param("https://cloud.example.com\u200b/db", id="a space of no width"),
        pytest.param("https://ｃloud.example.com/db", id="a full-width letter"),
        pytest.param("https://сloud.example.com/db", id="a Cyrillic letter"),
        pytest.param("https://cloud。example.com/db", id="an ideographic full stop"),
        pytest.param("https://cloud.example.com\u2044db", id="a fraction slash"),
        pytest.param("https://cloud.example.com/ｄb", id="a full-width letter in the database"),
        pytest.param("https://cloud.example.com/d\u0131", id="a dotless i in the database"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_only_looks_like_the_clouds_gets_no_password(url: str) -> None:
    assert not is_in_cloud(url, CLOUD)


@pytest.mark.parametrize("url", ["/db", "//db", "db", "https://cloud.example.com/db", ""])
def test_while_the_cloud_is_unknown_nothing_is_in_it(url: str) -> None:
    assert not is_in_cloud(url, "")


def test_a_cloud_below_a_path_does_not_own_what_is_beside_it() -> None:
    cloud = "https://example.com/couchdb"
    assert not is_in_cloud("https://example.com/db", cloud)
    assert not is_in_cloud("https://example.com/couchdb-evil/db", cloud)
    assert not is_in_cloud("https://example.com/couchdb/../db", cloud)


def _check_same_origin(url: str, cloud: str, node_reads: Reads) -> None:
    parts, clouds_parts = urlsplit(url), urlsplit(cloud)
    assert (parts.scheme, parts.netloc) == (clouds_parts.scheme, clouds_parts.netloc)
    assert (parts.username, parts.password) == (None, None)
    assert (parts.query, parts.fragment) == ("", "")
    read, clouds_read = node_reads(url), node_reads(cloud)
    assert read is not None
    assert clouds_read is not None
    assert read == [clouds_read[0], "", ""]


@pytest.mark.io
@unhurried
@given(clouds, names)
def test_whoever_reads_the_url_of_a_database_in_the_cloud_goes_to_the_cloud(
    node_reads: Reads, cloud: str, name: str
) -> None:
    url = f"{cloud}/{name}"
    assert is_in_cloud(url, cloud) == bool(cloud)
    if cloud:
        _check_same_origin(url, cloud, node_reads)


@pytest.mark.io
@unhurried
@given(st.one_of(assembled, any_text), clouds, st.booleans())
def test_whatever_is_said_to_be_in_the_cloud_is_there_for_every_parser(
    node_reads: Reads, text: str, cloud: str, is_behind: bool
) -> None:
    url = f"{cloud}{text}" if is_behind else text
    if is_in_cloud(url, cloud):
        _check_same_origin(url, cloud, node_reads)
        assert url.rpartition("/")[0] == cloud


# Plain URLs


@pytest.mark.parametrize(
    "url",
    [
        "https://sync.example.com/api/registrations",
        "http://127.0.0.1:5984",
        "http://[::1]:5984/db",
        "https://h/db-1/~x",
        "https://h/a%2fb",
    ],
)
def test_urls_that_all_read_alike_are_plain(url: str) -> None:
    assert is_plain_url(url)


@pytest.mark.parametrize(
    "url",
    [
        *(None, 5, [], {}, b"https://h/db", True),
        *("", "h", "/db", "https://", "https:///db", "ftp://h/db", "javascript:alert(1)"),
        *("https://u@h/db", "https://u:p@h/db", "https://@h/db", "https://h\\db", "https://h/d\\b"),
        *("https://h/d b", "https://h/db\n", "\nhttps://h/db", "https://h/d\tb", "https://h/db?x"),
        *("https://h/db#x", "https://h//db", "https://h/", "https://h/db/", "https://ｈ/db"),
        *("https://h:/db", "https://h:x/db", "https://h:123456/db", "https://h:99999/db"),
        *("https://h/dé", "https://[h]/db", "https://[::1/db", "https://[.]/db", "https://[:::]"),
    ],
)
def test_urls_that_could_be_read_in_two_ways_are_not_plain(url: object) -> None:
    assert not is_plain_url(url)


@pytest.mark.io
@unhurried
@given(st.one_of(assembled, alike))
def test_a_plain_url_has_a_host_and_a_port_for_every_parser_and_nobodys_name(
    node_reads: Reads, url: str
) -> None:
    if not is_plain_url(url):
        return
    parts = urlsplit(url)
    assert parts.scheme in ("http", "https")
    assert parts.hostname
    assert parts.port is None or 0 <= parts.port < 65536
    assert (parts.username, parts.query, parts.fragment) == (None, "", "")
    read = node_reads(url)
    assert read is None or read[1:] == ["", ""]


# Credentials


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:5984", ("http://h:5984", None)),
        ("http://h:5984/", ("http://h:5984", None)),
        ("http://ada:secret@h:5984/", ("http://h:5984", ("ada", "secret"))),
        ("http://ada@h", ("http://h", ("ada", ""))),
        ("http://a%40b:p%3Aw%2F%25@h/couch/", ("http://h/couch", ("a@b", "p:w/%"))),
        ("http://ada:p@ss@h", ("http://h", ("ada", "p@ss"))),
    ],
)
def test_a_servers_url_is_told_from_its_credentials(
    url: str, expected: tuple[str, tuple[str, str] | None]
) -> None:
    assert split_login(url) == expected


@given(st.text(min_size=1), st.text())
def test_credentials_come_out_as_they_were_put_in(name: str, password: str) -> None:
    url = f"http://{quote(name, safe='')}:{quote(password, safe='')}@h:5984"
    assert split_login(url) == ("http://h:5984", (name, password))


def test_an_endpoint_without_a_login_has_no_header() -> None:
    assert endpoint("https://h/db") == {"url": "https://h/db", "headers": {}}


@given(st.text().filter(lambda name: ":" not in name), st.text())
def test_an_endpoint_has_its_login_in_a_header_and_not_in_its_url(name: str, password: str) -> None:
    made = endpoint("https://h/db", (name, password))
    assert made["url"] == "https://h/db"
    assert list(made["headers"]) == ["Authorization"]
    scheme, _, token = made["headers"]["Authorization"].partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(token).decode() == f"{name}:{password}"
