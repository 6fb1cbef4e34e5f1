"""The local system: CouchDB, AWS, the Lambdas and the outbox, started and ended together."""

import contextlib
import fcntl
import json
import logging
import os
import secrets
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from chalicelib.couch import CouchError, InvalidName, Server
from chalicelib.settings import InvalidSettings, parse_couchdb_url
from local.aws import STAGE, LocalAws, new_link_key
from local.cleanup import remove_all_of
from local.couchdb_process import EmbeddedCouchDB
from local.errors import LocalError
from local.lambdas import Api, Loop, invoke, load_app, poller_loop, queue_loops, schedule_loops
from local.outbox import Outbox
from ops.upgrade import upgrade

ROOT = Path(__file__).parent.parent
MAIL_FROM = "syncpoint@example.com"
SECRET_NAME = "syncpoint/local"  # noqa: S105 - a name, not the secret

log = logging.getLogger("local")


@dataclass(frozen=True)
class Options:
    """What may be chosen.

    Attributes
    ----------
    couchdb_url : str or None
        A CouchDB to use, with its administrator; None starts the embedded server.
    couchdb_public_url : str or None
        Where devices find CouchDB, if not where we do.
    control_db : str or None
        None: ``control`` on the embedded server, a name of this run's own on a given one.
    folder : Path or None
        Where the embedded server's data and keys survive a restart; None: a temporary folder.
    api_port, outbox_port, couch_port : int
        0 for a free one.
    """

    couchdb_url: str | None = None
    couchdb_public_url: str | None = None
    control_db: str | None = None
    folder: Path | None = None
    api_port: int = 0
    outbox_port: int = 0
    couch_port: int = 0


