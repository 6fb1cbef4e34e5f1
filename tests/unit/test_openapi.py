"""The description of the routes is valid, and of the routes that there are."""

from collections.abc import Iterator
from typing import Any

import yaml
from openapi_spec_validator import validate

from chalicelib.domain import credentials, fields, registration
from chalicelib.domain.device import DEVICE_NAME_LENGTH
from chalicelib.domain.device_codes import DEVICE_CODE_LENGTHS
from chalicelib.web.replication import MAX_BYTES, MAX_DOCS, MAX_IDS, MAX_REVS
from local.lambdas import load_app
from local.system import ROOT

BOUNDS = {"minimum", "maximum", "minLength", "maxLength", "maxItems", "maxProperties", "pattern"}
# The code has no constant for these; it does not read `_rev` at all.
WITHOUT_A_CONSTANT = {"_rev.pattern", "salt.pattern"}
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


def bounds_of(part: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """All bounds in a part of the description, each with the name of what it bounds."""
    if isinstance(part, list):
        for each in part:
            yield from bounds_of(each, name)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key in BOUNDS:
                yield f"{name}.{key}", value
            else:
                yield from bounds_of(value, key)


def test_the_bounds_of_what_is_taken_are_those_of_the_code() -> None:
    paths, parts = DESCRIPTION["paths"], DESCRIPTION["components"]
    fewest, most = DEVICE_CODE_LENGTHS.start, DEVICE_CODE_LENGTHS.stop - 1
    found = set(bounds_of(parts["schemas"]["Registration"]["properties"]))
    assert {(name, bound) for name, bound in found if name not in WITHOUT_A_CONSTANT} == {
        ("_id.pattern", f"^{registration._DEVICE_ID.pattern}$"),
        ("name.minLength", 1),
        ("name.maxLength", DEVICE_NAME_LENGTH),
        ("device_code.pattern", f"^[A-Za-z0-9]{{{fewest},{most}}}$"),
        ("generation.minimum", 0),
        ("generation.maximum", fields._MAX_GENERATION),
        ("iterations.minimum", 1),
        ("iterations.maximum", credentials._MAX_ITERATIONS),
        ("derived_key.pattern", f"^[0-9a-f]{{{2 * credentials._KEY_BYTES['sha']}}}$"),
        ("derived_key.pattern", f"^[0-9a-f]{{{2 * credentials._KEY_BYTES['sha256']}}}$"),
    }
    assert set(bounds_of(paths["/registrations/_revs_diff"]["post"]["requestBody"])) == {
        ("schema.maxProperties", MAX_IDS),
        ("additionalProperties.maxItems", MAX_REVS),
    }
    assert set(bounds_of(paths["/registrations/_bulk_docs"]["post"]["requestBody"])) == {
        ("docs.maxItems", MAX_DOCS)
    }
    assert f"More than {MAX_BYTES // 1024} KiB" in parts["responses"]["TooLarge"]["description"]
    assert f"{fewest} to {most} letters" in str(paths["/confirm/{token}"]["post"]["requestBody"])
