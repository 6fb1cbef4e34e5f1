"""`python -m local` as somebody types it: the ready line, Ctrl-C, a restart, a kill."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chalicelib.couch import NotFound
from local.system import ROOT
from tests.kit.basics import wait_for
from tests.kit.system.registering import Where, all_mails, get, register
from tests.kit.tokens import subject_of

pytestmark = [pytest.mark.io, pytest.mark.slow]

END_LIMIT_S = 60
# What the system that other tests run in this process leaves in its environment.
OF_THE_LAMBDAS = {"CONTROL_DB", "TABLE_NAME", "SECRET_ID", "PUBLIC_URL", "MAIL_FROM", "STAGE"}
OF_THE_PROCESS = ("AWS_", "POWERTOOLS_")

only_embedded = pytest.mark.skipif(
    bool(os.environ.get("COUCHDB_URL")),
    reason="COUCHDB_URL is set: this is of the embedded CouchDB",
)


@dataclass(frozen=True)
class Command:
    """The running command and the first line that it wrote."""

    process: "subprocess.Popen[bytes]"
    first_line: bytes

    @property
    def where(self) -> Where:
        ready = json.loads(self.first_line)
        return Where(ready["api"], ready["outbox"], ready["couch"], ready["control_db"])

    def interrupt(self) -> bytes:
        """Press Ctrl-C; what it wrote to stdout after its first line."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=END_LIMIT_S)[0]


@contextmanager
def running_command(folder: Path, temporary: Path | None = None) -> Iterator[Command]:
    """The command with its data in `folder`; killed at the end if it still runs."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in OF_THE_LAMBDAS and not name.startswith(OF_THE_PROCESS)
    }
    if temporary:
        environment["TMPDIR"] = str(temporary)
    with (folder.parent / "stderr.txt").open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "--data", str(folder)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=stderr,
            bufsize=0,  # one line is read first: what follows it must stay in the pipe
            env=environment,
        )
    with process:
        try:
            assert process.stdout is not None
            yield Command(process, process.stdout.readline())
        finally:
            process.kill()


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A running command that several tests look at."""
    with running_command(tmp_path_factory.mktemp("local") / "data") as command:
        yield command
        command.interrupt()


def test_the_first_line_says_where_everything_is(command: Command) -> None:
    ready = json.loads(command.first_line)
    assert list(ready) == ["ready", "api", "couch", "outbox", "control_db"]
    assert ready["ready"] is True
    assert get(f"{command.where.api}/health").json()["couchdb"] == "ok"
    assert get(f"{command.where.outbox}/").status_code == 200


def test_a_device_registered_through_the_command_gets_its_mail(command: Command) -> None:
    device = register(command.where)
    assert device.link.startswith(f"{command.where.api}/confirm/")
    assert subject_of(device.link_code) == device.device.device_id
    assert get(device.link).status_code == 200


def test_the_ready_line_is_all_there_is_on_stdout(tmp_path: Path) -> None:
    with running_command(tmp_path / "data") as command:
        register(command.where)
        assert command.interrupt() == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_all_that_it_started(tmp_path: Path, number: signal.Signals) -> None:
    with running_command(tmp_path / "data") as command:
        where = command.where
        assert all(map(answers, (where.api, where.outbox, where.couch)))
        command.process.send_signal(number)
        assert command.process.wait(timeout=END_LIMIT_S) == 0
        assert not answers(where.api)
        assert not answers(where.outbox)
        assert os.environ.get("COUCHDB_URL") or not answers(where.couch)


@only_embedded
def test_data_survives_a_restart_and_no_mail_is_sent_again(tmp_path: Path) -> None:
    with running_command(tmp_path / "data") as command:
        where, early = command.where, register(command.where)
        before = early.doc()
        command.interrupt()
    with running_command(tmp_path / "data") as command:
        # So devices find it again; a port may go to another program, and that is said then.
        assert command.where == where or "is in use" in (tmp_path / "stderr.txt").read_text()
        late = register(command.where)
        control = late.control
        assert control.get(early.device.device_id) == before
        assert before["state"] == "confirming"
        assert [mail["to"] for mail in all_mails(command.where)] == [late.owner]
        assert get(f"{command.where.api}/confirm/{early.link_code}").status_code == 200


@only_embedded
def test_two_with_the_same_data_folder_do_not_meet(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with (
        running_command(tmp_path / "data") as first,
        running_command(tmp_path / "data", temporary) as second,
    ):
        one, other = register(first.where), register(second.where)
        with pytest.raises(NotFound):
            other.control.get(one.device.device_id)
        with pytest.raises(NotFound):
            one.control.get(other.device.device_id)
        assert len(list(temporary.glob("syncpoint-*"))) == 1
        second.interrupt()
        assert list(temporary.glob("syncpoint-*")) == []
        assert one.doc()["state"] == "confirming"


@only_embedded
def test_a_kill_of_the_command_ends_the_embedded_couchdb(tmp_path: Path) -> None:
    with running_command(tmp_path / "data") as command:
        couch = command.where.couch
        assert answers(couch)
        command.process.kill()
        wait_for(lambda: not answers(couch), "the end of the embedded CouchDB")


def answers(url: str) -> bool:
    """Whether anybody takes connections there."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True
