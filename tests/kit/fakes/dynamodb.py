# ruff: noqa: N803 - the arguments have AWS's names
"""DynamoDB in memory: tables whose key is `pk`, as template.yaml makes them."""

import marshal
import threading
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.domain.documents import JsonDict
from tests.kit.fakes.aws_errors import client_error, invalid
from tests.kit.fakes.dynamodb_checks import KEY, check, key_of, scope_of
from tests.kit.fakes.expression_tokens import Item, Scope, Value
from tests.kit.fakes.expressions import NoSuchAttribute, condition, update

KEYS_AT_ONCE = 100


class DynamoDb:
    """The operations that this project uses.

    Items are kept as bytes: small, whatever their number, and what is read of them is a copy.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, bytes]] = {}
        self._lock = threading.Lock()

    def get_item(
        self, *, TableName: str, Key: Item, ConsistentRead: bool = False
    ) -> dict[str, Item]:
        pk = key_of("GetItem", Key)
        with self._lock:
            item = self._table("GetItem", TableName).get(pk)
        return {} if item is None else {"Item": marshal.loads(item)}

    def scan(self, *, TableName: str) -> JsonDict:
        """All items, in one page."""
        with self._lock:
            items = [marshal.loads(item) for item in self._table("Scan", TableName).values()]
        return {"Items": items, "Count": len(items), "ScannedCount": len(items)}

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> JsonDict:
        [(table_name, request)] = RequestItems.items()
        pks = [key_of("BatchGetItem", key) for key in request["Keys"]]
        if not 0 < len(pks) <= KEYS_AT_ONCE:
            raise invalid("BatchGetItem", "Too many items requested for the BatchGetItem call")
        if len(set(pks)) < len(pks):
            raise invalid("BatchGetItem", "Provided list of item keys contains duplicates")
        with self._lock:
            table = self._table("BatchGetItem", table_name)
            found = [marshal.loads(table[pk]) for pk in pks if pk in table]
        return {"Responses": {table_name: found}, "UnprocessedKeys": {}}

    def put_item(
        self,
        *,
        TableName: str,
        Item: Item,
        ConditionExpression: str = "",
        ExpressionAttributeNames: Mapping[str, str] | None = None,
        ExpressionAttributeValues: Mapping[str, Value] | None = None,
        ReturnValuesOnConditionCheckFailure: str = "NONE",
    ) -> JsonDict:
        pk = key_of("PutItem", {KEY: Item.get(KEY, {})})
        scope = scope_of(
            "PutItem", ExpressionAttributeNames, ExpressionAttributeValues, ConditionExpression
        )
        self._write(
            "PutItem",
            TableName,
            pk,
            ConditionExpression,
            scope,
            lambda old: Item,
            shows_old=ReturnValuesOnConditionCheckFailure == "ALL_OLD",
        )
        return {}

    def delete_item(
        self,
        *,
        TableName: str,
        Key: Item,
        ConditionExpression: str = "",
        ExpressionAttributeNames: Mapping[str, str] | None = None,
        ExpressionAttributeValues: Mapping[str, Value] | None = None,
    ) -> JsonDict:
        scope = scope_of(
            "DeleteItem", ExpressionAttributeNames, ExpressionAttributeValues, ConditionExpression
        )
        pk = key_of("DeleteItem", Key)
        self._write("DeleteItem", TableName, pk, ConditionExpression, scope, lambda old: None)
        return {}

    def update_item(
        self,
        *,
        TableName: str,
        Key: Item,
        UpdateExpression: str,
        ConditionExpression: str = "",
        ExpressionAttributeNames: Mapping[str, str] | None = None,
        ExpressionAttributeValues: Mapping[str, Value] | None = None,
        ReturnValues: str = "NONE",
        ReturnValuesOnConditionCheckFailure: str = "NONE",
    ) -> JsonDict:
        expressions = (ConditionExpression, UpdateExpression)
        scope = scope_of(
            "UpdateItem", ExpressionAttributeNames, ExpressionAttributeValues, *expressions
        )
        if ReturnValues not in ("NONE", "ALL_NEW"):
            raise NotImplementedError(ReturnValues)
        pk, change = key_of("UpdateItem", Key), update(UpdateExpression)

        def updated(old: Item | None) -> Item:
            try:
                new = change(old or Key, scope)
            except NoSuchAttribute:
                raise invalid("UpdateItem", "an attribute that does not exist") from None
            if new.get(KEY) != Key[KEY]:
                raise invalid("UpdateItem", f"Cannot update attribute {KEY}: part of the key")
            return new

        new = self._write(
            "UpdateItem",
            TableName,
            pk,
            ConditionExpression,
            scope,
            updated,
            shows_old=ReturnValuesOnConditionCheckFailure == "ALL_OLD",
        )
        return {"Attributes": new} if ReturnValues == "ALL_NEW" else {}

    def _table(self, operation: str, name: str) -> dict[str, bytes]:
        if name not in self.tables:
            raise client_error(operation, "ResourceNotFoundException", f"no table {name}")
        return self.tables[name]

    def _write(
        self,
        operation: str,
        table_name: str,
        pk: str,
        condition_text: str,
        scope: Scope,
        make: Callable[[Item | None], Item | None],
        *,
        shows_old: bool = False,
    ) -> Item | None:
        with self._lock:
            table = self._table(operation, table_name)
            stored = table.get(pk)
            old: Item | None = None if stored is None else marshal.loads(stored)
            if condition_text and not condition(condition_text)(old or {}, scope):
                more: JsonDict = {"Item": old} if shows_old and old is not None else {}
                code = "ConditionalCheckFailedException"
                raise client_error(operation, code, "The conditional request failed", **more)
            new = make(old)
            if new is None:
                table.pop(pk, None)
            else:
                check(operation, new)
                table[pk] = marshal.dumps(new)
            return new
