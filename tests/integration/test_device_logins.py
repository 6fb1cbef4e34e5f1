"""The agent's own login in the device's CouchDB, and what happens when a login is refused."""

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from chalicelib.couch import CouchError, Server
from chalicelib.domain.documents import JsonDict
from syncpoint_device import channels, lifecycle, logins
from syncpoint_device.databases import Device
from syncpoint_device.endpoints import split_login, with_login
from syncpoint_device.errors import DeviceError, LoginRefused
from syncpoint_device.home import Home, Profile
from syncpoint_device.refusals import undo
from syncpoint_device.status import status
from tests.kit.basics import FakeClock, an_address, wait_for
from tests.kit.device.by_hand import QUICK, Kit, MakeKit, agent
from tests.kit.device.fake_cloud import FakeCloud
from tests.kit.device.profiles import PHOTOS, a_profile
from tests.kit.http_server import Answer, serving

pytestmark = pytest.mark.io

LOCKED = "Account is temporarily locked due to multiple authentication failures"
WRONG = (401, {"error": "unauthorized", "reason": "Name or password is incorrect."})


def as_login(couch: str, name: str, password: str) -> str:
    return with_login(split_login(couch)[0], name, password)


def lets_in(url: str) -> bool:
    try:
        Server(url).session()
    except CouchError:
        return False
    return True


@pytest.fixture
def administrator(server: Server) -> Iterator[str]:
    """The name of an administrator whose password, `first`, a test may change."""
    name = f"ops-{uuid.uuid4().hex[:8]}"
    server.config_set("admins", name, logins.hashed("first"))
    yield name
    server.config_delete("admins", name)


@pytest.fixture
def kit(make_kit: MakeKit, fake_cloud: FakeCloud, couch_url: str, administrator: str) -> Kit:
    """A device that an earlier version registered: it uses the administrator's login."""
    fake_cloud.state = "active"
    registrations, cloud = fake_cloud.registrations_url, fake_cloud.couch_url
    kit = make_kit(registrations=registrations, cloud=cloud, control_db="control")
    given = as_login(couch_url, administrator, "first")
    kit.home.update(lambda kept: replace(kept, couch=given))
    return kit


def header(couch: str) -> str:
    """What a replication sends to the CouchDB of this URL."""
    device = Device.of(a_profile(couch=couch), str, FakeClock())  # type: ignore[arg-type]
    here = device.own_endpoint(f"{device.server.url}/db-1", device.server.url)
    assert here
    return str(here["headers"]["Authorization"])


def headers(kit: Kit) -> set[str]:
    """What the replications send to the device's own CouchDB."""
    ends = [doc[name] for doc in kit.replications() for name in ("source", "target")]
    here = split_login(kit.profile.couch)[0]
    return {end["headers"]["Authorization"] for end in ends if end["url"].startswith(here)}


# The agent's own login


def test_a_registered_device_keeps_no_password_of_a_person(
    kit: Kit, administrator: str, server: Server
) -> None:
    another = kit.register_another(owner=an_address(), prefix=f"{kit.profile.prefix}another-")
    own = another.profile.couch
    assert another.profile.password not in own
    assert split_login(own)[1] != (administrator, "first")
    assert ":first@" not in another.home.path.read_text()
    assert headers(another) == {header(own)}
    lifecycle.unlink(another.home, another.device, purge=True, offline=True)
    assert not lets_in(own)
    assert administrator in server.config_section("admins")


def test_an_earlier_devices_replications_get_the_agents_own_login(kit: Kit) -> None:
    given = kit.profile.couch
    kit.device.replications.reconcile("control", kit.device.control_both_ways())
    assert headers(kit) == {header(given)}
    with agent(kit) as failures:
        wait_for(lambda: kit.profile.couch != given, "a login of its own")
        wait_for(lambda: headers(kit) == {header(kit.profile.couch)}, "its own replications")
        wait_for(lambda: len(kit.replications()) == 2, "both ways")
        assert failures == []


