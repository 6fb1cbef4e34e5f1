"""The local system: starts and ends CouchDB, AWS, the Lambdas and the outbox together."""

import contextlib
import json
import logging
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from chalicelib.couch import CouchError, InvalidName, Server
from chalicelib.settings import MAX_QUOTA, InvalidSettings, parse_couchdb_url
from local.aws import STAGE, LocalAws
from local.cleanup import remove_all_of
from local.couchdb_process import EmbeddedCouchDB
from local.data_folder import Ports, open_folder, read_keys
from local.errors import LocalError, refusal
from local.lambdas import Api, Loop, PollerLoop, invoke, load_app, queue_loops, schedule_loops
from local.outbox import Outbox
from ops.upgrade import upgrade

ROOT = Path(__file__).parent.parent
MAIL_FROM = "syncpoint@example.com"
SECRET_NAME = "syncpoint/local"  # noqa: S105 - a name, not the secret

log = logging.getLogger("local")


@dataclass(frozen=True)
class Options:
    """The options of the local system.

    Attributes
    ----------
    couchdb_url : str or None
        The URL of a CouchDB to use, with its administrator. None starts the embedded CouchDB.
    couchdb_public_url : str or None
        The URL of CouchDB for devices, if it is another one.
    control_db : str or None
        The control database. None is ``control`` in the embedded CouchDB, and a random name in a
        given one.
    folder : Path or None
        The folder that keeps the embedded CouchDB's data and keys. None is a temporary folder.
    api_port, outbox_port, couch_port : int or None
        0 is a free port. None is the port of the last run with this folder, or a free one.
    """

    couchdb_url: str | None = None
    couchdb_public_url: str | None = None
    control_db: str | None = None
    folder: Path | None = None
    api_port: int | None = None
    outbox_port: int | None = None
    couch_port: int | None = None


class LocalSystem:
    """The running system, a context manager. At its end only the data folder remains."""

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
            If a part cannot start. The other parts are ended.
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
        """Return the line of JSON that gives other programs the URLs of all parts."""
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
        wanted = self._options.folder if self._options.couchdb_url is None else None
        folder = open_folder(wanted, self._exits)
        keys = read_keys(folder)
        ports = Ports(folder)
        api_port = ports.choose("api", self._options.api_port)
        outbox_port = ports.choose("outbox", self._options.outbox_port)
        self._start_couchdb(folder, keys, ports)
        aws = self._aws or LocalAws()
        environment = self._deploy(aws, keys)
        module = load_app(ROOT)
        api = Api(module, ROOT, api_port)
        outbox = Outbox(aws.sent_mails, outbox_port)
        self.api, self.outbox = api.url, outbox.url
        ports.keep(api=self.api, outbox=self.outbox, couch=self.couch_url)
        os.environ.update(self._lambda_environment(environment))
        poller = PollerLoop(environment)
        workers = [*queue_loops(module, aws.client("sqs")), *schedule_loops(module)]
        # The poller's long poll lasts until CouchDB ends. So the poller is joined after CouchDB.
        self._pollers.append(poller)
        self._exits.callback(_stop, workers)
        self._exits.callback(poller.stopped.set)
        for part in (outbox, api):
            part.start()
            self._exits.callback(part.stop)
        for loop in (poller, *workers):
            loop.start()
        upgrade(lambda event: invoke(module, "upgrade_designs", event), log.info)

    def _start_couchdb(self, folder: Path, keys: Mapping[str, str], ports: Ports) -> None:
        given = self._options.couchdb_url
        self._exits.callback(_stop, self._pollers)
        self.control_db = self._options.control_db or "control"
        if given is None:
            port = ports.choose("couch", self._options.couch_port)
            couchdb = EmbeddedCouchDB(folder / "couchdb", keys["admin_password"], port)
            self._exits.callback(couchdb.stop)
            self.couch_url = couchdb.url
        else:
            self.couch_url = checked_url(given)
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
            raise LocalError(refusal(server.url, exc, is_given=is_given)) from exc
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
        """Return the environment that .chalice/config.json gives the Lambdas in a deployment."""
        return {
            "TABLE_NAME": poller_environment["TABLE_NAME"],
            "SECRET_ID": poller_environment["SECRET_ID"],
            "CONTROL_DB": self.control_db,
            "PUBLIC_URL": self.api,
            "COUCHDB_PUBLIC_URL": self._options.couchdb_public_url or "",
            "MAIL_FROM": MAIL_FROM,
            # All devices on one machine are in the same network.
            "MAILS_PER_NETWORK_HOUR": str(MAX_QUOTA),
            "MAILS_PER_NETWORK_DAY": str(MAX_QUOTA),
            "MAILS_SHARE_HOUR": str(MAX_QUOTA),
        }


def prepare_process() -> None:
    """Set the environment variables that the Lambdas' code reads when it is imported."""
    os.environ["STAGE"] = STAGE
    os.environ.setdefault("POWERTOOLS_METRICS_DISABLED", "true")
    os.environ.setdefault("POWERTOOLS_LOG_LEVEL", "WARNING")


def checked_url(couchdb_url: str) -> str:
    """Check the value of COUCHDB_URL, and return it without a slash at the end.

    Raises
    ------
    LocalError
        If the value is not a valid URL.
    """
    try:
        return str(parse_couchdb_url(couchdb_url)).rstrip("/")
    except ValueError:
        # The message does not show the value, because it may contain a password.
        raise LocalError(
            "COUCHDB_URL must be http(s)://NAME:PASSWORD@HOST:PORT; in the name and the password, "
            "write / as %2F and @ as %40"
        ) from None


def _stop(loops: list[Loop]) -> None:
    for loop in loops:
        loop.stopped.set()
    for loop in loops:
        loop.join()
