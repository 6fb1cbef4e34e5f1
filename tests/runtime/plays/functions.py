"""The functions that a queue, a topic, a schedule or somebody by hand calls."""

import json

from chalicelib.domain.names import channel_db, subscription_id
from tests.kit.basics import wait_for
from tests.kit.system.registering import LONG_AGO
from tests.kit.tokens import subject_of
from tests.runtime import samples
from tests.runtime.acts import Acts
from tests.runtime.harness.artifacts import STAGE
from tests.runtime.harness.world import COUCHDB_PUBLIC_URL, PUBLIC_URL
from tests.runtime.plays.registry import login_status, plays

# --- devices


@plays("device_new")
def device_new_mails_a_link_and_waits_for_the_answer(acts: Acts) -> None:
    result, after = acts.deliver("device_new")
    assert result.returned is None
    assert after["state"] == "confirming"
    [mail] = acts.world.mails_to(acts.cast.owner)
    assert mail["links"][0].startswith(f"{PUBLIC_URL}/confirm/")
    assert subject_of(mail["links"][0].rpartition("/")[2]) == acts.cast.device_id
    metrics = {name for record in result.records for name in record if "_aws" in record}
    assert {"Transitions", "Mails", "TransitionAge"} <= metrics
    assert acts.cast.owner not in "".join(result.logs)


@plays("device_confirmed")
def device_confirmed_makes_the_login(acts: Acts) -> None:
    result, after = acts.deliver("device_confirmed")
    assert result.returned is None
    assert after["state"] == "active"
    assert login_status(acts) == 200
    assert acts.owners.get(acts.cast.device_id)["state"] == "active"


@plays("device_revoking")
def device_revoking_takes_the_login_away(acts: Acts) -> None:
    acts.deliver("device_confirmed")
    assert login_status(acts) == 200
    result, after = acts.deliver("device_revoking")
    assert result.returned is None
    assert after["state"] == "revoked"
    wait_for(lambda: login_status(acts) == 401, "the end of the login")
    assert acts.owners.get(acts.cast.device_id)["state"] == "revoked"


@plays("confirm_clicked")
def confirm_clicked_confirms_the_device(acts: Acts) -> None:
    acts.request_confirmation()
    result, after = acts.deliver("confirm_clicked")
    assert result.returned is None
    assert after["state"] == "used"
    assert acts.control.get(acts.cast.device_id)["state"] == "confirmed"


# --- channels and invitations


@plays("channel_new")
def channel_new_makes_a_database_for_its_owner_alone(acts: Acts) -> None:
    acts.make_owner()
    result, after = acts.deliver("channel_new")
    assert result.returned is None
    assert after["state"] == "ready"
    db = channel_db(acts.cast.owner_id, "photos")
    assert after["syncpoint"] == f"{COUCHDB_PUBLIC_URL}/{db}"
    members = acts.world.server.database(db).security()["members"]
    assert members == {"names": [], "roles": [f"owner-{acts.cast.owner_id}"]}


@plays("channel_ready")
def channel_ready_lets_the_database_follow_its_name(acts: Acts) -> None:
    acts.make_owner()
    acts.deliver("channel_new")
    result, after = acts.deliver("channel_ready")
    assert result.returned is None
    assert after["state"] == "ready"
    database = acts.world.server.database(channel_db(acts.cast.owner_id, "photos"))
    assert database.get("description")["name"] == "Photos of the lighthouse"


@plays("channel_closing")
def channel_closing_deletes_the_database(acts: Acts) -> None:
    acts.make_owner()
    acts.deliver("channel_new")
    result, after = acts.deliver("channel_closing")
    assert result.returned is None
    assert after["state"] == "closed"
    name = channel_db(acts.cast.owner_id, "photos")
    assert acts.world.server.all_dbs(name, name, 1) == []


@plays("invitation_new")
def invitation_new_mails_a_link_to_the_guest(acts: Acts) -> None:
    acts.make_owner()
    acts.deliver("channel_new")
    result, after = acts.deliver("invitation_new")
    assert result.returned is None
    assert after["state"] == "sent"
    [mail] = acts.world.mails_to(acts.cast.guest)
    assert mail["links"][0].startswith(f"{PUBLIC_URL}/invitation/")
    assert subject_of(mail["links"][0].rpartition("/")[2]).startswith(f"{acts.cast.owner_id}.")
    assert acts.cast.guest not in "".join(result.logs)


