"""The answer when CouchDB or AWS does not answer: a page or JSON, without a stack trace."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError
from chalice.app import ChaliceUnhandledError, Request, Response

from chalicelib.couch import CouchError
from chalicelib.engine.context import Context
from chalicelib.engine.dependencies import Dependencies
from chalicelib.errors import NoEffect
from chalicelib.settings import InvalidSettings
from chalicelib.telemetry import logger

# The errors that a view may raise when CouchDB or AWS does not answer.
_ERRORS = (CouchError, NoEffect, BotoCoreError, ClientError, InvalidSettings)


class ServiceUnavailable(ChaliceUnhandledError):
    """Raised when CouchDB or AWS does not answer, or the settings are wrong.

    Chalice passes a `ChaliceUnhandledError` on to middleware, and no other error.
    """


@contextmanager
def context_of(dependencies: Dependencies) -> Iterator[Context]:
    """Give a view its context.

    Raises
    ------
    ServiceUnavailable
        If CouchDB or AWS does not answer, or the settings are wrong.
    """
    try:
        with dependencies.use() as context:
            yield context
    except _ERRORS as exc:
        raise ServiceUnavailable(type(exc).__name__) from exc


def answer_unavailable(event: Request, get_response: Callable[[Request], Response]) -> Response:
    """Answer 503 if a view raised `ServiceUnavailable`. Chalice middleware."""
    try:
        return get_response(event)
    except ServiceUnavailable as exc:
        logger.warning("a view failed", extra={"exception_type": str(exc)})
    if event.path.startswith("/registrations"):
        reason = "nothing is lost: try again in a moment"
        body = {"error": "service_unavailable", "reason": reason}
        return Response(body, {"Cache-Control": "no-store"}, 503)
    # Imported here: it needs Jinja2, which the registrations endpoint does not.
    from chalicelib.web.link_pages import unavailable

    page = unavailable()
    return Response(page.body, dict(page.headers), page.status)
