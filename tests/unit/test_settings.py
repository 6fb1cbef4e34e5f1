"""The environment and the secret, read once and checked."""

import json
import traceback
from dataclasses import fields
from typing import Any

import pytest

from chalicelib.settings import (
    InvalidSettings,
    PollerSettings,
    Secrets,
    Settings,
    poller_key,
    queue_name,
    read_secrets,
)

ENVIRONMENT = {
    "TABLE_NAME": "syncpoint-dev",
    "SECRET_ID": "syncpoint-dev",
    "PUBLIC_URL": "https://sync.example.com/api",
    "MAIL_FROM": "sync@example.com",
}
POLLER_ENVIRONMENT = {
    "TABLE_NAME": "syncpoint-dev",
    "SECRET_ID": "syncpoint-dev",
    "ROUTES": '{"device/new": "https://sqs.example.com/1",'
    ' "confirm/clicked": "https://sqs.example.com/2"}',
}
KEY = "0123456789abcdef" * 4
COUCHDB_URL = "https://admin:hunter2@couch.example.com"


def test_what_is_not_set_has_its_default() -> None:
    assert Settings.read(ENVIRONMENT) == Settings(
        stage="dev",
        table_name="syncpoint-dev",
        secret_id="syncpoint-dev",
        control_db="control",
        public_url="https://sync.example.com/api",
        public_url_parameter="",
        couchdb_public_url="",
        mail_from="sync@example.com",
        mail_configuration_set="",
        device_auth="login",
        confirm_ttl_s=86400,
        invitation_ttl_s=604800,
        claim_lease_s=90,
        mails_per_address_hour=5,
        mails_per_address_day=20,
        mails_per_owner_hour=20,
        mails_per_owner_day=100,
        mails_per_network_hour=50,
        mails_per_network_day=200,
        bounces_per_sender_day=10,
        mails_busy_hour=1000,
        mails_busy_domain_hour=500,
        mails_share_hour=3,
        mail_concurrency=2,
        couchdb_concurrency=10,
        channels_per_owner_hour=100,
        channels_per_owner_day=300,
        api_requests_second=50,
        api_burst=100,
        poller_shards=1,
    )


def test_the_pollers_settings_have_defaults_too() -> None:
    read = PollerSettings.read(POLLER_ENVIRONMENT)
    assert (read.control_db, read.window_s, read.page_size, read.lease_s) == (
        "control",
        50,
        1000,
        60,
    )
    assert (read.shard, read.shards, read.max_messages) == (0, 1, 500)
    assert read.routes == {
        "device/new": "https://sqs.example.com/1",
        "confirm/clicked": "https://sqs.example.com/2",
    }


def test_what_is_set_is_read() -> None:
    given = ENVIRONMENT | {
        "STAGE": "prod-2",
        "CONTROL_DB": "my_control-2",
        "DEVICE_AUTH": "oauth1",
        "CONFIRM_TTL_SECONDS": "60",
        "MAILS_PER_ADDRESS_HOUR": "0",
        "UNRELATED": "x",
    }
    read = Settings.read(given)
    assert (read.stage, read.control_db, read.device_auth) == ("prod-2", "my_control-2", "oauth1")
    assert (read.confirm_ttl_s, read.mails_per_address_hour) == (60, 0)


REQUIRED = [(Settings, ENVIRONMENT, name) for name in ENVIRONMENT] + [
    (PollerSettings, POLLER_ENVIRONMENT, name) for name in POLLER_ENVIRONMENT
]


@pytest.mark.parametrize(("kind", "environment", "name"), REQUIRED)
def test_a_variable_that_must_be_set_is_missed_by_name(
    kind: type[Settings] | type[PollerSettings], environment: dict[str, str], name: str
) -> None:
    rest = {key: value for key, value in environment.items() if key != name}
    with pytest.raises(InvalidSettings, match=f"^{name} is not set: "):
        kind.read(rest)
    with pytest.raises(InvalidSettings, match=f"^{name} is not set: "):
        kind.read(rest | {name: ""})


def test_the_public_url_may_be_left_to_its_parameter() -> None:
    rest = {name: value for name, value in ENVIRONMENT.items() if name != "PUBLIC_URL"}
    read = Settings.read(rest | {"PUBLIC_URL_PARAMETER": "/syncpoint/dev/public-url"})
    assert (read.public_url, read.public_url_parameter) == ("", "/syncpoint/dev/public-url")


