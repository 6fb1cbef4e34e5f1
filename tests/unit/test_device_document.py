"""What a device says of itself, checked field by field."""

import hashlib
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain.device import DEFAULT_NAME, CheckedDevice, parse_device
from chalicelib.domain.documents import JsonDict, Rejected
from tests.kit.basics import a_device, without
from tests.kit.cases.devices import (
    CREDENTIALS,
    OAUTH,
    VALID,
    any_text,
    credentials_with,
    json_values,
)


def test_a_good_registration_is_read_field_by_field() -> None:
    assert parse_device(VALID, "login") == CheckedDevice(
        device_id="device-0123456789abcdef0123456789abcdef",
        address="ada@example.com",
        owner_id=hashlib.sha256(b"ada@example.com").hexdigest()[:32],
        name="Ada's phone",
        device_code="ABCD-2345",
        credentials=CREDENTIALS,
    )


def test_what_a_device_makes_is_accepted() -> None:
    device = a_device()
    registration = parse_device(device.doc, "login")
    assert registration.device_id == device.device_id
    assert registration.device_code == device.device_code
    assert registration.credentials == device.doc["credentials"]


def test_the_installations_way_to_log_in_decides_which_credentials_count() -> None:
    assert parse_device(without(VALID, "oauth_creds"), "login").credentials == CREDENTIALS
    assert parse_device(without(VALID, "credentials"), "oauth1").credentials == OAUTH
    with pytest.raises(Rejected, match=r"^credentials "):
        parse_device(without(VALID, "credentials"), "login")
    with pytest.raises(Rejected, match=r"^oauth_creds "):
        parse_device(without(VALID, "oauth_creds"), "oauth1")


@pytest.mark.parametrize("name", ["_rev", "type", "state", "generation", "created_at"])
def test_a_registration_needs_nothing_that_it_is_not_asked_for(name: str) -> None:
    assert parse_device(without(VALID, name), "login") == parse_device(VALID, "login")


def test_a_device_without_a_name_gets_one() -> None:
    assert parse_device(without(VALID, "name"), "login").name == DEFAULT_NAME


def test_an_address_is_sent_to_in_ascii_and_its_owner_is_of_that() -> None:
    registration = parse_device(VALID | {"owner": " Ada@BÜCHER.example"}, "login")
    assert registration.address == "ada@xn--bcher-kva.example"
    assert registration.owner_id == hashlib.sha256(b"ada@xn--bcher-kva.example").hexdigest()[:32]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("x", id="one letter"),
        pytest.param("x" * 80, id="as long as may be"),
        pytest.param("👩‍👩‍👧‍👦 tablet", id="an emoji with zero-width joiners"),
        pytest.param("🏳️‍🌈", id="an emoji with a variation selector"),
        pytest.param("هاتف آدا", id="in Arabic"),
        pytest.param("הטלפון של עדה", id="in Hebrew"),
        pytest.param("<script>alert(1)</script>", id="markup, which pages escape"),
        pytest.param("  padded  ", id="with spaces around it"),
    ],
)
def test_a_name_may_be_in_any_writing(name: str) -> None:
    assert parse_device(VALID | {"name": name}, "login").name == name


@pytest.mark.parametrize("generation", [0, 1, 5.0, 10**9 - 1])
def test_a_generation_may_be_any_count(generation: float) -> None:
    assert parse_device(VALID | {"generation": generation}, "login")


@pytest.mark.parametrize(
    "created_at",
    ["2026-11-23T06:00:00Z", "2026-11-23T06:00:00.123Z", "2026-11-23T06:00:00+01:00", None],
)
def test_a_time_may_be_in_iso_8601(created_at: str | None) -> None:
    assert parse_device(VALID | {"created_at": created_at}, "login")


@pytest.mark.parametrize("device_id", ["device-1", "d", "A_b-9", "x" * 128])
def test_an_id_may_be_any_login_name(device_id: str) -> None:
    assert parse_device(VALID | {"_id": device_id}, "login").device_id == device_id


@pytest.mark.parametrize(
    "device_code", ["ABCD", "abcd-2345", "  AB CD  ", "x" * 64, "ＡＢＣＤ", "1234"]
)
def test_a_device_code_may_be_what_any_screen_shows(device_code: str) -> None:
    assert parse_device(VALID | {"device_code": device_code}, "login").device_code == device_code


