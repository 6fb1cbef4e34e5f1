"""The device's file, `device.json`: its registration and its password, for its user only."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from syncpoint_device.errors import AgentRunning, DeviceError, NotRegistered

_FILE = "device.json"
# The notes of the agent and of `status`; see `Home.note`.
AGENT_NOTE, CLOUD_NOTE, NEWS_NOTE = "agent", "cloud", "news"
# Fields of the document that the commands rely on.
_TEXT_FIELDS = ("_id", "owner", "name", "device_code")
_FLAGS = ("is_revoked", "is_rejected", "is_active")
_REPLACE_ATTEMPTS, _REPLACE_PAUSE_S = 20, 0.05


@dataclass(frozen=True)
class Profile:
    """What a device knows about itself and about its cloud.

    Attributes
    ----------
    doc : dict
        The device's document, as it is sent to the registrations endpoint.
    password : str
        The device's password at the cloud's CouchDB.
    registrations : str
        The registrations endpoint's URL, as the user typed it.
    couch : str
        The URL of the device's own CouchDB, with the agent's own login there, or with the one that
        somebody gave it.
    prefix : str
        The prefix of the device's database names there, since several devices may share a CouchDB.
    cloud, control_db : str
        The URL of the cloud's CouchDB and its control database; empty until they are known.
    is_revoked, is_rejected : bool
        Whether this device was revoked, or its registration was rejected.
    is_active : bool
        Whether the cloud has created this device's login. Before that, it is not tried.
    """

    doc: JsonDict
    password: str = field(repr=False)
    registrations: str
    couch: str = field(repr=False)
    prefix: str = ""
    cloud: str = ""
    control_db: str = ""
    is_revoked: bool = False
    is_rejected: bool = False
    is_active: bool = False

    @property
    def device_id(self) -> str:
        """The document's `_id`, which is also the name of the login."""
        return str(self.doc["_id"])

    @property
    def owner_address(self) -> str:
        """The owner's e-mail address."""
        return str(self.doc["owner"])

    @property
    def owner_id(self) -> str:
        """The hash of the owner's address."""
        return owner_id_of(self.owner_address)


class Home:
    """The folder of a device's file.

    Parameters
    ----------
    folder : Path
        Created at the first write.

    Attributes
    ----------
    path : Path
        The device's file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / _FILE

    @property
    def is_registered(self) -> bool:
        """Whether a device is registered here."""
        return self.path.exists()

    @property
    def written_at(self) -> int:
        """When the device's file was last written, in nanoseconds; 0 if there is none."""
        try:
            return self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def load(self) -> Profile:
        """Read the device's file.

        Raises
        ------
        DeviceError
            If there is none, or it cannot be read.
        """
        try:
            return _checked(Profile(**json.loads(self.path.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            raise NotRegistered(self._folder.absolute()) from None
        except (OSError, ValueError, TypeError, RecursionError) as exc:
            raise DeviceError(
                f"{self.path} cannot be read: {type(exc).__name__}. Repair it, or move it away and "
                "run `register` again"
            ) from None

    def save(self, profile: Profile) -> None:
        """Write the device's file atomically, readable by its user only."""
        self._write(self.path, asdict(profile))

    def keep(self, doc: JsonDict) -> Path:
        """Keep a copy of a revision of a document in the folder, readable by its user only.

        Returns
        -------
        Path
            The file. The same revision is always kept in the same one.
        """
        digest = hashlib.sha256(f"{doc['_id']} {doc['_rev']}".encode(errors="surrogatepass"))
        path = self._folder / f"refused-{digest.hexdigest()[:16]}.json"
        self._write(path, doc)
        return path

    def note(self, name: str) -> JsonDict:
        """Return what `write_note` wrote last; empty if there is nothing that can be read."""
        try:
            value = json.loads(self._note_path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def write_note(self, name: str, value: JsonDict) -> None:
        """Keep something for `status`. A note is no truth: it may be lost, and must stop nothing.

        Parameters
        ----------
        name : str
            ``agent`` (``{pid, since}``), ``cloud`` (see `syncpoint_device.known`) or ``news`` (see
            `syncpoint_device.news`).
        """
        with suppress(OSError):
            self._write(self._note_path(name), value)

    def remove_note(self, name: str) -> None:
        """Remove a note, if it is there."""
        with suppress(OSError):
            self._note_path(name).unlink(missing_ok=True)

    def running_agent(self) -> JsonDict | None:
        """Return the note ``{pid, since}`` of this device's agent; None if no agent runs."""
        note = self.note(AGENT_NOTE)
        if not note:
            return None  # so that the lock of an agent that starts now is not touched
        try:
            with self.only_agent():
                return None
        except AgentRunning:
            return note

    def _note_path(self, name: str) -> Path:
        return self._folder / f"note-{name}.json"

    def _write(self, path: Path, value: JsonDict) -> None:
        """Write a file atomically, readable by its user only."""
        self._create_folder()
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        _replace(path, new)

    def update(self, change: Callable[[Profile], Profile]) -> Profile:
        """Change the device's file under a lock, so that no other process's change is lost.

        Returns
        -------
        Profile
            The profile that was saved.
        """
        with self._lock("file.lock"):
            profile = change(self.load())
            self.save(profile)
        return profile

    def remove(self) -> None:
        """Delete the device's file, and its password with it."""
        self.path.with_suffix(".new").unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        for name in (AGENT_NOTE, CLOUD_NOTE, NEWS_NOTE):
            self.remove_note(name)

    @contextmanager
    def only_agent(self) -> Iterator[None]:
        """Hold the lock of this device's agent.

        Raises
        ------
        AgentRunning
            If another process holds it.
        """
        lock = self._lock("agent.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise AgentRunning(self.note(AGENT_NOTE).get("pid")) from None
        try:
            yield
        finally:
            lock.release()

    def _lock(self, name: str) -> BaseFileLock:
        self._create_folder()
        return FileLock(self._folder / name)

    def _create_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _replace(path: Path, new: Path) -> None:
    """Put a new file into the place of an old one.

    Windows refuses that for the moment in which another process reads the old one.
    """
    for _ in range(_REPLACE_ATTEMPTS - 1):
        try:
            new.replace(path)
        except PermissionError:
            time.sleep(_REPLACE_PAUSE_S)
        else:
            return
    new.replace(path)


def _checked(profile: Profile) -> Profile:
    """Return the profile if its values have the right types."""
    values = asdict(profile)
    doc = values.pop("doc")
    flags = [values.pop(name) for name in _FLAGS]
    if not isinstance(doc, dict):
        raise TypeError("doc has a wrong type")
    if not all(isinstance(flag, bool) for flag in flags):
        raise TypeError(f"one of {', '.join(_FLAGS)} has a wrong type")
    texts = (*values.values(), *map(doc.get, _TEXT_FIELDS))
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a value that must be a text is not")
    return profile