def test_a_changed_password_of_the_administrator_stops_and_fails_nothing(
    kit: Kit, server: Server, couch_url: str, administrator: str
) -> None:
    """Where CouchDB locks a login, the fifth failure does: there are four, all of them ours."""
    with agent(kit) as failures:
        wait_for(lambda: logins.has_own_login(kit.profile), "a login of its own")
        wait_for(lambda: len(kit.replications()) == 2, "both ways")
        server.config_set("admins", administrator, logins.hashed("second"))
        kit.put({**PHOTOS, "state": "new"})
        wait_for(lambda: kit.exists("channel-1"), "the copy of a channel")
        for _ in range(4):
            assert not lets_in(as_login(couch_url, administrator, "first"))
        assert lets_in(as_login(couch_url, administrator, "second"))
        assert failures == []
    assert [what for about, what in kit.said if about == "couchdb"] == []


# What a server may answer instead


@dataclass
class OwnCouch:
    """A CouchDB that is told how to answer, by the end of a path, and that counts."""

    answers: dict[str, tuple[int, Any]]
    asked: list[str]

    def __call__(self, request: BaseHTTPRequestHandler) -> Answer:
        request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.asked.append(f"{request.command} {request.path}")
        ends = (end for end in self.answers if request.path.partition("?")[0].endswith(end))
        status, body = self.answers[next(ends)]
        return status, json.dumps(body).encode(), {}


@pytest.fixture
def couch() -> Iterator[tuple[OwnCouch, str]]:
    """A CouchDB of the device's own, which refuses every login; and its URL."""
    couch = OwnCouch({"": WRONG}, [])
    with serving(couch) as url:
        yield couch, as_login(url, "admin", "wrong")


def registered(tmp_path: Path, couch: str) -> Kit:
    kit = Kit(Home(tmp_path / "home"))
    kit.home.save(a_profile(couch=couch))
    return kit


def own_url(profile: Profile) -> str:
    return as_login(profile.couch, logins.login_name(profile), "secret")


