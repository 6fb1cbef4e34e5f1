"""The description of the routes is valid, and of the routes that there are."""

from typing import Any

import yaml
from openapi_spec_validator import validate

from local.lambdas import load_app
from local.system import ROOT

METHODS = {"get", "head", "post", "put", "delete"}
DESCRIPTION: dict[str, Any] = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text("utf-8"))


def test_the_description_is_valid_openapi() -> None:
    validate(DESCRIPTION)


def test_it_describes_each_route_of_the_app_and_no_other() -> None:
    described = {
        (path, method)
        for path, item in DESCRIPTION["paths"].items()
        for method in METHODS & set(item)
    }
    routes = load_app(ROOT).app.routes
    assert described == {
        (path, method.lower()) for path, methods in routes.items() for method in methods
    }


def test_each_operation_is_named_as_its_function() -> None:
    routes = load_app(ROOT).app.routes
    for path, item in DESCRIPTION["paths"].items():
        for method in METHODS & set(item):
            function = routes[path][method.upper()].view_function
            assert item[method].get("operationId", "registrations_refuse") == function.__name__
