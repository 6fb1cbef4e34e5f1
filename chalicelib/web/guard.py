"""What is answered where CouchDB or AWS does not answer: a page, or JSON, and no stack trace."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.couch import CouchError
from chalicelib.engine.context import Context
from chalicelib.errors import NoEffect
from chalicelib.settings import InvalidSettings
from chalicelib.telemetry import logger

Answer = TypeVar("Answer")
Rest = ParamSpec("Rest")
# Calls what it is given with the tools, and returns what that returns; `Dependencies.use`.
Use = Callable[[Callable[[Context], Answer]], Answer]


def guarded(
    view: Callable[Concatenate[Context, Rest], Answer], unavailable: Callable[[], Answer]
) -> Callable[Concatenate[Use[Answer], Rest], Answer]:
    """A view that answers `unavailable()` where something that it needs does not answer.

    Parameters
    ----------
    view : callable
        Takes the tools and whatever else.
    """

    @wraps(view)
    def answer(use: Use[Answer], /, *args: Rest.args, **kwargs: Rest.kwargs) -> Answer:
        try:
            return use(lambda context: view(context, *args, **kwargs))
        except (CouchError, NoEffect, BotoCoreError, ClientError, InvalidSettings) as exc:
            logger.warning("a view failed", extra={"exception_type": type(exc).__name__})
            return unavailable()

    return answer