class LocalSystem:
    """The running system; a context manager that leaves nothing but what was asked to stay."""

    def __init__(self, options: Options, aws: LocalAws | None = None) -> None:
        self._exits = contextlib.ExitStack()
        self._options = options
        self._aws = aws
        self._pollers: list[Loop] = []
        self.api = self.outbox = self.couch_url = self.control_db = ""

    def __enter__(self) -> Self:
        """Start all parts.

        Raises
        ------
        LocalError
            If one cannot start; those that did are ended.
        """
        try:
            self._start()
        except (InvalidName, InvalidSettings, OSError) as exc:
            self._exits.close()
            raise LocalError(f"the local system cannot start: {exc}") from exc
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        """End all parts, in the opposite order."""
        self._exits.close()

    def ready_line(self) -> str:
        """The line of JSON that tells other programs where everything is."""
        return json.dumps(
            {
                "ready": True,
                "api": self.api,
                "couch": self.couch_url,
                "outbox": self.outbox,
                "control_db": self.control_db,
            }
        )

    def _start(self) -> None:
        folder = self._open_folder()
        keys = _keys(folder)
        self._start_couchdb(folder, keys)
        aws = self._aws or LocalAws()
        environment = self._deploy(aws, keys)
        module = load_app(ROOT)
        api = Api(module, ROOT, self._options.api_port)
        outbox = Outbox(aws.sent_mails, self._options.outbox_port)
        self.api, self.outbox = api.url, outbox.url
        os.environ.update(self._lambda_environment(environment))
        poller = poller_loop(environment)
        workers = [*queue_loops(module, aws.client("sqs")), *schedule_loops(module)]
        # The poller waits for changes until CouchDB ends, and so is waited for after that.
        self._pollers.append(poller)
        self._exits.callback(_stop, workers)
        self._exits.callback(poller.stopped.set)
        for part in (outbox, api):
            part.start()
            self._exits.callback(part.stop)
        for loop in (poller, *workers):
            loop.start()
        upgrade(lambda event: invoke(module, "upgrade_designs", event), log.info)

    def _open_folder(self) -> Path:
        """The data folder; a temporary one if none is given, or another run holds it."""
        folder = self._options.folder
        if folder is not None and self._options.couchdb_url is None:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / "lock").open("w")
            self._exits.callback(lock.close)
            if _is_ours(lock):
                return folder
            log.warning("another run holds %s; this one keeps its data for itself", folder.name)
        temporary = Path(tempfile.mkdtemp(prefix="syncpoint-"))
        self._exits.callback(shutil.rmtree, temporary, ignore_errors=True)
        return temporary

    def _start_couchdb(self, folder: Path, keys: Mapping[str, str]) -> None:
        given = self._options.couchdb_url
        self._exits.callback(_stop, self._pollers)
        self.control_db = self._options.control_db or "control"
        if given is None:
            couchdb = EmbeddedCouchDB(
                folder / "couchdb", keys["admin_password"], self._options.couch_port
            )
            self._exits.callback(couchdb.stop)
            self.couch_url = couchdb.url
        else:
            self.couch_url = _checked_url(given)
            self.control_db = self._options.control_db or f"syncpoint-local-{uuid.uuid4().hex[:8]}"
        self._create_control_db(is_given=given is not None)

    def _create_control_db(self, *, is_given: bool) -> None:
        server = Server(self.couch_url)
        try:
            server.database("_users").create()
            control = server.database(self.control_db)
            is_new = control.create()
            if is_new:
                only_admins: dict[str, Any] = {"names": [], "roles": ["_admin"]}
                control.put_security({"admins": only_admins, "members": only_admins})
        except CouchError as exc:
            raise LocalError(
                f"CouchDB at {server.url} does not let us create a database: {exc}. "
                "COUCHDB_URL needs an administrator: http://NAME:PASSWORD@HOST:5984"
            ) from exc
        if is_given and is_new:
            self._exits.callback(remove_all_of, server, self.control_db)

    def _deploy(self, aws: LocalAws, keys: Mapping[str, str]) -> dict[str, str]:
        aws.verify_sender(MAIL_FROM)
        arn = aws.create_secret(SECRET_NAME, self.couch_url, keys["link_key"])
        parameters = {
            "Stage": STAGE,
            "ControlDb": self.control_db,
            "SecretArn": arn,
            "PollWindowSeconds": "50",
        }
        return aws.create_stack(ROOT / "template.yaml", parameters)

    def _lambda_environment(self, poller_environment: Mapping[str, str]) -> dict[str, str]:
        """What .chalice/config.json gives the handlers in a deployment."""
        return {
            "TABLE_NAME": poller_environment["TABLE_NAME"],
            "SECRET_ID": poller_environment["SECRET_ID"],
            "CONTROL_DB": self.control_db,
            "PUBLIC_URL": self.api,
            "COUCHDB_PUBLIC_URL": self._options.couchdb_public_url or "",
            "MAIL_FROM": MAIL_FROM,
            # All devices of one machine are of one network.
            "MAILS_PER_NETWORK_HOUR": "100000",
            "MAILS_PER_NETWORK_DAY": "100000",
        }


def prepare_process() -> None:
    """Set what must be in the environment before the Lambdas' code is imported."""
    os.environ["STAGE"] = STAGE
    os.environ.setdefault("POWERTOOLS_METRICS_DISABLED", "true")
    os.environ.setdefault("POWERTOOLS_LOG_LEVEL", "WARNING")


def _checked_url(couchdb_url: str) -> str:
    try:
        return str(parse_couchdb_url(couchdb_url)).rstrip("/")
    except ValueError:
        # Not shown: whatever is wrong with it, it may hold a password.
        raise LocalError(
            "COUCHDB_URL must be http(s)://NAME:PASSWORD@HOST:PORT; in the name and the password, "
            "write / as %2F and @ as %40"
        ) from None


def _keys(folder: Path) -> dict[str, str]:
    """The administrator's password and the link key: made once for a folder, then kept in it."""
    path = folder / "keys.json"
    if not path.exists():
        path.touch(mode=0o600)
        keys = {"admin_password": secrets.token_urlsafe(12), "link_key": new_link_key()}
        path.write_text(json.dumps(keys))
    kept: dict[str, str] = json.loads(path.read_text())
    return kept


def _stop(loops: list[Loop]) -> None:
    for loop in loops:
        loop.stopped.set()
    for loop in loops:
        loop.join()


def _is_ours(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
