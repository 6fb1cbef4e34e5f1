"""Delete databases of this device, but only if all of their documents are in the cloud.

A document counts by its leaf revisions, so a conflicting revision and a deletion count, too. Design
documents do not count: they are code of an app, and no device may send them to the cloud.
"""

import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from chalicelib.couch import (
    LOGIN_REFUSED,
    CouchError,
    Database,
    Forbidden,
    NotFound,
    Server,
    Unreadable,
)
from chalicelib.domain.channel import DESCRIPTION_ID, ENDED
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_control_db, subscription_id
from syncpoint_device.databases import CONTROL, Device, owner_of
from syncpoint_device.errors import DeviceError
from syncpoint_device.reasons import of_error
from syncpoint_device.replications import find_missing, leaf_page
from syncpoint_device.texts import counted

# More databases than a device has. Their names take less than the largest answer that is read.
_MAX_DATABASES = 100_000
_PAGE = 1000
_CONTROL_DATABASE = re.compile(rf"{CONTROL}-[0-9a-f]{{32}}\Z", re.ASCII)
# How often a database is compared again, because somebody wrote into it meanwhile.
_DELETE_ATTEMPTS = 5


@dataclass(frozen=True)
class Why:
    """Why documents may be on this device only, and how they get into the cloud if they can."""

    reason: str
    advice: str = ""


@dataclass(frozen=True)
class Finding:
    """What is known about the documents of one database.

    Attributes
    ----------
    name : str or None
        The name of the channel, if that is known.
    since : str
        The seq of the database up to which this was found.
    documents : int
        How many documents may be on this device only.
    why : Why
        Why they may be.
    """

    database: Database
    name: str | None
    since: str
    documents: int
    why: Why

    @property
    def label(self) -> str:
        """The name that people know: that of the channel, or of the database."""
        if _CONTROL_DATABASE.search(self.database.name):
            return "the control database"
        return self.database.name if self.name is None else f"“{self.name}”"


_RUN = Why("not sent yet, or refused", "Let the agent send them (`run`)")
_UNKNOWN_PLACE = Why(
    "no device is registered here, so the cloud cannot be asked",
    "To have them sent, run `register`, and then `run`. `export` needs --couch, too",
)
_REVOKED = Why(
    "this device was revoked",
    "To have them sent, run `unlink` without --purge, then `register` and `run`",
)
_NOT_CONFIRMED = Why(
    "this device is not registered in the cloud yet",
    "To have them sent, confirm the registration (`status`), and let the agent run (`run`)",
)
_NO_LOGIN = Why(
    "the cloud refuses this device's login",
    "Start the agent (`run`): it finds out whether this device was revoked",
)


def own_databases(device: Device) -> list[Database]:
    """Return this device's copies of channels, then the control database. Some requests.

    They are found by their names and marks. A channel's document may be deleted or unreadable.
    """
    found = _named(device.server, device.profile.prefix)
    return [local for local in found if device.is_own(local)]


def left_databases(server: Server, prefix: str) -> list[Database]:
    """Return what earlier devices left on this CouchDB when they were unlinked. Some requests."""
    return [local for local in _named(server, prefix) if owner_of(local) is None]


def other_devices(device: Device) -> list[str]:
    """Return the ids of other devices that use databases of the same prefix. Some requests.

    Only the first 20 control databases are looked at: the CouchDB may be that of a cloud.
    """
    found = _named(device.server, device.profile.prefix)
    control = [local for local in found if local.name.startswith(device.profile.prefix + CONTROL)]
    owners = [owner_of(local) for local in control[:20]]
    return [owner for owner in owners if owner and owner != device.profile.device_id]


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
        self._unreachable: Why | None = None  # once found: each request may take its time limit

    def check(self, local: Database) -> Finding:
        """Compare a database. Two requests for each thousand changes, and two.

        A cloud that did not answer is not asked again.

        Raises
        ------
        CouchError
            If the device's own CouchDB does not answer.
        """
        channel = self._channels.get(local.name, {})
        name = channel.get("name")
        name = name if isinstance(name, str) else described_name(local)
        why = _problem(self._device, channel) or self._unreachable
        if why is None and self._device is not None:
            cloud = self._in_cloud(self._device, local)
            try:
                cloud.info()  # it may be gone, or closed to this device
            except CouchError as exc:
                why = _refusal(exc, cloud)
                self._unreachable = why if exc.status == 0 else None
            else:
                return _compare(local, cloud, name, _unsent(self._device, channel))
        return _count(local, name, why or _UNKNOWN_PLACE)

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


