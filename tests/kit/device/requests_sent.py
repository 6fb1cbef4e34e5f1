"""The requests that a device sends to a database, while a test looks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from chalicelib.couch import Database


@contextmanager
def requests_to(database: Database) -> Iterator[list[str]]:
    """The requests to a database while this lasts."""
    sent: list[str] = []
    send = HTTPAdapter.send

    def sending(self: HTTPAdapter, request: Any, **kwargs: Any) -> Any:
        if request.url.startswith(database.url):
            sent.append(f"{request.method} {request.url}")
        return send(self, request, **kwargs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(HTTPAdapter, "send", sending)
        yield sent
