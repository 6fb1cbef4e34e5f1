"""A device is revoked: its login goes, its owner's other devices go on."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
import requests

from chalicelib.couch import MAX_ATTEMPTS, Conflict, CouchError, Database, NotFound, Server
from chalicelib.domain.credentials import ForeignLogin
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_role
from chalicelib.engine.runner import Message, Outcome
from chalicelib.handlers import devices
from syncpoint_device.registration import NewDevice
from tests.kit.basics import a_device, an_address, wait_for, wait_until_shut_out
from tests.kit.cloud.access import logged_in
from tests.kit.cloud.steps import Owner, Steps


@pytest.fixture
def phone(ada: Owner) -> NewDevice:
    """Ada's second device."""
    device = a_device(owner=ada.address)
    ada.steps.activate(device)
    return device


def revoke(ada: Owner, device: NewDevice) -> None:
    """As one of Ada's devices asks for it, and as the two transitions answer."""
    ada.edit(device.device_id, state="revoking")
    assert ada.run(device.device_id) is Outcome.UNCHANGED
    ada.steps.run(device.device_id)


def revoked_before_its_activation(ada: Owner) -> tuple[NewDevice, JsonDict]:
    """A device that was revoked, and its document as a late activation has read it before."""
    late = a_device(owner=ada.address)
    ada.steps.activate(late)
    early = {**ada.steps.control.get(late.device_id), "state": "confirmed"}
    revoke(ada, late)
    return late, early


def test_both_control_databases_say_revoked(ada: Owner, phone: NewDevice) -> None:
    revoke(ada, phone)
    for database in (ada.control, ada.steps.control):
        doc = database.get(phone.device_id)
        assert (doc["state"], doc["revoked_at"]) == ("revoked", "2026-11-23T06:00:00Z")


def test_the_login_is_gone_and_whatever_used_it_gets_401(
    ada: Owner, phone: NewDevice, server: Server
) -> None:
    ada.channel()
    mine = logged_in(server, phone).database(ada.channel_database().name)
    mine.put({"_id": "photo-1"})
    revoke(ada, phone)
    wait_until_shut_out(mine.info)
    wait_until_shut_out(lambda: mine.changes("0", limit=1))