def test_an_empty_variable_counts_as_not_set() -> None:
    empty = dict.fromkeys(["STAGE", "CONTROL_DB", "DEVICE_AUTH", "CONFIRM_TTL_SECONDS"], "")
    assert Settings.read(ENVIRONMENT | empty) == Settings.read(ENVIRONMENT)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STAGE", "Dev"),
        ("STAGE", "1dev"),
        ("STAGE", "a" * 21),
        ("STAGE", "dev\n"),
        ("CONTROL_DB", "Control"),
        ("CONTROL_DB", "_users"),
        ("CONTROL_DB", "a/b"),
        ("CONTROL_DB", "a" * 101),
        ("CONTROL_DB", "control\n"),
        ("PUBLIC_URL", "sync.example.com"),
        ("PUBLIC_URL", "ftp://sync.example.com"),
        ("PUBLIC_URL", "https://"),
        ("PUBLIC_URL", "https://admin:secret@sync.example.com"),
        ("PUBLIC_URL", "https://sync.example.com/?a=b"),
        ("PUBLIC_URL", "https://sync.example.com/#a"),
        ("PUBLIC_URL", "https://sync.example.com/\nx"),
        ("DEVICE_AUTH", "oauth2"),
        ("DEVICE_AUTH", "login "),
        ("CONFIRM_TTL_SECONDS", "-1"),
        ("CONFIRM_TTL_SECONDS", "1.5"),
        ("CONFIRM_TTL_SECONDS", "a day"),
        ("CONFIRM_TTL_SECONDS", "+60"),
        ("CONFIRM_TTL_SECONDS", "6_0"),
        ("CONFIRM_TTL_SECONDS", "\u0666\u0660"),
        ("COUCHDB_CONCURRENCY", "abc"),
        ("MAILS_PER_ADDRESS_HOUR", "-1"),
        ("MAILS_PER_ADDRESS_DAY", "many"),
        ("MAILS_PER_NETWORK_HOUR", "1e3"),
        ("MAILS_PER_NETWORK_DAY", " "),
        ("CHANNELS_PER_OWNER_HOUR", "-1"),
        ("CHANNELS_PER_OWNER_HOUR", "5001"),
        ("CHANNELS_PER_OWNER_DAY", "5001"),
    ],
)
def test_a_wrong_variable_is_named_and_what_it_must_be(name: str, value: str) -> None:
    with pytest.raises(InvalidSettings, match=f"^{name} must be "):
        Settings.read(ENVIRONMENT | {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONTROL_DB", "Control"),
        ("POLL_WINDOW_SECONDS", "-1"),
        ("POLLER_SHARD", "-1"),
        ("POLLER_SHARD", "1"),
    ],
)
def test_a_wrong_variable_of_the_poller_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidSettings, match=f"^{name} must be "):
        PollerSettings.read(POLLER_ENVIRONMENT | {name: value})


# Every number among the settings, with its bounds.
BOUNDS = {
    Settings: {
        "MAIL_CONCURRENCY": (2, 1000),
        "COUCHDB_CONCURRENCY": (2, 1000),
        "CONFIRM_TTL_SECONDS": (1, 2_592_000),
        "INVITATION_TTL_SECONDS": (1, 31_104_000),
        "CLAIM_LEASE_SECONDS": (1, 3600),
        "MAILS_PER_ADDRESS_HOUR": (0, 5000),
        "MAILS_PER_ADDRESS_DAY": (0, 5000),
        "MAILS_PER_OWNER_HOUR": (0, 5000),
        "MAILS_PER_OWNER_DAY": (0, 5000),
        "MAILS_PER_NETWORK_HOUR": (0, 5000),
        "MAILS_PER_NETWORK_DAY": (0, 5000),
        "BOUNCES_PER_SENDER_DAY": (1, 5000),
        "MAILS_BUSY_HOUR": (0, 10_000_000),
        "MAILS_BUSY_DOMAIN_HOUR": (0, 10_000_000),
        "MAILS_SHARE_HOUR": (0, 5000),
        "CHANNELS_PER_OWNER_HOUR": (0, 5000),
        "CHANNELS_PER_OWNER_DAY": (0, 5000),
        "API_REQUESTS_PER_SECOND": (1, 10_000),
        "API_BURST": (1, 5_000),
        "POLLER_SHARDS": (1, 100),
    },
    PollerSettings: {
        "POLL_WINDOW_SECONDS": (0, 100),
        "POLL_PAGE_SIZE": (1, 10_000),
        "POLL_LEASE_SECONDS": (30, 900),
        "POLL_MESSAGES_PER_OWNER": (100, 100_000),
        "POLLER_SHARDS": (1, 100),
        "POLLER_SHARD": (0, 99),
    },
}
ENVIRONMENTS = {Settings: ENVIRONMENT, PollerSettings: POLLER_ENVIRONMENT}
NUMBERS = [(kind, name, *bounds) for kind in BOUNDS for name, bounds in BOUNDS[kind].items()]


