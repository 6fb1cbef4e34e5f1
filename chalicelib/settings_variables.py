"""Variables of the environment: declared, documented, parsed. No I/O."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self


class InvalidSettings(Exception):
    """The environment or the secret is not as it should be; the message names the variable."""


@dataclass(frozen=True)
class Variable:
    """One variable of the environment: `default` is None where it must be set."""

    name: str
    default: str | None
    help: str
    parse: Callable[[str], Any]


def variable(
    name: str, help: str, default: str | None = None, parse: Callable[[str], Any] = str
) -> Any:
    """A field of a dataclass that is read from a variable of the environment."""
    return field(metadata={"variable": Variable(name, default, help, parse)})


def match(pattern: str, what: str) -> Callable[[str], str]:
    """A parser of texts of one form; `what` says in words which."""

    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {what}")
        return value

    return parse


def count(least: int) -> Callable[[str], int]:
    """A parser of whole numbers, from `least` on."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) < least:
            raise ValueError(f"must be a whole number, {least} or more")
        return int(value)

    return parse


def optional(parse: Callable[[str], str]) -> Callable[[str], str]:
    """The same parser, but nothing at all is fine too."""
    return lambda value: parse(value) if value else value


class FromEnvironment:
    """A dataclass whose fields are `variable`s."""

    @classmethod
    def variables(cls) -> list[Variable]:
        """The variables that this part of the system reads, in the order of the docs."""
        return [item.metadata["variable"] for item in fields(cls)]  # type: ignore[arg-type]

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read and check the environment.

        Raises
        ------
        InvalidSettings
            If a variable is missing or wrong; the message names it and says what it must be.
        """
        values = {}
        for item in fields(cls):  # type: ignore[arg-type]
            variable: Variable = item.metadata["variable"]
            given = environ.get(variable.name) or variable.default
            if given is None:
                raise InvalidSettings(f"{variable.name} is not set: {variable.help}")
            try:
                values[item.name] = variable.parse(given)
            except ValueError as exc:
                raise InvalidSettings(f"{variable.name} {exc}") from exc
        return cls(**values)
