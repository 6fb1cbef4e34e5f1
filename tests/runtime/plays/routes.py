"""The routes of the API: the pages, the registrations endpoint, /health."""

import json

from tests.runtime.acts import Acts
from tests.runtime.harness.world import COUCHDB_PUBLIC_URL
from tests.runtime.plays.registry import plays
from tests.runtime.samples import DEVICE_CODE


@plays("api/show_confirmation")
def the_confirm_page_asks_for_the_device_code(acts: Acts) -> None:
    acts.request_confirmation()
    answer = acts.api("show_confirmation")
    assert answer["statusCode"] == 200
    assert "Confirm your device" in answer["body"]
    assert "Ada’s phone" in answer["body"] or "Ada&#39;s phone" in answer["body"]
    headers = {name: value for name, [value] in answer["multiValueHeaders"].items()}
    headers |= answer["headers"]
    assert "no-store" in headers["Cache-Control"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


@plays("api/answer_confirmation")
def the_right_device_code_confirms(acts: Acts) -> None:
    acts.request_confirmation()
    wrong = acts.api("answer_confirmation", body="device_code=0000-0001")
    assert wrong["statusCode"] == 403
    answer = acts.api("answer_confirmation")
    assert answer["statusCode"] == 303
    clicked = acts.control.get(f"confirm-{acts.cast.device_id}-0")
    assert clicked["state"] == "clicked"
    assert clicked["device_code"] == DEVICE_CODE


@plays("api/show_invitation")
def the_invitation_page_says_who_shares_what(acts: Acts) -> None:
    acts.invite()
    answer = acts.api("show_invitation")
    assert answer["statusCode"] == 200
    assert "You are invited" in answer["body"]
    assert acts.cast.owner in answer["body"]


@plays("api/answer_invitation")
def a_guest_accepts_an_invitation(acts: Acts) -> None:
    acts.invite()
    assert acts.api("answer_invitation")["statusCode"] == 303
    assert acts.owners.get("invitation-1")["state"] == "accepting"


@plays("api/registrations_info")
def the_registrations_says_where_couchdb_is(acts: Acts) -> None:
    answer = acts.api("registrations_info")
    assert answer["statusCode"] == 200
    body = json.loads(answer["body"])
    assert body["db_name"] == "registrations"
    assert body["syncpoint"] == {
        "couchdb": COUCHDB_PUBLIC_URL,
        "control_db": acts.control.name,
    }


@plays("api/registrations_exists")
def the_registrations_answers_head_without_a_body(acts: Acts) -> None:
    answer = acts.api("registrations_exists")
    assert (answer["statusCode"], answer["body"]) == (200, "")


@plays("api/registrations_get_checkpoint")
def the_registrations_has_no_checkpoint(acts: Acts) -> None:
    answer = acts.api("registrations_get_checkpoint")
    assert answer["statusCode"] == 404
    assert json.loads(answer["body"]) == {"error": "not_found", "reason": "missing"}


@plays("api/registrations_put_checkpoint")
def the_registrations_takes_a_checkpoint(acts: Acts) -> None:
    answer = acts.api("registrations_put_checkpoint")
    assert answer["statusCode"] == 201
    assert json.loads(answer["body"])["ok"] is True


@plays("api/registrations_ensure_full_commit")
def the_registrations_ensures_a_full_commit(acts: Acts) -> None:
    answer = acts.api("registrations_ensure_full_commit")
    assert answer["statusCode"] == 201
    assert json.loads(answer["body"])["ok"] is True


@plays("api/registrations_revs_diff")
def the_registrations_misses_every_revision(acts: Acts) -> None:
    answer = acts.api("registrations_revs_diff")
    assert answer["statusCode"] == 200
    missing = ["1-967a00dff5e02add41819138abb3284d"]
    assert json.loads(answer["body"]) == {acts.cast.device_id: {"missing": missing}}


@plays("api/registrations_bulk_docs")
def the_registrations_takes_a_registration_and_its_resend(acts: Acts) -> None:
    answer = acts.api("registrations_bulk_docs")
    assert (answer["statusCode"], json.loads(answer["body"])) == (201, [])
    stored = acts.control.get(acts.cast.device_id)
    assert stored["state"] == "new"
    assert stored["network"] == "203.0.113.0/24"
    acts.request_confirmation()
    again = json.loads(acts.cast.event("api/registrations_bulk_docs")["body"])
    again["docs"][0]["generation"] = 1
    answer = acts.api("registrations_bulk_docs", body=json.dumps(again))
    assert json.loads(answer["body"]) == []
    assert acts.control.get(acts.cast.device_id)["generation"] == 1


@plays("api/registrations_show_state")
def the_registrations_shows_a_devices_state_and_no_more(acts: Acts) -> None:
    acts.request_confirmation()
    answer = acts.api("registrations_show_state")
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"]) == {"state": "confirming"}


@plays("api/registrations_refuse")
def the_registrations_refuses_a_document_that_is_put(acts: Acts) -> None:
    answer = acts.api("registrations_refuse")
    assert answer["statusCode"] == 403
    assert json.loads(answer["body"])["error"] == "forbidden"


@plays("api/health")
def health_says_that_all_is_well(acts: Acts) -> None:
    acts.invoke("poller")
    answer = acts.api("health")
    assert answer["statusCode"] == 200, answer
    body = json.loads(answer["body"])
    parts = ("couchdb", "dynamodb", "sqs", "poller")
    assert [body[part] for part in parts] == ["ok"] * 4
    assert 0 <= body["poller_age_s"] < 60
