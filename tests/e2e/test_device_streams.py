"""Where the agent and the commands write: a pipe that is closed, a file; and Windows' rules."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.system import ROOT
from tests.kit.basics import wait_for
from tests.kit.device.shell import END_LIMIT_S, Shell

pytestmark = pytest.mark.io

# What Python has on POSIX only. With None, an import fails.
NOT_ON_WINDOWS = """
import os, signal, sys
for name in ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
for name in ("fchmod", "fchown", "fork", "getuid", "geteuid", "setsid", "umask_of"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGUSR1", "pthread_sigmask", "setitimer"):
    delattr(signal, name)
"""


@contextmanager
def into_a_closed_pipe(shell: Shell, *words: str) -> "Iterator[subprocess.Popen[str]]":
    """A command whose output nobody reads any more, as of `… | head -0`."""
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen(
        [sys.executable, "-m", "syncpoint_device", "--home", str(shell.folder), *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
    ) as process:
        os.close(writer)
        try:
            yield process
        finally:
            process.kill()


# A closed pipe


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["--json", "status"],
        ["--help"],
        ["--version"],
        ["channel", "list"],
        ["service"],
        ["completion", "bash"],
    ],
    ids=" ".join,
)
def test_a_closed_pipe_ends_a_command_quietly(phone: Shell, words: list[str]) -> None:
    with into_a_closed_pipe(phone, *words) as process:
        _, err = process.communicate(timeout=END_LIMIT_S)
    assert (process.returncode, err) == (141, "")


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_a_closed_pipe_does_not_end_the_agent(
    phone: Shell, option: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "agent.log"

    def lines() -> list[str]:
        return file.read_text().splitlines() if file.exists() else []

    words = [*option, "run", "--every", "0.2", "--log-file", str(file)]
    with into_a_closed_pipe(phone, *words) as process:
        wait_for(lambda: any("cannot be reached" in line for line in lines()), "a line in the log")
        # It works on: it restarts its replication, which cannot reach the cloud either.
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=END_LIMIT_S)
    assert (process.returncode, err) == (0, "")
    assert "stopped; this device's CouchDB continues to replicate" in lines()[-1]


# Errors for programs


def test_with_json_an_error_has_a_code_and_a_message(shell: Shell) -> None:
    printed = shell.type("--json", "status")
    assert (printed.code, printed.out) == (1, "")
    assert printed.error == {
        "code": "not_registered",
        "message": f"no device is registered in {shell.folder}; run `register` first, or name "
        "another folder with --home",
    }


def test_with_json_an_outage_of_the_own_couchdb_has_a_code(phone: Shell) -> None:
    phone.set_couch("http://127.0.0.1:9")
    assert phone.type("--json", "status").error["code"] == "couch_unreachable"


def test_a_file_of_certificates_that_is_not_there_is_told(phone: Shell, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("SSL_CERT_FILE", "")
        printed = phone.type("--ca-file", str(tmp_path / "ca.pem"), "status")
    assert (printed.code, printed.out) == (1, "")
    assert f"the file of certificates {tmp_path}/ca.pem cannot be used: No such" in printed.err


@pytest.mark.parametrize("shell_name", ["bash", "zsh"])
def test_the_completion_has_the_commands_and_options(shell: Shell, shell_name: str) -> None:
    printed = shell.type("completion", shell_name)
    assert (printed.code, printed.err) == (0, "")
    assert [word for word in ("rename", "--log-file", "withdraw") if word not in printed.out] == []


def test_bash_understands_the_completion(shell: Shell) -> None:
    script = shell.type("completion", "bash").out
    ask = (
        "COMP_WORDS=(syncpoint-device channel re); COMP_CWORD=2; _shtab_syncpoint_device; "
        'echo "${COMPREPLY[@]}"'
    )
    ended = subprocess.run(
        ["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == ["rename", "remove"]


# Windows' rules


def test_the_agent_starts_and_stops_without_what_windows_lacks(
    shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(NOT_ON_WINDOWS)
    windows = {
        "PYTHONPATH": str(tmp_path),
        "HOME": str(tmp_path),
        "PYTHONWARNINGS": "ignore",  # of filelock: on Windows, it has a lock of its own
    }
    words = ["--owner", "ada@example.com", "--registrations", "http://127.0.0.1:9/registrations"]
    words += ["--couch", shell.couch, "--name", "PC", "--prefix", shell.prefix]
    printed = shell.run("register", *words, **windows)
    assert (printed.code, printed.err) == (0, "")
    shell.devices.append(shell.device)
    for _ in range(2):
        with shell.running("run", **windows) as talk:
            talk.wait_for("cannot be reached")
            second = shell.run("--json", "run", **windows)
            assert (second.code, second.error["code"]) == (1, "agent_running")
            talk.send(signal.SIGINT)
            assert talk.end() == 0
        assert talk.err == []
    with shell.running("run", **windows) as talk:
        talk.wait_for("cannot be reached")
        talk.send(signal.SIGKILL)  # as the task manager does
        talk.end()
    said = shell.run("--json", "unlink", "--offline", **windows)
    assert json.loads(said.out)["known"] is False or said.code == 0
