"""A device's document as it is valid, and what else its fields may hold."""

from typing import Any

from hypothesis import strategies as st

from chalicelib.domain.documents import JsonDict

CREDENTIALS: JsonDict = {
    "password_scheme": "pbkdf2",
    "salt": "0123456789abcdef",
    "iterations": 10,
    "derived_key": "0a" * 20,
}
OAUTH = {name: name for name in ("consumer_key", "consumer_secret", "token", "token_secret")}
VALID: JsonDict = {
    "_id": "device-0123456789abcdef0123456789abcdef",
    "_rev": "1-a",
    "type": "device",
    "state": "new",
    "owner": "Ada@Example.com",
    "name": "Ada's phone",
    "device_code": "ABCD-2345",
    "credentials": CREDENTIALS,
    "oauth_creds": OAUTH,
    "generation": 0,
    "created_at": "2026-11-23T06:00:00Z",
}

any_text = st.text(st.characters(exclude_categories=()))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)


def credentials_with(**changes: Any) -> JsonDict:
    return VALID | {"credentials": CREDENTIALS | changes}
