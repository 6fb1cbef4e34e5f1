"""What `register` is given, checked before anything is asked or written; what it sends."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain import registration
from chalicelib.domain.device import parse_device
from chalicelib.domain.documents import timestamp
from syncpoint_device import lifecycle
from syncpoint_device.errors import DeviceError
from syncpoint_device.home import Home
from syncpoint_device.registration import ITERATIONS, new_device, new_device_code
from tests.kit.basics import START, FakeClock
from tests.kit.device.profiles import a_profile

SECRET = "its-secret"
# Nobody listens there: whatever gets so far fails, with another message.
NOWHERE = f"http://admin:{SECRET}@127.0.0.1:9"


def enrol(folder: Path, **arguments: str) -> Any:
    given: dict[str, Any] = {
        "owner": "ada@example.com",
        "registrations": "https://sync.example.com/registrations",
        "couch": NOWHERE,
        "name": "Ada's phone",
        "prefix": "",
    }
    return lifecycle.register(
        Home(folder), lambda about, what: None, FakeClock(), **given | arguments
    )


def why_refused(folder: Path, **arguments: str) -> str:
    """Why `register` refuses these arguments; nothing is left of it."""
    with pytest.raises(DeviceError) as caught:
        enrol(folder, **arguments)
    assert not Home(folder).is_registered
    assert SECRET not in str(caught.value)
    return str(caught.value)


def is_asked(folder: Path, **arguments: str) -> bool:
    """Whether `register` is content with these arguments, and asks the CouchDB next."""
    return "127.0.0.1:9 " in why_refused(folder, **arguments)


# The registrations endpoint


@pytest.mark.io
@pytest.mark.parametrize(
    "url",
    [
        "https://sync.example.com/registrations",
        "https://sync.example.com/api/registrations/",
        "http://127.0.0.1:8000/registrations",
        "http://localhost:8000/registrations",
        "http://LOCALHOST:8000/registrations",
        "http://[::1]:8000/registrations",
    ],
)
def test_a_registrations_is_https_or_on_this_machine(tmp_path: Path, url: str) -> None:
    assert is_asked(tmp_path, registrations=url)


@pytest.mark.parametrize(
    "url",
    [
        "http://sync.example.com/registrations",
        "http://localhost.evil.example/registrations",
        "http://127.0.0.1.evil.example/registrations",
        "http://192.168.0.2/registrations",
        "http://0.0.0.0/registrations",
    ],
)
def test_a_registrations_elsewhere_must_be_https(tmp_path: Path, url: str) -> None:
    assert "--registrations must be https" in why_refused(tmp_path, registrations=url)


@pytest.mark.parametrize(
    "url",
    [
        *("", "sync.example.com/registrations", "ftp://sync.example.com/registrations", "https://"),
        *(
            "https://ada:pw@sync.example.com/registrations",
            "https://sync.example.com\\@evil.example",
        ),
        *("https://sync.example.com/registrations?x", "https://sync.example.com/registrations#x"),
        *("https://sync.example.com/mail box", "https://sync.example.com/registrations\n"),
        *(
            "https://[::1/registrations",
            "https://[.]/registrations",
            "http://localhost:99999/registrations",
        ),
    ],
)
def test_a_registrations_must_be_a_plain_url(tmp_path: Path, url: str) -> None:
    assert "--registrations must be the URL of the cloud's registrations endpoint" in why_refused(
        tmp_path, registrations=url
    )


# The device's own CouchDB


@pytest.mark.parametrize(
    "url",
    [
        *("", "127.0.0.1:9", "ftp://127.0.0.1:9", f"http://admin:{SECRET}@", "http://"),
        *(f"http://admin:{SECRET}@[::1", f"http://admin:{SECRET}@[.]:9", "http://127.0.0.1:99999"),
        *(f"http://admin:{SECRET}/@127.0.0.1:9", f"http://admin:{SECRET}#@127.0.0.1:9"),
        *("http://admin:12345#its-secret@127.0.0.1:9", "http://admin:12345?its-secret@h"),
        *("http://127.0.0.1:9/?x=y", "http://127.0.0.1:9/#x", "http://127.0.0.1:9/a b"),
    ],
)
def test_a_couchdb_must_be_a_plain_url_with_a_login_perhaps(tmp_path: Path, url: str) -> None:
    assert "--couch must be your own CouchDB's URL" in why_refused(tmp_path, couch=url)


@pytest.mark.io
def test_a_couchdb_that_is_not_there_is_told_without_its_password(tmp_path: Path) -> None:
    said = why_refused(tmp_path)
    assert "http://127.0.0.1:9" in said
    assert "nothing answers at 127.0.0.1:9" in said


# Owner, name, prefix


@pytest.mark.parametrize(
    ("owner", "why"),
    [
        ("", "owner must have 1 to 254 characters"),
        ("ada", "owner must be an e-mail address: An email address must have an @-sign."),
        ("ada@", "owner must be an e-mail address"),
        ("ada@example", "owner must be an e-mail address"),
        ("ada@example.com, ben@example.com", "owner must be an e-mail address"),
        ("ada@example.com\nBcc: ben@example.com", "owner must not contain control characters"),
        ("=?utf-8?q?ada?=@example.com", "owner must be an e-mail address: it must not contain"),
    ],
)
def test_an_owner_must_be_an_address(tmp_path: Path, owner: str, why: str) -> None:
    assert why in why_refused(tmp_path, owner=owner)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "name must have 1 to 80 characters"),
        ("   ", "name must have 1 to 80 characters"),
        ("x" * 81, "name must have 1 to 80 characters"),
        ("phone\x1b[2J", "name must not contain control characters"),
        ("\u202eenohp", "name must not contain control characters"),
        ("\u200d", "name must have a visible character"),
    ],
)
def test_a_name_must_be_one_that_can_be_shown(tmp_path: Path, name: str, why: str) -> None:
    assert why_refused(tmp_path, name=name) == why


@pytest.mark.io
@pytest.mark.parametrize("prefix", ["", "p", "phone-", "a_1-", "x" * 61])
def test_a_prefix_begins_the_names_of_databases(tmp_path: Path, prefix: str) -> None:
    assert is_asked(tmp_path, prefix=prefix)


@pytest.mark.parametrize(
    "prefix", ["P", "1", "_", "-", "a/", "a/../", "a b", "a\n", "é", "ａ", "a" * 62, "a٣"]
)
def test_a_prefix_that_no_database_can_have_is_refused(tmp_path: Path, prefix: str) -> None:
    assert "--prefix must begin with a letter, and contain only a-z" in why_refused(
        tmp_path, prefix=prefix
    )


# There is one already


def test_a_registered_device_is_named_and_not_registered_again(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.save(a_profile(owner="ada@example.com", name="Ada's phone"))
    kept = home.load()
    with pytest.raises(
        DeviceError, match=r"already registered, as “Ada's phone” of ada@example.com; run `unlink`"
    ):
        enrol(tmp_path)
    assert home.load() == kept


# What is sent


def test_a_new_devices_credentials_are_what_every_couchdb_can_check() -> None:
    new = new_device("ada@example.com", "Ada's phone", timestamp(START), sha256=False)
    credentials = parse_device(new.doc, "login").credentials
    salt = credentials["salt"].encode()
    key = hashlib.pbkdf2_hmac("sha1", new.password.encode(), salt, ITERATIONS)
    assert credentials == {
        "password_scheme": "pbkdf2",
        "salt": credentials["salt"],
        "iterations": ITERATIONS,
        "derived_key": key.hex(),
    }
    assert len(credentials["derived_key"]) == 40
    assert new.password not in str(new.doc)


@pytest.mark.parametrize("sha256", [False, True])
@given(
    owner=st.sampled_from(["ada@example.com", " Ada@Example.com", "ada@münchen.example"]),
    name=st.sampled_from(["phone", "Adas Gerät", "📱", "x" * 80]),
)
def test_the_registrations_takes_what_a_new_device_sends(
    sha256: bool, owner: str, name: str
) -> None:
    new = new_device(owner, name, timestamp(START), sha256=sha256)
    replicated = {**new.doc, "_rev": "1-a", "_revisions": {"start": 1, "ids": ["a"]}}
    asking = registration.parse_registration(replicated, "login", "127.0.0.0/24")
    assert asking.doc == {**new.doc, "network": "127.0.0.0/24"}
    assert registration.is_device_id(new.device_id)


def test_no_two_devices_are_alike() -> None:
    devices = [new_device("ada@example.com", "phone", timestamp(START)) for _ in range(20)]
    for values in (
        {device.device_id for device in devices},
        {device.password for device in devices},
        {device.device_code for device in devices},
        {device.doc["credentials"]["salt"] for device in devices},
    ):
        assert len(values) == len(devices)


def test_a_device_code_has_no_letters_that_are_taken_for_others() -> None:
    codes = [new_device_code() for _ in range(200)]
    assert all(len(code) == 9 and code[4] == "-" for code in codes)
    assert not set("".join(codes)) & set("0O1ILU")
