"""What a policy allows: as much of IAM's rules as the policies here use, and an error for more.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.documents import JsonDict

_FIELDS = {"Sid", "Effect", "Action", "Resource", "Condition"}


@dataclass(frozen=True)
class Request:
    """What IAM is asked: may this action be done with this resource?

    Attributes
    ----------
    context : mapping
        The values of each condition key that comes with it.
    """

    action: str
    resource: str
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Grant:
    """One action with one resource under one set of values, as a policy allows it.

    Attributes
    ----------
    values : tuple of (operator, key, pattern)
        Of each condition one value; the grants of a statement are all their combinations.
    """

    action: str
    resource: str
    values: tuple[tuple[str, str, str], ...] = ()

    def __str__(self) -> str:
        """As a test says it."""
        values = ", ".join(f"{key} {pattern}" for _, key, pattern in self.values)
        return f"{self.action} {self.resource.rpartition(':')[2]} {values}".strip()

    def covers(self, request: Request) -> bool:
        """Whether the request is one that this allows, in whole or, of several keys, in part."""
        return (
            matches(self.action, request.action)
            and matches(self.resource, request.resource)
            and all(
                any(matches(pattern, value) for value in request.context.get(key, ()))
                for _, key, pattern in self.values
            )
        )


def allows(policy: JsonDict, request: Request) -> bool:
    """Whether a policy allows a request.

    Raises
    ------
    NotImplementedError
        If the policy uses something that is not known here.
    """
    return any(_allows(statement, request) for statement in statements(policy))


def grants(policy: JsonDict) -> Iterator[Grant]:
    """All that a policy allows, taken apart as far as it goes."""
    for statement in statements(policy):
        combinations: list[tuple[tuple[str, str, str], ...]] = [()]
        for operator, tests in statement.get("Condition", {}).items():
            for key, values in tests.items():
                combinations = [
                    (*given, (operator, key, value))
                    for given in combinations
                    for value in _list(values)
                ]
        for action in _list(statement["Action"]):
            for resource in _list(statement["Resource"]):
                yield from (Grant(action, resource, values) for values in combinations)


def statements(policy: JsonDict) -> Iterator[JsonDict]:
    """The statements of a policy, if they are of the kind that is known here."""
    for statement in _list(policy["Statement"]):
        unknown = set(statement) - _FIELDS
        if unknown or statement["Effect"] != "Allow":
            raise NotImplementedError(f"{statement['Effect']} {sorted(unknown)}")
        yield statement


def matches(pattern: str, value: str) -> bool:
    """Whether a value is of a pattern, in which ``*`` is anything and ``?`` is one character."""
    parts = re.split(r"([*?])", pattern)
    wild = {"*": ".*", "?": "."}
    return bool(re.fullmatch("".join(wild.get(p, re.escape(p)) for p in parts), value, re.DOTALL))


def _allows(statement: JsonDict, request: Request) -> bool:
    return (
        any(matches(pattern, request.action) for pattern in _list(statement["Action"]))
        and any(matches(pattern, request.resource) for pattern in _list(statement["Resource"]))
        and all(
            _holds(operator, key, _list(values), request)
            for operator, tests in statement.get("Condition", {}).items()
            for key, values in tests.items()
        )
    )


def _holds(operator: str, key: str, wanted: list[str], request: Request) -> bool:
    given = request.context.get(key, ())
    if operator == "ForAllValues:StringLike":  # true of no values at all, as in IAM
        return all(any(matches(pattern, value) for pattern in wanted) for value in given)
    if operator == "StringEquals":
        return bool(given) and set(given) <= set(wanted)
    raise NotImplementedError(operator)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
