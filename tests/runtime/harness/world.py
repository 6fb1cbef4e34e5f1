"""Everything that a function meets: CouchDB, AWS with rights, and the other functions."""

import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from local.aws import ENVIRONMENT, LocalAws, new_link_key
from local.cleanup import remove_all_of
from local.lambdas import Record, receive
from local.outbox import read_mail
from tests.runtime.harness import specs
from tests.runtime.harness.artifacts import STAGE, Artifacts
from tests.runtime.harness.calls import GuardedAws
from tests.runtime.harness.function import Function, Result, Spec

SECRET_NAME = f"syncpoint/{STAGE}"
PUBLIC_URL_PARAMETER = f"/syncpoint/{STAGE}/public-url"
PUBLIC_URL = "https://sync.example.com/api"
COUCHDB_PUBLIC_URL = "https://couch.example.com"
MAIL_FROM = "syncpoint@example.com"


class World:
    """The deployed system; a function's process is started when it is first needed.

    Parameters
    ----------
    couch_url : str
        With an administrator's credentials.
    folder : Path
        Where the processes' output goes.
    keeps_bytecode : bool
        Whether what was compiled in one process is kept for the others. A Lambda can keep none, as
        its folder cannot be written: it has what is in the artifact.
    """

    def __init__(
        self,
        artifacts: Artifacts,
        couch_url: str,
        aws: LocalAws,
        folder: Path,
        *,
        keeps_bytecode: bool = True,
    ) -> None:
        self._exits = ExitStack()
        self._folder, self.artifacts, self.aws = folder, artifacts, aws
        self.couch_url = couch_url
        self.server = Server(couch_url)
        self.control = self.server.database(f"control-{uuid.uuid4().hex[:12]}")
        self.link_key = new_link_key()
        self.played: set[str] = set()
        self._bytecode = (
            {"PYTHONPYCACHEPREFIX": str(artifacts.folder / "bytecode")}
            if keeps_bytecode
            else {"PYTHONDONTWRITEBYTECODE": "1"}
        )
        self._running: dict[str, Function] = {}
        self._make_databases()
        secret_arn = self._deploy()
        self.specs: dict[str, Spec] = {
            **specs.chalice_functions(artifacts),
            specs.POLLER: specs.poller(artifacts, aws, self.control.name, secret_arn),
        }
        self.guarded = GuardedAws(
            DomainDispatcherApplication(create_backend_app), {SECRET_NAME: secret_arn}
        )
        self.endpoint = self._serve(self.guarded)

    def function(self, name: str) -> Function:
        """A function's process, started and ready."""
        if name not in self._running:
            self._running[name] = self.start(name)
        return self._running[name]

    def start(self, name: str, **variables: str) -> Function:
        """Another process of a function, with some variables different; ended with the world."""
        spec = self.specs[name]
        environment = self.environment(name) | variables
        folder = self._folder / uuid.uuid4().hex[:8]
        folder.mkdir()
        function = Function(spec, self.artifacts.runtime, folder, environment)
        self._exits.callback(function.stop)
        function.start()
        return function

    def environment(self, name: str) -> dict[str, str]:
        """What a function has beside what it is deployed with: where things are on this machine.

        Its access key says who it is, and its role's policy goes with that.
        """
        spec = self.specs[name]
        self.guarded.policies[name] = spec.policy
        return {
            **ENVIRONMENT,
            "AWS_ACCESS_KEY_ID": name,
            "AWS_ENDPOINT_URL": self.endpoint,
            "COUCHDB_PUBLIC_URL": COUCHDB_PUBLIC_URL,
            "CONTROL_DB": self.control.name,
            **self._bytecode,
        }

    def invoke(self, name: str, event: Any) -> Result:
        """Hand a function an event; a request that its role forbids fails the test."""
        function = self.function(name)
        refused = len(self.guarded.refused)
        result = function.invoke(event)
        assert self.guarded.refused[refused:] == [], "the role forbids this"
        return result

    def owner_db(self, owner: str) -> Database:
        """The control database of an owner (the 32 hex digits), whether it exists or not."""
        return self.server.database(f"{self.control.name}-{owner}")

    def receive(self, route: str) -> list[Record]:
        """Take a batch from a route's queue, as Lambda does, which then hands it to a function."""
        name = f"syncpoint-{STAGE}-{route}"
        return receive(self.aws.client("sqs"), self.queue_url(route), name, 10)

    def drain(self, route: str) -> None:
        """Empty a route's queue."""
        sqs, url = self.aws.client("sqs"), self.queue_url(route)
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def queue_url(self, route: str) -> str:
        """Where the queue of a route, ``type-state``, is."""
        answer = self.aws.client("sqs").get_queue_url(QueueName=f"syncpoint-{STAGE}-{route}")
        url: str = answer["QueueUrl"]
        return url

    def mails_to(self, address: str) -> list[JsonDict]:
        """The mails that went to somebody; see `local.outbox.read_mail`."""
        return [mail for mail in self.mails() if mail["to"] == address]

    def mails(self) -> list[JsonDict]:
        """All mails, of other tests' as well."""
        return [read_mail(mime) for mime in self.aws.sent_mails()]

    def output(self) -> str:
        """All that functions have written so far, to either stream."""
        return "".join(path.read_text(encoding="utf-8") for path in self._folder.rglob("*.log"))

    def close(self) -> None:
        """End all processes, and remove all that they have left in CouchDB."""
        self._exits.close()

    def _make_databases(self) -> None:
        self._exits.callback(self.server.close)
        self.server.database("_users").create()
        self.control.create()
        self._exits.callback(remove_all_of, self.server, self.control.name)

    def _deploy(self) -> str:
        """What is there before the functions are; returns the secret's ARN."""
        self.aws.verify_sender(MAIL_FROM)
        self.aws.client("sesv2").create_configuration_set(ConfigurationSetName=f"syncpoint-{STAGE}")
        self.aws.client("ssm").put_parameter(
            Name=PUBLIC_URL_PARAMETER, Value=PUBLIC_URL, Type="String"
        )
        return self.aws.create_secret(SECRET_NAME, self.couch_url, self.link_key)

    def _serve(self, app: Callable[..., Any]) -> str:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        self._exits.callback(server.server_close)
        self._exits.callback(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"
