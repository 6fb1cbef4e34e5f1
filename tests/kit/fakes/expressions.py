"""DynamoDB's expressions, as far as this project writes any; whatever else is in one is refused.

    condition:  attribute_not_exists(pk) OR (#status = :running AND lease_until_ms < :now_ms)
    update:     SET #a = :a, b = if_not_exists(b, :b) ADD n :one REMOVE c

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html
"""

import operator
import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

from tests.kit.fakes.expression_tokens import (
    NAME,
    OPERAND,
    Item,
    Scope,
    Tokens,
    UnknownExpression,
    Value,
)

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


Operand = Callable[[Item, Scope], Value | None]
Condition = Callable[[Item, Scope], bool]
Action = Callable[[Item, Item, Scope], None]  # from the item before, to the item after


class NoSuchAttribute(Exception):
    """A value is to be taken from an attribute that the item does not have."""


@cache
def condition(text: str) -> Condition:
    """Whether an item may be written; an item that does not exist is an empty one."""
    tokens = Tokens(text)
    holds = _any_of(tokens)
    tokens.end()
    return holds


@cache
def update(text: str) -> Callable[[Item, Scope], Item]:
    """The item after an update, a new one; all is computed from what it was before."""
    tokens = Tokens(text)
    actions: list[Action] = []
    while not tokens.is_at_end:
        action = {"SET": _set, "ADD": _add, "REMOVE": _remove}.get(tokens.take())
        if action is None:
            raise UnknownExpression(text)
        actions.append(action(tokens))
        while tokens.accept(","):
            actions.append(action(tokens))

    def after(item: Item, scope: Scope) -> Item:
        new = dict(item)
        for act in actions:
            act(item, new, scope)
        return new

    return after


@cache
def placeholders(text: str) -> frozenset[str]:
    """The names and values that an expression asks for."""
    return frozenset(re.findall(r"[#:]\w+", text))


def _any_of(tokens: Tokens) -> Condition:
    terms = [_all_of(tokens)]
    while tokens.accept("OR"):
        terms.append(_all_of(tokens))
    return lambda item, scope: any(term(item, scope) for term in terms)


def _all_of(tokens: Tokens) -> Condition:
    terms = [_term(tokens)]
    while tokens.accept("AND"):
        terms.append(_term(tokens))
    return lambda item, scope: all(term(item, scope) for term in terms)


def _term(tokens: Tokens) -> Condition:
    if tokens.accept("("):
        inner = _any_of(tokens)
        tokens.expect(")")
        return inner
    if tokens.accept_call("attribute_not_exists"):
        path = tokens.take(NAME)
        tokens.expect(")")
        return lambda item, scope: scope.name(path) not in item
    left, sign, right = _operand(tokens), tokens.take(), _operand(tokens)
    if sign not in ("=", "<>", *_ORDER):
        raise UnknownExpression(tokens.text)
    return lambda item, scope: _compare(sign, left(item, scope), right(item, scope))


def _operand(tokens: Tokens) -> Operand:
    if tokens.accept_call("if_not_exists"):
        path = tokens.take(NAME)
        tokens.expect(",")
        otherwise = _operand(tokens)
        tokens.expect(")")
        return lambda item, scope: item.get(scope.name(path)) or otherwise(item, scope)
    token = tokens.take(OPERAND)
    if token.startswith(":"):
        return lambda item, scope: scope.values[token]
    return lambda item, scope: item.get(scope.name(token))


def _compare(sign: str, left: Value | None, right: Value | None) -> bool:
    """What is missing is equal to nothing, and unequal to anything; nor do types compare."""
    a, b = _sortable(left), _sortable(right)
    if sign in ("=", "<>"):
        return (sign == "=") is (a is not None and a == b)
    return a is not None and b is not None and a[0] == b[0] and _ORDER[sign](a[1], b[1])


def _sortable(value: Value | None) -> tuple[str, Any] | None:
    if value is None:
        return None
    [(kind, plain)] = value.items()
    return kind, Decimal(plain) if kind == "N" else plain.encode() if kind == "S" else plain


def _set(tokens: Tokens) -> Action:
    path = tokens.take(NAME)
    tokens.expect("=")
    operand = _operand(tokens)

    def act(old: Item, new: Item, scope: Scope) -> None:
        value = operand(old, scope)
        if value is None:
            raise NoSuchAttribute
        new[scope.name(path)] = value

    return act


def _add(tokens: Tokens) -> Action:
    path, operand = tokens.take(NAME), _operand(tokens)

    def act(old: Item, new: Item, scope: Scope) -> None:
        name, more = scope.name(path), operand(old, scope) or {}
        sum_of_both = Decimal(old.get(name, {"N": "0"})["N"]) + Decimal(more["N"])
        new[name] = {"N": f"{sum_of_both:f}"}

    return act


def _remove(tokens: Tokens) -> Action:
    path = tokens.take(NAME)

    def act(old: Item, new: Item, scope: Scope) -> None:
        new.pop(scope.name(path), None)

    return act
