"""What the local system leaves behind on a CouchDB that was lent to it, and how it refuses."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chalicelib.couch import CouchError, Database, NotFound, Server
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.credentials import login_user
from chalicelib.domain.names import channel_db, owner_control_db, owner_role
from local.aws import LocalAws
from local.cleanup import remove_all_of
from local.demo import __main__ as demo
from local.errors import LocalError, refusal
from local.lambdas import receive
from local.system import ROOT, LocalSystem, Options
from tests.kit.basics import a_device, an_address
from tests.kit.cases.attacks import nested_text
from tests.kit.cloud.access import exists, put_text
from tests.kit.cloud.steps import Owner

pytestmark = pytest.mark.io


def test_cleaning_up_removes_what_came_of_its_own_documents_and_nothing_else(
    server: Server,
) -> None:
    control = server.database(f"syncpoint-test-{uuid.uuid4().hex[:12]}")
    theirs = server.database(f"{control.name}-orders")
    device, others = a_device(owner=an_address()), a_device(owner=an_address())
    owners = server.database(owner_control_db(control.name, owner_id_of(device.doc["owner"])))
    users = server.database("_users")
    for database in (control, theirs, owners):
        database.create()
    try:
        control.put(device.doc)
        for one in (device, others):
            role = owner_role(owner_id_of(one.doc["owner"]))
            users.put(login_user(one.device_id, role, one.doc["credentials"]))
        remove_all_of(server, control.name)
        assert not exists(control)
        assert not exists(owners)
        assert exists(theirs)
        with pytest.raises(NotFound):
            users.get(f"org.couchdb.user:{device.device_id}")
        assert users.get(f"org.couchdb.user:{others.device_id}")["name"] == others.device_id
    finally:
        theirs.delete()
        users.remove(users.get(f"org.couchdb.user:{others.device_id}"))


def test_cleaning_up_removes_also_what_came_of_documents_that_cannot_be_read(
    server: Server,
) -> None:
    control = server.database(f"syncpoint-test-{uuid.uuid4().hex[:12]}")
    device = a_device(owner=an_address())
    owner = owner_id_of(device.doc["owner"])
    owners = server.database(owner_control_db(control.name, owner))
    channel = server.database(channel_db(owner, "channel-1"))
    for database in (control, owners, channel):
        database.create()
    server.database("_users").put(
        login_user(device.device_id, owner_role(owner), device.doc["credentials"])
    )
    channel.put_security({"syncpoint": {"control_db": owners.name, "channel": "channel-1"}})
    deep = nested_text(2_000)
    put_text(control, device.device_id, f'{{"type":"device","state":"active","x":{deep}}}')
    put_text(owners, "channel-1", f'{{"type":"channel","state":"ready","x":{deep}}}')
    put_text(owners, "deep", f'{{"x":{deep}}}')
    remove_all_of(server, control.name)
    for database in (control, owners, channel):
        assert not exists(database)
    with pytest.raises(NotFound):
        server.database("_users").get(f"org.couchdb.user:{device.device_id}")


def test_cleaning_up_removes_the_database_of_a_channel_that_was_deleted(
    ada: Owner, server: Server
) -> None:
    ada.channel()
    database = ada.channel_database()
    ada.control.remove(ada.control.get("channel-photos"))
    remove_all_of(server, ada.steps.control.name)
    assert not exists(database)
    ada.steps.control.create()


@pytest.mark.parametrize("is_last", [False, True])
def test_of_an_owners_oauth_keys_only_the_devices_own_are_removed(
    server: Server, control: Database, is_last: bool
) -> None:
    device = a_device(owner=an_address())
    tag = device.device_id
    keys = {"consumer_key": f"{tag}-key", "token": f"{tag}-token"}
    creds = keys | {"consumer_secret": "s", "token_secret": "s"}
    users = server.database("_users")
    kept = {} if is_last else {"old": ["old-key", "old-token"]}
    user = {
        "_id": f"org.couchdb.user:{device.doc['owner']}",
        "name": device.doc["owner"],
        "type": "user",
        "roles": [],
        "oauth": {
            "consumer_keys": {f"{tag}-key": "s"} | ({} if is_last else {"old-key": "s"}),
            "tokens": {f"{tag}-token": "s"} | ({} if is_last else {"old-token": "s"}),
            "devices": {tag: [f"{tag}-key", f"{tag}-token"]} | kept,
        },
    }
    users.put(user)
    control.put({**device.doc, "oauth_creds": creds, "state": "active"})
    remove_all_of(server, control.name)
    control.create()
    if is_last:
        with pytest.raises(NotFound):
            users.get(str(user["_id"]))
        return
    left = users.get(str(user["_id"]))
    assert left["oauth"] == {
        "consumer_keys": {"old-key": "s"},
        "tokens": {"old-token": "s"},
        "devices": kept,
    }
    users.remove(left)


def run_local(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local", "--data", str(folder), *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"CONTROL_DB": "Not-A-Name"}, "'Not-A-Name' is no name of a CouchDB database"),
        ({"COUCHDB_URL": "http://admin:p@ss@127.0.0.1:9"}, "COUCHDB_URL must be"),
        ({"COUCHDB_URL": "http://admin:pa/ss@127.0.0.1:9"}, "COUCHDB_URL must be"),
        ({"COUCHDB_URL": "http://admin:p%40ss@127.0.0.1:9"}, "cannot be reached: is it running?"),
    ],
)
def test_what_cannot_start_says_why_in_one_line_and_exits_with_1(
    tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    finished = run_local(tmp_path, **environment)
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr.startswith("error: ")
    assert said in finished.stderr
    assert "administrator" not in finished.stderr
    for secret in ("p@ss", "pa/ss", "p%40ss", "Traceback"):
        assert secret not in finished.stderr


def test_a_couchdb_that_refuses_us_needs_its_administrator(couch_url: str) -> None:
    url = urlsplit(couch_url)
    where = f"{url.hostname}:{url.port}{url.path}"
    options = Options(f"{url.scheme}://{url.username}:wrong@{where}")
    with pytest.raises(LocalError) as refused, LocalSystem(options):
        pass
    first, said, last = re.split(r": (?=PUT)|\. (?=COUCHDB)", str(refused.value))
    assert first == f"CouchDB at {url.scheme}://{where} does not let us create a database"
    assert "401 unauthorized" in said
    assert not said.endswith(".")
    assert last == "COUCHDB_URL needs an administrator: http://NAME:PASSWORD@HOST:5984"


def test_an_embedded_couchdb_that_fails_is_not_blamed_on_couchdb_url() -> None:
    exc = CouchError(500, "unknown", "the answer is not CouchDB's", "PUT /_users")
    said = refusal("http://127.0.0.1:22", exc, is_given=False)
    assert said.endswith("500 unknown: the answer is not CouchDB's; try another --couch-port")
    assert "COUCHDB_URL" not in said


@pytest.mark.parametrize("part", ["api", "outbox", "couch"])
def test_a_port_that_is_in_use_is_named_with_its_option(tmp_path: Path, part: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finished = run_local(tmp_path, f"--{part}-port", str(port), COUCHDB_URL="")
    assert finished.returncode == 1
    assert (
        finished.stderr
        == f"error: --{part}-port {port} is in use; choose another, or 0 for a free one\n"
    )


def test_what_is_no_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    ports = ("--api-port=99999", "--outbox-port=99999", "--couch-port=99999")
    for option in ports:
        finished = run_local(tmp_path / "data", option)
        assert finished.returncode == 2
        assert f"{option[:-6]}: a port is a number from 0 to 65535, not " in finished.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("option", "code"), [("--help", 0), ("--fast", 2)])
def test_the_demo_takes_no_options_and_so_does_not_run_for_one(
    option: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["local.demo", option])
    with pytest.raises(SystemExit) as ended:
        demo.main()
    assert ended.value.code == code
    assert "usage: python -m local.demo [-h]" in "".join(capsys.readouterr())


def test_an_odd_attachment_does_not_end_the_embedded_couchdb_for_everybody(
    server: Server, control: Database
) -> None:
    odd = {"_attachments": {"a": {"data": 1}}}
    with contextlib.suppress(CouchError):  # CouchDB refuses it, the embedded server says nothing
        server.http.request("PUT", f"/{control.name}/d", body=odd, read_timeout_s=1)
    assert control.info()


def test_another_owners_message_is_the_next_beside_a_flood(aws: LocalAws) -> None:
    sqs, name = aws.client("sqs"), f"flooded-{uuid.uuid4().hex[:12]}"
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    for group in [*["ada"] * 20, "ben"]:
        entries = [
            {"Id": str(number), "MessageBody": group, "MessageGroupId": group}
            for number in range(1 if group == "ben" else 10)
        ]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    first_two = [receive(sqs, url, name, 1)[0]["body"] for _ in range(2)]
    assert first_two == ["ada", "ben"]
    sqs.delete_queue(QueueUrl=url)
