"""What the registrations endpoint refuses: for its rules, and for the running system."""

from collections.abc import Callable
from typing import Any

from chalicelib.domain.documents import JsonDict

Change = Callable[[JsonDict], Any]

DEVICE_ID = "device-0123456789ab4def8123456789abcdef"


def a_changed(**fields: Any) -> Change:
    """A registration with some fields as they should not be."""
    return lambda doc: {**doc, **fields}


def with_credentials(**fields: Any) -> Change:
    return lambda doc: {**doc, "credentials": {**doc["credentials"], **fields}}


def lacking(name: str) -> Change:
    return lambda doc: {field: value for field, value in doc.items() if field != name}


def instead(value: Any) -> Change:
    return lambda doc: value


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


# By name: what is made of a good registration, and what the reason begins with.
REFUSED: dict[str, tuple[Change, str]] = {
    # no registration at all
    "null": (instead(None), "a document must be an object"),
    "a number": (instead(7), "a document must be an object"),
    "a text": (instead("device"), "a document must be an object"),
    "a list": (instead([{"_id": DEVICE_ID}]), "a document must be an object"),
    "an empty object": (instead({}), "_id must be device-"),
    "a confirm document": (
        instead({"_id": f"confirm-{DEVICE_ID}-0", "type": "confirm", "state": "clicked"}),
        "_id must be device-",
    ),
    "a confirm document by a device's id": (
        a_changed(type="confirm", state="clicked", confirm_code="x"),
        "type must be",
    ),
    "a channel": (a_changed(type="channel"), "type must be"),
    "no type": (lacking("type"), "type must be"),
    "a type of lists": (a_changed(type=["device"]), "type must be"),
    # ids
    "no id": (lacking("_id"), "_id must be device-"),
    "an id that is a number": (a_changed(_id=7), "_id must be device-"),
    "an id that is an object": (a_changed(_id={"$gt": None}), "_id must be device-"),
    "a design document": (a_changed(_id="_design/x"), "_id must be device-"),
    "a local document": (a_changed(_id="_local/x"), "_id must be device-"),
    "a path": (a_changed(_id="../x"), "_id must be device-"),
    "a path after an id": (a_changed(_id=f"{DEVICE_ID}/../x"), "_id must be device-"),
    "a newline after an id": (a_changed(_id=f"{DEVICE_ID}\n"), "_id must be device-"),
    "an id in capitals": (a_changed(_id=DEVICE_ID.upper()), "_id must be device-"),
    "an id that is not random": (a_changed(_id=f"device-{'0' * 32}"), "_id must be device-"),
    "digits of another script": (a_changed(_id=f"device-{'٤' * 32}"), "_id must be device-"),
    "a confirmation's id": (a_changed(_id=f"confirm-{DEVICE_ID}-0"), "_id must be device-"),
    "an expiry's id": (a_changed(_id="expiry-x"), "_id must be device-"),
    "a login's id": (a_changed(_id="org.couchdb.user:ada"), "_id must be device-"),
    # states
    "a confirmed device": (a_changed(state="confirmed"), "state must be"),
    "an active device": (a_changed(state="active"), "state must be"),
    "no state": (lacking("state"), "state must be"),
    # fields of CouchDB's
    "an attachment": (
        a_changed(_attachments={"x": {"content_type": "text/plain", "data": "eA=="}}),
        "'_attachments' is no field",
    ),
    "a deletion": (a_changed(_deleted=True), "'_deleted' is no field"),
    "a bare deletion": (instead({"_id": DEVICE_ID, "_deleted": True}), "'_deleted' is no field"),
    "a deletion that is none": (a_changed(_deleted=False), "'_deleted' is no field"),
    "conflicts": (a_changed(_conflicts=["1-a"]), "'_conflicts' is no field"),
    "a field that CouchDB may have one day": (a_changed(_x=1), "'_x' is no field"),
    # fields that are the cloud's, or nobody's
    "a network": (a_changed(network="192.0.2.0/24"), "'network' is no field"),
    "what confirmed it": (a_changed(confirmed_by="x"), "'confirmed_by' is no field"),
    "an end of its time": (
        a_changed(confirm_expires_at="2099-01-01T00:00:00Z"),
        "'confirm_expires_at' is no field",
    ),
    "an error": (a_changed(error={"reason": "<b>"}), "'error' is no field"),
    "oauth where devices have logins": (a_changed(oauth_creds={}), "'oauth_creds' is no field"),
    "__proto__": (a_changed(__proto__={"state": "active"}), "'__proto__' is no field"),
    "constructor": (a_changed(constructor={"prototype": {}}), "'constructor' is no field"),
    "an empty name of a field": (lambda doc: {**doc, "": 1}, "'' is no field"),
    "a NUL in the name of a field": (lambda doc: {**doc, "a\0": 1}, "'a\\x00' is no field"),
    "half a character in the name of a field": (
        lambda doc: {**doc, "\ud800": 1},
        "'\\ud800' is no field",
    ),
    "a long name of a field": (lambda doc: {**doc, "x" * 10_000: 1}, f"'{'x' * 60}' is no field"),
    "a deep field": (a_changed(more=nested(500)), "'more' is no field"),
    "roles among the credentials": (
        with_credentials(roles=["_admin"]),
        "'credentials.roles' is no field",
    ),
    "a password among the credentials": (
        with_credentials(password="secret"),
        "'credentials.password' is no field",
    ),
    # values
    "no owner": (lacking("owner"), "owner is missing"),
    "an owner with a header": (a_changed(owner="a@b.com\r\nBcc: c@d.e"), "owner must not contain"),
    "two owners": (a_changed(owner="a@b.com,c@d.com"), "owner must be an e-mail address"),
    "an owner that is deep": (a_changed(owner=nested(500)), "owner must be a text"),
    "a name with a NUL": (a_changed(name="a\0b"), "name must not contain"),
    "a name with half a character": (a_changed(name="a\ud800"), "name must not contain"),
    "a name that turns the page around": (a_changed(name="a\u202eb"), "name must not contain"),
    "a name too long": (a_changed(name="x" * 81), "name must have"),
    "no device code": (lacking("device_code"), "device_code is missing"),
    "a short device code": (a_changed(device_code="ABC"), "device_code must have"),
    "no credentials": (lacking("credentials"), "credentials must be an object"),
    "a wrong key": (with_credentials(derived_key="zz"), "credentials.derived_key must be"),
    "too many rounds": (with_credentials(iterations=10**9), "credentials.iterations must be"),
    "a huge number of rounds": (
        with_credentials(iterations=10**4000),
        "credentials.iterations must be",
    ),
    "a negative generation": (a_changed(generation=-1), "generation must be"),
    "a huge generation": (a_changed(generation=10**400), "generation must be"),
    "a generation of words": (a_changed(generation="1"), "generation must be"),
    "a time that is none": (a_changed(created_at="yesterday"), "created_at must be"),
}
