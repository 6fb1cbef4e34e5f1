"""The daily sweep: what nobody answered in time is expired, in bounded pages."""

import io
import json

import pytest

from chalicelib.couch import Conflict, Database, NotFound
from chalicelib.domain.documents import JsonDict
from chalicelib.jobs.sweep import PAGE, sweep
from tests.kit.basics import a_device, an_address
from tests.kit.cases.attacks import nested_text
from tests.kit.cloud.access import put_text
from tests.kit.cloud.steps import Owner, Steps

DAY_S = 24 * 3600


def swept(steps: Steps, remaining_s: float = 100) -> JsonDict:
    return sweep(steps.context, lambda: remaining_s)


def notes(steps: Steps) -> list[str]:
    rows = steps.control.changes("0", limit=1000)["results"]
    return [row["id"] for row in rows if row["id"].startswith("expiry-") and not row.get("deleted")]


def waiting(steps: Steps, number: int, expires_at: str) -> str:
    """A registration that waits for its answer, as its first transition left it."""
    doc = a_device(owner=an_address()).doc
    doc |= {"_id": f"device-{number:03}", "state": "confirming", "confirm_expires_at": expires_at}
    steps.control.put(doc)
    return str(doc["_id"])


def test_a_registration_that_nobody_answered_is_expired_and_another_is_not(steps: Steps) -> None:
    late, early = a_device(owner=an_address()), a_device(owner=an_address())
    steps.register(late)
    steps.clock.move(DAY_S / 2)
    steps.register(early)
    steps.clock.move(DAY_S / 2 + 1)
    assert swept(steps) == {"expired": 1, "failed": 0, "complete": True}
    assert steps.control.get(late.device_id)["state"] == "expired"
    assert steps.control.get(early.device_id)["state"] == "confirming"


def test_an_invitation_that_nobody_answered_is_expired_and_its_note_removed(steps: Steps) -> None:
    ada = steps.an_owner()
    ada.channel()
    ada.invite(an_address())
    assert notes(steps) == [f"expiry-{ada.id}-invitation-1"]
    steps.clock.move(7 * DAY_S - 1)
    swept(steps)
    assert ada.control.get("invitation-1")["state"] == "sent"
    steps.clock.move(2)
    swept(steps)
    assert ada.control.get("invitation-1")["state"] == "expired"
    assert notes(steps) == []


@pytest.mark.parametrize("end", ["accepted", "deleted", "withdrawn"])
def test_an_invitation_that_came_to_an_end_is_left_alone(steps: Steps, end: str) -> None:
    ada = steps.an_owner()
    ada.channel()
    if end == "accepted":
        ada.share(an_address())
    else:
        doc = ada.invite(an_address())
        ada.put({**doc, "state": "withdrawn"})
    if end == "deleted":
        ada.control.remove(ada.control.get("invitation-1"))
    steps.clock.move(7 * DAY_S + 1)
    swept(steps)
    assert notes(steps) == []
    if end != "deleted":
        assert ada.control.get("invitation-1")["state"] == end


def test_an_invitation_that_was_sent_again_lives_as_long_as_the_second_mail(steps: Steps) -> None:
    ada = steps.an_owner()
    ada.channel()
    ada.invite(an_address())
    ada.edit("invitation-1", state="withdrawn")
    steps.clock.move(7 * DAY_S - 1)
    ada.edit("invitation-1", state="new", generation=1)
    ada.run("invitation-1")
    steps.clock.move(2)
    swept(steps)
    assert ada.control.get("invitation-1")["state"] == "sent"
    steps.clock.move(7 * DAY_S)
    swept(steps)
    assert ada.control.get("invitation-1")["state"] == "expired"


def test_more_than_a_page_is_swept_page_by_page(steps: Steps) -> None:
    ids = [waiting(steps, number, "2026-11-22T06:00:00Z") for number in range(PAGE + 5)]
    assert swept(steps) == {"expired": PAGE + 5, "failed": 0, "complete": True}
    assert {steps.control.get(doc_id)["state"] for doc_id in ids} == {"expired"}


