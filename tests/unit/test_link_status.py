"""The status of a link, from its device's document."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain.documents import JsonDict, timestamp
from chalicelib.domain.link_status import LinkStatus, link_status
from tests.kit.cases.devices import json_values

EXPIRES = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DEVICE: JsonDict = {
    "_id": "device-1",
    "type": "device",
    "state": "confirming",
    "confirm_expires_at": timestamp(EXPIRES),
}

# Every state of a device (docs/how-it-works.md).
STATUS_BY_STATE = {
    "new": LinkStatus.EARLY,
    "confirming": LinkStatus.OPEN,
    "confirmed": LinkStatus.USED,
    "active": LinkStatus.USED,
    "revoking": LinkStatus.USED,
    "revoked": LinkStatus.USED,
    "expired": LinkStatus.EXPIRED,
    "rejected": LinkStatus.REJECTED,
    "undeliverable": LinkStatus.UNDELIVERABLE,
    "error": LinkStatus.FAILED,
}


@pytest.mark.parametrize(("state", "status"), STATUS_BY_STATE.items())
def test_the_status_of_a_link_follows_its_devices_state(state: str, status: LinkStatus) -> None:
    assert link_status(DEVICE | {"state": state}, 0, EXPIRES - SECOND) is status


@pytest.mark.parametrize(("state", "status"), STATUS_BY_STATE.items())
def test_only_a_link_that_waits_can_run_out(state: str, status: LinkStatus) -> None:
    expected = LinkStatus.EXPIRED if state == "confirming" else status
    assert link_status(DEVICE | {"state": state}, 0, EXPIRES + SECOND) is expected


@pytest.mark.parametrize("state", ["elsewhere", "", None, 1, ["confirming"], {}], ids=repr)
def test_a_link_to_a_device_in_no_known_state_leads_nowhere(state: object) -> None:
    assert link_status(DEVICE | {"state": state}, 0, EXPIRES - SECOND) is LinkStatus.UNKNOWN


def test_a_link_to_a_device_without_a_state_leads_nowhere() -> None:
    assert link_status({"type": "device"}, 0, EXPIRES - SECOND) is LinkStatus.UNKNOWN


def test_a_link_to_no_device_leads_nowhere() -> None:
    assert link_status(None, 0, EXPIRES) is LinkStatus.UNKNOWN


@pytest.mark.parametrize("doc_type", ["confirm", "channel", None, ["device"]], ids=repr)
def test_a_link_to_another_type_of_document_leads_nowhere(doc_type: object) -> None:
    assert link_status(DEVICE | {"type": doc_type}, 0, EXPIRES - SECOND) is LinkStatus.UNKNOWN


@pytest.mark.parametrize(("of_device", "of_link"), [(1, 0), (0, 1), (2, 1), (None, 1)])
@pytest.mark.parametrize("state", STATUS_BY_STATE)
def test_a_link_of_another_generation_is_replaced_in_every_state(
    state: str, of_device: int | None, of_link: int
) -> None:
    device = DEVICE | {"state": state, "generation": of_device}
    assert link_status(device, of_link, EXPIRES - SECOND) is LinkStatus.REPLACED


def test_a_link_of_the_devices_generation_is_open() -> None:
    assert link_status(DEVICE | {"generation": 3}, 3, EXPIRES - SECOND) is LinkStatus.OPEN


@pytest.mark.parametrize(
    ("now", "status"),
    [
        pytest.param(EXPIRES - SECOND, LinkStatus.OPEN, id="a second before"),
        pytest.param(EXPIRES - timedelta(microseconds=1), LinkStatus.OPEN, id="just before"),
        pytest.param(EXPIRES, LinkStatus.EXPIRED, id="exactly then"),
        pytest.param(EXPIRES + timedelta(microseconds=1), LinkStatus.EXPIRED, id="just after"),
    ],
)
def test_a_link_runs_out_at_its_time_and_not_before(now: datetime, status: LinkStatus) -> None:
    assert link_status(DEVICE, 0, now) is status


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
    assert link_status(device, 0, EXPIRES - SECOND) is LinkStatus.EXPIRED


def test_a_link_that_never_got_a_time_has_run_out() -> None:
    device = {name: DEVICE[name] for name in ("_id", "type", "state")}
    assert link_status(device, 0, EXPIRES - SECOND) is LinkStatus.EXPIRED


moments = st.datetimes(timezones=st.timezones()).map(datetime.isoformat)


@settings(max_examples=300)
@given(
    st.fixed_dictionaries(
        {"type": st.just("device") | json_values},
        optional={
            "state": st.sampled_from(sorted(STATUS_BY_STATE)) | json_values,
            "generation": st.just(0) | json_values,
            "confirm_expires_at": moments | json_values,
        },
    ),
    st.integers(0, 3),
)
def test_no_document_makes_it_raise(device: dict[str, Any], generation: int) -> None:
    status = link_status(device, generation, EXPIRES)
    if status is LinkStatus.OPEN:
        assert device["state"] == "confirming"
        assert datetime.fromisoformat(device["confirm_expires_at"]) > EXPIRES
