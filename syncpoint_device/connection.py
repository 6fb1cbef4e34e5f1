"""The connection to the device's own CouchDB. It ends a command at once if the login is refused."""

from typing import Any

import requests
from requests.adapters import HTTPAdapter

from chalicelib.couch import LOCKED, POOL_CONNECTIONS, Server
from syncpoint_device.errors import LoginRefused


class _OwnAdapter(HTTPAdapter):
    """Sends requests, and takes a refused login for the end of the command.

    `LoginRefused` is no `CouchError`. So nobody who handles the errors of a request, or takes them
    for those of the cloud, sends the same login again.
    """

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        response = super().send(*args, **kwargs)
        is_locked = response.status_code == 403 and LOCKED.encode() in response.content
        if response.status_code == 401 or is_locked:
            raise LoginRefused
        return response


def own_server(url: str) -> Server:
    """Return the client of the device's own CouchDB. Sends no request.

    Each of its requests raises `LoginRefused` if the server refuses or has locked the login.
    """
    return Server(url, _OwnAdapter(pool_connections=1, pool_maxsize=POOL_CONNECTIONS))
