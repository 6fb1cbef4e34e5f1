"""AWS on this machine: a moto server, with the resources of template.yaml."""

import json
import logging
import os
import secrets
import threading
from collections import Counter
from itertools import count
from operator import itemgetter
from pathlib import Path
from typing import Any

REGION = "us-east-1"
ACCOUNT = "123456789012"
STAGE = "local"
CODE_BUCKET = "syncpoint-local-code"
# Resources that moto's CloudFormation cannot create, and that nothing here needs.
_NOT_IN_MOTO = ("AWS::SES::", "AWS::CloudWatch::", "AWS::SNS::TopicPolicy")

# The environment of every client in this process. It keeps them away from the user's own account.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_SESSION_TOKEN": "local",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


class LocalAws:
    """A moto server in this process, whose state is lost when the process ends.

    Creating it changes the process's environment, so that all later boto3 clients use it.
    """

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        make_conditional_writes_atomic()
        make_queues_fair()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self.endpoint = "http://{}:{}".format(*self._server.get_host_and_port())
        os.environ.pop("AWS_PROFILE", None)
        os.environ.update(ENVIRONMENT, AWS_ENDPOINT_URL=self.endpoint)

    def client(self, service: str) -> Any:
        """Create a boto3 client for the server."""
        import boto3

        return boto3.client(service)  # type: ignore[call-overload]

    def create_secret(self, name: str, couchdb_url: str, link_key: str) -> str:
        """Create the secret that a deployment has, and return its ARN."""
        value = json.dumps({"couchdb_url": couchdb_url, "link_keys": [link_key]})
        answer = self.client("secretsmanager").create_secret(Name=name, SecretString=value)
        return str(answer["ARN"])

    def create_stack(self, template: Path, parameters: dict[str, str]) -> dict[str, str]:
        """Create the resources of template.yaml.

        Returns
        -------
        dict
            The environment of the poller's Lambda.
        """
        s3 = self.client("s3")
        s3.create_bucket(Bucket=CODE_BUCKET)
        s3.put_object(Bucket=CODE_BUCKET, Key="poller.zip", Body=_empty_zip())
        self.client("cloudformation").create_stack(
            StackName=f"syncpoint-{parameters['Stage']}",
            TemplateBody=json.dumps(translate(template, parameters)),
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
            ],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        configuration = self.client("lambda").get_function_configuration(
            FunctionName=f"syncpoint-{parameters['Stage']}-poller"
        )
        # moto keeps numbers as numbers, but the environment of a Lambda has texts only.
        variables = configuration["Environment"]["Variables"]
        return {name: str(value) for name, value in variables.items()}

    def verify_sender(self, address: str) -> None:
        """Allow SES to send mail from this address."""
        self.client("ses").verify_email_identity(EmailAddress=address)

    def sent_mails(self) -> list[bytes]:
        """Return all mails that SES accepted, as MIME, oldest first."""
        from moto.ses.models import ses_backends

        return [mail.raw_data.encode() for mail in ses_backends[ACCOUNT][REGION].sent_messages]

    def stop(self) -> None:
        """Stop the server."""
        self._server.stop()


def translate(template: Path, parameters: dict[str, str]) -> dict[str, Any]:
    """Translate the SAM template into plain CloudFormation, which moto understands."""
    from samtranslator.translator.transform import transform
    from samtranslator.yaml_helper import yaml_parse

    sam = yaml_parse(template.read_text(encoding="utf-8"))
    for name, resource in list(sam["Resources"].items()):
        if resource["Type"].startswith(_NOT_IN_MOTO):
            del sam["Resources"][name]
    for resource in sam["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = f"s3://{CODE_BUCKET}/poller.zip"
            resource["Properties"].pop("EventInvokeConfig", None)  # moto has no such resource
    translated: dict[str, Any] = transform(sam, parameters, _NoManagedPolicies())
    return translated


def make_conditional_writes_atomic() -> None:
    """Put a lock around moto's DynamoDB, once.

    Without it two threads can both win the same conditional write, which DynamoDB never allows.
    """
    from moto.dynamodb.responses import DynamoHandler

    lock, call = threading.RLock(), DynamoHandler.call_action
    if getattr(call, "is_atomic", False):
        return

    def call_alone(handler: Any) -> Any:
        with lock:
            return call(handler)

    call_alone.is_atomic = True  # type: ignore[attr-defined]
    DynamoHandler.call_action = call_alone


def make_queues_fair() -> None:
    """Let moto give out the messages of each queue's groups in turn, once.

    SQS gives out others first if a group has so many that it would delay them; moto gives out the
    oldest.
    """
    from moto.sqs.models import Queue, SQSBackend

    visible, receive, numbers = Queue.messages.fget, SQSBackend.receive_message, count()
    if getattr(receive, "is_fair", False):
        return

    def messages(queue: Any) -> list[Any]:
        """Return what is visible: the first message of each group, then the second of each."""
        placed, places = [], Counter[str]()
        for message in visible(queue):
            group = message.group_id or message.id
            last_turn = queue.__dict__.setdefault("turns", {}).get(group, -1)
            placed.append((places[group], last_turn, message))
            places[group] += 1
        return [message for _, _, message in sorted(placed, key=itemgetter(0, 1))]

    def receive_in_turn(backend: Any, queue_name: str, *args: Any, **kwargs: Any) -> Any:
        """Receive messages, and note whose turn it was."""
        received = receive(backend, queue_name, *args, **kwargs)
        turns = backend.get_queue(queue_name).__dict__.setdefault("turns", {})
        turns.update({message.group_id: next(numbers) for message in received if message.group_id})
        return received

    receive_in_turn.is_fair = True  # type: ignore[attr-defined]
    Queue.messages = property(messages)
    SQSBackend.receive_message = receive_in_turn


def new_link_key() -> str:
    """Return a random key for signing links, in hex."""
    return secrets.token_hex(32)


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


def _empty_zip() -> bytes:
    return b"PK\x05\x06" + bytes(18)
