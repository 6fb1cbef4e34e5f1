"""Whatever the routes are asked, they answer as docs/openapi.yaml says, and never fail.

HYPOTHESIS_PROFILE=explore asks other things, and more of them.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from chalicelib.domain.documents import JsonDict
from local.aws import LocalAws
from local.system import ROOT
from tests.kit.cases.requests import (
    DESCRIPTION,
    METHODS,
    AnyRequest,
    any_request,
    register_formats,
    remember,
)
from tests.kit.cloud.api import ApiPlace, opened

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Else the requests did not get to where the documents are.
REACHED = {200, 404, 409, 410}


def described(mode: str) -> BaseSchema:
    """The routes, for Schemathesis to make requests that are as described, or all kinds."""
    phases: JsonDict = {"coverage": {"unexpected-methods": []}}  # see the last test
    config = schemathesis.Config.from_dict({"phases": phases, "generation": {"mode": mode}})
    return schemathesis.openapi.from_path(ROOT / "docs/openapi.yaml", config=config)


register_formats()
ROUTES = described("all")
PAGES = "^/(confirm|invitation)/"
SOME = settings(suppress_health_check=list(HealthCheck))
FEW = settings(SOME, max_examples=SOME.max_examples // 5)
MANY = settings(SOME, max_examples=SOME.max_examples * 3)


@pytest.fixture(scope="module")
def place(couch_url: str, aws: LocalAws) -> Iterator[ApiPlace]:
    """The API, and documents in all states."""
    with opened(couch_url, aws) as place:
        place.renew()
        remember(place.known)
        yield place


@pytest.fixture
def fresh_place(place: ApiPlace) -> ApiPlace:
    """The same, with documents that nobody has answered yet."""
    place.renew()
    remember(place.known)
    return place


@pytest.fixture
def answered(record_property: Any) -> Iterator[Counter[int]]:
    """How often each status was answered."""
    answered: Counter[int] = Counter()
    yield answered
    record_property("figure: requests that the routes were fuzzed with", answered.total())


@pytest.fixture
def answered_deep(answered: Counter[int]) -> Iterator[Counter[int]]:
    """The same; and that the requests were no shallow ones."""
    yield answered
    assert answered.keys() >= REACHED


def ask(case: Any, place: ApiPlace, answered: Counter[int]) -> None:
    response = case.call(base_url=place.url)
    answered[response.status_code] += 1
    case.validate_response(response, checks=CHECKS)


@described("positive").include(path_regex=PAGES).parametrize()
@SOME
def test_a_page_is_as_described(
    case: Any, fresh_place: ApiPlace, answered_deep: Counter[int]
) -> None:
    ask(case, fresh_place, answered_deep)


@ROUTES.exclude(path_regex=PAGES).parametrize()
@FEW
def test_the_registrations_answers_as_described(
    case: Any, place: ApiPlace, answered: Counter[int]
) -> None:
    ask(case, place, answered)


@given(asked=any_request())
@MANY
def test_requests_that_are_nothing_like_the_description_are_answered_by_it(
    asked: AnyRequest, fresh_place: ApiPlace, answered: Counter[int]
) -> None:
    response = requests.request(
        asked.method,
        fresh_place.url + asked.path,
        data=asked.body,
        headers=asked.headers,
        timeout=30,
        allow_redirects=False,
    )
    answered[response.status_code] += 1
    parts = {name: "any" for name in ("token", "doc_id", "rest") if f"{{{name}}}" in asked.route}
    case = ROUTES[asked.route][asked.method].Case(path_parameters=parts)
    case.validate_response(response, checks=CHECKS)


@pytest.mark.parametrize("path", DESCRIPTION["paths"])
def test_a_method_that_is_not_described_is_refused(path: str, place: ApiPlace) -> None:
    for method in METHODS - {name.upper() for name in DESCRIPTION["paths"][path]}:
        url = place.url + path.replace("{", "").replace("}", "")
        response = requests.request(method, url, timeout=30)
        assert 400 <= response.status_code < 500, method
