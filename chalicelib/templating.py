"""Jinja2 templates for pages and mails. The only I/O is reading the templates."""

from functools import cache
from pathlib import Path
from typing import Any

import jinja2

_FOLDERS = [Path(__file__).parent / part / "templates" for part in ("web", "emails")]


def render(template: str, **values: Any) -> str:
    """Render a template. Values are escaped in .html templates."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDERS),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
