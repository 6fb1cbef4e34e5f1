"""AWS with rights: who called what is read from each request, and refused if its role forbids it.

Every function has an access key of its own, and a request is signed with its key's name in plain.
"""

import io
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import parseaddr
from typing import Any

from chalicelib.domain.documents import JsonDict
from local.aws import ACCOUNT, REGION
from tests.runtime.harness import iam
from tests.runtime.harness.iam import Request

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/[^/]+/[^/]+/([^/]+)/aws4_request")


@dataclass
class GuardedAws:
    """A WSGI application in front of moto's.

    Parameters
    ----------
    moto : callable
        The WSGI application that answers.
    secret_arns : mapping
        The ARN of each secret by its name: its last letters are random, and a role names the ARN.

    Attributes
    ----------
    policies : dict
        The policy of each access key; others (the tests' own) may do everything.
    calls : list
        Each request of these keys: (key, what IAM is asked), in order.
    refused : list
        Those that were answered AccessDenied.
    """

    moto: Wsgi
    secret_arns: Mapping[str, str]
    policies: dict[str, JsonDict] = field(default_factory=dict)
    calls: list[tuple[str, Request]] = field(default_factory=list)
    refused: list[tuple[str, Request]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        signed = _SIGNED.match(environ.get("HTTP_AUTHORIZATION", ""))
        if signed is None or signed[1] not in self.policies:
            return self.moto(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        requests = list(self._read(signed[2], environ, json.loads(body or b"{}")))
        policy = self.policies[signed[1]]
        refused = [request for request in requests if not iam.allows(policy, request)]
        with self._lock:
            self.calls += [(signed[1], request) for request in requests]
            self.refused += [(signed[1], request) for request in refused]
        if refused:
            return _deny(refused[0], start_response)
        return self.moto(environ, start_response)

    def _read(self, service: str, environ: dict[str, Any], body: JsonDict) -> Iterable[Request]:
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        if service == "dynamodb":
            return _dynamodb(operation, body)
        if service == "sqs":
            return _sqs(operation, body)
        if service == "secretsmanager":
            arn = self.secret_arns.get(body["SecretId"], body["SecretId"])
            return [Request(f"secretsmanager:{operation}", arn)]
        if service == "ssm":
            return [Request(f"ssm:{operation}", _arn("ssm", f"parameter{body['Name']}"))]
        if service == "ses":
            return _ses(environ["REQUEST_METHOD"], environ["PATH_INFO"], body)
        raise NotImplementedError(f"nobody has said what IAM asks of {service}")


def _dynamodb(operation: str, body: JsonDict) -> Iterable[Request]:
    """Each with the keys that it is about, as ``dynamodb:LeadingKeys``."""
    if operation == "BatchGetItem":
        keys = {name: table["Keys"] for name, table in body["RequestItems"].items()}
    else:
        keys = {body["TableName"]: [body.get("Key") or body["Item"]]}
    for table, items in keys.items():
        values = tuple(item["pk"]["S"] for item in items)
        arn = _arn("dynamodb", f"table/{table}")
        yield Request(f"dynamodb:{operation}", arn, {"dynamodb:LeadingKeys": values})


def _sqs(operation: str, body: JsonDict) -> Iterable[Request]:
    """A batch needs the right of its single operation, which is called by that one's name.

    Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
    """
    name = body.get("QueueName") or body["QueueUrl"].rpartition("/")[2]
    yield Request(f"sqs:{operation.removesuffix('Batch')}", _arn("sqs", name))


def _ses(method: str, path: str, body: JsonDict) -> Iterable[Request]:
    """Version 2's SendEmail is checked as SendRawEmail where it is given MIME.

    The sender's identity is checked, and the configuration set if one is named.
    Source: https://github.com/anymail/django-anymail/issues/274
    Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonses.html
    """
    if (method, path) != ("POST", "/v2/email/outbound-emails"):
        raise NotImplementedError(f"nobody has said what IAM asks of {method} {path}")
    action = "ses:SendRawEmail" if "Raw" in body["Content"] else "ses:SendEmail"
    sender = parseaddr(body["FromEmailAddress"])[1]
    context = {
        "ses:FromAddress": (sender,),
        "ses:Recipients": tuple(body["Destination"]["ToAddresses"]),
    }
    yield Request(action, _arn("ses", f"identity/{sender}"), context)
    if "ConfigurationSetName" in body:
        arn = _arn("ses", f"configuration-set/{body['ConfigurationSetName']}")
        yield Request(action, arn, context)


def _arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def _deny(request: Request, start_response: Callable[..., Any]) -> Iterable[bytes]:
    said = {
        "__type": "AccessDeniedException",
        "message": f"not authorized to perform {request.action} on resource {request.resource}",
    }
    start_response(
        "400 Bad Request",
        [
            ("Content-Type", "application/x-amz-json-1.0"),
            ("X-Amzn-ErrorType", "AccessDeniedException"),
        ],
    )
    return [json.dumps(said).encode()]
