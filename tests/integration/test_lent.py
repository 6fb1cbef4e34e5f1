"""A run of tests fails if it leaves something on the CouchDB that it was lent."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from chalicelib.couch import Server
from local.couchdb_process import EmbeddedCouchDB
from local.system import ROOT
from syncpoint_device import logins
from syncpoint_device.endpoints import endpoint
from syncpoint_device.replications import Direction, Replications
from tests.kit.embedded import start_quietly
from tests.kit.lent import made_by_tests

A_RUN = """
import os
from chalicelib.couch import Server

def test_one():
    server = Server(os.environ["COUCHDB_URL"])
    for name in os.environ["CREATE"].split():
        server.database(name).create()
"""


@pytest.fixture(scope="module")
def lent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCouchDB]:
    """A CouchDB that no other test uses."""
    couchdb = start_quietly(tmp_path_factory.mktemp("lent"), uuid.uuid4().hex)
    yield couchdb
    couchdb.stop()


@pytest.mark.io
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_a_run_that_leaves_something_fails_and_names_it(
    lent: EmbeddedCouchDB, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    name = f"test-device-{uuid.uuid4().hex}"
    path = tmp_path / "test_a_run.py"
    path.write_text(A_RUN)
    command = [sys.executable, "-m", "pytest", "-p", "tests.kit.lent", *workers, str(path)]

    def run(names: str) -> tuple[int, str]:
        env = os.environ | {"COUCHDB_URL": lent.url, "DEVICE_COUCHDB_URL": "", "CREATE": names}
        ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        return ended.returncode, ended.stdout

    code, said = run("somebody-elses")
    assert (code, "left on" in said) == (0, False), said
    code, said = run(name)
    assert "1 passed" in said
    assert code == pytest.ExitCode.TESTS_FAILED
    assert f"database {name}" in said
    assert run(name)[0] == 0, "it was there before"


def test_all_kinds_of_what_tests_make_are_seen(server: Server, couch_url: str) -> None:
    tag = uuid.uuid4().hex
    database, users = server.database(f"test-device-{tag}"), server.database("_users")
    user = {"_id": f"org.couchdb.user:device-{tag}", "name": f"device-{tag}", "type": "user"}
    admin = f"syncpoint-device-{tag}"
    replications = Replications(server, f"device-{tag}")
    with ExitStack() as exits:
        database.create()
        exits.callback(database.delete)
        users.put({**user, "roles": [], "password": tag})
        exits.callback(lambda: users.update(user["_id"], lambda doc: {**doc, "_deleted": True}))
        nowhere = endpoint("http://127.0.0.1:9/nowhere")
        replications.reconcile("group", [Direction(nowhere, nowhere)])
        exits.callback(replications.remove_all)
        server.config_set("admins", admin, logins.hashed(tag))
        exits.callback(server.config_delete, "admins", admin)
        seen = [what for what in made_by_tests(couch_url) if tag in what]
        kinds = ["database", "document _replicator", "document _users", "setting [admins]"]
        assert sorted(what.rpartition("/")[0] or what.rpartition(" ")[0] for what in seen) == kinds
    assert not [what for what in made_by_tests(couch_url) if tag in what]
