"""What the registrations endpoint takes, and what it makes of it; what a replicator may post."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain.documents import JsonDict, Rejected
from chalicelib.domain.registration import (
    RESEND_STATES,
    MailRequest,
    is_device_id,
    merge_request,
    network_of,
    parse_registration,
)
from chalicelib.web.replication import (
    MAX_BYTES,
    MAX_DOCS,
    MAX_IDS,
    MAX_REVS,
    RefusedRequest,
    docs_of,
    revs_of,
)
from local.system import ROOT
from tests.kit.basics import a_device, without
from tests.kit.cases.devices import OAUTH, VALID, any_text, json_values
from tests.kit.cases.registrations import DEVICE_ID, REFUSED, nested

NETWORK = "192.0.2.0/24"
JSON = {"content-type": "application/json"}
GOOD: JsonDict = {**without(VALID, "oauth_creds"), "_id": DEVICE_ID, "_revisions": {"start": 1}}
REGISTERED = {*VALID, "network"} - {"_rev", "oauth_creds"}
OTHER_STATES = ("confirmed", "active", "revoking", "revoked", "rejected", None, ["new"])


def stored(**fields: Any) -> JsonDict:
    """The good registration as it lies in the control database."""
    return {**parse_registration(GOOD, "login", NETWORK).doc, "_rev": "3-c", **fields}


def wanted(**fields: Any) -> JsonDict:
    """The same registration, coming again, from another network."""
    return parse_registration({**GOOD, **fields}, "login", "198.51.100.0/24").doc


# Reading.


def test_a_registration_is_stored_with_its_network_and_no_revisions() -> None:
    mail_request = parse_registration(GOOD, "login", NETWORK)
    assert mail_request.address == "ada@example.com"
    expected = {**without(VALID, "oauth_creds"), "_id": DEVICE_ID, "network": NETWORK}
    assert mail_request.doc == {name: value for name, value in expected.items() if name != "_rev"}


def test_what_a_device_makes_is_taken() -> None:
    device = a_device()
    assert parse_registration(device.doc, "login", NETWORK).doc == {
        **device.doc,
        "network": NETWORK,
    }


def test_a_registration_by_oauth_is_taken_where_devices_register_so() -> None:
    doc = {**without(VALID, "credentials"), "_id": DEVICE_ID}
    assert parse_registration(doc, "oauth1", NETWORK).doc["oauth_creds"] == OAUTH
    with pytest.raises(Rejected, match=r"^'credentials' is no field"):
        parse_registration({**VALID, "_id": DEVICE_ID}, "oauth1", NETWORK)
    with pytest.raises(Rejected, match=r"^'oauth_creds.more' is no field"):
        parse_registration({**doc, "oauth_creds": {**OAUTH, "more": "x"}}, "oauth1", NETWORK)


def test_a_generation_of_5_0_is_stored_as_5() -> None:
    generation = parse_registration({**GOOD, "generation": 5.0}, "login", NETWORK).doc["generation"]
    assert (generation, type(generation)) == (5, int)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_new_registration_is_refused_with_a_reason(case: str) -> None:
    change, reason = REFUSED[case]
    with pytest.raises(Rejected) as rejected:
        parse_registration(change({**GOOD, "name": "Ada's phone"}), "login", NETWORK)
    assert rejected.value.reason.startswith(reason)


def test_no_reason_shows_a_secret() -> None:
    credentials = {**GOOD["credentials"], "salt": "a secret", "derived_key": "a secret"}
    for doc in ({**GOOD, "credentials": credentials}, {**GOOD, "credentials": "a secret"}):
        with pytest.raises(Rejected) as rejected:
            parse_registration(doc, "login", NETWORK)
        assert "secret" not in rejected.value.reason


@settings(max_examples=300)
@given(
    st.dictionaries(st.sampled_from([*GOOD, "_deleted", "network"]), json_values, max_size=3)
    | st.dictionaries(any_text, json_values, max_size=2),
    st.sets(st.sampled_from(sorted(GOOD)), max_size=1),
    st.sampled_from(["login", "oauth1"]),
)
def test_any_document_is_taken_with_known_fields_only_or_refused_with_a_reason(
    changes: JsonDict, missing: set[str], device_auth: str
) -> None:
    doc = {name: value for name, value in (GOOD | changes).items() if name not in missing}
    read_or_refused(doc, device_auth)


@settings(max_examples=200)
@given(json_values)
def test_any_json_is_taken_with_known_fields_only_or_refused_with_a_reason(value: Any) -> None:
    read_or_refused(value, "login")


def read_or_refused(doc: object, device_auth: str) -> None:
    mail_request = result_of(parse_registration, doc, device_auth, NETWORK)
    if not isinstance(mail_request, MailRequest):
        assert mail_request.reason.strip()
        assert mail_request.reason.isprintable()
        return
    assert mail_request.doc.keys() <= REGISTERED
    assert is_device_id(mail_request.doc["_id"])
    assert (mail_request.doc["type"], mail_request.doc["state"]) == ("device", "new")
    assert mail_request.doc["network"] == NETWORK
    json.dumps(mail_request.doc, allow_nan=False).encode()


def result_of(action: Callable[..., Any], *args: Any) -> Any:
    """What a call returns, or its refusal."""
    try:
        return action(*args)
    except (Rejected, RefusedRequest) as exc:
        return exc


def test_an_id_is_a_random_uuid_of_version_4() -> None:
    assert all(is_device_id(f"device-{uuid.uuid4().hex}") for _ in range(100))
    assert not is_device_id(f"device-{uuid.uuid1().hex}")
    assert not is_device_id(f"device-{uuid.uuid4()}")


# Against what is there.


def test_a_new_registration_stands_as_it_came() -> None:
    assert merge_request(None, wanted()) == wanted()


@pytest.mark.parametrize("state", [*RESEND_STATES, *OTHER_STATES])
@pytest.mark.parametrize("generation", [0, 1, 2])
def test_the_same_registration_again_changes_nothing(state: Any, generation: int) -> None:
    """Not its network either: where it came from first is what its mail is counted against."""
    there = stored(state=state, generation=2, confirmed_by="confirm-1")
    assert merge_request(there, wanted(generation=generation)) is there


def test_a_registration_without_a_generation_is_of_generation_0() -> None:
    there = {name: value for name, value in stored().items() if name != "generation"}
    assert merge_request(there, wanted(generation=0)) is there
    assert merge_request(stored(generation=0), wanted()) == stored(generation=0)


@pytest.mark.parametrize("state", RESEND_STATES)
def test_a_higher_generation_asks_again_and_keeps_what_the_cloud_wrote(state: str) -> None:
    there = stored(state=state, generation=1, requested_at="2026-11-23T06:00:01Z", note=[1])
    expected = {**there, "state": "new", "generation": 2, "network": "198.51.100.0/24"}
    assert merge_request(there, wanted(generation=2)) == expected


@pytest.mark.parametrize("state", OTHER_STATES)
def test_who_was_answered_does_not_ask_again(state: Any) -> None:
    with pytest.raises(Rejected, match=r"^generation must not be raised any more"):
        merge_request(stored(state=state), wanted(generation=1))


@pytest.mark.parametrize("generation", [0, 1])
@pytest.mark.parametrize(
    "other",
    [
        {"owner": "eve@example.com"},
        {"owner": "ADA@example.com"},
        {"name": "Eve's phone"},
        {"device_code": "ABCD-2346"},
        {"created_at": "2026-11-23T06:00:01Z"},
        {"credentials": {**GOOD["credentials"], "derived_key": "0b" * 20}},
        {"credentials": {**GOOD["credentials"], "iterations": 11}},
    ],
    ids=str,
)
def test_an_id_stays_with_what_it_was_registered_with(other: JsonDict, generation: int) -> None:
    """However its revision would win: a replicated one counts for nothing."""
    with pytest.raises(Rejected, match=r"^_id is registered with other fields"):
        merge_request(stored(), wanted(**other, generation=generation, _rev=f"99-{'f' * 32}"))


def test_what_was_left_out_or_came_to_it_is_other_fields_too() -> None:
    for there in (stored(oauth_creds=OAUTH), stored(name=None)):
        with pytest.raises(Rejected, match=r"^_id is registered with other fields"):
            merge_request(there, wanted())


@pytest.mark.parametrize("doc_type", ["confirm", None, ["device"]])
def test_a_document_that_is_no_device_is_left_alone(doc_type: Any) -> None:
    with pytest.raises(Rejected, match=r"^_id belongs to another document"):
        merge_request(stored(type=doc_type), wanted(generation=5))


# Networks.


@pytest.mark.parametrize(
    ("source_ip", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("192.0.2.255", "192.0.2.0/24"),
        ("192.0.3.0", "192.0.3.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("2001:DB8:1:ffff::", "2001:db8:1::/48"),
        ("2001:db8:2::1", "2001:db8:2::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("::ffff:c000:24d", "192.0.2.0/24"),
        (None, "unknown"),
        ("", "unknown"),
        ("192.0.2.1, 198.51.100.1", "unknown"),
        ("192.0.2.1:1234", "unknown"),
        (["192.0.2.1"], "unknown"),
        ("localhost", "unknown"),
    ],
)
def test_an_address_counts_as_its_network(source_ip: object, network: str) -> None:
    assert network_of(source_ip) == network


@given(st.ip_addresses().map(str) | any_text)
def test_any_text_has_a_network(source_ip: str) -> None:
    network = network_of(source_ip)
    assert network == "unknown" or network.endswith(("/24", "/48"))


# Requests.


def posted(value: Any) -> bytes:
    return json.dumps(value).encode()


def refused(read_request: Any, body: bytes | str, **headers: str) -> RefusedRequest:
    with pytest.raises(RefusedRequest) as refusal:
        read_request(
            JSON | {name.replace("_", "-"): value for name, value in headers.items()}, body
        )
    assert len(refusal.value.reason) < 300
    return refusal.value


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json"},
        {"content-type": "Application/JSON; charset=utf-8", "content-encoding": "identity"},
    ],
    ids=str,
)
def test_a_replicators_requests_are_read(headers: dict[str, str]) -> None:
    docs = posted({"docs": [GOOD, None], "new_edits": False})
    assert docs_of(headers, docs) == [GOOD, None]
    assert docs_of(headers, docs.decode()) == [GOOD, None]
    assert revs_of(headers, posted({DEVICE_ID: ["1-a", "2-b"]})) == {DEVICE_ID: ["1-a", "2-b"]}
    assert revs_of(headers, b"{}") == {}


@pytest.mark.parametrize("read_request", [docs_of, revs_of])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="a beginning"),
        pytest.param(b'{"docs": [], "new_edits": false} {}', id="and more"),
        pytest.param(b'{"a": NaN}', id="NaN"),
        pytest.param(b'{"a": -Infinity}', id="infinity"),
        pytest.param(b'{"a": ' + b"1" * 5000 + b"}", id="a number of 5000 digits"),
        pytest.param(b'{"a": ' + b"[" * 100_000 + b"}", id="deep"),
        pytest.param(b'{"a": "\xff"}', id="no UTF-8"),
        pytest.param('{"a": 1}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b"\xef\xbb\xbf{}", id="a byte order mark"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b'"\xed\xa0\x80"', id="half a character"),
        pytest.param('"\ud800"', id="half a character, as text"),
    ],
)
def test_what_is_no_json_object_is_a_bad_request(read_request: Any, body: bytes | str) -> None:
    refusal = refused(read_request, body)
    assert (refusal.status, refusal.error) == (400, "bad_request")
    assert refusal.reason.startswith("the body must be")


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"docs": []}, "new_edits must be false"),
        ({"docs": [], "new_edits": True}, "new_edits must be false"),
        ({"docs": [], "new_edits": 0}, "new_edits must be false"),
        ({"docs": [], "new_edits": None}, "new_edits must be false"),
        ({"new_edits": False}, "docs must be a list"),
        ({"docs": {"0": {}}, "new_edits": False}, "docs must be a list"),
        ({"docs": None, "new_edits": False}, "docs must be a list"),
    ],
    ids=str,
)
def test_documents_come_as_a_replicator_brings_them(asked: JsonDict, reason: str) -> None:
    refusal = refused(docs_of, posted(asked))
    assert (refusal.status, refusal.error) == (400, "bad_request")
    assert refusal.reason.startswith(reason)


@pytest.mark.parametrize("revs", [None, "1-a", [1], [["1-a"]], {"1-a": 1}], ids=str)
def test_revisions_are_asked_for_in_lists_of_texts(revs: Any) -> None:
    refusal = refused(revs_of, posted({"good": ["1-a"], "a\u202eb": revs}))
    assert (refusal.status, refusal.reason) == (400, "'a\\u202eb' must have a list of revisions")


@pytest.mark.parametrize("read_request", [docs_of, revs_of])
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/jsonp", "", "multipart/related; boundary=x", "*/*"]
)
def test_other_content_types_are_refused(read_request: Any, content_type: str) -> None:
    refusal = refused(read_request, b"{}", content_type=content_type)
    assert (refusal.status, refusal.error) == (415, "bad_content_type")
    assert refusal.reason == "Content-Type must be application/json"


@pytest.mark.parametrize("read_request", [docs_of, revs_of])
@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_compressed_bodies_are_refused(read_request: Any, encoding: str) -> None:
    refusal = refused(read_request, b"{}", content_encoding=encoding)
    assert (refusal.status, refusal.reason) == (415, "Content-Encoding must be left out")


def test_what_is_too_much_is_refused_and_what_is_just_enough_is_read() -> None:
    bulk = {"docs": [1] * MAX_DOCS, "new_edits": False}
    assert len(docs_of(JSON, posted(bulk))) == MAX_DOCS
    diff = {str(number): ["1-a"] for number in range(MAX_IDS)}
    assert len(revs_of(JSON, posted(diff))) == MAX_IDS
    assert revs_of(JSON, posted({"a": ["1-a"] * MAX_REVS}))
    full = b'{"docs": [], "new_edits": false}'
    assert docs_of(JSON, full + b" " * (MAX_BYTES - len(full))) == []
    for refusal in (
        refused(docs_of, posted({**bulk, "docs": [1] * (MAX_DOCS + 1)})),
        refused(revs_of, posted({**diff, "more": ["1-a"]})),
        refused(revs_of, posted({"a": ["1-a"] * (MAX_REVS + 1)})),
        refused(docs_of, full + b" " * (MAX_BYTES - len(full) + 1)),
        refused(docs_of, "é" * (MAX_BYTES // 2 + 1)),
    ):
        assert (refusal.status, refusal.error) == (413, "document_too_large")
        assert "at most" in refusal.reason


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_read_or_refused_with_a_reason(body: bytes) -> None:
    for read_request in (docs_of, revs_of):
        result = result_of(read_request, JSON, body)
        if isinstance(result, RefusedRequest):
            assert result.status in (400, 413)
            assert result.reason.isprintable()


def test_a_deep_document_is_read_or_refused_and_ends_nothing() -> None:
    for depth in (100, 900, 1000, 50_000):
        body = b'{"docs": ' + b"[" * depth + b"]" * depth + b', "new_edits": false}'
        result = result_of(docs_of, JSON, body)
        assert isinstance(result, list) or result.status == 400
    assert docs_of(JSON, posted({"docs": [nested(100)], "new_edits": False}))


def test_the_docs_name_every_field_bound_and_state() -> None:
    text = (ROOT / "docs" / "registrations.md").read_text(encoding="utf-8")
    fields = REGISTERED - {"credentials"} | {"oauth_creds", *GOOD["credentials"], *OAUTH}
    for name in fields | set(RESEND_STATES):
        assert f"`{name}`" in text
    bounds = f"{MAX_BYTES // 1024} KiB or {MAX_DOCS} documents at once, {MAX_IDS} ids in"
    assert f"{bounds} `_revs_diff`, {MAX_REVS} revisions of one" in text
