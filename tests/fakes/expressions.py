"""DynamoDB's expressions, as far as this project writes any; whatever else is in one is refused.

    condition:  attribute_not_exists(pk) OR (#status = :running AND lease_until_ms < :now_ms)
    update:     SET #a = :a, b = if_not_exists(b, :b) ADD n :one REMOVE c

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

Value = dict[str, Any]  # {"S": "text"}, {"N": "1"}, {"BOOL": True}
Item = dict[str, Value]

_TOKEN = re.compile(r"\s*(<>|<=|>=|[()=<>,]|[#:]?\w+)")
_NAME = re.compile(r"#?\w+")
_KEYWORDS = {"AND", "OR", "NOT", "SET", "ADD", "REMOVE", "DELETE", "BETWEEN", "IN"}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Scope:
    """What the placeholders of an expression stand for."""

    names: Mapping[str, str]
    values: Mapping[str, Value]

    def name(self, token: str) -> str:
        return self.names[token] if token.startswith("#") else token


Operand = Callable[[Item, Scope], Value | None]
Condition = Callable[[Item, Scope], bool]
Action = Callable[[Item, Item, Scope], None]  # from the item before, to the item after


class UnknownExpression(NotImplementedError):
    """The fake does not know this part of DynamoDB's language: teach it, with a contract test."""


class NoSuchAttribute(Exception):
    """A value is to be taken from an attribute that the item does not have."""


@cache
def condition(text: str) -> Condition:
    """Whether an item may be written; an item that does not exist is an empty one."""
    tokens = _Tokens(text)
    holds = _any_of(tokens)
    tokens.end()
    return holds


@cache
def update(text: str) -> Callable[[Item, Scope], Item]:
    """The item after an update, a new one; all is computed from what it was before."""
    tokens = _Tokens(text)
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


class _Tokens:
    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = _TOKEN.findall(text)
        if re.sub(r"\s", "", text) != "".join(self._tokens):
            raise UnknownExpression(text)

    @property
    def is_at_end(self) -> bool:
        return not self._tokens

    def take(self, pattern: re.Pattern[str] | None = None) -> str:
        token = self._tokens.pop(0) if self._tokens else ""
        if pattern and (token in _KEYWORDS or not pattern.fullmatch(token)):
            raise UnknownExpression(self.text)
        return token

    def accept(self, token: str) -> bool:
        is_next = self._tokens[:1] == [token]
        if is_next:
            self._tokens.pop(0)
        return is_next

    def accept_call(self, function: str) -> bool:
        return self._tokens[1:2] == ["("] and self.accept(function) and self.accept("(")

    def expect(self, token: str) -> None:
        if not self.accept(token):
            raise UnknownExpression(self.text)

    def end(self) -> None:
        if self._tokens:
            raise UnknownExpression(self.text)


def _any_of(tokens: _Tokens) -> Condition:
    terms = [_all_of(tokens)]
    while tokens.accept("OR"):
        terms.append(_all_of(tokens))
    return lambda item, scope: any(term(item, scope) for term in terms)


def _all_of(tokens: _Tokens) -> Condition:
    terms = [_term(tokens)]
    while tokens.accept("AND"):
        terms.append(_term(tokens))
    return lambda item, scope: all(term(item, scope) for term in terms)


def _term(tokens: _Tokens) -> Condition:
    if tokens.accept("("):
        inner = _any_of(tokens)
        tokens.expect(")")
        return inner
    if tokens.accept_call("attribute_not_exists"):
        path = tokens.take(_NAME)
        tokens.expect(")")
        return lambda item, scope: scope.name(path) not in item
    left, sign, right = _operand(tokens), tokens.take(), _operand(tokens)
    if sign not in ("=", "<>", *_ORDER):
        raise UnknownExpression(tokens.text)
    return lambda item, scope: _compare(sign, left(item, scope), right(item, scope))


def _operand(tokens: _Tokens) -> Operand:
    if tokens.accept_call("if_not_exists"):
        path = tokens.take(_NAME)
        tokens.expect(",")
        otherwise = _operand(tokens)
        tokens.expect(")")
        return lambda item, scope: item.get(scope.name(path)) or otherwise(item, scope)
    token = tokens.take(re.compile(r"[#:]?\w+"))
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


def _set(tokens: _Tokens) -> Action:
    path = tokens.take(_NAME)
    tokens.expect("=")
    operand = _operand(tokens)

    def act(old: Item, new: Item, scope: Scope) -> None:
        value = operand(old, scope)
        if value is None:
            raise NoSuchAttribute
        new[scope.name(path)] = value

    return act


def _add(tokens: _Tokens) -> Action:
    path, operand = tokens.take(_NAME), _operand(tokens)

    def act(old: Item, new: Item, scope: Scope) -> None:
        name, more = scope.name(path), operand(old, scope) or {}
        sum_of_both = Decimal(old.get(name, {"N": "0"})["N"]) + Decimal(more["N"])
        new[name] = {"N": f"{sum_of_both:f}"}

    return act


def _remove(tokens: _Tokens) -> Action:
    path = tokens.take(_NAME)

    def act(old: Item, new: Item, scope: Scope) -> None:
        new.pop(scope.name(path), None)

    return act