@pytest.mark.parametrize("kind", BOUNDS)
def test_every_number_among_the_settings_has_bounds(
    kind: type[Settings] | type[PollerSettings],
) -> None:
    values = kind.read(ENVIRONMENTS[kind])
    numbers = {
        variable.name
        for field, variable in zip(fields(kind), kind.variables(), strict=True)
        if isinstance(getattr(values, field.name), int)
    }
    assert numbers == set(BOUNDS[kind])


@pytest.mark.parametrize(("kind", "name", "minimum", "maximum"), NUMBERS)
def test_a_number_out_of_its_bounds_is_refused_by_name_and_bounds(
    kind: type[Settings] | type[PollerSettings], name: str, minimum: int, maximum: int
) -> None:
    environment = ENVIRONMENTS[kind] | ({"POLLER_SHARDS": "100"} if name == "POLLER_SHARD" else {})
    [field] = [each for each in fields(kind) if each.metadata["variable"].name == name]
    for value in (minimum, maximum):
        read = kind.read(environment | {name: str(value)})
        assert getattr(read, field.name) == value
    said = f"^{name} must be a whole number from {minimum} to {maximum}$"
    for wrong in (minimum - 1, maximum + 1, 10**9, 10**30):
        with pytest.raises(InvalidSettings, match=said):
            kind.read(environment | {name: str(wrong)})


def test_the_last_of_several_pollers_has_the_highest_number() -> None:
    several = POLLER_ENVIRONMENT | {"POLLER_SHARDS": "3", "POLLER_SHARD": "2"}
    assert PollerSettings.read(several).shard == 2
    with pytest.raises(InvalidSettings, match=r"^POLLER_SHARD must be less than POLLER_SHARDS"):
        PollerSettings.read(several | {"POLLER_SHARD": "3"})


@pytest.mark.parametrize(
    "routes",
    [
        pytest.param("device/new", id="no JSON"),
        pytest.param("{", id="half an object"),
        pytest.param("[]", id="a list"),
        pytest.param("null", id="null"),
        pytest.param('["device/new"]', id="a list of routes"),
        pytest.param('{"device": "u"}', id="no state"),
        pytest.param('{"device/new/x": "u"}', id="three parts"),
        pytest.param('{"Device/new": "u"}', id="in capitals"),
        pytest.param('{"/new": "u"}', id="no type"),
        pytest.param('{"device/new": 1}', id="a number for a URL"),
        pytest.param('{"device/new": null}', id="null for a URL"),
        pytest.param('{"device/new": "u", "x": "u"}', id="one of two"),
    ],
)
def test_malformed_routes_are_refused_by_the_variables_name(routes: str) -> None:
    with pytest.raises(InvalidSettings, match=r"^ROUTES "):
        PollerSettings.read(POLLER_ENVIRONMENT | {"ROUTES": routes})


@pytest.mark.parametrize("kind", [Settings, PollerSettings])
def test_every_variable_has_a_name_of_its_own_and_says_what_it_is_for(
    kind: type[Settings] | type[PollerSettings],
) -> None:
    variables = kind.variables()
    assert len({variable.name for variable in variables}) == len(variables)
    for variable in variables:
        assert variable.help
        assert variable.name == variable.name.upper()


