"""What can go wrong with one request, as the real libraries tell of it.

A single failure comes through to the code: the retries that boto3's clients are configured with
(`dependencies.make_client`) are not imitated, so this is harsher than AWS is.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import requests
from botocore import exceptions as botocore

from tests.kit.fakes.couch_http import Answer, response_of

Call = Callable[[], Any]


class Killed(BaseException):
    """The process is dead: no `except Exception` sees it, and what `finally` asks is not sent."""


class Kind(StrEnum):
    """A kind of fault; `takes_effect` tells whether the request was carried out all the same."""

    KILLED_BEFORE = "killed before it"
    KILLED_AFTER = "killed after its effect"
    FAILED = "500"
    UNAVAILABLE = "503"
    THROTTLED = "throttled"
    UNREACHABLE = "no connection"
    TIMED_OUT = "time-out, no effect"
    ANSWER_LOST = "time-out after its effect"
    RESET = "reset, no effect"
    RESET_AFTER = "reset after its effect"

    @property
    def takes_effect(self) -> bool:
        return self in (Kind.KILLED_AFTER, Kind.ANSWER_LOST, Kind.RESET_AFTER)

    @property
    def kills(self) -> bool:
        return self in (Kind.KILLED_BEFORE, Kind.KILLED_AFTER)


def strike(kind: Kind, name: str, call: Call) -> Any:
    """Answer a request, named ``couchdb.GET /path`` or ``sqs.SendMessageBatch``, with a fault."""
    if kind.takes_effect:
        call()
    if kind.kills:
        raise Killed(name)
    service, _, operation = name.partition(".")
    if service == "couchdb":
        return _couchdb(kind)
    raise _aws(kind, service, operation)


def _couchdb(kind: Kind) -> requests.Response:
    if kind in _COUCHDB_ANSWERS:
        status, error = _COUCHDB_ANSWERS[kind]
        return response_of(Answer({"error": error, "reason": "a fault"}, status))
    raise _COUCHDB_ERRORS[kind]("a fault")


_COUCHDB_ANSWERS = {
    Kind.FAILED: (500, "internal_server_error"),
    Kind.UNAVAILABLE: (503, "service_unavailable"),
    Kind.THROTTLED: (429, "too_many_requests"),
}
_COUCHDB_ERRORS: dict[Kind, type[requests.RequestException]] = {
    Kind.UNREACHABLE: requests.ConnectTimeout,
    Kind.TIMED_OUT: requests.ReadTimeout,
    Kind.ANSWER_LOST: requests.ReadTimeout,
    Kind.RESET: requests.ConnectionError,
    Kind.RESET_AFTER: requests.ConnectionError,
}


def _aws(kind: Kind, service: str, operation: str) -> Exception:
    url = f"https://{service}.eu-central-1.amazonaws.com"
    if kind is Kind.UNREACHABLE:
        return botocore.EndpointConnectionError(endpoint_url=url)
    if kind in (Kind.TIMED_OUT, Kind.ANSWER_LOST):
        return botocore.ReadTimeoutError(endpoint_url=url)
    if kind in (Kind.RESET, Kind.RESET_AFTER):
        return botocore.ConnectionClosedError(endpoint_url=url)
    code, status = _AWS_ANSWERS.get(kind) or _THROTTLING[service]
    return botocore.ClientError(
        {
            "Error": {"Code": code, "Message": "a fault"},
            "ResponseMetadata": {
                "RequestId": "",
                "HostId": "",
                "HTTPStatusCode": status,
                "HTTPHeaders": {},
                "RetryAttempts": 0,
            },
        },
        operation,
    )


_AWS_ANSWERS = {
    Kind.FAILED: ("InternalServerError", 500),
    Kind.UNAVAILABLE: ("ServiceUnavailable", 503),
}
_THROTTLING = {
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
    "sqs": ("RequestThrottled", 403),
    "sesv2": ("TooManyRequestsException", 429),
    "secretsmanager": ("ThrottlingException", 400),
    "ssm": ("ThrottlingException", 400),
}
