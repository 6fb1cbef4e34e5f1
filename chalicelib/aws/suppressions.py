"""Addresses that get no more mail, because somebody there complained. Stored in DynamoDB."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class Suppressions:
    """The suppressed addresses in one DynamoDB table.

    An address is stored as a hash. It is never removed.
    """

    client: "DynamoDBClient"
    table_name: str

    def add(self, address_id: str, reason: str, at: str) -> None:
        """Suppress an address. One request.

        Parameters
        ----------
        address_id : str
            The hash of the address, as `domain.addresses.owner_id_of` computes it.
        reason, at : str
            Why and when, for the operator.
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
        """Return whether an address is suppressed. One request."""
        answer = self.client.get_item(
            TableName=self.table_name, Key={"pk": {"S": _pk(address_id)}}, ConsistentRead=True
        )
        return "Item" in answer


def _pk(address_id: str) -> str:
    return f"suppressed#{address_id}"
