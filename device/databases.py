"""The databases that a device has in its own CouchDB, and the tools that its transitions get."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from chalicelib.couch import CouchError, Database, InvalidName, NoDatabase, Server
from chalicelib.domain.channel import DEFAULT_NAME
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import channel_db, owner_control_db
from device.endpoints import endpoint, is_in_cloud, is_plain_url, split_login
from device.errors import DeviceError, without_stop
from device.home import Profile
from device.replications import Replications, Way

# Told what happened: about what, and in which words.
Say = Callable[[str, str], None]

# The name by which `Replications` knows those of the control database.
CONTROL = "control"
OUTBOX = "outbox"

# Says whose a database here is. It is never replicated.
_MARK = "_local/syncpoint"


@dataclass(frozen=True)
class Device:
    """What a device works with: its own CouchDB, and what it knows of the cloud's.

    Attributes
    ----------
    database : Database
        Its copy of its owner's control database.
    """

    profile: Profile
    server: Server
    database: Database
    replications: Replications
    say: Say
    clock: Callable[[], datetime]

    @classmethod
    def of(cls, profile: Profile, say: Say, clock: Callable[[], datetime]) -> Self:
        """The device of a profile. Sends no request."""
        server = Server(profile.couch)
        control = server.database(profile.prefix + owner_control_db(CONTROL, profile.owner))
        replications = Replications(server, profile.device_id)
        return cls(profile, server, control, replications, say, clock)

    def at(self, db: str) -> Self:
        """The same tools for a document of another database. Sends no request."""
        return replace(self, database=self.server.database(db))

    @property
    def outbox(self) -> Database:
        """The database where the registration waits for the replicator."""
        name = f"{self.profile.prefix}{OUTBOX}-{self.profile.device_id}"
        return self.server.database(name)  # of this device alone: it is deleted with all it holds

    def channel(self, channel_id: str) -> Database:
        """This device's copy of a channel: the name is the cloud's, known without asking it.

        A channel that somebody shares with the owner has its database's name for an id.
        """
        is_shared = re.fullmatch(r"db-[0-9a-f]{32}", channel_id, re.ASCII)
        db = channel_id if is_shared else channel_db(self.profile.owner, channel_id)
        return self.server.database(self.profile.prefix + db)

    def make(self, local: Database) -> bool:
        """Make a database here this device's own, if it is nobody's. A few requests.

        Several devices, or the cloud, may have databases of the same names on one CouchDB: what
        belongs to another is neither replicated nor deleted.

        Returns
        -------
        bool
            Whether it is this device's.
        """
        local.create()
        mark = local.find_one(_MARK)
        if mark is None and local.info()["doc_count"] > 0:
            return False
        mark = mark or {"_id": _MARK}
        if mark.get("device") is None:
            mark = {**mark, "device": self.profile.device_id}
            local.put(mark)
        return bool(mark["device"] == self.profile.device_id)

    def is_own(self, local: Database) -> bool:
        """Whether a database here is there, and this device's. One request."""
        try:
            mark = local.find_one(_MARK) or {}
        except NoDatabase:
            return False
        return bool(mark.get("device") == self.profile.device_id)

    def give_up(self, local: Database, *, delete: bool) -> None:
        """Delete a database of this device's, or let the next device have it. A few requests."""
        if not self.is_own(local):
            return
        if delete:
            local.delete()
        else:
            local.put({**local.get(_MARK), "device": None})

    def channel_name(self, channel_id: str) -> str:
        """What people call a channel. One request."""
        return str((self.database.find_one(channel_id) or {}).get("name", DEFAULT_NAME))

    @property
    def cloud_control(self) -> Database:
        """The owner's control database in the cloud, with this device's login."""
        name = owner_control_db(self.profile.control_db, self.profile.owner)
        return self.remote(f"{self.profile.cloud}/{name}")

    def remote(self, url: str) -> Database:
        """A database elsewhere, with this device's login if it is the cloud's. Sends no request.

        Raises
        ------
        InvalidName
            If it is no URL of a database.
        """
        if not is_plain_url(url):
            raise InvalidName(f"{url[:80]!a} is no URL of a database")
        url = self.present(url)
        server, _, db = url.rpartition("/")
        login = self._login_for(url)
        scheme, _, host = server.partition("://")
        return Server(f"{scheme}://{':'.join(login)}@{host}" if login else server).database(db)

    def present(self, remote: str) -> str:
        """Where a database is now: documents keep the URL that the cloud had when it made it."""
        for cloud in self.profile.former_clouds:
            if is_in_cloud(remote, cloud):
                return self.profile.cloud + remote.removeprefix(cloud)
        return remote

    def both_ways(self, local: Database, remote: str) -> list[Way]:
        """Replications between a database here and one elsewhere.

        The device's password goes to the cloud's own CouchDB, and nowhere else.
        """
        remote = self.present(remote)
        here, there = self._here(local), endpoint(remote, self._login_for(remote))
        return [Way(here, there), Way(there, here)]

    def control_both_ways(self) -> list[Way]:
        """The replications of the control database."""
        return self.both_ways(self.database, self.cloud_control.url)

    def to_registrations(self) -> list[Way]:
        """The replication that brings the registration to the registrations endpoint."""
        return [Way(self._here(self.outbox), endpoint(self.profile.registrations))]

    def check(self) -> None:
        """Make sure that the device's own CouchDB is there, and ours to administer. One request.

        Raises
        ------
        DeviceError
            If it does not answer, or its login is no administrator.
        """
        try:
            roles = self.server.session().get("userCtx", {}).get("roles", [])
        except CouchError as exc:
            what = "does not let us in" if exc.status == 401 else "does not answer as a CouchDB"
            raise DeviceError(
                f"the CouchDB at {self.server.url} {what}: {without_stop(exc)}. Is it "
                "running, and is --couch http://NAME:PASSWORD@HOST:PORT right?"
            ) from exc
        if "_admin" not in roles:
            raise DeviceError(
                f"the CouchDB at {self.server.url} needs its administrator's name and password: "
                "http://NAME:PASSWORD@HOST:PORT"
            )

    def _here(self, local: Database) -> JsonDict:
        """A database here, as its own server's replicator gets at it."""
        return endpoint(local.url, split_login(self.profile.couch)[1])

    def _login_for(self, url: str) -> tuple[str, str] | None:
        """This device's login if a URL is in the cloud's own CouchDB, None for all else."""
        if not is_in_cloud(url, self.profile.cloud):
            return None
        return self.profile.device_id, self.profile.password
