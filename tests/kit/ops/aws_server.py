"""`python -m tests.kit.ops.aws_server`: a moto server that `chalice deploy` can work with.

Prints its URL, and ends with its standard input. In a process of its own, so that a test sees what
it deployed and nothing else.
"""

import logging
import sys
from typing import Any

from moto.apigateway.models import APIGatewayBackend
from moto.server import ThreadedMotoServer

from local.aws import make_conditional_writes_atomic


def main() -> None:
    """Serve until there is no more input."""
    make_conditional_writes_atomic()
    take_what_chalice_sends()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print("http://{}:{}".format(*server.get_host_and_port()), flush=True)
    sys.stdin.read()
    server.stop()


def take_what_chalice_sends() -> None:
    """Let moto import an API as API Gateway does: Swagger 2.0, and no description."""
    import_api, put_api = APIGatewayBackend.import_rest_api, APIGatewayBackend.put_rest_api

    def import_rest_api(self: Any, api_doc: Any, fail_on_warnings: bool) -> Any:
        return import_api(self, _as_openapi(api_doc), fail_on_warnings)

    def put_rest_api(self: Any, function_id: Any, api_doc: Any, **kwargs: Any) -> Any:
        return put_api(self, function_id, _as_openapi(api_doc), **kwargs)

    APIGatewayBackend.import_rest_api = import_rest_api
    APIGatewayBackend.put_rest_api = put_rest_api


def _as_openapi(api_doc: dict[str, Any]) -> dict[str, Any]:
    without = {name: value for name, value in api_doc.items() if name != "swagger"}
    return {**without, "openapi": "3.0.1", "info": {"description": "", **api_doc["info"]}}


if __name__ == "__main__":
    main()
