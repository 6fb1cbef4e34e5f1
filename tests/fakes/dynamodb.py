# ruff: noqa: N803 - the arguments have AWS's names
"""DynamoDB in memory: tables whose key is `pk`, as template.yaml makes them."""

import threading
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from tests.fakes.aws_errors import JsonDict, client_error, invalid
from tests.fakes.expressions import (
    Item,
    NoSuchAttribute,
    Scope,
    Value,
    condition,
    placeholders,
    update,
)

KEY = "pk"
ITEM_BYTES = 400 * 1024
KEYS_AT_ONCE = 100
_TYPES: dict[str, type[Any]] = {"S": str, "N": str, "BOOL": bool}


class DynamoDb:
    """The operations that this project uses. Items are never changed in place, only replaced."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Item]] = {}
        self._lock = threading.Lock()

    def get_item(
        self, *, TableName: str, Key: Item, ConsistentRead: bool = False
    ) -> dict[str, Item]:
        pk = _pk("GetItem", Key)
        with self._lock:
            item = self._table("GetItem", TableName).get(pk)
        return {} if item is None else {"Item": _copy(item)}

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> JsonDict:
        [(table_name, request)] = RequestItems.items()
        pks = [_pk("BatchGetItem", key) for key in request["Keys"]]
        if not 0 < len(pks) <= KEYS_AT_ONCE:
            raise invalid("BatchGetItem", "Too many items requested for the BatchGetItem call")
        if len(set(pks)) < len(pks):
            raise invalid("BatchGetItem", "Provided list of item keys contains duplicates")
        with self._lock:
            table = self._table("BatchGetItem", table_name)
            found = [_copy(table[pk]) for pk in pks if pk in table]
        return {"Responses": {table_name: found}, "UnprocessedKeys": {}}

    def put_item(
        self,
        *,
        TableName: str,
        Item: Item,
        ConditionExpression: str = "",
        ExpressionAttributeNames: Mapping[str, str] | None = None,
        ExpressionAttributeValues: Mapping[str, Value] | None = None,
    ) -> JsonDict:
        pk, new = _pk("PutItem", {KEY: Item.get(KEY, {})}), _copy(Item)
        scope = _scope(
            "PutItem", ExpressionAttributeNames, ExpressionAttributeValues, ConditionExpression
        )
        self._write("PutItem", TableName, pk, ConditionExpression, scope, lambda old: new)
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
        scope = _scope(
            "DeleteItem", ExpressionAttributeNames, ExpressionAttributeValues, ConditionExpression
        )
        pk = _pk("DeleteItem", Key)
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
        scope = _scope(
            "UpdateItem", ExpressionAttributeNames, ExpressionAttributeValues, *expressions
        )
        if ReturnValues not in ("NONE", "ALL_NEW"):
            raise NotImplementedError(ReturnValues)
        pk, change = _pk("UpdateItem", Key), update(UpdateExpression)

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
        return {"Attributes": _copy(new or {})} if ReturnValues == "ALL_NEW" else {}

    def _table(self, operation: str, name: str) -> dict[str, Item]:
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
            old = table.get(pk)
            if condition_text and not condition(condition_text)(old or {}, scope):
                more: JsonDict = {"Item": _copy(old)} if shows_old and old is not None else {}
                code = "ConditionalCheckFailedException"
                raise client_error(operation, code, "The conditional request failed", **more)
            new = make(old)
            if new is None:
                table.pop(pk, None)
            else:
                _check(operation, new)
                table[pk] = new
            return new


def _pk(operation: str, key: Item) -> str:
    if key.keys() != {KEY} or not isinstance(key[KEY].get("S"), str) or not key[KEY]["S"]:
        raise invalid(operation, "The provided key element does not match the schema")
    return str(key[KEY]["S"])


def _scope(
    operation: str,
    names: Mapping[str, str] | None,
    values: Mapping[str, Value] | None,
    *expressions: str,
) -> Scope:
    scope = Scope(names or {}, values or {})
    asked = frozenset[str]().union(*map(placeholders, expressions))
    if asked != scope.names.keys() | scope.values.keys():
        raise invalid(operation, f"placeholders asked for are {sorted(asked)}, others given")
    return scope


def _check(operation: str, item: Item) -> None:
    size_bytes = 0
    for name, value in item.items():
        [(kind, plain)] = value.items()
        if kind not in _TYPES:
            raise NotImplementedError(f"an attribute of the type {kind}")
        if not isinstance(plain, _TYPES[kind]) or (kind == "N" and not _is_number(str(plain))):
            raise invalid(operation, f"the value of {name} is none of the type {kind}")
        size_bytes += len(name) + (len(plain.encode()) if isinstance(plain, str) else 1)
    if size_bytes > ITEM_BYTES:
        raise invalid(operation, "Item size has exceeded the maximum allowed size")


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _copy(item: Item) -> Item:
    return {name: dict(value) for name, value in item.items()}