def _problem(device: Device | None, channel: JsonDict) -> Why | None:
    """Tell why the cloud need not be asked; None if it can be."""
    if device is None:
        return _UNKNOWN_PLACE
    if device.profile.is_revoked:
        return _REVOKED
    if not device.profile.cloud or not device.has_login():
        return _NOT_CONFIRMED
    if channel.get("state") in ENDED:
        return Why(str(channel.get("reason") or "the channel is closed"))
    return None


def _refusal(exc: CouchError, cloud: Database) -> Why:
    if isinstance(exc, LOGIN_REFUSED):
        return _NO_LOGIN
    if isinstance(exc, NotFound):
        return Why("the cloud does not have this database")
    if isinstance(exc, Forbidden):
        return Why("the cloud does not show this database to this device")
    return Why(
        f"the cloud cannot be asked: {of_error(exc, cloud.url)}",
        "Try again when the cloud can be reached",
    )


def _unsent(device: Device, channel: JsonDict) -> Why:
    """Tell why the cloud may lack documents. At most one request."""
    if channel:
        doc_id = subscription_id(channel["_id"], device.profile.owner_id)
        state = (device.database.find_one(doc_id) or {}).get("state")
        if state in ("paused", "stopped"):
            name = shlex.quote(str(channel.get("name") or channel["_id"]))
            advice = f"`subscription resume {name}` lets the agent send them"
            return Why(f"not sent yet, or refused; the channel is {state}", advice)
    return _RUN


def _channels(device: Device) -> dict[str, JsonDict]:
    """Return the documents of channels by the names of their databases here."""
    return {
        device.channel(doc["_id"]).name: doc
        for doc in device.database.documents()
        if doc.get("type") == "channel"
    }


def described_name(local: Database) -> str | None:
    """Return the name of a channel that the cloud wrote into its database. One request."""
    with suppress(Unreadable):
        name = (local.find_one(DESCRIPTION_ID) or {}).get("name")
        return name if isinstance(name, str) else None
    return None


def _compare(local: Database, cloud: Database, name: str | None, why: Why) -> Finding:
    """Count the documents with a leaf revision that the cloud does not have."""
    documents, page = 0, leaf_page(local, "0")
    while not page.is_last:
        try:
            documents += len(find_missing(page.revs, cloud))
        except CouchError as exc:
            return _count(local, name, _refusal(exc, cloud))
        page = leaf_page(local, page.last_seq)
    return Finding(local, name, page.last_seq, documents, why)


def _count(local: Database, name: str | None, why: Why) -> Finding:
    """Count the documents that are not deleted, because the cloud cannot be asked."""
    documents, since, is_last = 0, "0", False
    while not is_last:
        page = local.changes(since, limit=_PAGE, include_docs=False)
        rows = [row for row in page["results"] if not row.get("deleted")]
        documents += len([row for row in rows if not str(row["id"]).startswith("_design/")])
        documents += len(page["bad"])
        since, is_last = page["last_seq"], page["is_last"]
    return Finding(local, name, since, documents, why)


def refuse_losses(findings: Sequence[Finding], before: str = "nothing was deleted") -> None:
    """Fail if documents may be lost, and say which and how to save them. Sends no request.

    Raises
    ------
    DeviceError
        If a database has documents that may be on this device only.
    """
    by_why: dict[Why, list[str]] = {}
    for one in findings:
        if one.documents:
            by_why.setdefault(one.why, []).append(f"{one.label}: {counted(one.documents)}")
    if by_why:
        listed = "; ".join(f"{', '.join(of)} ({why.reason})" for why, of in by_why.items())
        advice = [f"{why.advice}. " for why in by_why if why.advice]
        raise DeviceError(
            f"{before}, because documents may be on this device only: {listed}. {''.join(advice)}"
            "`export --all FOLDER` saves them, `--force` deletes them"
        )
