"""What the routes are asked: with what leads to documents, with such values spoilt, or anything."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import schemathesis
import yaml
from hypothesis import strategies as st

from chalicelib.domain.documents import JsonDict
from local.system import ROOT
from tests.kit.basics import a_device

METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"}
FORMATS = ("confirm-token", "invitation-token", "device-code", "doc-id")
DESCRIPTION: JsonDict = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text(encoding="utf-8"))
ROUTES = sorted(
    (path, method.upper())
    for path, item in DESCRIPTION["paths"].items()
    for method in item
    if method.upper() in METHODS
)
# Routes that look at what they are asked with.
LOOKING = ("/{token}", "_bulk_docs", "_revs_diff")
# Strategies are made before there is a place; what leads to its documents is looked up here.
_known: dict[str, list[str]] = {}


@dataclass(frozen=True)
class AnyRequest:
    """A request: `route` is the description's, `path` what is sent."""

    route: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def remember(known: Mapping[str, list[str]]) -> None:
    """Draw from now on what leads to these documents."""
    _known.update(known)


def register_formats() -> None:
    """Let Schemathesis draw values for the formats of docs/openapi.yaml."""
    for name in FORMATS:
        schemathesis.openapi.format(name, values(name))


def values(name: str) -> st.SearchStrategy[str]:
    """Of a format: two of three lead to a document."""
    known = st.integers(0, 10**6).map(lambda number: _pick(name, number))
    spoilt = st.builds(_spoil, known, st.integers(0, 200), st.characters(codec="utf-8"))
    forged = known.map(lambda value: value[:-1] + ("b" if value[-1] == "a" else "a"))
    unknown = st.uuids(version=4).map(lambda uuid: f"device-{uuid.hex}")
    others = [spoilt, forged, unknown, st.text(min_size=1, max_size=100)]
    return st.sampled_from([*[known] * 9, *others]).flatmap(lambda strategy: strategy)


@st.composite
def any_request(draw: st.DrawFn) -> AnyRequest:
    """A request to one of the routes that is like its description in nothing else."""
    looking = [(route, method) for route, method in ROUTES if route.endswith(LOOKING)]
    route, method = draw(st.sampled_from(looking) | st.sampled_from(ROUTES))
    path = "/".join(draw(_segments()) if "{" in part else part for part in route.split("/"))
    headers = {"Content-Type": draw(_content_types()), **draw(_headers())}
    return AnyRequest(route, method, path + draw(_queries()), headers, draw(_bodies()))


def _pick(name: str, number: int) -> str:
    known = _known.get(name) or ["none"]
    return known[number % len(known)]


def _spoil(value: str, at: int, character: str) -> str:
    return value[: at % len(value)] + character + value[at % len(value) + 1 :]


def _segments() -> st.SearchStrategy[str]:
    known = st.sampled_from(FORMATS).flatmap(values).map(lambda value: quote(value, safe=""))
    raw = st.binary(min_size=1, max_size=40).map(lambda octets: quote(octets, safe=""))
    odd = ["_design", "%2F", "..%2F..%2Fetc", "%00", "%ff%fe", "a%0d%0aX-Y:z", "%7B%7B7*7%7D%7D"]
    return known | raw | st.sampled_from(odd)


def _queries() -> st.SearchStrategy[str]:
    return st.sampled_from(["", "?step=answered", "?step=%00", "?step=a&step=b", "?%ff=%", "?" * 9])


def _content_types() -> st.SearchStrategy[str]:
    form = "application/x-www-form-urlencoded"
    usual = ["application/json", "application/json; charset=utf-16", form, form, "text/plain", ""]
    printable = st.characters(min_codepoint=33, max_codepoint=126)
    return st.sampled_from(usual) | st.sampled_from(usual) | st.text(printable, max_size=30)


def _headers() -> st.SearchStrategy[dict[str, str]]:
    names = st.sampled_from(["Content-Encoding", "Origin", "Host", "Accept", "X-Forwarded-For"])
    return st.dictionaries(names, st.sampled_from(["gzip", "null", "*/*", "evil.example.com", ""]))


def _bodies() -> st.SearchStrategy[bytes]:
    bulk = st.fixed_dictionaries(
        {"docs": st.lists(_registrations() | _json(), max_size=4), "new_edits": st.just(False)},
        optional={"more": _json()},
    )
    return st.one_of(
        st.binary(max_size=300),
        (bulk | _json()).map(lambda value: json.dumps(value).encode()),
        st.tuples(_fields(), _fields()).map(lambda fields: "&".join(fields).encode()),
    )


def _fields() -> st.SearchStrategy[str]:
    names = st.sampled_from(["answer", "device_code"]) | st.text(max_size=9)
    answers = st.sampled_from(["accept", "decline", "not-me"])
    texts = answers | values("device-code") | st.text(max_size=20)
    return st.builds(lambda name, text: f"{quote(name)}={quote(text)}", names, texts)


def _registrations() -> st.SearchStrategy[JsonDict]:
    """Good ones, and ones with a field as it should not be."""
    fields = st.sampled_from([*sorted(a_device().doc), "generation", "_rev", "network"])
    spoilt = st.dictionaries(fields, _json(), max_size=1)
    return spoilt.map(lambda changes: a_device().doc | changes)


def _json() -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20)
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
