"""The two ways in which a device logs in, and what each leaves in CouchDB."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain.credentials import (
    InvalidCredentials,
    TokenUsed,
    check_login,
    check_oauth,
    is_same_login,
    login_user,
)
from chalicelib.domain.documents import JsonDict
from chalicelib.handlers.oauth1 import new_oauth_user, oauth_config, with_oauth
from syncpoint_device.registration import new_device
from tests.kit.basics import without
from tests.kit.cases.devices import json_values

LOGIN: JsonDict = {
    "password_scheme": "pbkdf2",
    "pbkdf2_prf": "sha256",
    "salt": "0123456789abcdef",
    "iterations": 10,
    "derived_key": "0a" * 32,
}
OAUTH = {
    "consumer_key": "ck-phone",
    "consumer_secret": "cs-phone",
    "token": "t-phone",
    "token_secret": "ts-phone",
}
OTHER_OAUTH = {name: value.replace("phone", "laptop") for name, value in OAUTH.items()}
USER = new_oauth_user("ada@example.com", "owner-0a0a")


# Logins


@pytest.mark.parametrize(
    ("prf", "key_bytes"),
    [(None, 20), ("sha", 20), ("sha224", 28), ("sha256", 32), ("sha384", 48), ("sha512", 64)],
)
def test_a_key_of_its_functions_length_is_accepted(prf: str | None, key_bytes: int) -> None:
    given_fields = LOGIN | {"pbkdf2_prf": prf, "derived_key": "0a" * key_bytes}
    checked = check_login(given_fields)
    assert checked == {name: value for name, value in given_fields.items() if value is not None}


@pytest.mark.parametrize("prf", [None, "sha", "sha224", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("key_bytes", [19, 20, 28, 32, 48, 64, 65])
def test_a_key_of_another_length_is_refused_by_name(prf: str | None, key_bytes: int) -> None:
    fits = {None: 20, "sha": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}[prf]
    given_fields = LOGIN | {"pbkdf2_prf": prf, "derived_key": "0a" * key_bytes}
    if key_bytes == fits:
        assert check_login(given_fields)
        return
    with pytest.raises(InvalidCredentials, match=f"derived_key must be {2 * fits} "):
        check_login(given_fields)


@pytest.mark.parametrize("sha256", [True, False])
def test_what_a_device_makes_is_accepted_as_it_is(sha256: bool) -> None:
    made = new_device("ada@example.com", "phone", "2026-11-23T06:00:00Z", sha256=sha256)
    assert check_login(made.doc["credentials"]) == made.doc["credentials"]


def test_nothing_but_the_known_fields_of_a_login_is_kept() -> None:
    assert check_login(LOGIN | {"roles": ["_admin"], "password": "x", "_id": "y"}) == LOGIN


WRONG_LOGINS = [
    pytest.param(without(LOGIN, "password_scheme"), "password_scheme", id="no scheme"),
    pytest.param(LOGIN | {"password_scheme": "simple"}, "password_scheme", id="another scheme"),
    pytest.param(LOGIN | {"password_scheme": ["pbkdf2"]}, "password_scheme", id="scheme a list"),
    pytest.param(LOGIN | {"pbkdf2_prf": "md5"}, "pbkdf2_prf", id="unknown function"),
    pytest.param(LOGIN | {"pbkdf2_prf": ""}, "pbkdf2_prf", id="empty function"),
    pytest.param(LOGIN | {"pbkdf2_prf": ["sha"]}, "pbkdf2_prf", id="function a list"),
    pytest.param(LOGIN | {"pbkdf2_prf": False}, "pbkdf2_prf", id="function false"),
    pytest.param(without(LOGIN, "salt"), "salt", id="no salt"),
    pytest.param(LOGIN | {"salt": "short12"}, "salt", id="salt too short"),
    pytest.param(LOGIN | {"salt": "s" * 129}, "salt", id="salt too long"),
    pytest.param(LOGIN | {"salt": "0123456789\x00"}, "salt", id="salt with a NUL"),
    pytest.param(LOGIN | {"salt": "0123456789\n"}, "salt", id="salt with a newline"),
    pytest.param(LOGIN | {"salt": "0123456789 a"}, "salt", id="salt with a space"),
    pytest.param(LOGIN | {"salt": "sälzchen-0"}, "salt", id="salt not in ASCII"),
    pytest.param(LOGIN | {"salt": 12345678}, "salt", id="salt a number"),
    pytest.param(without(LOGIN, "derived_key"), "derived_key", id="no key"),
    pytest.param(LOGIN | {"derived_key": "0A" * 32}, "derived_key", id="upper case hex"),
    pytest.param(LOGIN | {"derived_key": "0g" * 32}, "derived_key", id="no hex"),
    pytest.param(LOGIN | {"derived_key": "0a" * 32 + "\n"}, "derived_key", id="key and newline"),
    pytest.param(LOGIN | {"derived_key": ["0a"] * 32}, "derived_key", id="key a list"),
    pytest.param(without(LOGIN, "iterations"), "iterations", id="no iterations"),
    pytest.param(LOGIN | {"iterations": True}, "iterations", id="iterations true"),
    pytest.param(LOGIN | {"iterations": 0}, "iterations", id="no rounds"),
    pytest.param(LOGIN | {"iterations": -1}, "iterations", id="less than none"),
    pytest.param(LOGIN | {"iterations": 1001}, "iterations", id="too many rounds"),
    pytest.param(LOGIN | {"iterations": 10.0}, "iterations", id="iterations a float"),
    pytest.param(LOGIN | {"iterations": "10"}, "iterations", id="iterations a text"),
]


@pytest.mark.parametrize(("wrong", "field"), WRONG_LOGINS)
def test_a_wrong_login_is_refused_by_the_fields_name(wrong: JsonDict, field: str) -> None:
    with pytest.raises(InvalidCredentials, match=rf"^credentials\.{field} "):
        check_login(wrong)


@pytest.mark.parametrize("iterations", [1, 1000])
def test_iterations_may_be_anything_up_to_a_thousand(iterations: int) -> None:
    assert check_login(LOGIN | {"iterations": iterations})["iterations"] == iterations


@pytest.mark.parametrize("wrong", [None, [], [LOGIN], "pbkdf2", 1, True], ids=repr)
def test_credentials_that_are_no_object_are_refused(wrong: object) -> None:
    with pytest.raises(InvalidCredentials, match=r"^credentials must be an object"):
        check_login(wrong)


def test_a_refusal_shows_nothing_of_what_was_sent() -> None:
    with pytest.raises(InvalidCredentials) as refused:
        check_login(LOGIN | {"derived_key": "secret" * 10})
    assert "secret" not in str(refused.value)


@settings(max_examples=300)
@given(st.sampled_from(sorted(LOGIN)), json_values)
def test_no_value_in_a_login_raises_anything_else(name: str, value: Any) -> None:
    try:
        checked = check_login(LOGIN | {name: value})
    except InvalidCredentials as exc:
        refusal = str(exc)
        assert refusal
        return
    assert set(checked) <= set(LOGIN)


# OAuth


def test_the_four_oauth_fields_are_kept_and_nothing_else() -> None:
    assert check_oauth(OAUTH | {"roles": ["_admin"]}) == OAUTH


@pytest.mark.parametrize("name", sorted(OAUTH))
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="null"),
        pytest.param("", id="empty"),
        pytest.param("x" * 129, id="too long"),
        pytest.param("a b", id="a space"),
        pytest.param("a\n[admins]\nme = x", id="a section of an .ini file"),
        pytest.param("a=b", id="an equals sign"),
        pytest.param("a;b", id="a comment sign"),
        pytest.param("a/b", id="a slash"),
        pytest.param("abc\n", id="a newline at its end"),
        pytest.param("é", id="not ASCII"),
        pytest.param(["abc"], id="a list"),
        pytest.param(5, id="a number"),
    ],
)
def test_a_wrong_oauth_field_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidCredentials, match=rf"^oauth_creds\.{name} "):
        check_oauth({**OAUTH, name: value})


@pytest.mark.parametrize("name", sorted(OAUTH))
def test_a_missing_oauth_field_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidCredentials, match=rf"^oauth_creds\.{name} "):
        check_oauth(without(OAUTH, name))


@pytest.mark.parametrize("wrong", [None, [], "key", 1], ids=repr)
def test_oauth_creds_that_are_no_object_are_refused(wrong: object) -> None:
    with pytest.raises(InvalidCredentials, match=r"^oauth_creds must be an object"):
        check_oauth(wrong)


@settings(max_examples=200)
@given(st.sampled_from(sorted(OAUTH)), json_values)
def test_no_value_in_oauth_creds_raises_anything_else(name: str, value: Any) -> None:
    try:
        assert set(check_oauth({**OAUTH, name: value})) == set(OAUTH)
    except InvalidCredentials as exc:
        refusal = str(exc)
        assert name in refusal


# A login's user document


def test_a_login_has_the_devices_name_and_its_owners_one_role() -> None:
    user = login_user("device-1", "owner-0a0a", LOGIN)
    assert {name: user[name] for name in user if name != "syncpoint"} == {
        "_id": "org.couchdb.user:device-1",
        "name": "device-1",
        "type": "user",
        "roles": ["owner-0a0a"],
        **LOGIN,
    }
    assert user["syncpoint"]["device"] == "device-1"


def test_a_login_carries_no_key_but_the_one_to_log_in_by() -> None:
    fingerprint = login_user("device-1", "owner-0a0a", LOGIN)["syncpoint"]["credentials"]
    assert LOGIN["derived_key"] not in fingerprint
    assert LOGIN["salt"] not in fingerprint


def test_a_login_is_the_same_after_couchdb_hashed_its_key_again() -> None:
    wanted = login_user("device-1", "owner-0a0a", LOGIN)
    upgraded = wanted | {"_rev": "2-b", "derived_key": "ff" * 32, "iterations": 600_000}
    assert is_same_login(upgraded, wanted)


def test_the_order_of_the_fields_makes_no_other_login() -> None:
    turned = dict(reversed(list(LOGIN.items())))
    wanted = login_user("device-1", "owner-0a0a", LOGIN)
    assert is_same_login(login_user("device-1", "owner-0a0a", turned), wanted)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(login_user("device-2", "owner-0a0a", LOGIN), id="another device"),
        pytest.param(login_user("device-1", "owner-ffff", LOGIN), id="another owner"),
        pytest.param(
            login_user("device-1", "owner-0a0a", LOGIN | {"derived_key": "ff" * 32}),
            id="another key",
        ),
        pytest.param({"name": "device-1", "roles": ["owner-0a0a"]}, id="not made by us"),
        pytest.param({}, id="nothing"),
    ],
)
def test_anything_else_is_another_login(other: JsonDict) -> None:
    assert not is_same_login(other, login_user("device-1", "owner-0a0a", LOGIN))


# An owner's user document (OAuth)


def test_a_new_owner_has_no_password_and_no_keys() -> None:
    assert new_oauth_user("ada@example.com", "owner-0a0a") == {
        "_id": "org.couchdb.user:ada@example.com",
        "name": "ada@example.com",
        "type": "user",
        "roles": ["owner-0a0a"],
    }


def test_the_first_devices_keys_are_kept_in_the_originals_shape() -> None:
    assert with_oauth(USER, "device-1", OAUTH) == {
        **USER,
        "oauth": {
            "consumer_keys": {"ck-phone": "cs-phone"},
            "tokens": {"t-phone": "ts-phone"},
            "devices": {"device-1": ["ck-phone", "t-phone"]},
        },
    }


def test_a_second_device_is_added_beside_the_first() -> None:
    both = with_oauth(with_oauth(USER, "device-1", OAUTH), "device-2", OTHER_OAUTH)
    assert both["oauth"] == {
        "consumer_keys": {"ck-phone": "cs-phone", "ck-laptop": "cs-laptop"},
        "tokens": {"t-phone": "ts-phone", "t-laptop": "ts-laptop"},
        "devices": {
            "device-1": ["ck-phone", "t-phone"],
            "device-2": ["ck-laptop", "t-laptop"],
        },
    }


def test_adding_a_device_again_changes_nothing() -> None:
    one = with_oauth(USER, "device-1", OAUTH)
    both = with_oauth(one, "device-2", OTHER_OAUTH)
    assert with_oauth(one, "device-1", OAUTH) == one
    assert with_oauth(both, "device-1", OAUTH) == both
    assert with_oauth(both, "device-2", OTHER_OAUTH) == both


def test_adding_a_device_leaves_what_it_was_given_alone() -> None:
    one = with_oauth(USER, "device-1", OAUTH)
    before = copy.deepcopy(one)
    with_oauth(one, "device-2", OTHER_OAUTH)
    assert one == before
    assert "oauth" not in USER


def test_what_else_is_in_the_owners_document_stays() -> None:
    user = USER | {"_rev": "1-a", "email": "x", "oauth": {"plan": "original"}}
    added = with_oauth(user, "device-1", OAUTH)
    assert (added["_rev"], added["email"], added["oauth"]["plan"]) == ("1-a", "x", "original")


@pytest.mark.parametrize(
    ("device_id", "creds"),
    [
        pytest.param("device-2", OAUTH, id="all of another device's keys"),
        pytest.param("device-2", OTHER_OAUTH | {"consumer_key": "ck-phone"}, id="its key"),
        pytest.param(
            "device-2",
            OTHER_OAUTH | {"consumer_key": "ck-phone", "consumer_secret": "cs-phone"},
            id="its key and secret",
        ),
        pytest.param("device-2", OTHER_OAUTH | {"token": "t-phone"}, id="its token"),
        pytest.param("device-1", OTHER_OAUTH, id="new keys for a known device"),
        pytest.param("device-1", OAUTH | {"consumer_secret": "new"}, id="a new secret"),
        pytest.param("device-1", OAUTH | {"token_secret": "new"}, id="a new token secret"),
    ],
)
def test_what_is_in_use_is_never_overwritten(device_id: str, creds: dict[str, str]) -> None:
    with pytest.raises(TokenUsed):
        with_oauth(with_oauth(USER, "device-1", OAUTH), device_id, creds)


def test_couchdb_1s_configuration_names_the_owner_by_the_token() -> None:
    assert oauth_config("ada@example.com", OAUTH) == [
        ("oauth_consumer_secrets", "ck-phone", "cs-phone"),
        ("oauth_token_users", "t-phone", "ada@example.com"),
        ("oauth_token_secrets", "t-phone", "ts-phone"),
    ]
