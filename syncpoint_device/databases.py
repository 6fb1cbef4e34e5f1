"""The databases on a device, and the `Device` that its transitions get as their context."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self
from urllib.parse import unquote

from chalicelib.couch import CouchError, Database, NoDatabase, NotFound, Server
from chalicelib.domain.channel import DEFAULT_NAME
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import channel_db, owner_control_db
from syncpoint_device.certificates import check_verifies
from syncpoint_device.endpoints import endpoint, is_shared_id, split_login
from syncpoint_device.errors import DeviceError, LoginRefused
from syncpoint_device.home import Profile
from syncpoint_device.network import CloudAdapter, own_server
from syncpoint_device.reasons import of_error, says_what_to_do
from syncpoint_device.replications import Direction, Replications

# Called with a subject and a message for the person at the device.
Say = Callable[[str, str], None]

# The groups of replications of the control database and of the outbox; see `Replications`.
CONTROL = "control"
OUTBOX = "outbox"

# The local document that names the device which owns a database. It is never replicated.
OWNER_DOC = "_local/syncpoint"


def exists(local: Database) -> bool:
    """Tell whether a database exists. One request."""
    try:
        local.info()
    except NotFound:
        return False
    return True


def owner_of(local: Database) -> str | None:
    """Return the id of the device that owns a local database. One request.

    None if an earlier device has left it to the next one, and an empty text if no device had it.

    Raises
    ------
    NoDatabase
        If there is no such database.
    """
    owner = (local.find_one(OWNER_DOC) or {"device": ""}).get("device")
    return None if owner is None else str(owner)


def check_couchdb(server: Server) -> None:
    """Check that a device's own CouchDB answers, to an administrator. One request.

    Raises
    ------
    DeviceError
        If it does not.
    """
    try:
        roles = server.session().get("userCtx", {}).get("roles", [])
    except LoginRefused:
        raise LoginRefused(
            f"the CouchDB at {server.url} refuses the login: its name or password is wrong, or it "
            "is locked for some minutes after wrong passwords. Use http://NAME:PASSWORD@HOST:PORT"
        ) from None
    except CouchError as exc:
        hint = ". Is it running, and is http://NAME:PASSWORD@HOST:PORT right?"
        raise DeviceError(
            f"the CouchDB at {server.url} cannot be used: "
            f"{of_error(exc, server.url)}{'' if says_what_to_do(exc) else hint}"
        ) from exc
    if "_admin" not in roles:
        raise DeviceError(
            f"the CouchDB at {server.url} needs its administrator's name and password: "
            "http://NAME:PASSWORD@HOST:PORT"
        )


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
        server = own_server(profile.couch)
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

        The copy has the same name as the channel's database in the cloud, behind the prefix.
        """
        return self.server.database(self.profile.prefix + self._channel_db(channel_id))

    def channel_in_cloud(self, channel_id: str) -> Database:
        """Open a channel's database in the cloud with this device's login. Sends no request.

        Its name is computed. What documents say about it (`syncpoint`, `remote`) does not count,
        because a stolen device may have written them.
        """
        return self.in_cloud(self._channel_db(channel_id))

    def _channel_db(self, channel_id: str) -> str:
        """Return the name of a channel's database in the cloud.

        The id of a channel that somebody shares with the owner is the name of its database.
        """
        if is_shared_id(channel_id):
            return channel_id
        return channel_db(self.profile.owner_id, channel_id)

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
        doc = local.find_one(OWNER_DOC)
        if doc is None and local.info()["doc_count"] > 0:
            return False
        doc = doc or {"_id": OWNER_DOC}
        if doc.get("device") is None:
            doc = {**doc, "device": self.profile.device_id}
            local.put(doc)
        return bool(doc["device"] == self.profile.device_id)

    def is_anothers(self, local: Database) -> bool:
        """Tell whether `acquire` would refuse a local database. At most two requests."""
        try:
            owner = owner_of(local)
            if owner == "":
                return bool(local.info()["doc_count"] > 0)
        except NoDatabase:
            return False
        return owner not in (None, self.profile.device_id)

    def is_own(self, local: Database) -> bool:
        """Tell whether a local database exists and this device owns it. One request."""
        try:
            return owner_of(local) == self.profile.device_id
        except NoDatabase:
            return False

    def release(self, local: Database, *, delete: bool) -> None:
        """Delete a database of this device, or let the next device own it. A few requests."""
        if not self.is_own(local):
            return
        if delete:
            local.delete()
        else:
            local.put({**local.get(OWNER_DOC), "device": None})

    def channel_name(self, channel_id: str) -> str:
        """Return the name that people gave a channel. One request."""
        return str((self.database.find_one(channel_id) or {}).get("name", DEFAULT_NAME))

    @property
    def cloud_control(self) -> Database:
        """The owner's control database in the cloud, opened with this device's login."""
        return self.in_cloud(owner_control_db(self.profile.control_db, self.profile.owner_id))

    def in_cloud(self, db: str) -> Database:
        """Open a database of the cloud's CouchDB with this device's login. Sends no request."""
        scheme, _, host = self.profile.cloud.partition("://")
        address = f"{scheme}://{':'.join(self._login)}@{host}"
        return Server(address, CloudAdapter()).database(db)

    def both_ways(self, local: Database, db: str) -> list[Direction]:
        """Return both directions between a local database and one of the cloud's CouchDB."""
        here, there = self.here(local), endpoint(f"{self.profile.cloud}/{db}", self._login)
        return [Direction(here, there), Direction(there, here)]

    def control_both_ways(self) -> list[Direction]:
        """Return both directions of the control database."""
        return self.both_ways(self.database, self.cloud_control.name)

    def to_registrations(self) -> list[Direction]:
        """Return the direction from the outbox to the registrations endpoint."""
        return [Direction(self.here(self.outbox), endpoint(self.profile.registrations))]

    def own_endpoint(self, url: str, couch: str) -> JsonDict | None:
        """Return the present endpoint of a database that was at `url` when its server was `couch`.

        None if it is a database elsewhere.
        """
        server, _, db = url.rpartition("/")
        return self.here(self.server.database(unquote(db))) if server == couch else None

    def has_login(self) -> bool:
        """Tell whether the cloud has created this device's login. At most one request.

        A login that the cloud does not know yet must not be tried.
        """
        if self.profile.is_active:
            return True
        own = self.database.find_one(self.profile.device_id) or {}
        return own.get("state") in ("active", "revoking")

    def check_verifies(self) -> None:
        """Check that this device's CouchDB checks the cloud's certificate, if there is one.

        Raises
        ------
        Unverified
            If it does not.
        """
        if self.uses_https:
            check_verifies(self.server)

    @property
    def uses_https(self) -> bool:
        """Whether this device's CouchDB has a certificate of the cloud's to check."""
        urls = (self.profile.registrations, self.profile.cloud)
        return any(url.startswith("https:") for url in urls)

    def here(self, local: Database) -> JsonDict:
        """Return a local database as the endpoint that its own server's replicator uses."""
        return endpoint(local.url, split_login(self.profile.couch)[1])

    @property
    def _login(self) -> tuple[str, str]:
        """This device's name and password at the cloud's CouchDB."""
        return self.profile.device_id, self.profile.password
