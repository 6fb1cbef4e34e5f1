"""What DynamoDB's expressions are made of: words, placeholders, values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Value = dict[str, Any]  # {"S": "text"}, {"N": "1"}, {"BOOL": True}
Item = dict[str, Value]

NAME = re.compile(r"#?\w+")
OPERAND = re.compile(r"[#:]?\w+")
_TOKEN = re.compile(r"\s*(<>|<=|>=|[()=<>,]|[#:]?\w+)")
KEYWORDS = {"AND", "OR", "NOT", "SET", "ADD", "REMOVE", "DELETE", "BETWEEN", "IN"}


class UnknownExpression(NotImplementedError):
    """The fake does not know this part of DynamoDB's language: teach it, with a contract test."""


@dataclass(frozen=True)
class Scope:
    """What the placeholders of an expression stand for."""

    names: Mapping[str, str]
    values: Mapping[str, Value]

    def name(self, token: str) -> str:
        return self.names[token] if token.startswith("#") else token


class Tokens:
    """The words of an expression, taken from its beginning."""

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
        if pattern and (token in KEYWORDS or not pattern.fullmatch(token)):
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