WRONG = [
    # _id
    pytest.param(VALID | {"_id": ""}, "_id", id="id empty"),
    pytest.param(VALID | {"_id": "-device"}, "_id", id="id begins with a dash"),
    pytest.param(VALID | {"_id": "_design"}, "_id", id="id reserved"),
    pytest.param(VALID | {"_id": "a.b"}, "_id", id="id with a dot"),
    pytest.param(VALID | {"_id": "a/b"}, "_id", id="id with a slash"),
    pytest.param(VALID | {"_id": "a:b"}, "_id", id="id with a colon"),
    pytest.param(VALID | {"_id": "a b"}, "_id", id="id with a space"),
    pytest.param(VALID | {"_id": "a\n"}, "_id", id="id with a newline"),
    pytest.param(VALID | {"_id": "gerät"}, "_id", id="id not in ASCII"),
    pytest.param(VALID | {"_id": "x" * 129}, "_id", id="id too long"),
    pytest.param(VALID | {"_id": ["device-1"]}, "_id", id="id a list"),
    # generation
    pytest.param(VALID | {"generation": -1}, "generation", id="generation negative"),
    pytest.param(VALID | {"generation": True}, "generation", id="generation true"),
    pytest.param(VALID | {"generation": "1"}, "generation", id="generation a text"),
    pytest.param(VALID | {"generation": 1.5}, "generation", id="generation a fraction"),
    pytest.param(VALID | {"generation": None}, "generation", id="generation null"),
    pytest.param(VALID | {"generation": 10**9}, "generation", id="generation huge"),
    # created_at
    pytest.param(VALID | {"created_at": "yesterday"}, "created_at", id="created in words"),
    pytest.param(VALID | {"created_at": ""}, "created_at", id="created empty"),
    pytest.param(VALID | {"created_at": 1795413600}, "created_at", id="created a number"),
    pytest.param(VALID | {"created_at": "2026-11-23"}, "created_at", id="created a day"),
    pytest.param(
        VALID | {"created_at": "2026-11-23T06:00:00Z\n<b>"}, "created_at", id="created and more"
    ),
    # owner
    pytest.param(without(VALID, "owner"), "owner", id="no owner"),
    pytest.param(VALID | {"owner": None}, "owner", id="owner null"),
    pytest.param(VALID | {"owner": ""}, "owner", id="owner empty"),
    pytest.param(VALID | {"owner": "   "}, "owner", id="owner of spaces"),
    pytest.param(VALID | {"owner": "ada"}, "owner", id="owner no address"),
    pytest.param(VALID | {"owner": ["ada@example.com"]}, "owner", id="owner a list"),
    pytest.param(VALID | {"owner": {"a": 1}}, "owner", id="owner an object"),
    pytest.param(VALID | {"owner": "a@b.c, d@e.f"}, "owner", id="owner two addresses"),
    pytest.param(VALID | {"owner": "a@b.com\r\nBcc: c@d.e"}, "owner", id="owner with a header"),
    pytest.param(VALID | {"owner": f"{'x' * 250}@b.com"}, "owner", id="owner too long"),
    pytest.param(VALID | {"owner": "a\ud800@b.com"}, "owner", id="owner with a surrogate"),
    # name
    pytest.param(VALID | {"name": None}, "name", id="name null"),
    pytest.param(VALID | {"name": ""}, "name", id="name empty"),
    pytest.param(VALID | {"name": " \u3000 "}, "name", id="name of spaces"),
    pytest.param(VALID | {"name": ["phone"]}, "name", id="name a list"),
    pytest.param(VALID | {"name": 7}, "name", id="name a number"),
    pytest.param(VALID | {"name": "x" * 81}, "name", id="name too long"),
    pytest.param(VALID | {"name": "x" * 10**6}, "name", id="name huge"),
    pytest.param(VALID | {"name": "a\nb"}, "name", id="name with a newline"),
    pytest.param(VALID | {"name": "a\x00b"}, "name", id="name with a NUL"),
    pytest.param(VALID | {"name": "a\x1b[31mb"}, "name", id="name with an escape"),
    pytest.param(VALID | {"name": "a\x85b"}, "name", id="name with a C1 control"),
    pytest.param(VALID | {"name": "a\u2028b"}, "name", id="name with a line separator"),
    pytest.param(VALID | {"name": "a\u2029b"}, "name", id="name with a paragraph separator"),
    pytest.param(VALID | {"name": "a\ud800b"}, "name", id="name with a surrogate"),
    *[
        pytest.param(VALID | {"name": f"a{mark}b"}, "name", id=f"name with bidi {ord(mark):x}")
        for mark in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    ],
    # device_code
    pytest.param(without(VALID, "device_code"), "device_code", id="no device code"),
    pytest.param(VALID | {"device_code": "ABC"}, "device_code", id="code too short"),
    pytest.param(VALID | {"device_code": "x" * 65}, "device_code", id="code too long"),
    pytest.param(VALID | {"device_code": "--------"}, "device_code", id="code of dashes"),
    pytest.param(VALID | {"device_code": "A - B - C"}, "device_code", id="code mostly dashes"),
    pytest.param(VALID | {"device_code": ["A", "B", "C", "D"]}, "device_code", id="code a list"),
    pytest.param(VALID | {"device_code": 12345678}, "device_code", id="code a number"),
    pytest.param(VALID | {"device_code": "AB\x00CD"}, "device_code", id="code with a NUL"),
    # credentials
    pytest.param(without(VALID, "credentials"), "credentials", id="no credentials"),
    pytest.param(VALID | {"credentials": []}, "credentials", id="credentials a list"),
    pytest.param(
        credentials_with(password_scheme="simple"), "credentials.password_scheme", id="scheme"
    ),
    pytest.param(credentials_with(pbkdf2_prf="md5"), "credentials.pbkdf2_prf", id="function"),
    pytest.param(credentials_with(salt="a\nb" * 9), "credentials.salt", id="salt"),
    pytest.param(credentials_with(derived_key="0A" * 20), "credentials.derived_key", id="hex"),
    pytest.param(credentials_with(iterations=10**7), "credentials.iterations", id="iterations"),
]


