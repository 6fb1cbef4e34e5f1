"""A device on this machine: a CouchDB of its own, and its agent as somebody would run it."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from device.databases import Device
from device.home import Home
from local.couchdb_process import EmbeddedCouchDB
from local.errors import LocalError

ROOT = Path(__file__).parent.parent.parent
END_LIMIT_S = 30
_MAX_DATABASES = 1000


class DeviceProcess:
    """A device; `close` ends all that it started, and leaves a lent CouchDB as it was.

    Parameters
    ----------
    folder : Path
        For its file, and for its CouchDB's data.
    couchdb_url : str or None
        A CouchDB that was lent to us; None gives the device one of its own.
    prefix : str
        What its databases on a lent CouchDB begin with.
    tell : callable
        Told each thing that the agent says: about what, and in which words.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        couchdb_url: str | None,
        prefix: str,
        tell: Callable[[str, str], None],
    ) -> None:
        self.name, self._tell = name, tell
        self._own = None if couchdb_url else EmbeddedCouchDB(folder / "couchdb", f"{name}s-own")
        self.couch = self._own.url if self._own else str(couchdb_url)
        self._prefix = prefix if couchdb_url else ""
        self._home = folder / "home"
        self._agent: subprocess.Popen[str] | None = None

    @property
    def device(self) -> Device:
        """What the device knows of itself and of the cloud."""
        profile = Home(self._home).load()
        return Device.of(profile, self._tell, lambda: datetime.now(UTC))

    def database(self, name: str) -> Database:
        """A database of the device's own."""
        return Server(self.couch).database(name)

    def register(self, owner: str, registrations: str) -> JsonDict:
        """Begin a registration; what the command says."""
        where = ["--couch", self.couch, "--prefix", self._prefix, "--registrations", registrations]
        return self.command("register", "--owner", owner, "--name", self.name, *where)

    def command(self, *words: str) -> JsonDict:
        """Type a command on the device; what it says.

        Raises
        ------
        LocalError
            If it fails; with the reason that it gives.
        """
        finished = subprocess.run(  # noqa: S603
            self._command(*words), capture_output=True, text=True, cwd=ROOT, check=False
        )
        if finished.returncode:
            raise LocalError(f"{self.name}: {' '.join(words[:2])}: {finished.stderr.strip()}")
        said: JsonDict = json.loads(finished.stdout)
        return said

    def start(self) -> None:
        """Run the agent, and tell what it says."""
        self._agent = subprocess.Popen(  # noqa: S603
            self._command("run", "--every", "1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C is for us to hear; we end it then
        )
        if self._agent.stdout is not None:
            listener = threading.Thread(target=self._listen, args=(self._agent.stdout,))
            listener.daemon = True
            listener.start()

    def wait_for_end(self) -> int:
        """The agent's exit code, once it has ended by itself."""
        if self._agent is None:
            raise LocalError(f"{self.name}: no agent was started")
        return self._agent.wait(timeout=END_LIMIT_S)

    def exchange(self, other: "DeviceProcess", db: str, other_db: str) -> None:
        """Replicate with another device directly, once each way: no cloud is asked."""
        here, there = f"{self.couch}/{db}", f"{other.couch}/{other_db}"
        for source, target in ((here, there), (there, here)):
            body = {"source": source, "target": target}
            Server(self.couch).http.request("POST", "/_replicate", body=body)

    def close(self) -> None:
        """End the agent and the CouchDB; remove what is in a lent one."""
        self._tell = lambda about, what: None  # the story is over
        if self._agent is not None:
            self._agent.terminate()
            self._agent.wait(timeout=END_LIMIT_S)
        if self._own is not None:
            self._own.stop()
            return
        server = Server(self.couch)
        if Home(self._home).is_registered:
            self.device.replications.remove_all()
        for name in server.all_dbs(self._prefix, f"{self._prefix}~", _MAX_DATABASES):
            server.database(name).delete()

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "device", "--home", str(self._home), "--json", *words]

    def _listen(self, lines: IO[str]) -> None:
        for line in lines:
            if line.startswith("{"):
                said = json.loads(line)
                self._tell(said["about"], said["what"])
            else:
                self._tell("agent", line.strip())
