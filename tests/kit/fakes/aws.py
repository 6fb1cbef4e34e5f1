"""AWS in memory, for tests that want thousands of requests, virtual time, or faults.

Passes the same contract tests as moto (tests/contracts). What this project
does not use, it does not know, and says so: an unknown operation, argument or expression raises.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

from chalicelib.domain.documents import JsonDict
from tests.kit.fakes.aws_errors import Exceptions
from tests.kit.fakes.aws_small import SecretsManager, Ses, Ssm
from tests.kit.fakes.dynamodb import DynamoDb
from tests.kit.fakes.sqs import ARN, URL, Sqs

# What runs around a request: its name (``dynamodb.UpdateItem``) and the request, which is a
# `functools.partial`: `call.keywords` are its arguments, `call.func` takes others in their place.
# What is raised before `call()` is a request that never arrived, after it an answer that was lost.
Around = Callable[[str, "functools.partial[Any]"], Any]

_OPERATIONS = {
    "dynamodb": {"get_item", "batch_get_item", "put_item", "delete_item", "update_item", "scan"},
    "sqs": {
        "get_queue_url",
        "get_queue_attributes",
        "send_message_batch",
        "receive_message",
        "delete_message_batch",
        "change_message_visibility_batch",
    },
    "sesv2": {"send_email"},
    "secretsmanager": {"get_secret_value"},
    "ssm": {"get_parameter"},
}


class FakeAws:
    """One account, thread-safe.

    Parameters
    ----------
    now_s : callable
        The time in seconds since 1970, by which messages come back.
    take_mail : callable, optional
        Given the MIME of each mail; without it, they are kept in `mails`.

    Attributes
    ----------
    mails : list of bytes
        All mails as MIME, oldest first.
    """

    def __init__(
        self, now_s: Callable[[], float], take_mail: Callable[[bytes], None] | None = None
    ) -> None:
        self.mails: list[bytes] = []
        self._dynamodb = DynamoDb()
        self._sqs = Sqs(now_s)
        self._secrets = SecretsManager()
        self._ssm = Ssm()
        self._services: dict[str, object] = {
            "dynamodb": self._dynamodb,
            "sqs": self._sqs,
            "sesv2": Ses(take_mail or self.mails.append),
            "secretsmanager": self._secrets,
            "ssm": self._ssm,
        }

    def client(self, service: str, around: Around | None = None) -> Any:
        """What boto3 would give, as far as this project uses it; `around` runs around a request."""
        return FakeClient(service, self._services[service], around or (lambda name, call: call()))

    def create_table(self, name: str) -> None:
        """An empty table."""
        self._dynamodb.tables[name] = {}

    def drop_table_items(self, name: str) -> None:
        """The table is lost whole, and an empty one is there."""
        self._dynamodb.tables[name] = {}

    def items(self, table_name: str) -> list[JsonDict]:
        """What a table holds, as DynamoDB writes it."""
        items: list[JsonDict] = self._dynamodb.scan(TableName=table_name)["Items"]
        return items

    def table_bytes(self, name: str) -> int:
        """How much memory a table takes."""
        table = self._dynamodb.tables[name]
        return sys.getsizeof(table) + sum(map(sys.getsizeof, [*table, *table.values()]))

    def create_queue(self, name: str, *, visibility_s: float = 180, max_receives: int = 5) -> str:
        """A queue with dead letters behind it; its URL."""
        return self._sqs.create(name, visibility_s, max_receives)

    def waiting(self, queue_name: str) -> int:
        """How many messages may be received now."""
        with self._sqs.lock:
            return self._sqs.queues[queue_name].waiting()

    def hidden(self, queue_name: str) -> int:
        """How many messages were received, and are neither deleted nor back."""
        with self._sqs.lock:
            return self._sqs.queues[queue_name].hidden()

    def dead_letters(self, queue_name: str) -> list[str]:
        """The bodies of the messages that had no try left."""
        return [message.body for message in self._sqs.queues[queue_name].dead_letters]

    def next_visible_at_s(self) -> float | None:
        """When the next hidden message of any queue comes back; None if none is hidden."""
        return self._sqs.next_visible_at_s()

    def receive(self, queue_name: str, count: int = 10) -> list[JsonDict]:
        """Messages as Lambda's event source mapping puts them into an event: ``Records``.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
        """
        answer = self._sqs.receive_message(
            QueueUrl=f"{URL}/{queue_name}",
            MaxNumberOfMessages=count,
            MessageSystemAttributeNames=["All"],
        )
        return [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "messageAttributes": {},
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": f"{ARN}:{queue_name}",
                "awsRegion": "us-east-1",
            }
            for message in answer.get("Messages", [])
        ]

    def delete(self, queue_name: str, records: Sequence[JsonDict]) -> None:
        """What Lambda does with the messages of a batch that succeeded."""
        entries = [
            {"Id": str(number), "ReceiptHandle": record["receiptHandle"]}
            for number, record in enumerate(records)
        ]
        self._sqs.delete_message_batch(QueueUrl=f"{URL}/{queue_name}", Entries=entries)

    def put_secret(self, secret_id: str, text: str) -> None:
        """A secret's value, the first or a new one."""
        self._secrets.secrets[secret_id] = text

    def put_parameter(self, name: str, value: str) -> None:
        """A parameter of SSM's."""
        self._ssm.parameters[name] = value


class FakeClient:
    """The operations of one service, by the names of boto3's methods."""

    exceptions = Exceptions

    def __init__(self, service: str, backend: object, around: Around) -> None:
        for method in _OPERATIONS[service]:
            name = f"{service}.{method.title().replace('_', '')}"
            setattr(self, method, _operation(name, getattr(backend, method), around))


def _operation(name: str, operate: Callable[..., Any], around: Around) -> Callable[..., Any]:
    def request(**arguments: Any) -> Any:
        return around(name, functools.partial(operate, **arguments))

    return request
