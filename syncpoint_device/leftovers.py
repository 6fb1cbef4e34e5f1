"""Databases on this CouchDB by name: save them in files, or delete what an `unlink` left."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from syncpoint_device import channels
from syncpoint_device.databases import Device, check_couchdb, exists
from syncpoint_device.endpoints import is_server, split_login
from syncpoint_device.errors import DeviceError, NotAllowed, Unknown
from syncpoint_device.export import export, export_all
from syncpoint_device.network import own_server
from syncpoint_device.purge import Checker, left_databases, own_databases, refuse_losses


@dataclass(frozen=True)
class Place:
    """A CouchDB with databases of devices, and the device that is registered there, if any.

    Attributes
    ----------
    options : str
        What a command needs to find this place again; empty if a device is registered.
    """

    server: Server
    prefix: str
    device: Device | None
    options: str = ""

    @classmethod
    def of(cls, device: Device | None, couch: str | None, prefix: str) -> Self:
        """Create the place of a registered device, or else that of a URL. One request for a URL.

        Raises
        ------
        DeviceError
            If there is neither or both, or the URL is not that of a CouchDB and its administrator.
        """
        if device is not None:
            if couch is not None or prefix:
                raise NotAllowed(
                    "a device is registered here, and its own CouchDB counts; leave out --couch "
                    "and --prefix, or name another --home"
                )
            return cls(device.server, device.profile.prefix, device)
        if couch is None:
            raise DeviceError(
                "no device is registered here, so name the CouchDB: "
                "--couch http://NAME:PASSWORD@HOST:PORT"
            )
        if not is_server(couch):
            raise DeviceError("--couch must be http://NAME:PASSWORD@HOST:PORT")
        server = own_server(couch)
        check_couchdb(server)
        return cls(server, prefix, None, f" {place_options(couch, prefix)}")

    def left(self) -> list[Database]:
        """Return the databases that earlier devices left here."""
        return left_databases(self.server, self.prefix)

    def all(self) -> list[Database]:
        """Return the databases of this device, and those that earlier devices left."""
        own = [] if self.device is None else own_databases(self.device)
        return [*own, *self.left()]


def place_options(couch: str, prefix: str) -> str:
    """Return the options that name a CouchDB, as somebody types them. No password is in them."""
    bare, login = split_login(couch)
    scheme, _, host = bare.partition("://")
    options = f"--couch {scheme}://{'NAME@' if login else ''}{host}"
    return f"{options} --prefix {prefix}" if prefix else options


def clean(place: Place, names: Sequence[str], *, all_of_them: bool, force: bool) -> JsonDict:
    """Delete databases that an earlier `unlink` left, if all their documents are in the cloud.

    Parameters
    ----------
    names : sequence of str
        The databases to delete.
    all_of_them : bool
        Whether to delete all that were left. Without that and without names, nothing is deleted.
    force : bool
        Whether to delete even documents that are not in the cloud.

    Returns
    -------
    dict
        ``{databases: [{database, name?, documents, reason, deleted}]}``: the name of the channel,
        how many documents may be here only, and why.

    Raises
    ------
    DeviceError
        If a name is none of them, or documents may be lost. Nothing is deleted then.
    """
    left = {local.name: local for local in place.left()}
    for name in names:
        if name not in left:
            raise DeviceError(f"no `unlink` left a database “{name}”; `clean` lists those it left")
    checker = Checker(place.device, place.prefix)
    findings = [checker.check(local) for local in left.values()]
    chosen = set(left) if all_of_them else set(names)
    if not force:
        refuse_losses([one for one in findings if one.database.name in chosen])
    for name in chosen:
        if force:
            left[name].delete()
        else:
            checker.delete(left[name], f"{name} was not deleted")
    rows = [
        {
            "database": one.database.name,
            **({} if one.name is None else {"name": one.name}),
            "documents": one.documents,
            "reason": one.why.reason,
            "deleted": one.database.name in chosen,
        }
        for one in findings
    ]
    return {"databases": rows}


def export_one(place: Place, text: str, path: Path) -> JsonDict:
    """Write a channel or a database into a file; see `export`.

    Parameters
    ----------
    text : str
        The name or id of a channel, or the name of a database that an `unlink` left.

    Returns
    -------
    dict
        ``{exported: [{database, name?, file, documents, revisions, bytes}]}``.

    Raises
    ------
    DeviceError
        If there is none of that name, or as `export`.
    """
    named = [local for local in place.all() if local.name == text]
    if not named and place.device is not None:
        found = channels.find(place.device, text)
        local = place.device.channel(found["_id"])
        if not exists(local):
            raise Unknown(f"“{found['name']}” has no copy on this device; it would be {local.name}")
        named = [local]
    if not named:
        raise DeviceError(f"there is no database “{text}”; `clean` lists those that were left")
    return {"exported": [export(named[0], path)]}


def export_everything(place: Place, folder: Path) -> JsonDict:
    """Write this device's databases, and those that were left, into files in a folder.

    Returns
    -------
    dict
        As `export_one`.

    Raises
    ------
    DeviceError
        As `export_all`.
    """
    return {"exported": export_all(place.all(), folder)}
