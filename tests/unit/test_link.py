"""What a link is worth, told from its device's document."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain.documents import JsonDict, timestamp
from chalicelib.domain.link_status import Link, link_of

EXPIRES = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DEVICE: JsonDict = {
    "_id": "device-1",
    "type": "device",
    "state": "confirming",
    "confirm_expires_at": timestamp(EXPIRES),
}

# Every state of a device (docs/how-it-works.md).
WORTH_BY_STATE = {
    "new": Link.EARLY,
    "confirming": Link.OPEN,
    "confirmed": Link.USED,
    "active": Link.USED,
    "revoking": Link.USED,
    "revoked": Link.USED,
    "expired": Link.EXPIRED,
    "rejected": Link.REJECTED,
    "undeliverable": Link.UNDELIVERABLE,
    "error": Link.FAILED,
}


@pytest.mark.parametrize(("state", "worth"), WORTH_BY_STATE.items())
def test_a_link_is_worth_what_its_devices_state_says(state: str, worth: Link) -> None:
    assert link_of(DEVICE | {"state": state}, 0, EXPIRES - SECOND) is worth


@pytest.mark.parametrize(("state", "worth"), WORTH_BY_STATE.items())
def test_only_a_link_that_waits_can_run_out(state: str, worth: Link) -> None:
    expected = Link.EXPIRED if state == "confirming" else worth
    assert link_of(DEVICE | {"state": state}, 0, EXPIRES + SECOND) is expected


@pytest.mark.parametrize("state", ["elsewhere", "", None, 1, ["confirming"], {}], ids=repr)
def test_a_link_to_a_device_in_no_known_state_leads_nowhere(state: object) -> None:
    assert link_of(DEVICE | {"state": state}, 0, EXPIRES - SECOND) is Link.UNKNOWN


def test_a_link_to_a_device_without_a_state_leads_nowhere() -> None:
    assert link_of({"type": "device"}, 0, EXPIRES - SECOND) is Link.UNKNOWN


def test_a_link_to_no_device_leads_nowhere() -> None:
    assert link_of(None, 0, EXPIRES) is Link.UNKNOWN


@pytest.mark.parametrize("doc_type", ["confirm", "channel", None, ["device"]], ids=repr)
def test_a_link_to_another_type_of_document_leads_nowhere(doc_type: object) -> None:
    assert link_of(DEVICE | {"type": doc_type}, 0, EXPIRES - SECOND) is Link.UNKNOWN


@pytest.mark.parametrize(("of_device", "of_link"), [(1, 0), (0, 1), (2, 1), (None, 1)])
@pytest.mark.parametrize("state", WORTH_BY_STATE)
def test_a_link_of_another_generation_is_replaced_in_every_state(
    state: str, of_device: int | None, of_link: int
) -> None:
    device = DEVICE | {"state": state, "generation": of_device}
    assert link_of(device, of_link, EXPIRES - SECOND) is Link.REPLACED


def test_a_link_of_the_devices_generation_is_open() -> None:
    assert link_of(DEVICE | {"generation": 3}, 3, EXPIRES - SECOND) is Link.OPEN


@pytest.mark.parametrize(
    ("now", "worth"),
    [
        pytest.param(EXPIRES - SECOND, Link.OPEN, id="a second before"),
        pytest.param(EXPIRES - timedelta(microseconds=1), Link.OPEN, id="just before"),
        pytest.param(EXPIRES, Link.EXPIRED, id="exactly then"),
        pytest.param(EXPIRES + timedelta(microseconds=1), Link.EXPIRED, id="just after"),
    ],
)
def test_a_link_runs_out_at_its_time_and_not_before(now: datetime, worth: Link) -> None:
    assert link_of(DEVICE, 0, now) is worth


@pytest.mark.parametrize(
    "expires_at",
    [
        pytest.param(None, id="null"),
        pytest.param("", id="empty"),
        pytest.param("never", id="a word"),
        pytest.param(9_999_999_999, id="a number"),
        pytest.param("2999-01-01T00:00:00", id="in no time zone"),
        pytest.param("2999-13-01T00:00:00Z", id="no month"),
        pytest.param(["2999-01-01T00:00:00Z"], id="a list"),
        pytest.param(True, id="true"),
    ],
)
def test_a_link_without_a_time_that_can_be_read_has_run_out(expires_at: object) -> None:
    device = DEVICE | {"confirm_expires_at": expires_at}
    assert link_of(device, 0, EXPIRES - SECOND) is Link.EXPIRED


def test_a_link_that_never_got_a_time_has_run_out() -> None:
    device = {name: DEVICE[name] for name in ("_id", "type", "state")}
    assert link_of(device, 0, EXPIRES - SECOND) is Link.EXPIRED


json_values = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())
moments = st.datetimes(timezones=st.timezones()).map(datetime.isoformat)


@settings(max_examples=300)
@given(
    st.fixed_dictionaries(
        {"type": st.just("device") | json_values},
        optional={
            "state": st.sampled_from(sorted(WORTH_BY_STATE)) | json_values,
            "generation": st.just(0) | json_values,
            "confirm_expires_at": moments | json_values,
        },
    ),
    st.integers(0, 3),
)
def test_no_document_makes_it_raise(device: dict[str, Any], generation: int) -> None:
    worth = link_of(device, generation, EXPIRES)
    if worth is Link.OPEN:
        assert device["state"] == "confirming"
        assert datetime.fromisoformat(device["confirm_expires_at"]) > EXPIRES