def test_names_are_made_as_the_template_makes_them() -> None:
    assert queue_name("prod", "device", "new") == "syncpoint-prod-device-new"
    assert poller_key("control") == "poller#control"
    assert poller_key("control", 0, 1) == "poller#control"
    assert poller_key("control", 1, 3) == "poller#control#1of3"


# The secret


class OneSecret:
    """Secrets Manager with one secret."""

    def __init__(self, value: str) -> None:
        self._value = value
        self.asked: list[str] = []

    def get_secret_value(self, **kwargs: str) -> dict[str, str]:
        self.asked.append(kwargs["SecretId"])
        return {"SecretString": self._value}


def read(value: Any) -> Secrets:
    client: Any = OneSecret(value if isinstance(value, str) else json.dumps(value))
    return read_secrets(client, "the-secret-id")


def test_a_good_secret_is_read_in_one_request() -> None:
    client: Any = OneSecret(json.dumps({"couchdb_url": COUCHDB_URL, "link_keys": [KEY, KEY * 2]}))
    secrets = read_secrets(client, "the-secret-id")
    keys = (bytes.fromhex(KEY), bytes.fromhex(KEY * 2))
    assert secrets == Secrets(couchdb_url=COUCHDB_URL, link_keys=keys)
    assert client.asked == ["the-secret-id"]


WRONG_SECRETS = [
    pytest.param(f"hunter2 {KEY}", id="no JSON"),
    pytest.param(f'{{"couchdb_url": "{COUCHDB_URL}", "link_keys": ["{KEY}"]', id="half an object"),
    pytest.param(f'"{COUCHDB_URL}{KEY}"', id="a text"),
    pytest.param([COUCHDB_URL, KEY], id="a list"),
    pytest.param({}, id="an empty object"),
    pytest.param({"couchdb_url": COUCHDB_URL}, id="no keys"),
    pytest.param({"link_keys": [KEY]}, id="no URL"),
    pytest.param({"couchdb_url": COUCHDB_URL, "link_keys": KEY}, id="keys a text"),
    pytest.param({"couchdb_url": COUCHDB_URL, "link_keys": 5}, id="keys a number"),
    pytest.param({"couchdb_url": COUCHDB_URL, "link_keys": None}, id="keys null"),
    pytest.param({"couchdb_url": COUCHDB_URL, "link_keys": [5]}, id="a key a number"),
    pytest.param({"couchdb_url": COUCHDB_URL, "link_keys": ["hunter2" * 10]}, id="a key no hex"),
    pytest.param({"couchdb_url": COUCHDB_URL, "link_keys": []}, id="an empty list of keys"),
    pytest.param({"couchdb_url": COUCHDB_URL, "link_keys": [KEY[:-2]]}, id="a key too short"),
    pytest.param({"couchdb_url": COUCHDB_URL, "link_keys": [KEY, ""]}, id="the second key empty"),
]


@pytest.mark.parametrize("value", WRONG_SECRETS)
def test_a_malformed_secret_is_named_and_nothing_of_it_is_shown(value: Any) -> None:
    with pytest.raises(InvalidSettings, match="the-secret-id") as refused:
        read(value)
    shown = "".join(traceback.format_exception(refused.value))
    link: BaseException | None = refused.value
    while link is not None:
        shown += f"{link} {link!r}"
        link = link.__cause__ or link.__context__
    for secret in ("hunter2", "couch.example.com", KEY[:16]):
        assert secret not in shown


def test_a_short_key_is_told_from_a_malformed_secret() -> None:
    with pytest.raises(InvalidSettings, match="32 bytes"):
        read({"couchdb_url": COUCHDB_URL, "link_keys": [KEY[:62]]})


@pytest.mark.parametrize(
    "couchdb_url",
    [
        pytest.param(None, id="null"),
        pytest.param(5, id="a number"),
        pytest.param("ftp://couch.example.com", id="another scheme"),
        pytest.param("https://admin:pa/ss@couch.example.com", id="a slash in the password"),
        pytest.param("https://admin:p@ss@couch.example.com", id="an @ in the password"),
    ],
)
def test_a_url_that_would_be_misread_is_refused(couchdb_url: object) -> None:
    client: Any = OneSecret(json.dumps({"couchdb_url": couchdb_url, "link_keys": ["00" * 32]}))
    with pytest.raises(InvalidSettings, match="couchdb_url"):
        read_secrets(client, "syncpoint/test")
