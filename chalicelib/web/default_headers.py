"""The default headers, which every answer has."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chalice.app import Request, Response

# Chalice sends some answers by itself (405, 415, 500). They need these headers too.
DEFAULT_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def add_default_headers(
    event: "Request", get_response: "Callable[[Request], Response]"
) -> "Response":
    """Add the default headers to a response: no caching, no frames. Chalice middleware."""
    response = get_response(event)
    response.headers = {**DEFAULT_HEADERS, **response.headers}
    return response