@plays("invitation_accepting")
def invitation_accepting_gives_the_guest_the_channel(acts: Acts) -> None:
    acts.invite()
    assert acts.api("answer_invitation")["statusCode"] == 303
    receipt = acts.owners.get("invitation-1")["answer_code"]
    result, after = acts.deliver("invitation_accepting", answer_code=receipt)
    assert result.returned is None
    assert after["state"] == "accepted"
    guest = after["guest"]
    assert guest in acts.owners.get("photos")["members"]
    db = channel_db(acts.cast.owner_id, "photos")
    subscription = acts.world.owner_db(guest).get(subscription_id(db, guest))
    assert subscription["state"] == "active"


# --- what is not about one message


@plays("poller")
def the_poller_sends_each_document_to_the_queue_of_its_state(acts: Acts) -> None:
    routes = [name for name in samples.names() if '"eventSourceARN"' in samples.text(name)]
    waiting = {name: Acts.of(acts.world) for name in routes}
    for name, one in waiting.items():
        acts.world.drain(name.replace("_", "-"))
        one.make_owner()
        one.message(name)
    routes_of_the_poller = json.loads(acts.world.specs["poller"].variables["ROUTES"])
    assert len(waiting) == len(routes_of_the_poller)
    sent: list[int] = []

    def are_sent() -> bool:  # CouchDB tells of databases that changed half a second later
        answer = acts.invoke("poller").returned
        assert answer["polled"] is True
        sent.append(answer["sent"])
        return sum(sent) >= len(waiting)

    wait_for(are_sent, "a message for each document")
    for name, one in waiting.items():
        records = acts.world.receive(name.replace("_", "-"))
        messages = [json.loads(record["body"]) for record in records]
        wanted = json.loads(one.cast.event(name)["Records"][0]["body"])
        [one_sent] = [
            message
            for message in messages
            if (message["db"], message["id"]) == (wanted["db"], wanted["id"])
        ]
        assert one_sent["doc"] == acts.world.server.database(wanted["db"]).get(wanted["id"])
        acts.world.drain(name.replace("_", "-"))


@plays("poller")
def the_poller_forgets_a_database_that_is_gone(acts: Acts) -> None:
    acts.make_owner()
    acts.message("channel_closing", state="closed")
    place = {"pk": {"S": f"feed#{acts.owners.name}"}}
    dynamodb, table_name = acts.world.aws.client("dynamodb"), f"syncpoint-{STAGE}"

    def is_known_after_a_run() -> bool:
        acts.invoke("poller")
        return "Item" in dynamodb.get_item(TableName=table_name, Key=place)

    # CouchDB tells of databases that changed half a second later.
    wait_for(is_known_after_a_run, "the database's place")
    acts.owners.delete()
    wait_for(lambda: not is_known_after_a_run(), "the end of the database's place")


@plays("sweep_expired")
def sweep_expired_ends_what_nobody_answered(acts: Acts) -> None:
    acts.message("device_new", state="confirming", confirm_expires_at=LONG_AGO)
    result = acts.invoke("sweep_expired")
    assert result.returned is None
    assert acts.control.get(acts.cast.device_id)["state"] == "expired"


@plays("upgrade_designs")
def upgrade_designs_brings_the_rules_to_an_owners_database(acts: Acts) -> None:
    acts.make_owner()
    answer = acts.invoke("upgrade_designs").returned
    assert answer["checked"] >= answer["written"] >= 1
    assert answer["after"] is None
    assert "validate_doc_update" in acts.owners.get("_design/syncpoint")


@plays("mail_feedback")
def mail_feedback_says_that_the_mail_did_not_arrive(acts: Acts) -> None:
    acts.deliver("device_new")
    result = acts.invoke("mail_feedback")
    assert result.returned is None
    after = acts.control.get(acts.cast.device_id)
    assert after["state"] == "undeliverable"
    assert after["undeliverable_reason"] == "the mail did not arrive: Permanent/General"
    assert acts.cast.owner not in "".join(result.logs)


@plays("mail_feedback-complaint")
def mail_feedback_stops_all_mail_to_who_complained(acts: Acts) -> None:
    acts.deliver("device_new")
    assert acts.invoke("mail_feedback", "mail_feedback-complaint").returned is None
    assert acts.control.get(acts.cast.device_id)["state"] == "undeliverable"
    _, after = acts.deliver("device_new", generation=1)
    assert after["state"] == "error"
    assert "wants no mail" in after["error"]["reason"]
    assert len(acts.world.mails_to(acts.cast.owner)) == 1
