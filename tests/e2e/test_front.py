"""The agent's story through the front: register, create a channel, exchange documents, revoke."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.net import Net
from local.system import ROOT
from syncpoint_device.errors import Revoked
from tests.e2e.conftest import MakeGadget
from tests.kit.basics import wait_for
from tests.kit.device.gadget import (
    in_cloud,
    share_with,
    wait_for_rev,
    wait_for_sync,
)
from tests.kit.front import Front, running_front
from tests.kit.system.registering import Where

pytestmark = [pytest.mark.couchdb, pytest.mark.io]

# A system of its own, in a process of its own: its devices find CouchDB behind the front.
_SYSTEM = """
import os, sys
from local.system import LocalSystem, Options, prepare_process
prepare_process()
options = Options(os.environ.get("COUCHDB_URL") or None, couchdb_public_url=sys.argv[1])
with LocalSystem(options) as system:
    print(system.ready_line(), flush=True)
    sys.stdin.read()
"""
_OF_THE_LAMBDAS = ("TABLE_NAME", "SECRET_ID", "CONTROL_DB", "PUBLIC_URL", "AWS_", "STAGE")


@contextmanager
def _system(public_url: str, folder: Path) -> Iterator[Where]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OF_THE_LAMBDAS)}
    with (
        (folder / "stderr.txt").open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", _SYSTEM, public_url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=kept,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            ready = json.loads(process.stdout.readline())
            yield Where(ready["api"], ready["outbox"], ready["couch"], ready["control_db"])
        finally:
            process.stdin.close()
            process.wait()


@pytest.fixture(scope="module")
def behind(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Where, Front]]:
    """The system, and the front before its CouchDB."""
    folder = tmp_path_factory.mktemp("behind-front")
    public_url, listening = net.reserve()
    with (
        _system(public_url, folder) as where,
        running_front(folder / "front", where.couch, CONTROL_DB=where.control_db) as front,
    ):
        net.forward(listening, front.url)
        yield where, front


@pytest.fixture(scope="module")
def where(behind: tuple[Where, Front]) -> Where:
    return behind[0]


def test_agents_do_all_that_they_do_through_the_front(
    gadget: MakeGadget, behind: tuple[Where, Front]
) -> None:
    front = behind[1]
    phone = gadget("phone").become_active()
    laptop = gadget("laptop", owner=phone.owner).become_active()
    guest = gadget("guest").become_active()
    channel_id, name = share_with(phone, guest)
    wait_for_sync(laptop, channel_id)
    image = {"content_type": "image/jpeg", "data": "/9j/4AAQSkZJRg=="}
    rev = phone.copy(channel_id).put({"_id": "photo", "_attachments": {"a/b ü.jpg": image}})
    copies = (in_cloud(phone, channel_id), laptop.copy(channel_id), guest.copy(name))
    for database in copies:
        wait_for_rev(database, "photo", rev)
        assert set(database.get("photo")["_attachments"]) == {"a/b ü.jpg"}
    rev = guest.copy(name).put({**guest.copy(name).get("photo"), "seen": True})
    wait_for_rev(phone.copy(channel_id), "photo", rev)
    laptop.control.update(phone.id, lambda doc: {**doc, "state": "revoking"})
    wait_for(lambda: isinstance(phone.failure, Revoked), "the end of the phone's agent")
    log = front.log().splitlines()
    assert any('/_changes" 200' in line for line in log)
    assert [line for line in log if '" 403 ' in line] == []