@pytest.mark.parametrize(("doc", "field"), WRONG)
def test_a_wrong_field_is_rejected_by_name(doc: JsonDict, field: str) -> None:
    with pytest.raises(Rejected) as rejected:
        parse_device(doc, "login")
    assert rejected.value.reason.startswith(f"{field} ")


@pytest.mark.parametrize("name", sorted(OAUTH))
def test_a_wrong_oauth_field_is_rejected_by_name(name: str) -> None:
    with pytest.raises(Rejected) as rejected:
        parse_device(VALID | {"oauth_creds": {**OAUTH, name: "a b"}}, "oauth1")
    assert rejected.value.reason.startswith(f"oauth_creds.{name} ")


def test_no_reason_shows_a_secret() -> None:
    wrong = credentials_with(derived_key="not-hex-but-secret", salt="a-secret-salt")
    with pytest.raises(Rejected) as rejected:
        parse_device(wrong, "login")
    assert "secret" not in rejected.value.reason


@settings(max_examples=500)
@given(
    st.dictionaries(st.sampled_from(sorted(VALID)), json_values, max_size=3),
    st.sets(st.sampled_from(sorted(VALID)), max_size=2),
    st.sampled_from(["login", "oauth1"]),
)
def test_any_document_is_read_or_rejected_with_a_reason(
    changes: JsonDict, missing: set[str], device_auth: str
) -> None:
    doc = {name: value for name, value in (VALID | changes).items() if name not in missing}
    read_or_rejected(doc, device_auth)


@settings(max_examples=300)
@given(st.sampled_from(["owner", "name", "device_code", "created_at"]), any_text)
def test_any_text_in_a_field_is_read_or_rejected_with_a_reason(field: str, text: str) -> None:
    read_or_rejected(VALID | {field: text}, "login")


@settings(max_examples=300)
@given(any_text, st.sampled_from(["example.com", "bücher.example", "xn--a.com"]))
def test_any_local_part_is_read_or_rejected_with_a_reason(local: str, domain: str) -> None:
    read_or_rejected(VALID | {"owner": f"{local}@{domain}"}, "login")


@settings(max_examples=100)
@given(st.dictionaries(any_text, json_values))
def test_an_object_of_any_kind_is_read_or_rejected_with_a_reason(doc: JsonDict) -> None:
    read_or_rejected(doc, "login")


def read_or_rejected(doc: JsonDict, device_auth: str) -> None:
    try:
        registration = parse_device(doc, device_auth)
    except Rejected as exc:
        reason = exc.reason
        assert reason.strip()
        return
    assert isinstance(registration, CheckedDevice)
    assert registration.address.isascii()
    for text in (registration.name, registration.device_code, registration.address):
        assert not {unicodedata.category(character) for character in text} & {"Cc", "Cs"}
        assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("\u200b", id="zero width space"),
        pytest.param("\u2800", id="blank braille"),
        pytest.param("\u200d\u200d", id="joiners alone"),
        pytest.param("Ada\u200bphone", id="zero width space inside"),
        pytest.param("\u200e\u200f", id="marks of direction"),
        pytest.param("Ada\U000e0041", id="a tag character"),
        pytest.param("Ada\ufff9x", id="an annotation anchor"),
    ],
)
def test_a_name_that_cannot_be_seen_is_rejected(name: str) -> None:
    with pytest.raises(Rejected, match=r"^name must"):
        parse_device(VALID | {"name": name}, "login")


@pytest.mark.parametrize("doc_id", [None, 7, ["device-1"], True])
def test_an_id_must_be_a_text(doc_id: object) -> None:
    with pytest.raises(Rejected, match=r"^_id must"):
        parse_device(VALID | {"_id": doc_id}, "login")


@pytest.mark.parametrize("created_at", ["2026-99-99T99:99:99Z", "2026-11-23", "yesterday", 5])
def test_a_time_must_be_one(created_at: object) -> None:
    with pytest.raises(Rejected, match=r"^created_at must"):
        parse_device(VALID | {"created_at": created_at}, "login")


@pytest.mark.parametrize(
    "local",
    ["=?utf-8?q?victim=40example.org=2c_me?=", "=?utf-8?q?=0d=0aBcc?=", "=?utf-8?q??="],
)
def test_an_address_that_a_mail_library_would_decode_is_rejected(local: str) -> None:
    with pytest.raises(Rejected, match=r"^owner must be an e-mail address: .*encoded word"):
        parse_device(VALID | {"owner": f"{local}@example.com"}, "login")
