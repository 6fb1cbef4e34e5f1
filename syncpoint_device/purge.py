"""Delete databases of this device, but only if all of their documents are in the cloud.

A document counts by its leaf revisions, so a conflicting revision and a deletion count, too. Design
documents do not count: they are code of an app, and no device may send them to the cloud.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.couch import LOGIN_REFUSED, CouchError, Database, Forbidden, NotFound, Server
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_control_db
from syncpoint_device.databases import CONTROL, OWNER_DOC, Device
from syncpoint_device.errors import DeviceError, without_full_stop
from syncpoint_device.replications import find_missing, leaf_page
from syncpoint_device.texts import counted

# More databases than a device has. Their names take less than the largest answer that is read.
_MAX_DATABASES = 100_000
_PAGE = 1000
_CLOSED = ("closing", "closed")
# How often a database is compared again, because somebody wrote into it meanwhile.
_DELETE_ATTEMPTS = 5


@dataclass(frozen=True)
class Finding:
    """What is known about the documents of one database.

    Attributes
    ----------
    label : str
        The name that people know: that of the channel, or of the database.
    since : str
        The seq of the database up to which this was found.
    documents : int
        How many documents may be on this device only.
    reason : str
        Why they may be.
    """

    database: Database
    label: str
    since: str
    documents: int
    reason: str


def own_databases(device: Device) -> list[Database]:
    """Return this device's copies of channels, then the control database. Some requests.

    They are found by their names and marks. A channel's document may be deleted or unreadable.
    """
    found = _named(device.server, device.profile.prefix)
    return [local for local in found if device.is_own(local)]


def left_databases(server: Server, prefix: str) -> list[Database]:
    """Return what earlier devices left on this CouchDB when they were unlinked. Some requests."""
    return [
        local
        for local in _named(server, prefix)
        if (local.find_one(OWNER_DOC) or {"device": ""})["device"] is None
    ]


def other_devices(device: Device) -> list[str]:
    """Return the ids of other devices that use databases of the same prefix. Some requests.

    Only the first 20 control databases are looked at: the CouchDB may be that of a cloud.
    """
    found = _named(device.server, device.profile.prefix)
    control = [local for local in found if local.name.startswith(device.profile.prefix + CONTROL)]
    owners = [(local.find_one(OWNER_DOC) or {}).get("device") for local in control[:20]]
    return [str(owner) for owner in owners if owner not in (None, device.profile.device_id)]


def _named(server: Server, prefix: str) -> list[Database]:
    """Return the databases with names as those of devices, control databases last."""
    pattern = re.compile(rf"{re.escape(prefix)}(db|{CONTROL})-[0-9a-f]{{32}}", re.ASCII)
    names = server.all_dbs(f"{prefix}{CONTROL}-", f"{prefix}db-~", _MAX_DATABASES)
    return [server.database(name) for name in reversed(names) if pattern.fullmatch(name)]


class Checker:
    """Compares databases with the cloud, and deletes those of which nothing is lost.

    Parameters
    ----------
    device : Device, optional
        Without one, the cloud cannot be asked.
    prefix : str
        The prefix of the databases' names on this device.
    """

    def __init__(self, device: Device | None, prefix: str) -> None:
        self._device, self._prefix = device, prefix
        self._channels = {} if device is None else _channels(device)

    def check(self, local: Database) -> Finding:
        """Compare a database. Two requests for each thousand changes, and one.

        Raises
        ------
        CouchError
            If the device's own CouchDB does not answer.
        """
        channel = self._channels.get(local.name, {})
        name, is_control = channel.get("name"), self._bare_name(local).startswith(CONTROL)
        label = "the control database" if is_control else local.name
        label = f"“{name}”" if isinstance(name, str) else label
        problem = _problem(self._device, channel)
        if problem is None and self._device is not None:
            cloud = self._in_cloud(self._device, local)
            try:
                cloud.info()  # it may be gone, or closed to this device
            except CouchError as exc:
                problem = _refusal(exc)
            else:
                return _compare(local, cloud, label)
        return _count(local, label, str(problem))

    def delete(self, local: Database, before: str) -> None:
        """Compare a database again, and delete it if all of its documents are in the cloud.

        Its replications must have ended. A document that is written between the last request and
        the deletion is lost; CouchDB has no way to exclude that.

        Parameters
        ----------
        before : str
            What an error says first: what was done until then.

        Raises
        ------
        DeviceError
            If documents may be lost, or somebody writes into the database all the time.
        """
        for _ in range(_DELETE_ATTEMPTS):
            finding = self.check(local)
            refuse_losses([finding], before)
            if not leaf_page(local, finding.since).revs:
                local.delete()
                return
        raise DeviceError(f"{before}: an app writes into {local.name} all the time. End it first")

    def _bare_name(self, local: Database) -> str:
        return local.name.removeprefix(self._prefix)

    def _in_cloud(self, device: Device, local: Database) -> Database:
        name = self._bare_name(local)
        kind, _, owner_id = name.partition("-")
        if kind == CONTROL:
            name = owner_control_db(device.profile.control_db, owner_id)
        return device.in_cloud(name)


def _problem(device: Device | None, channel: JsonDict) -> str | None:
    """Tell why the cloud need not be asked; None if it can be."""
    if device is None:
        return "no device is registered here, so the cloud cannot be asked"
    if device.profile.is_revoked:
        return "this device was revoked"
    if not device.profile.cloud or not device.has_login():
        return "this device is not registered in the cloud yet"
    if channel.get("state") in _CLOSED:
        return str(channel.get("reason") or "the channel is closed")
    return None


def _refusal(exc: CouchError) -> str:
    if isinstance(exc, LOGIN_REFUSED):
        return "the cloud refuses this device's login"
    if isinstance(exc, NotFound):
        return "the cloud does not have this database"
    if isinstance(exc, Forbidden):
        return "the cloud does not show this database to this device"
    return f"the cloud cannot be asked: {without_full_stop(exc)}"


def _channels(device: Device) -> dict[str, JsonDict]:
    """Return the documents of channels by the names of their databases here."""
    return {
        device.channel(doc["_id"]).name: doc
        for doc in device.database.documents()
        if doc.get("type") == "channel"
    }


def _compare(local: Database, cloud: Database, label: str) -> Finding:
    """Count the documents with a leaf revision that the cloud does not have."""
    documents, page = 0, leaf_page(local, "0")
    while not page.is_last:
        try:
            documents += len(find_missing(page.revs, cloud))
        except CouchError as exc:
            return _count(local, label, _refusal(exc))
        page = leaf_page(local, page.last_seq)
    return Finding(local, label, page.last_seq, documents, "not sent yet, or refused")


def _count(local: Database, label: str, reason: str) -> Finding:
    """Count the documents that are not deleted, because the cloud cannot be asked."""
    documents, since, is_last = 0, "0", False
    while not is_last:
        page = local.changes(since, limit=_PAGE, include_docs=False)
        rows = [row for row in page["results"] if not row.get("deleted")]
        documents += len([row for row in rows if not str(row["id"]).startswith("_design/")])
        documents += len(page["bad"])
        since, is_last = page["last_seq"], page["is_last"]
    return Finding(local, label, since, documents, reason)


def refuse_losses(findings: Sequence[Finding], before: str = "nothing was deleted") -> None:
    """Fail if documents may be lost, and say which and how to save them. Sends no request.

    Raises
    ------
    DeviceError
        If a database has documents that may be on this device only.
    """
    losses = [finding for finding in findings if finding.documents]
    if losses:
        listed = "; ".join(described(one) for one in losses)
        raise DeviceError(
            f"{before}, because documents may be on this device only: {listed}. Let the agent "
            "send them (`run`), or save them with `export --all FOLDER`. `--force` deletes them"
        )


def described(finding: Finding) -> str:
    """Describe what may be lost with a database."""
    return f"{finding.label}, {counted(finding.documents)} ({finding.reason})"
