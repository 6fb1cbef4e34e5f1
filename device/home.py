"""What a device keeps to itself: one file that only its user can read."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from device.errors import AgentRuns, DeviceError

_FILE = "device.json"
# Fields of the document that the commands count on.
_TEXTS = ("_id", "owner", "name", "device_code")


@dataclass(frozen=True)
class Profile:
    """A device that has begun to register, or has registered.

    Attributes
    ----------
    doc : dict
        The device's document as the registrations endpoint gets it.
    password : str
        What it logs in with at the cloud's CouchDB, and nowhere else.
    registrations : str
        The registrations endpoint's URL, as the user typed it.
    couch : str
        The URL of the device's own CouchDB, with its administrator's credentials if it has one.
    prefix : str
        What the names of its databases there begin with: several devices may share one CouchDB.
    cloud, control_db : str
        The URL of the cloud's CouchDB, and its control database; empty until they are known.
    former_clouds : list of str
        Where the cloud's CouchDB was before, if it has moved.
    is_revoked : bool
        Whether the cloud has said that this device was revoked.
    """

    doc: JsonDict
    password: str = field(repr=False)
    registrations: str
    couch: str = field(repr=False)
    prefix: str = ""
    cloud: str = ""
    control_db: str = ""
    former_clouds: list[str] = field(default_factory=list)
    is_revoked: bool = False

    @property
    def device_id(self) -> str:
        """The document's id, and the login's name."""
        return str(self.doc["_id"])

    @property
    def address(self) -> str:
        """The owner's e-mail address."""
        return str(self.doc["owner"])

    @property
    def owner(self) -> str:
        """The owner's id."""
        return owner_id_of(self.address)


class Home:
    """The folder that a device's file lies in.

    Parameters
    ----------
    folder : Path
        Made when it is first written to.

    Attributes
    ----------
    path : Path
        The device's file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / _FILE
        self._new = self.path.with_suffix(".new")

    @property
    def is_registered(self) -> bool:
        """Whether there is a device here."""
        return self.path.exists()

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
            raise DeviceError(
                "this device is not registered; begin with `python -m device register`"
            ) from None
        except (OSError, ValueError, TypeError, RecursionError) as exc:
            raise DeviceError(
                f"{self.path} cannot be read: {type(exc).__name__}. Mend it; or move it away, and "
                "`register` anew"
            ) from None

    def save(self, profile: Profile) -> None:
        """Write the device's file, whole or not at all; nobody else may read it."""
        self._make_folder()
        self._new.unlink(missing_ok=True)
        descriptor = os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(profile), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        self._new.replace(self.path)

    def update(self, change: Callable[[Profile], Profile]) -> Profile:
        """Change the device's file; of two processes that do, none undoes the other's change.

        Returns
        -------
        Profile
            As it is now.
        """
        with self._open_lock("file.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            profile = change(self.load())
            self.save(profile)
        return profile

    def remove(self) -> None:
        """Forget the device, its password with it."""
        self._new.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    @contextmanager
    def only_agent(self) -> Iterator[None]:
        """While this lasts, no other process is the agent of this device.

        Raises
        ------
        AgentRuns
            If another one is.
        """
        with self._open_lock("agent.lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AgentRuns from None
            yield

    def _open_lock(self, name: str) -> IO[str]:
        self._make_folder()
        return (self._folder / name).open("w")

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _checked(profile: Profile) -> Profile:
    """The profile, if it is one: what another program wrote is nobody's device."""
    kept = asdict(profile)
    doc, is_revoked, former = (kept.pop(name) for name in ("doc", "is_revoked", "former_clouds"))
    if not (isinstance(doc, dict) and isinstance(is_revoked, bool) and isinstance(former, list)):
        raise TypeError("no profile")
    texts = (*kept.values(), *former, *map(doc.get, _TEXTS))
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text is none")
    return profile