WELCOME = {"couchdb": "Welcome", "version": "3.5.2"}
REFUSALS: list[dict[str, tuple[int, Any]]] = [
    {"_config/admins/{}": (403, {"error": "forbidden", "reason": "Config is read-only"})},
    {"_config/admins/{}": (500, {"error": "unknown_error", "reason": "eacces"})},
    {"_session": WRONG},  # the other nodes of a cluster have another configuration
    {"_session": (200, {"userCtx": {"roles": []}})},
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_where_no_administrator_can_be_added_the_given_login_stays(
    tmp_path: Path, couch: tuple[OwnCouch, str], refusal: dict[str, tuple[int, Any]]
) -> None:
    answers, url = couch
    kit = registered(tmp_path, url)
    name = logins.login_name(kit.profile)
    answers.answers = {"/": (200, WELCOME), f"_config/admins/{name}": (200, "")}
    answers.answers |= {end.format(name): answer for end, answer in refusal.items()}
    assert logins.adopt(kit.home, kit.device).profile.couch == url
    assert kit.profile.couch == url


def test_a_couchdb_without_a_login_gets_no_administrator(
    tmp_path: Path, couch: tuple[OwnCouch, str]
) -> None:
    answers, url = couch
    bare = split_login(url)[0]
    kit = registered(tmp_path, bare)
    assert logins.adopt(kit.home, kit.device).profile.couch == bare
    assert answers.asked == []


def test_the_only_administrator_is_not_removed(tmp_path: Path, couch: tuple[OwnCouch, str]) -> None:
    """Without one, PouchDB Server lets everybody in."""
    answers, url = couch
    kit = registered(tmp_path, url)
    kit.home.save(replace(kit.profile, couch=own_url(kit.profile)))
    name = logins.login_name(kit.profile)
    answers.answers = {"_config/admins": (200, {name: "-pbkdf2-"}), "": (200, WELCOME)}
    logins.remove(kit.device)
    assert not [one for one in answers.asked if one.startswith("DELETE")]
    answers.answers["_config/admins"] = (200, {name: "-pbkdf2-", "admin": "-pbkdf2-"})
    logins.remove(kit.device)
    assert [one for one in answers.asked if one.startswith("DELETE")]


# A login that is refused


REFUSED = [WRONG, (403, {"error": "forbidden", "reason": LOCKED})]


@pytest.mark.parametrize("answer", REFUSED)
def test_an_agent_tries_a_refused_login_once_in_minutes_and_says_it_once(
    tmp_path: Path, couch: tuple[OwnCouch, str], answer: tuple[int, JsonDict]
) -> None:
    answers, url = couch
    answers.answers = {"": answer}
    kit = registered(tmp_path, url)
    kit.home.save(replace(kit.profile, couch=own_url(kit.profile)))
    assert QUICK.login_s > 300  # CouchDB counts the failures of five minutes
    with agent(kit) as failures:
        wait_for(lambda: kit.said, "what to do")
    assert len(answers.asked) == 1
    with agent(kit, replace(QUICK, login_s=0.1)) as failures:
        wait_for(lambda: len(answers.asked) >= 4, "some tries")
        assert failures == []
    [first, again] = kit.said  # of the two agents
    assert first == again
    assert first[0] == "couchdb"
    assert "refuses the agent's login. Run `couch http://NAME@HOST:PORT`" in first[1]


COMMANDS: dict[str, Callable[[Kit], object]] = {
    "status": lambda kit: status(kit.device),
    "resend": lambda kit: lifecycle.resend(kit.home, kit.device),
    "unlink": lambda kit: lifecycle.unlink(kit.home, kit.device, purge=False, offline=True),
    "purge": lambda kit: lifecycle.unlink(kit.home, kit.device, purge=True, offline=True),
    "revoke": lambda kit: lifecycle.revoke_other(kit.device, "phone"),
    "undo": lambda kit: undo(kit.home, kit.device, "channel-1"),
    "create": lambda kit: channels.create(kit.device, "Photos"),
    "invite": lambda kit: channels.invite(kit.device, "Photos", "ben@example.com"),
    "stop": lambda kit: channels.change_subscription(kit.device, "Photos", "stop", purge=True),
}


@pytest.mark.parametrize("answer", REFUSED)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_sends_a_refused_login_once_and_says_what_to_do(
    tmp_path: Path, couch: tuple[OwnCouch, str], command: str, answer: tuple[int, JsonDict]
) -> None:
    answers, url = couch
    answers.answers = {"": answer}
    kit = registered(tmp_path, url)
    with pytest.raises(LoginRefused, match="Run `couch"):
        COMMANDS[command](kit)
    assert len(answers.asked) == 1


def test_a_check_of_the_cloud_does_not_take_the_own_couchdb_for_it(
    kit: Kit, fake_cloud: FakeCloud, couch: tuple[OwnCouch, str]
) -> None:
    """The registrations endpoint does not have the device, so the outbox is filled again."""
    from syncpoint_device.cloud import CloudMonitor

    fake_cloud.state = None
    monitor = CloudMonitor(kit.home, kit.say)
    device = kit.device
    monitor.check(device)
    refusing = replace(device.profile, couch=couch[1])
    with pytest.raises(LoginRefused):
        monitor.check(Device.of(refusing, kit.say, FakeClock()))
    assert [what for about, what in kit.said if about == "cloud"] == []


# The command `couch`


def test_couch_creates_the_agents_login_again(
    kit: Kit, couch_url: str, administrator: str, server: Server
) -> None:
    device = logins.adopt(kit.home, kit.device)
    device.replications.reconcile("control", device.control_both_ways())
    server.config_delete("admins", logins.login_name(kit.profile))  # somebody has tidied up
    with pytest.raises(LoginRefused):
        status(kit.device)
    result = logins.change_couch(kit.home, kit.device, as_login(couch_url, administrator, "first"))
    assert result == {
        "couch": split_login(couch_url)[0],
        "login": logins.login_name(kit.profile),
        "running": False,
    }
    assert headers(kit) == {header(kit.profile.couch)}


def elsewhere(couch_url: str) -> str:
    """The same server at another URL."""
    return couch_url.replace("127.0.0.1", "localhost")


def local_urls(kit: Kit) -> set[str]:
    """Where the replications look for the device's own CouchDB."""
    ends = [doc[name] for doc in kit.replications() for name in ("source", "target")]
    urls = {str(end["url"]) for end in ends if kit.profile.prefix in end["url"]}
    return {url.rpartition("/")[0] for url in urls}


def test_couch_rewrites_the_replications_with_the_new_url(kit: Kit, couch_url: str) -> None:
    device = logins.adopt(kit.home, kit.device)
    device.replications.reconcile("control", device.control_both_ways())
    new = split_login(elsewhere(couch_url))[0]
    assert logins.change_couch(kit.home, device, elsewhere(couch_url))["couch"] == new
    assert local_urls(kit) == {new}
    assert headers(kit) == {header(kit.profile.couch)}
    groups = [one.group for one in kit.device.replications.all()]
    assert groups == ["control", "control"]


def test_an_agent_that_waits_goes_on_after_couch(
    kit: Kit, couch_url: str, administrator: str, server: Server
) -> None:
    with agent(kit) as failures:
        wait_for(lambda: logins.has_own_login(kit.profile), "a login of its own")
        server.config_delete("admins", logins.login_name(kit.profile))
        wait_for(lambda: "couchdb" in dict(kit.said), "the refused login")
        url = as_login(couch_url, administrator, "first")
        assert logins.change_couch(kit.home, kit.device, url)["running"] is True
        kit.put({**PHOTOS, "state": "new"})
        wait_for(lambda: kit.exists("channel-1"), "the copy of a channel")
        assert failures == []


def test_an_agent_that_works_takes_the_url_of_couch(kit: Kit, couch_url: str) -> None:
    new = split_login(elsewhere(couch_url))[0]
    with agent(kit) as failures:
        wait_for(lambda: logins.has_own_login(kit.profile), "a login of its own")
        wait_for(lambda: len(kit.replications()) == 2, "both ways")
        changed = logins.change_couch(kit.home, kit.device, elsewhere(couch_url))
        assert changed["running"] is True
        wait_for(lambda: local_urls(kit) == {new}, "new replications")
        assert failures == []


def test_couch_changes_nothing_before_it_has_checked(
    kit: Kit, make_kit: MakeKit, couch_url: str, couch: tuple[OwnCouch, str]
) -> None:
    other = make_kit(prefix=f"{kit.profile.prefix}other-")
    before = kit.profile.couch
    kit.home.update(lambda kept: replace(kept, prefix=other.profile.prefix))
    wrong = {
        "nonsense": "this is not the URL of a CouchDB",
        couch[1]: "refuses the login",
        split_login(couch_url)[0]: "needs its administrator's name and password",
        "http://admin:secret@127.0.0.1:9": "nothing answers at 127.0.0.1:9",
        couch_url: "does not have this device's databases. Nothing was changed",
    }
    for url, reason in wrong.items():
        with pytest.raises(DeviceError, match=reason):
            logins.change_couch(kit.home, kit.device, url)
        assert kit.profile.couch == before
    assert len(couch[0].asked) == 1


# A login that the cloud does not know yet


def test_no_login_is_tried_before_the_registration_is_active(
    make_kit: MakeKit, fake_cloud: FakeCloud
) -> None:
    """What a former device of the owner's has left here does not say that this one is known."""
    fake_cloud.state = "confirming"
    kit = make_kit(
        registrations=fake_cloud.registrations_url,
        cloud=fake_cloud.couch_url,
        control_db="control",
        is_active=False,
    )
    kit.put({**PHOTOS, "syncpoint": f"{fake_cloud.couch_url}/db-1"})
    kit.put_subscription("channel-1", remote=f"{fake_cloud.couch_url}/db-1")
    kit.device.acquire(kit.device.channel("channel-1"))
    with agent(kit):
        wait_for(lambda: any(who == "registration" for who, _ in kit.said), "the first check")
        wait_for(lambda: len(fake_cloud.asked) > 6, "more checks")
        with pytest.raises(DeviceError, match="is not registered in the cloud yet"):
            undo(kit.home, kit.device, "channel-1")
        assert {one.group for one in kit.device.replications.all()} == {"outbox"}
        assert [one.path for one in fake_cloud.asked if one.authorization] == []
        fake_cloud.state = "active"
        wait_for(lambda: len(kit.replications()) == 4, "all replications")
    assert kit.profile.is_active
