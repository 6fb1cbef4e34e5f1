"""Addresses that are to get no more mail, since somebody there complained. Kept in DynamoDB."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class Suppressions:
    """The suppressed addresses in one table; each is known by a hash, and stays for good."""

    client: "DynamoDBClient"
    table_name: str

    def add(self, address_id: str, reason: str, at: str) -> None:
        """Suppress an address. One request.

        Parameters
        ----------
        address_id : str
            `identity.owner_id` of the address.
        reason, at : str
            Why and when, for the operator to read.
        """
        self.client.put_item(
            TableName=self.table_name,
            Item={
                "pk": {"S": _pk(address_id)},
                "reason": {"S": reason},
                "at": {"S": at},
            },
        )

    def holds(self, address_id: str) -> bool:
        """Whether an address is suppressed. One request."""
        answer = self.client.get_item(
            TableName=self.table_name, Key={"pk": {"S": _pk(address_id)}}, ConsistentRead=True
        )
        return "Item" in answer


def _pk(address_id: str) -> str:
    return f"suppressed#{address_id}"
