"""The headers that every answer has, whoever answers."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chalice.app import Request, Response

# What Chalice answers by itself (405, 415, 500) would have none.
DEFAULT_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def add_default_headers(
    event: "Request", get_response: "Callable[[Request], Response]"
) -> "Response":
    """A middleware of Chalice's: stored by nobody, framed by nobody."""
    response = get_response(event)
    response.headers = {**DEFAULT_HEADERS, **response.headers}
    return response
