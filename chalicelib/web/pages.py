"""Pages: a template with the headers that every page carries. No I/O but reading files."""

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
    """A page from a template, with the headers of every page."""
    body = render(template, style=_style(), **values)
    return Page(status, body, {"Content-Type": "text/html; charset=utf-8", **_headers()})


def see_other(location: str) -> Page:
    """Send the browser on with a GET, so that a reload does not post again.

    Parameters
    ----------
    location : str
        Relative to the page's own address: nothing here is made of a request's Host header.
    """
    return Page(303, "", {"Location": location, **_headers()})


@cache
def _style() -> str:
    return (_TEMPLATES / "style.css").read_text(encoding="utf-8")


@cache
def _headers() -> dict[str, str]:
    """No script, no frame, no foreign asset; the address (it holds the code) goes nowhere.

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
