"""The databases on a device, and the `Device` that its transitions get as their context."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from chalicelib.couch import CouchError, Database, InvalidName, NoDatabase, Server
from chalicelib.domain.channel import DEFAULT_NAME
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import channel_db, owner_control_db
from syncpoint_device.endpoints import endpoint, is_in_cloud, is_plain_url, split_login
from syncpoint_device.errors import DeviceError
from syncpoint_device.home import Profile
from syncpoint_device.reasons import of_error
from syncpoint_device.replications import Direction, Replications

# Called with a subject and a message for the person at the device.
Say = Callable[[str, str], None]

# The groups of replications of the control database and of the outbox; see `Replications`.
CONTROL = "control"
OUTBOX = "outbox"

# The local document that names the device which owns a database. It is never replicated.
_OWNER_DOC = "_local/syncpoint"


@dataclass(frozen=True)
class Device:
    """The device's own CouchDB, and its access to the cloud's CouchDB.

    Attributes
    ----------
    database : Database
        The device's copy of its owner's control database.
    """

    profile: Profile
    server: Server
    database: Database
    replications: Replications
    say: Say
    clock: Callable[[], datetime]

    @classmethod
    def of(cls, profile: Profile, say: Say, clock: Callable[[], datetime]) -> Self:
        """Create the device of a profile. Sends no request."""
        server = Server(profile.couch)
        control = server.database(profile.prefix + owner_control_db(CONTROL, profile.owner_id))
        replications = Replications(server, profile.device_id)
        return cls(profile, server, control, replications, say, clock)

    def at(self, db: str) -> Self:
        """Return the same context for another database. Sends no request."""
        return replace(self, database=self.server.database(db))

    @property
    def outbox(self) -> Database:
        """The database from which the registration is replicated to the cloud.

        Its name has the device's id, so deleting it deletes nothing of another device.
        """
        return self.server.database(f"{self.profile.prefix}{OUTBOX}-{self.profile.device_id}")

    def channel(self, channel_id: str) -> Database:
        """Return this device's copy of a channel. Sends no request.

        The copy has the same name as the channel's database in the cloud, which can be computed.
        The id of a channel that somebody shares with the owner is the name of its database.
        """
        is_shared = re.fullmatch(r"db-[0-9a-f]{32}", channel_id, re.ASCII)
        db = channel_id if is_shared else channel_db(self.profile.owner_id, channel_id)
        return self.server.database(self.profile.prefix + db)

    def acquire(self, local: Database) -> bool:
        """Create a local database if it is missing, and own it if no one does. A few requests.

        Several devices, or the cloud, may have databases of the same names on one CouchDB. A
        device neither replicates nor deletes a database that it does not own.

        Returns
        -------
        bool
            Whether this device owns the database now.
        """
        local.create()
        doc = local.find_one(_OWNER_DOC)
        if doc is None and local.info()["doc_count"] > 0:
            return False
        doc = doc or {"_id": _OWNER_DOC}
        if doc.get("device") is None:
            doc = {**doc, "device": self.profile.device_id}
            local.put(doc)
        return bool(doc["device"] == self.profile.device_id)

    def is_own(self, local: Database) -> bool:
        """Tell whether a local database exists and this device owns it. One request."""
        try:
            doc = local.find_one(_OWNER_DOC) or {}
        except NoDatabase:
            return False
        return bool(doc.get("device") == self.profile.device_id)

    def release(self, local: Database, *, delete: bool) -> None:
        """Delete a database of this device, or let the next device own it. A few requests."""
        if not self.is_own(local):
            return
        if delete:
            local.delete()
        else:
            local.put({**local.get(_OWNER_DOC), "device": None})

    def channel_name(self, channel_id: str) -> str:
        """Return the name that people gave a channel. One request."""
        return str((self.database.find_one(channel_id) or {}).get("name", DEFAULT_NAME))

    @property
    def cloud_control(self) -> Database:
        """The owner's control database in the cloud, opened with this device's login."""
        name = owner_control_db(self.profile.control_db, self.profile.owner_id)
        return self.remote(f"{self.profile.cloud}/{name}")

    def remote(self, url: str) -> Database:
        """Open a database elsewhere; in the cloud with this device's login. Sends no request.

        Raises
        ------
        InvalidName
            If `url` is not the URL of a database.
        """
        if not is_plain_url(url):
            raise InvalidName(f"{url[:80]!a} is not the URL of a database")
        url = self.current_url(url)
        server, _, db = url.rpartition("/")
        login = self._login_for(url)
        scheme, _, host = server.partition("://")
        return Server(f"{scheme}://{':'.join(login)}@{host}" if login else server).database(db)

    def current_url(self, remote: str) -> str:
        """Return the present URL of a database.

        The cloud's CouchDB may have moved, and documents keep the URL that was valid before.
        """
        for cloud in self.profile.former_clouds:
            if is_in_cloud(remote, cloud):
                return self.profile.cloud + remote.removeprefix(cloud)
        return remote

    def both_ways(self, local: Database, remote: str) -> list[Direction]:
        """Return both directions between a local database and a remote one.

        The device's password is sent to the cloud's own CouchDB only.
        """
        remote = self.current_url(remote)
        here, there = self._here(local), endpoint(remote, self._login_for(remote))
        return [Direction(here, there), Direction(there, here)]

    def control_both_ways(self) -> list[Direction]:
        """Return both directions of the control database."""
        return self.both_ways(self.database, self.cloud_control.url)

    def to_registrations(self) -> list[Direction]:
        """Return the direction from the outbox to the registrations endpoint."""
        return [Direction(self._here(self.outbox), endpoint(self.profile.registrations))]

    def check_couchdb(self) -> None:
        """Check that the device's own CouchDB answers, to an administrator. One request.

        Raises
        ------
        DeviceError
            If it does not.
        """
        try:
            roles = self.server.session().get("userCtx", {}).get("roles", [])
        except CouchError as exc:
            why = of_error(exc, self.server.url)
            if exc.status == 401:
                why = "the name or the password is wrong"
            raise DeviceError(
                f"the CouchDB at {self.server.url} cannot be used: {why}. Is it running, and is "
                "--couch http://NAME:PASSWORD@HOST:PORT right?"
            ) from exc
        if "_admin" not in roles:
            raise DeviceError(
                f"the CouchDB at {self.server.url} needs its administrator's name and password: "
                "--couch http://NAME:PASSWORD@HOST:PORT"
            )

    def _here(self, local: Database) -> JsonDict:
        """Return a local database as the endpoint that its own server's replicator uses."""
        return endpoint(local.url, split_login(self.profile.couch)[1])

    def _login_for(self, url: str) -> tuple[str, str] | None:
        """Return this device's login if a URL is in the cloud's own CouchDB, else None."""
        if not is_in_cloud(url, self.profile.cloud):
            return None
        return self.profile.device_id, self.profile.password