def test_a_login_that_changes_while_it_is_removed_is_removed(
    ada: Owner, phone: NewDevice, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CouchDB hashes the password again after the first login, and so changes the revision."""
    users, user_id = server.database("_users"), f"org.couchdb.user:{phone.device_id}"
    find, changes = Database.find_one, iter(range(3))

    def find_and_change(database: Database, doc_id: str, **kwargs: bool) -> JsonDict | None:
        found = find(database, doc_id, **kwargs)
        if doc_id == user_id and found and next(changes, None) is not None:
            users.put({**found, "note": found["_rev"]})
        return found

    monkeypatch.setattr(Database, "find_one", find_and_change)
    revoke(ada, phone)
    assert next(changes, None) is None
    assert find(users, user_id) is None


def test_an_open_replication_ends_with_401(ada: Owner, phone: NewDevice, server: Server) -> None:
    """What a continuous replication does next, whatever it waits for: it asks again."""
    ada.channel()
    mine = logged_in(server, phone).database(ada.channel_database().name)
    since = str(mine.changes("0", limit=100)["last_seq"])
    revoke(ada, phone)
    wait_until_shut_out(lambda: mine.changes(since, limit=100, wait_s=5))


def test_a_session_of_the_device_ends_with_its_login(
    ada: Owner, phone: NewDevice, server: Server
) -> None:
    session = requests.Session()
    credentials = {"name": phone.device_id, "password": phone.password}
    session.post(f"{server.url}/_session", json=credentials, timeout=30).raise_for_status()
    url = f"{server.url}/{ada.control.name}"
    assert session.get(url, timeout=30).status_code == 200
    revoke(ada, phone)
    wait_for(lambda: session.get(url, timeout=30).status_code in (401, 403), "its end", limit_s=10)


def test_the_owners_other_devices_go_on(ada: Owner, phone: NewDevice, server: Server) -> None:
    revoke(ada, phone)
    mine = logged_in(server, ada.device).database(ada.control.name)
    assert mine.get(phone.device_id)["state"] == "revoked"
    assert mine.get(ada.device.device_id)["state"] == "active"


def test_an_operator_may_revoke_in_the_control_database(ada: Owner, phone: NewDevice) -> None:
    doc = ada.steps.control.get(phone.device_id)
    ada.steps.control.put({**doc, "state": "revoking"})
    ada.steps.run(phone.device_id)
    assert ada.control.get(phone.device_id)["state"] == "revoked"


def test_asking_twice_is_answered_twice(ada: Owner, phone: NewDevice) -> None:
    revoke(ada, phone)
    ada.edit(phone.device_id, state="revoking", revoked_at=None)
    assert ada.after(phone.device_id)["revoked_at"] == "2026-11-23T06:00:00Z"


@pytest.mark.parametrize("whose", ["nobody's", "another owner's"])
def test_a_device_that_is_not_the_owners_is_refused_and_stays(
    ada: Owner, steps: Steps, whose: str, server: Server
) -> None:
    ben = steps.an_owner()
    device_id = ben.device.device_id if whose == "another owner's" else "device-unknown"
    ada.put({"_id": device_id, "type": "device", "state": "revoking", "owner": ben.address})
    assert ada.after(device_id)["error"]["reason"] == "you have no such device"
    assert steps.control.get(ben.device.device_id)["state"] == "active"
    assert (
        logged_in(server, ben.device).database(ben.control.name).info()["db_name"]
        == ben.control.name
    )


def test_a_device_that_was_never_active_cannot_be_revoked(ada: Owner, steps: Steps) -> None:
    waiting = a_device(owner=ada.address)
    steps.register(waiting)
    ada.put({"_id": waiting.device_id, "type": "device", "state": "revoking"})
    reason = ada.after(waiting.device_id)["error"]["reason"]
    assert reason == "a device in state confirming cannot be revoked"


def test_an_activation_that_comes_too_late_leaves_no_login(
    ada: Owner, steps: Steps, server: Server
) -> None:
    """A: reads confirmed … makes the login          B: revoking, revoked."""
    late, early = revoked_before_its_activation(ada)
    devices.activate(early, steps.context)
    assert logged_in(server, late).database(ada.control.name).info()
    message = Message(steps.control.name, late.device_id, "device", "confirmed", early)
    assert steps.deliver(message) is Outcome.STALE
    with pytest.raises(CouchError):
        logged_in(server, late).database(ada.control.name).info()
    assert ada.control.get(late.device_id)["state"] == "revoked"


def test_the_owner_sees_the_devices_and_none_of_their_secrets(ada: Owner, phone: NewDevice) -> None:
    for device in (ada.device, phone):
        shown = ada.control.get(device.device_id)
        assert (shown["type"], shown["state"], shown["name"]) == ("device", "active", "Ada's phone")
        assert not {"credentials", "oauth_creds", "device_code", "network"} & set(shown)
        for secret in (device.device_code, device.doc["credentials"]["derived_key"]):
            assert secret not in str(shown)


# Logins that are not as the cloud has made them.


def login_id(device: NewDevice) -> str:
    return f"org.couchdb.user:{device.device_id}"


# What a login document may be like: a device may change its own but for the roles, and an operator
# may have made it again.
CHANGED: dict[str, JsonDict] = {
    "it has no mark": {"syncpoint": None},
    "its mark names another device": {"syncpoint": {"device": "device-other"}},
    "its mark is a text": {"syncpoint": "device"},
    "its mark is a list": {"syncpoint": [["device"]]},
    "it has another field": {"note": {"a": [1, 2, 3]}},
    "an operator gave it a role": {"roles": ["backup"]},
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_device_is_shut_out_whatever_its_login_is_like(
    ada: Owner, phone: NewDevice, server: Server, what: str
) -> None:
    changes = CHANGED[what]
    users = server.database("_users")
    user = users.get(login_id(phone)) | changes
    user["roles"] = sorted({owner_role(ada.id), *changes.get("roles", [])})
    users.put({name: value for name, value in user.items() if value is not None})
    revoke(ada, phone)
    assert users.find_one(login_id(phone)) is None
    assert ada.control.get(phone.device_id)["state"] == "revoked"
    wait_until_shut_out(logged_in(server, phone).database(ada.control.name).info)


@pytest.mark.parametrize("roles", [[], ["others"], ["owner-" + "0" * 32]])
def test_a_login_that_may_be_somebody_elses_is_no_silent_revocation(
    ada: Owner, phone: NewDevice, server: Server, roles: list[str]
) -> None:
    """It stays, and the device stays `revoking` until an operator has looked at it."""
    users = server.database("_users")
    user = users.get(login_id(phone))
    users.put({**user, "roles": roles, "syncpoint": {"device": "device-other"}})
    ada.edit(phone.device_id, state="revoking")
    ada.run(phone.device_id)
    message = ada.steps.message(phone.device_id)
    with pytest.raises(ForeignLogin):
        ada.steps.deliver(message)
    for database in (ada.control, ada.steps.control):
        assert database.get(phone.device_id)["state"] == "revoking"
    users.remove(users.get(login_id(phone)))
    assert ada.steps.deliver(message) is Outcome.SAVED  # `make redrive`
    assert ada.control.get(phone.device_id)["state"] == "revoked"


def test_a_late_run_meets_a_login_that_may_be_somebody_elses_loudly(
    ada: Owner, steps: Steps, server: Server
) -> None:
    late, early = revoked_before_its_activation(ada)
    users = server.database("_users")
    theirs = {"_id": login_id(late), "name": late.device_id, "type": "user", "roles": ["theirs"]}
    rev = users.put({**theirs, "password": "their password"})
    message = Message(steps.control.name, late.device_id, "device", "confirmed", early)
    with pytest.raises(ForeignLogin):
        steps.deliver(message)
    assert users.get(login_id(late))["_rev"] == rev
    users.remove({"_id": login_id(late), "_rev": rev})


def test_a_login_goes_with_all_its_leaves(ada: Owner, phone: NewDevice, server: Server) -> None:
    """A device may write conflicting revisions of its login, and any of them may win next."""
    users = server.database("_users")
    user = users.get(login_id(phone))
    number, _, digest = user["_rev"].partition("-")
    docs = [
        {
            **user,
            "_rev": f"{int(number) + 1}-{leaf}",
            "_revisions": {"start": int(number) + 1, "ids": [leaf, digest]},
        }
        for leaf in (f"{each:032x}" for each in range(20))
    ]
    users._http.request("POST", "/_users/_bulk_docs", body={"docs": docs, "new_edits": False})
    assert len(users.get(login_id(phone), conflicts=True)["_conflicts"]) == 19
    revoke(ada, phone)
    assert users.find_one(login_id(phone)) is None
    wait_until_shut_out(logged_in(server, phone).database(ada.control.name).info)


@pytest.mark.parametrize("value", ["[" * 1_500 + "]" * 1_500, f'"{"x" * 1_500_000}"'])
def test_a_login_that_nobody_can_read_is_removed_by_its_role(
    ada: Owner, phone: NewDevice, server: Server, value: str
) -> None:
    users = server.database("_users")
    body = json.dumps(users.get(login_id(phone)))
    answer = requests.put(
        f"{users.url}/{login_id(phone)}",
        f'{body[:-1]},"x":{value}}}',
        headers={"Content-Type": "application/json"},
        auth=users._http._session.auth,
        timeout=30,
    )
    assert answer.ok
    revoke(ada, phone)
    with pytest.raises(NotFound):
        users.stub(login_id(phone))
    assert ada.control.get(phone.device_id)["state"] == "revoked"


def test_a_login_that_changes_at_each_try_is_tried_again_later(
    ada: Owner, phone: NewDevice, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, numbers = server.database("_users"), itertools.count()
    find = Database.find_one

    def find_and_change(database: Database, doc_id: str, **kwargs: bool) -> JsonDict | None:
        found = find(database, doc_id, **kwargs)
        if doc_id == login_id(phone) and found:
            users.put({**found, "note": next(numbers)})
        return found

    ada.edit(phone.device_id, state="revoking")
    ada.run(phone.device_id)
    message = ada.steps.message(phone.device_id)
    with monkeypatch.context() as patch:
        patch.setattr(Database, "find_one", find_and_change)
        with pytest.raises(Conflict):
            ada.steps.deliver(message)
    assert next(numbers) == MAX_ATTEMPTS + 1
    assert ada.steps.control.get(phone.device_id)["state"] == "revoking"
    assert ada.steps.deliver(message) is Outcome.SAVED


# OAuth 1, as the original system has it.


@pytest.fixture
def oauth_devices(steps: Steps, server: Server) -> Iterator[tuple[str, list[NewDevice]]]:
    """An owner's address, and two active devices; their keys are k… and t…."""
    settings = replace(steps.context.settings, device_auth="oauth1")
    steps.context = replace(steps.context, settings=settings)
    address = an_address()
    devices = [a_device(owner=address) for _ in range(2)]
    for device in devices:
        tag = device.device_id[-12:]
        creds = {"consumer_key": f"k{tag}", "consumer_secret": "s"}
        creds |= {"token": f"t{tag}", "token_secret": "s"}
        assert steps.activate(device, oauth_creds=creds)["state"] == "active"
    yield address, devices
    for device in devices:
        tag = device.device_id[-12:]
        for section in ("oauth_token_users", "oauth_token_secrets"):
            server.config_delete(section, f"t{tag}")
        server.config_delete("oauth_consumer_secrets", f"k{tag}")
    users = server.database("_users")
    users.update(f"org.couchdb.user:{address}", lambda user: {**user, "_deleted": True}, default={})


def asks_to_revoke(steps: Steps, address: str, device: NewDevice) -> None:
    owner = steps.control_db_of(address)
    owner.put({**owner.get(device.device_id), "state": "revoking"})
    steps.run(device.device_id, owner)


@pytest.mark.parametrize(
    "oauth", [None, {}, {"devices": {}}, {"devices": {"device-x": ["k", "t"]}}]
)
def test_oauth_keys_go_though_the_user_document_does_not_list_them(
    steps: Steps,
    server: Server,
    oauth_devices: tuple[str, list[NewDevice]],
    oauth: JsonDict | None,
) -> None:
    """In CouchDB 1.x a device may change the user document that it shares with the others."""
    address, (one, other) = oauth_devices
    users = server.database("_users")
    user = users.get(f"org.couchdb.user:{address}") | {"oauth": oauth}
    users.put({name: value for name, value in user.items() if value is not None})
    asks_to_revoke(steps, address, one)
    steps.run(one.device_id)
    tag, others = one.device_id[-12:], other.device_id[-12:]
    assert server.config_get("oauth_token_users", f"t{tag}") is None
    assert server.config_get("oauth_consumer_secrets", f"k{tag}") is None
    assert server.config_get("oauth_token_users", f"t{others}") == address
    assert steps.control.get(one.device_id)["state"] == "revoked"


def test_a_token_that_is_another_users_is_no_silent_revocation(
    steps: Steps, server: Server, oauth_devices: tuple[str, list[NewDevice]]
) -> None:
    address, (one, _) = oauth_devices
    token = f"t{one.device_id[-12:]}"
    server.config_set("oauth_token_users", token, "somebody@example.com")
    asks_to_revoke(steps, address, one)
    with pytest.raises(ForeignLogin):
        steps.run(one.device_id)
    assert server.config_get("oauth_token_users", token) == "somebody@example.com"
    assert steps.control.get(one.device_id)["state"] == "revoking"


def test_oauth_keys_go_and_those_of_the_owners_other_device_stay(
    steps: Steps, server: Server
) -> None:
    settings = replace(steps.context.settings, device_auth="oauth1")
    steps.context = replace(steps.context, settings=settings)
    address = an_address()
    one, other = a_device(owner=address), a_device(owner=address)
    for device in (one, other):
        tag = device.device_id[-12:]
        creds = {"consumer_key": f"k{tag}", "consumer_secret": "s"}
        creds |= {"token": f"t{tag}", "token_secret": "s"}
        assert steps.activate(device, oauth_creds=creds)["state"] == "active"
    owner = steps.control_db_of(address)
    owner.put({**owner.get(one.device_id), "state": "revoking"})
    steps.run(one.device_id, owner)
    steps.run(one.device_id)
    user = server.database("_users").get(f"org.couchdb.user:{address}")
    tag, others = one.device_id[-12:], other.device_id[-12:]
    assert list(user["oauth"]["devices"]) == [other.device_id]
    assert list(user["oauth"]["consumer_keys"]) == [f"k{others}"]
    assert server.config_get("oauth_token_users", f"t{tag}") is None
    assert server.config_get("oauth_token_users", f"t{others}") == address
    owner.put({**owner.get(other.device_id), "state": "revoking"})
    steps.run(other.device_id, owner)
    steps.run(other.device_id)
    with pytest.raises(NotFound):
        server.database("_users").get(f"org.couchdb.user:{address}")
