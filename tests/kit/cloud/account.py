"""Accounts at AWS for the contract tests: what a test does with a table and a queue."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.domain.documents import JsonDict
from local.aws import LocalAws
from tests.kit.fakes.aws import FakeAws


@dataclass
class Account:
    """Clients of an account, and what is looked at beside them."""

    client: Callable[[str], Any]
    mails: Callable[[], list[bytes]]
    put_secret: Callable[[str, str], object]
    put_parameter: Callable[[str, str], object]
    real: LocalAws | None = None
    fake: FakeAws | None = None


@dataclass
class Table:
    client: Any
    name: str

    def get(self, pk: str = "a") -> JsonDict | None:
        item: JsonDict | None = self.client.get_item(
            TableName=self.name, Key={"pk": {"S": pk}}, ConsistentRead=True
        ).get("Item")
        return item

    def put(self, pk: str = "a", condition: str = "", **more: Any) -> None:
        """`more`: attributes, and under ``values`` and ``names`` what placeholders stand for."""
        asked = _asked(condition, more)
        options = {name: more.pop(name) for name in list(more) if name.startswith("Return")}
        item = {"pk": {"S": pk}, **more}
        self.client.put_item(TableName=self.name, Item=item, **asked, **options)

    def update(self, update: str, condition: str = "", pk: str = "a", **more: Any) -> JsonDict:
        asked, returned = _asked(condition, more), {**more}
        answer: JsonDict = self.client.update_item(
            TableName=self.name,
            Key={"pk": {"S": pk}},
            UpdateExpression=update,
            **asked,
            **returned,
        )
        return answer

    def delete(self, condition: str = "", pk: str = "a", **more: Any) -> None:
        asked = _asked(condition, more)
        self.client.delete_item(TableName=self.name, Key={"pk": {"S": pk}}, **asked)

    def refuses(self, write: Callable[[], object]) -> JsonDict:
        """A write whose condition does not hold; the whole answer."""
        with pytest.raises(self.client.exceptions.ConditionalCheckFailedException) as refused:
            write()
        response: JsonDict = refused.value.response
        assert response["Error"]["Code"] == "ConditionalCheckFailedException"
        return response


def _asked(condition: str, more: dict[str, Any]) -> JsonDict:
    given = {
        "ConditionExpression": condition,
        "ExpressionAttributeValues": more.pop("values", None),
        "ExpressionAttributeNames": more.pop("names", None),
    }
    return {name: value for name, value in given.items() if value}


@dataclass
class Queue:
    """A queue, and the bodies and groups of its dead letters."""

    client: Any
    name: str
    url: str
    dead_letters: Callable[[], list[tuple[str, str | None]]] = list

    def send(self, *given: str | JsonDict, group: str | None = None) -> JsonDict:
        more = {"MessageGroupId": group} if group else {}
        texts = [body if isinstance(body, str) else json.dumps(body) for body in given]
        entries = [{"Id": str(n), "MessageBody": text, **more} for n, text in enumerate(texts)]
        answer: JsonDict = self.client.send_message_batch(QueueUrl=self.url, Entries=entries)
        return answer

    def receive(self, count: int = 10, **more: Any) -> list[JsonDict]:
        answer = self.client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=count,
            MessageSystemAttributeNames=["All"],
            **more,
        )
        messages: list[JsonDict] = answer.get("Messages", [])
        return messages

    def groups(self) -> dict[str, str | None]:
        """The group of each message that waits, by its body; they are hidden from then on."""
        return {one["Body"]: one["Attributes"].get("MessageGroupId") for one in self.receive()}

    def delete(self, *receipts: str) -> JsonDict:
        entries = [{"Id": str(n), "ReceiptHandle": receipt} for n, receipt in enumerate(receipts)]
        answer: JsonDict = self.client.delete_message_batch(QueueUrl=self.url, Entries=entries)
        return answer

    def hide(self, visibility_s: int, *receipts: str) -> JsonDict:
        entries = [
            {"Id": str(n), "ReceiptHandle": receipt, "VisibilityTimeout": visibility_s}
            for n, receipt in enumerate(receipts)
        ]
        answer: JsonDict = self.client.change_message_visibility_batch(
            QueueUrl=self.url, Entries=entries
        )
        return answer

    def counts(self) -> tuple[int, int]:
        """How many messages wait, and how many are hidden."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return int(answer["Attributes"][names[0]]), int(answer["Attributes"][names[1]])

    def count(self) -> int:
        """How many messages there are, hidden ones included."""
        return sum(self.counts())

    def visible(self) -> list[str]:
        """The bodies of all messages that a reader would get now; they stay visible."""
        found: list[JsonDict] = []
        while messages := self.receive(VisibilityTimeout=60):
            found += messages
        for receipt in receipts(found):
            self.hide(0, receipt)
        return bodies(found)


def bodies(messages: list[JsonDict]) -> list[str]:
    return sorted(message["Body"] for message in messages)


def groups(messages: list[JsonDict]) -> list[tuple[str, str | None]]:
    """The bodies, each with its group."""
    return sorted((one["Body"], one["Attributes"].get("MessageGroupId")) for one in messages)


def receipts(messages: list[JsonDict]) -> list[str]:
    return [message["ReceiptHandle"] for message in messages]


def entry_ids(entries: list[JsonDict]) -> list[str]:
    return [entry["Id"] for entry in entries]


def a_name() -> str:
    return f"contract-{uuid.uuid4().hex[:12]}"


def code_of(call: Callable[[], object]) -> str:
    """The code of the error that a request is refused with."""
    with pytest.raises(ClientError) as refused:
        call()
    return str(refused.value.response["Error"]["Code"])
