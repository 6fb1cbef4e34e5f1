"""What DynamoDB takes for a key, an item and a set of placeholders, and what it refuses."""

import importlib.util
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any

from tests.kit.fakes.aws_errors import invalid
from tests.kit.fakes.expression_tokens import KEYWORDS, Item, Scope, Value
from tests.kit.fakes.expressions import placeholders

KEY = "pk"
ITEM_BYTES = 400 * 1024
_TYPES: dict[str, type[Any]] = {"S": str, "N": str, "BOOL": bool}


def key_of(operation: str, key: Item) -> str:
    if key.keys() != {KEY} or not isinstance(key[KEY].get("S"), str) or not key[KEY]["S"]:
        raise invalid(operation, "The provided key element does not match the schema")
    return str(key[KEY]["S"])


def scope_of(
    operation: str,
    names: Mapping[str, str] | None,
    values: Mapping[str, Value] | None,
    *expressions: str,
) -> Scope:
    scope = Scope(names or {}, values or {})
    asked = frozenset[str]().union(*map(placeholders, expressions))
    if asked != scope.names.keys() | scope.values.keys():
        raise invalid(operation, f"placeholders asked for are {sorted(asked)}, others given")
    for word in frozenset[str]().union(*map(_words, expressions)) & _reserved():
        raise invalid(operation, f"Attribute name is a reserved keyword: {word}")
    return scope


@cache
def _words(expression: str) -> frozenset[str]:
    """The names that are written out, in capitals as DynamoDB lists those that must not be."""
    words = set(re.findall(r"(?<![#:\w])\w+", expression)) - KEYWORDS
    return frozenset(word.upper() for word in words)


@cache
def _reserved() -> frozenset[str]:
    # moto has the list; moto itself, which takes a second to import, is not needed for it.
    spec = importlib.util.find_spec("moto")
    if spec is None or spec.origin is None:
        raise ImportError("moto")
    words = Path(spec.origin).parent / "dynamodb" / "parsing" / "reserved_keywords.txt"
    return frozenset(words.read_text(encoding="utf-8").split())


def check(operation: str, item: Item) -> None:
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
