"""HTML pages: a template and the headers of every page. The only I/O is reading files."""

import base64
import hashlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from chalicelib.templating import render

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Page:
    """An answer to a browser."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)


def page(status: int, template: str, **values: Any) -> Page:
    """Build a page from a template, with the headers of every page."""
    body = render(template, style=_style(), **values)
    return Page(status, body, {"Content-Type": "text/html; charset=utf-8", **_headers()})


def see_other(location: str) -> Page:
    """Redirect the browser with a GET, so that a reload does not post the form again.

    Parameters
    ----------
    location : str
        Relative to the page's own URL, so that no request's Host header becomes part of it.
    """
    return Page(303, "", {"Location": location, **_headers()})


@cache
def _style() -> str:
    return (_TEMPLATES / "style.css").read_text(encoding="utf-8")


@cache
def _headers() -> dict[str, str]:
    """Return the headers of every page: no script, no frame, no assets of other sites.

    The URL of a page has the link token, so the browser must not send it as a referrer.

    Source: https://owasp.org/www-project-secure-headers/
    """
    style_hash = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return {
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "X-Robots-Tag": "noindex",
        "Strict-Transport-Security": "max-age=31536000",
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{style_hash}'; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'"
        ),
    }
