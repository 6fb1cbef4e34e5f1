"""`syncpoint-device` as somebody types it, in this process or in one of its own."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

import pytest

from chalicelib.domain.documents import JsonDict
from local.system import ROOT
from syncpoint_device.__main__ import main
from syncpoint_device.databases import Device
from syncpoint_device.home import Home, Profile
from tests.kit.basics import FakeClock, looked_for, wait_for
from tests.kit.device.removal import remove_devices

END_LIMIT_S = 30
NOWHERE = "http://127.0.0.1:9/registrations"


@dataclass(frozen=True)
class Printed:
    """What a command has come to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> JsonDict:
        said: JsonDict = json.loads(self.out)
        return said

    @property
    def error(self) -> JsonDict:
        """What `--json` has said on stderr of why the command failed."""
        said: JsonDict = json.loads(self.err)["error"]
        return said


@dataclass
class Shell:
    """Where the commands of one device are typed. Nothing they print may have a password in it."""

    folder: Path
    couch: str
    capsys: pytest.CaptureFixture[str]
    prefix: str = field(default_factory=lambda: f"test-device-{uuid.uuid4().hex[:12]}-")
    devices: list[Device] = field(default_factory=list)

    @property
    def home(self) -> Home:
        return Home(self.folder)

    @property
    def profile(self) -> Profile:
        return self.home.load()

    @property
    def device(self) -> Device:
        return Device.of(self.profile, lambda about, what: None, FakeClock())

    def type(self, *words: str) -> Printed:
        """Run one command in this process."""
        self.capsys.readouterr()
        secrets = self.secrets()
        try:
            code = main(["--home", str(self.folder), *words])
        except SystemExit as exc:
            code = int(exc.code or 0)
        out, err = self.capsys.readouterr()
        self.check_secrets(out + err, secrets | self.secrets())
        return Printed(code, out, err)

    def register(self, *more: str, **options: str) -> Printed:
        """`register`, with all that it needs; `options` instead of what is usual."""
        usual = {
            "owner": "ada@example.com",
            "registrations": NOWHERE,
            "couch": self.couch,
            "name": "Ada's phone",
            "prefix": self.prefix,
        }
        words = [
            word for name, value in {**usual, **options}.items() for word in ("--" + name, value)
        ]
        printed = self.type(*more, "register", *words)
        if printed.code == 0:
            self.devices.append(self.device)
        return printed

    def set_couch(self, url: str) -> None:
        """Change what the device's file says of its own CouchDB."""
        known = json.loads(self.home.path.read_text())
        self.home.path.write_text(json.dumps({**known, "couch": url}))

    def put(self, doc: JsonDict) -> None:
        """Write one of the owner's documents, as it comes by replication."""
        self.device.database.update(doc["_id"], lambda known: {**known, **doc}, default={})

    def secrets(self) -> set[str]:
        """The passwords, each as it is, as in a URL and as in a header."""
        known = {looked_for(self.couch)}
        if self.home.is_registered:
            with contextlib.suppress(Exception):  # a test may have spoilt the file
                known |= {self.profile.password, looked_for(self.profile.couch)}
        found = {password for password in known if password}
        return found | {unquote(password) for password in found}

    def check_secrets(self, text: str, secrets: set[str] | None = None) -> None:
        for secret in self.secrets() if secrets is None else secrets:
            assert secret not in text, "a password was printed"
        assert "Authorization" not in text
        assert "Basic " not in text
        assert "Traceback" not in text

    @contextlib.contextmanager
    def running(self, *words: str, **environment: str) -> "Iterator[Talk]":
        """A command in a process of its own; killed at the end if it still runs."""
        command = [sys.executable, "-m", "syncpoint_device", "--home", str(self.folder), *words]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # without the terminal of whoever runs the tests
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **environment},
        ) as process:
            talk = Talk(process)
            try:
                yield talk
            finally:
                process.kill()
                process.wait(timeout=END_LIMIT_S)
        talk.close()
        self.check_secrets("\n".join(talk.out + talk.err))

    def run(self, *words: str, **environment: str) -> Printed:
        """One command in a process of its own, to its end."""
        with self.running(*words, **environment) as talk:
            code = talk.end()
        return Printed(code, "\n".join(talk.out), "\n".join(talk.err))

    def remove(self) -> None:
        """Leave the CouchDB as it was."""
        remove_devices(self.couch, self.prefix, [device.profile for device in self.devices])


class Talk:
    """A running command, and what it has printed so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.out: list[str] = []
        self.err: list[str] = []
        streams = ((process.stdout, self.out), (process.stderr, self.err))
        self._threads = [threading.Thread(target=_read, args=pair, daemon=True) for pair in streams]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, part: str, nth: int = 1) -> str:
        """The first line with a certain text in it, or a later one of them."""
        return wait_for(partial(self._find, part, nth), f"“{part}” (so far: {self.out} {self.err})")

    def _find(self, part: str, nth: int) -> str | None:
        found = [line for line in list(self.out) if part in line]
        return found[nth - 1] if len(found) >= nth else None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, limit_s: float = END_LIMIT_S) -> int:
        """The exit code, when it has ended by itself."""
        code = self._process.wait(timeout=limit_s)
        self.close()
        return code

    def close(self) -> None:
        for thread in self._threads:
            thread.join(timeout=END_LIMIT_S)


def _read(stream: IO[Any], lines: list[str]) -> None:
    lines.extend(line.rstrip("\n") for line in stream)
