"""An operator with a stage of their own in the AWS that all tests of a worker share."""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from chalicelib.domain.documents import JsonDict
from chalicelib.handlers.all import registry
from chalicelib.settings import queue_name
from local.aws import LocalAws, new_link_key
from local.system import ROOT
from ops import policies
from ops.stage import Stage, read_stage
from ops.tools import Tools
from tests.kit.cloud.account import Queue
from tests.kit.http_server import Answer, serving


@dataclass
class Operator:
    """A project's folder with one stage, and what its commands say.

    Attributes
    ----------
    clients : dict
        Clients that stand in for those of the AWS, by service.
    """

    aws: LocalAws
    root: Path
    name: str
    said: list[str] = field(default_factory=list)
    clients: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def make(cls, aws: LocalAws, root: Path, control_db: str = "control") -> "Operator":
        operator = cls(aws, root, f"t{uuid.uuid4().hex[:10]}")
        operator.configure(CONTROL_DB=control_db)
        (root / "template.yaml").write_text((ROOT / "template.yaml").read_text("utf-8"), "utf-8")
        return operator

    def configure(self, **variables: str | None) -> None:
        """Set variables of the stage; None leaves one out."""
        given = {
            "STAGE": self.name,
            "TABLE_NAME": f"syncpoint-{self.name}",
            "SECRET_ID": f"syncpoint/{self.name}",
            "PUBLIC_URL_PARAMETER": f"/syncpoint/{self.name}/public-url",
            "MAIL_FROM": f"Syncpoint <sync@{self.name}.example.com>",
            "MAIL_CONFIGURATION_SET": f"syncpoint-{self.name}",
            **variables,
        }
        kept = {name: value for name, value in given.items() if value is not None}
        folder = self.root / ".chalice"
        folder.mkdir(exist_ok=True)
        config = {"version": "2.0", "stages": {self.name: {"environment_variables": kept}}}
        (folder / "config.json").write_text(json.dumps(config))
        policies.main(self.root)

    @property
    def stage(self) -> Stage:
        return read_stage(self.name, self.root)

    @property
    def tools(self) -> Tools:
        return Tools(self.client, self._run_nothing, self.said.append, self.root)

    def client(self, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = self.aws.client(service)
        return self.clients[service]

    def put_secret(self, value: JsonDict | str) -> None:
        text = value if isinstance(value, str) else json.dumps(value)
        client = self.client("secretsmanager")
        client.create_secret(Name=self.stage.secret_id, SecretString=text)

    def put_right_secret(self, couchdb_url: str) -> None:
        self.put_secret({"couchdb_url": couchdb_url, "link_keys": [new_link_key()]})

    def put_another_secret(self, couchdb_url: str) -> None:
        value = {"couchdb_url": couchdb_url, "link_keys": [new_link_key()]}
        client = self.client("secretsmanager")
        client.put_secret_value(SecretId=self.stage.secret_id, SecretString=json.dumps(value))

    def make_queues(self) -> None:
        """Those of the routes, and the dead letters."""
        names = [queue_name(self.name, t.doc_type, t.state) for t in registry]
        for name in [*names, self.stage.dead_letters]:
            self.client("sqs").create_queue(QueueName=name)

    def make_stack(self) -> None:
        """What template.yaml describes, for this stage."""
        secret = self.client("secretsmanager").describe_secret(SecretId=self.stage.secret_id)
        parameters = {
            "Stage": self.name,
            "ControlDb": self.stage.control_db,
            "SecretArn": secret["ARN"],
            "PollWindowSeconds": "50",
        }
        self.aws.create_stack(ROOT / "template.yaml", parameters)

    @cached_property
    def dead_letters(self) -> Queue:
        return self._queue(self.stage.dead_letters)

    def queue(self, doc_type: str, state: str) -> Queue:
        return self._queue(queue_name(self.name, doc_type, state))

    def _queue(self, name: str) -> Queue:
        sqs = self.client("sqs")
        return Queue(sqs, name, sqs.get_queue_url(QueueName=name)["QueueUrl"])

    def _run_nothing(self, command: object, folder: object) -> None:
        raise AssertionError(f"{command} was to be run")


@contextmanager
def answering(answers: Mapping[str, tuple[int, object]], **headers: str) -> Iterator[str]:
    """The URL of a server that gives each path its answer; 404 to all others."""

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        status, body = answers.get(request.path, (404, {"error": "not_found", "reason": "no"}))
        return status, json.dumps(body).encode(), headers

    with serving(answer) as url:
        yield url