def test_a_sweep_without_time_leaves_the_rest_for_the_next(steps: Steps) -> None:
    waiting(steps, 1, "2026-11-22T06:00:00Z")
    assert swept(steps, remaining_s=1) == {"expired": 0, "failed": 0, "complete": False}
    assert swept(steps) == {"expired": 1, "failed": 0, "complete": True}


def test_one_that_cannot_be_written_does_not_hold_up_the_others(steps: Steps) -> None:
    for number in range(3):
        waiting(steps, number, "2026-11-22T06:00:00Z")

    def fail() -> None:
        raise Conflict(409, "conflict", "Document update conflict.")

    with steps.meanwhile(steps.control, "update", fail):
        assert swept(steps) == {"expired": 2, "failed": 1, "complete": False}
    assert swept(steps) == {"expired": 1, "failed": 0, "complete": True}


def test_more_than_a_page_that_cannot_be_written_does_not_hold_up_the_others(steps: Steps) -> None:
    for number in range(PAGE + 7):
        is_stuck = number < PAGE + 2
        waiting(steps, number, f"2026-11-2{1 if is_stuck else 2}T06:00:00Z")
    refuse = f"""function (newDoc) {{
      if (newDoc._id < 'device-{PAGE + 2:03}') throw({{forbidden: 'stuck'}});
    }}"""
    steps.control.put({"_id": "_design/stuck", "validate_doc_update": refuse})
    assert swept(steps) == {"expired": 5, "failed": PAGE + 2, "complete": False}


def test_a_document_that_cannot_be_read_does_not_hold_up_the_others(steps: Steps) -> None:
    waiting(steps, 1, "2026-11-22T06:00:00Z")
    fields = '"type":"device","state":"confirming","confirm_expires_at":"2026-11-21T06:00:00Z"'
    put_text(steps.control, "deep", f'{{{fields},"x":{nested_text(2_000)}}}')
    assert swept(steps) == {"expired": 1, "failed": 1, "complete": False}


def test_the_note_of_an_invitation_that_cannot_be_read_goes(steps: Steps, ada: Owner) -> None:
    put_text(ada.control, "deep", f'{{"type":"invitation","x":{nested_text(2_000)}}}')
    note = {"_id": "expiry-deep", "type": "expiry", "owner": ada.id, "invitation": "deep"}
    steps.control.put({**note, "expires_at": "2026-11-22T06:00:00Z", "generation": 0})
    assert swept(steps) == {"expired": 1, "failed": 0, "complete": True}
    assert notes(steps) == []


def test_a_sweep_that_leaves_something_is_warned_of(steps: Steps, log: io.StringIO) -> None:
    waiting(steps, 1, "2026-11-22T06:00:00Z")
    for remaining_s in (1, 100):
        swept(steps, remaining_s)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    said = [(line["level"], line["message"], line["complete"]) for line in lines]
    assert said == [("WARNING", "sweep", False), ("INFO", "sweep", True)]


def test_the_query_uses_its_index(steps: Steps, control: Database) -> None:
    swept(steps)
    body = {
        "selector": {"type": "device", "state": "confirming", "confirm_expires_at": {"$lt": "x"}},
        "use_index": ["expired-devices", "expired-devices"],
    }
    plan = control._http.request_object("POST", f"/{control.name}/_explain", body=body)
    assert plan["index"]["name"] == "expired-devices"


def test_an_owner_is_not_needed(steps: Steps) -> None:
    ada = Owner(steps, an_address(), a_device(), steps.control_db_of(an_address()))
    with pytest.raises(NotFound):
        ada.control.info()
    note = {"_id": "expiry-gone", "type": "expiry", "owner": ada.id, "invitation": "i"}
    steps.control.put({**note, "generation": 0, "expires_at": "2026-11-22T06:00:00Z"})
    assert swept(steps)["complete"]
    assert notes(steps) == []
