"""What a guest is told, whatever the guest has written where the cloud writes. In memory."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.aws.rate_limiter import RateLimiter
from chalicelib.domain.channel import Channel, leaving_of, merge, parse_channel
from chalicelib.domain.documents import JsonDict, Rejected
from chalicelib.domain.names import owner_control_db, subscription_id
from chalicelib.engine.context import Context
from chalicelib.handlers import sharing
from tests.kit.basics import FakeClock, FakeMailer, make_context
from tests.kit.fakes.aws import FakeAws
from tests.kit.fakes.couch import FakeCouch

ADA, BEN = "a" * 32, "b" * 32
REASON = "you are no longer a member"

# A document with another number cannot be read, and is overwritten.
FINITE = st.floats(allow_nan=False, allow_infinity=False)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
docs = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["channel", "subscription", "invitation"]) | values,
        "state": st.sampled_from(["shared", "closed", "active", "stopped", "new"]) | values,
        "as_of": st.integers(0, 9) | values,
        "name": values,
        "reason": values,
        "x": values,
    },
)


def a_channel(**fields: Any) -> Channel:
    doc = {"_id": "photos", "_rev": "5-a", "type": "channel", "state": "ready", "name": "Photos"}
    return parse_channel(doc | fields, owner_control_db("control", ADA), ADA)


def a_context(couch: FakeCouch) -> Context:
    clock = FakeClock()
    aws = FakeAws(lambda: clock().timestamp())
    limiter = RateLimiter(aws.client("dynamodb"), "unused")
    return make_context(couch.server(), "control", limiter, FakeMailer(), clock)


def is_kept(doc: JsonDict, doc_type: str, channel: Channel) -> bool:
    """Whether a document is left alone: it is a channel of the guest's own, or newer than this."""
    if doc.get("type") != doc_type:
        return False
    as_of = doc.get("as_of")
    is_newer = isinstance(as_of, int) and as_of >= (channel.as_of or 0)
    is_own = doc_type == "channel" and doc.get("state") not in ("shared", "closed")
    return is_own or is_newer


@given(copy=docs, subscription=docs)
def test_a_guest_is_told_whatever_is_there(copy: JsonDict, subscription: JsonDict) -> None:
    couch, channel = FakeCouch(), a_channel()
    name, sub_id = owner_control_db("control", BEN), subscription_id(channel.db, BEN)
    couch.create(name)
    context = a_context(couch)
    database = context.server.database(name)
    database.put({"_id": channel.db, **copy})
    database.put({"_id": sub_id, **subscription})
    before = couch.databases[name].docs()
    assert sharing.tell_all(context, channel, [BEN], REASON) == []
    after = couch.databases[name].docs()
    for doc_id, doc_type, state in (
        (channel.db, "channel", "closed"),
        (sub_id, "subscription", "stopped"),
    ):
        if is_kept(before[doc_id], doc_type, channel):
            assert after[doc_id] == before[doc_id]
        else:
            found = after[doc_id]
            assert (found["type"], found["state"], found["as_of"]) == (doc_type, state, 5)


@given(copy=docs, subscription=docs)
def test_a_guest_gets_a_channel_whatever_is_there(copy: JsonDict, subscription: JsonDict) -> None:
    couch, channel = FakeCouch(), a_channel(members=[BEN])
    name, sub_id = owner_control_db("control", BEN), subscription_id(channel.db, BEN)
    couch.create(name)
    context = a_context(couch)
    database = context.server.database(name)
    database.put({"_id": channel.db, **copy})
    database.put({"_id": sub_id, **subscription})
    if copy.get("type") == "channel" and copy.get("state") not in ("shared", "closed"):
        with pytest.raises(Rejected):
            sharing.share(context, channel, BEN)
        return
    sharing.share(context, channel, BEN)
    after = couch.databases[name].docs()
    for doc, doc_id, doc_type, state in (
        (copy, channel.db, "channel", "shared"),
        (subscription, sub_id, "subscription", "active"),
    ):
        if not is_kept(doc, doc_type, channel):
            found = after[doc_id]
            assert (found["type"], found["state"], found["as_of"]) == (doc_type, state, 5)
            assert "reason" not in found


@given(values)
def test_any_value_of_leaving_is_read_as_owner_ids(value: Any) -> None:
    assert leaving_of({"leaving": value}) == frozenset()
    listed = [value, BEN, [BEN], BEN.upper(), "../_users"]
    assert leaving_of({"leaving": listed}) == {BEN}


def test_who_is_leaving_in_one_revision_is_leaving_in_all() -> None:
    winner = {"_id": "photos", "name": "Ours", "members": [], "state": "ready"}
    loser = {**winner, "name": "Photos", "leaving": [BEN]}
    assert merge(winner, [loser])["leaving"] == [BEN]
    assert merge(loser, [winner]) == loser


def test_whoever_has_rights_and_is_no_member_is_former() -> None:
    channel = a_channel(members=[BEN])
    assert a_channel().former(channel.security) == {BEN}
    assert channel.former(channel.security) == frozenset()
    assert channel.former(channel.closed_security) == frozenset()
    assert channel.former({}) == frozenset()
