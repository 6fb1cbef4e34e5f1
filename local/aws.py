"""AWS on this machine: a moto server, with the resources of template.yaml itself."""

import functools
import json
import logging
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

REGION = "us-east-1"
ACCOUNT = "123456789012"
STAGE = "local"
CODE_BUCKET = "syncpoint-local-code"
# What moto's CloudFormation cannot make; nothing here needs it.
_NOT_IN_MOTO = ("AWS::SES::", "AWS::CloudWatch::", "AWS::SNS::TopicPolicy")

# What every client in this process is made with: a real account is out of reach, whatever the
# user's own environment says.
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
    """A moto server in this process; its state lives as long as the process.

    Starting it points the process's environment at it, so that every boto3 client made afterwards,
    by whatever code, talks to it.
    """

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        make_conditional_writes_atomic()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self.endpoint = "http://{}:{}".format(*self._server.get_host_and_port())
        os.environ.pop("AWS_PROFILE", None)
        os.environ.update(ENVIRONMENT, AWS_ENDPOINT_URL=self.endpoint)

    def client(self, service: str) -> Any:
        """A boto3 client for the server."""
        import boto3

        return boto3.client(service)  # type: ignore[call-overload]

    def create_secret(self, name: str, couchdb_url: str, link_key: str) -> str:
        """The secret as a deployment has it; returns its ARN."""
        value = json.dumps({"couchdb_url": couchdb_url, "link_keys": [link_key]})
        answer = self.client("secretsmanager").create_secret(Name=name, SecretString=value)
        return str(answer["ARN"])

    def create_stack(self, template: Path, parameters: dict[str, str]) -> dict[str, str]:
        """Create what template.yaml describes.

        Returns
        -------
        dict
            The poller's environment, as the stack made it.
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
        # moto leaves the numbers among the parameters numbers; in a Lambda all is text.
        variables = configuration["Environment"]["Variables"]
        return {name: str(value) for name, value in variables.items()}

    def verify_sender(self, address: str) -> None:
        """Let SES send mail from this address."""
        self.client("ses").verify_email_identity(EmailAddress=address)

    def sent_mails(self) -> list[bytes]:
        """All mails that SES took, as MIME, oldest first."""
        from moto.ses.models import ses_backends

        return [mail.raw_data.encode() for mail in ses_backends[ACCOUNT][REGION].sent_messages]

    def stop(self) -> None:
        """Stop the server."""
        self._server.stop()


def translate(template: Path, parameters: dict[str, str]) -> dict[str, Any]:
    """The SAM template as plain CloudFormation: moto skips what only SAM knows."""
    from samtranslator.translator.transform import transform
    from samtranslator.yaml_helper import yaml_parse

    sam = yaml_parse(template.read_text(encoding="utf-8"))
    for name, resource in list(sam["Resources"].items()):
        if resource["Type"].startswith(_NOT_IN_MOTO):
            del sam["Resources"][name]
    for resource in sam["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = f"s3://{CODE_BUCKET}/poller.zip"
            resource["Properties"].pop("EventInvokeConfig", None)  # moto knows nothing like it
    translated: dict[str, Any] = transform(sam, parameters, _NoManagedPolicies())
    return translated


def make_conditional_writes_atomic() -> None:
    """Give moto's DynamoDB the lock that it lacks.

    Without it two threads can both win the same conditional write, which DynamoDB never allows.
    """
    from moto.dynamodb.responses import DynamoHandler

    if not getattr(DynamoHandler.call_action, "is_atomic", False):
        DynamoHandler.call_action = _locked(DynamoHandler.call_action)


def new_link_key() -> str:
    """A random key for signing links, in hex."""
    return secrets.token_hex(32)


def _locked(call: Callable[..., Any]) -> Callable[..., Any]:
    lock = threading.RLock()

    @functools.wraps(call)
    def locked(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return call(*args, **kwargs)

    locked.is_atomic = True  # type: ignore[attr-defined]
    return locked


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


def _empty_zip() -> bytes:
    return b"PK\x05\x06" + bytes(18)
