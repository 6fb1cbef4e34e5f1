"""A device of the demo: its own CouchDB, and the agent's commands in processes of its own."""

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from local.couchdb_process import EmbeddedCouchDB
from local.errors import LocalError
from local.system import ROOT
from syncpoint_device import logins
from syncpoint_device.databases import Device, Say
from syncpoint_device.home import Home

END_LIMIT_S = 30
_MAX_DATABASES = 1000


class DeviceProcess:
    """A device with its processes. `close` ends them, and cleans up a given CouchDB.

    Parameters
    ----------
    folder : Path
        The folder for its file and for its CouchDB's data.
    couchdb_url : str or None
        A CouchDB to use; None starts one for the device.
    prefix : str
        The prefix of its databases on a given CouchDB.
    say : callable
        Called with the subject and the message of each line that the agent prints.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        couchdb_url: str | None,
        prefix: str,
        say: Say,
    ) -> None:
        self.name, self._say = name, say
        self._own = None if couchdb_url else EmbeddedCouchDB(folder / "couchdb", f"{name}s-own")
        self.couch = self._own.url if self._own else str(couchdb_url)
        self._prefix = prefix if couchdb_url else ""
        self._home = folder / "home"
        self._agent: subprocess.Popen[str] | None = None

    @property
    def device(self) -> Device:
        """The device, as its file describes it now."""
        profile = Home(self._home).load()
        return Device.of(profile, self._say, lambda: datetime.now(UTC))

    def database(self, name: str) -> Database:
        """Return a database in the device's own CouchDB."""
        return Server(self.couch).database(name)

    def register(self, owner: str, registrations: str) -> JsonDict:
        """Run `register`. Return its result."""
        where = ["--couch", self.couch, "--prefix", self._prefix, "--registrations", registrations]
        return self.command("register", "--owner", owner, "--name", self.name, *where)

    def command(self, *words: str) -> JsonDict:
        """Run a command on the device. Return its result.

        Raises
        ------
        LocalError
            If the command fails, with its reason.
        """
        finished = subprocess.run(  # noqa: S603
            self._command(*words), capture_output=True, text=True, cwd=ROOT, check=False
        )
        if finished.returncode:
            raise LocalError(f"{self.name}: {' '.join(words[:2])}: {finished.stderr.strip()}")
        result: JsonDict = json.loads(finished.stdout)
        return result

    def start(self) -> None:
        """Start the agent, and pass on what it prints."""
        self._agent = subprocess.Popen(  # noqa: S603
            self._command("run", "--every", "1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            start_new_session=True,  # so that Ctrl-C reaches this process only, which ends it
        )
        if self._agent.stdout is not None:
            listener = threading.Thread(target=self._listen, args=(self._agent.stdout,))
            listener.daemon = True
            listener.start()

    def wait_for_end(self) -> int:
        """Wait until the agent has ended by itself, and return its exit code."""
        if self._agent is None:
            raise LocalError(f"{self.name}: no agent was started")
        return self._agent.wait(timeout=END_LIMIT_S)

    def exchange(self, other: "DeviceProcess", db: str, other_db: str) -> None:
        """Replicate a database with another device, once each way, without the cloud."""
        here, there = f"{self.couch}/{db}", f"{other.couch}/{other_db}"
        for source, target in ((here, there), (there, here)):
            body = {"source": source, "target": target}
            Server(self.couch).http.request("POST", "/_replicate", body=body)

    def close(self) -> None:
        """End the agent and the CouchDB. In a given CouchDB, delete the device's databases."""
        self._say = lambda about, what: None
        if self._agent is not None:
            self._agent.terminate()
            self._agent.wait(timeout=END_LIMIT_S)
        if self._own is not None:
            self._own.stop()
            return
        server, device = Server(self.couch), None
        if Home(self._home).is_registered:
            device = self.device
            device.replications.remove_all()
        for name in server.all_dbs(self._prefix, f"{self._prefix}~", _MAX_DATABASES):
            server.database(name).delete()
        if device is not None:
            logins.remove(device)

    def _command(self, *words: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "syncpoint_device",
            "--home",
            str(self._home),
            "--json",
            *words,
        ]

    def _listen(self, lines: IO[str]) -> None:
        for line in lines:
            printed: JsonDict = json.loads(line) if line.startswith("{") else {"what": line.strip()}
            if "error" in printed:  # the last line of an agent that ended by itself
                printed = {"what": f"error: {printed['error']['message']}"}
            self._say(printed.get("about", "agent"), printed["what"])
