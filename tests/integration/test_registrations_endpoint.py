"""The registrations endpoint over a real CouchDB: what it writes and counts, who comes first."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.couch import (
    MAX_ANSWER_BYTES,
    CouchError,
    NotFound,
    Server,
    Unavailable,
    Unreadable,
)
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import confirm_id
from chalicelib.emails import sending
from chalicelib.engine.context import Context
from chalicelib.engine.runner import Outcome
from chalicelib.web import confirm, registrations
from chalicelib.web.registrations import Answer
from chalicelib.web.replication import MAX_DOCS
from syncpoint_device.registration import NewDevice
from tests.kit.basics import a_device, an_address, at_once
from tests.kit.cloud.access import contents
from tests.kit.cloud.site import with_settings
from tests.kit.cloud.steps import Steps
from tests.kit.fakes.couch_watched import WatchedCouch
from tests.kit.tokens import take_apart

HERE, ELSEWHERE = "192.0.2.1", "198.51.100.1"
HOUR_S, DAY_S = 3600, 24 * 3600
NO_MAIL = "no mail can be sent to this address"


def send(steps: Steps, *docs: Any, source_ip: object = HERE) -> Answer:
    """What a replicator's `_bulk_docs` is answered."""
    body = json.dumps({"docs": docs, "new_edits": False}).encode()
    return registrations.bulk_docs(steps.context, {}, body, source_ip)


def state(steps: Steps, device: NewDevice) -> JsonDict:
    body: JsonDict = registrations.show_state(steps.context, device.device_id).body
    return body


def again(device: NewDevice, generation: int) -> JsonDict:
    """The device's document when it asks for another mail."""
    return {**device.doc, "generation": generation}


def limit(steps: Steps, **most: int) -> None:
    """Set quotas: ``limit(steps, network=2)`` an hour."""
    with_settings(steps, **{f"mails_per_{what}_hour": count for what, count in most.items()})


def rows(answer: Answer) -> dict[str, str]:
    """The reasons of the refused rows, by id; the answer is of a request that was taken."""
    assert answer.status == 201
    assert {row["error"] for row in answer.body} <= {"forbidden"}
    return {row["id"]: row["reason"] for row in answer.body}


# Registering.


def test_a_registration_becomes_active_like_any_other(steps: Steps, device: NewDevice) -> None:
    assert send(steps, device.doc) == Answer(201, [])
    assert state(steps, device) == {"state": "new"}
    assert steps.run(device.device_id) is Outcome.SAVED
    assert state(steps, device) == {"state": "confirming"}
    steps.click(device)
    steps.run(device.device_id)
    assert state(steps, device) == {"state": "active"}
    assert [mail.to for mail in steps.mailer.sent] == [device.doc["owner"]]


def test_what_is_stored_is_what_came_with_its_network_and_a_revision_of_its_own(
    steps: Steps, device: NewDevice
) -> None:
    revisions = {"start": 99, "ids": ["f" * 32, "e" * 32]}
    send(steps, {**device.doc, "_rev": f"99-{'f' * 32}", "_revisions": revisions})
    stored = steps.control.get(device.device_id)
    assert stored.pop("_rev").startswith("1-")
    assert stored == {**device.doc, "network": "192.0.2.0/24"}


@pytest.mark.parametrize("change", [{}, {"_rev": f"99-{'f' * 32}"}, {"generation": 0}], ids=str)
def test_the_same_registration_again_writes_nothing(
    steps: Steps, device: NewDevice, change: JsonDict
) -> None:
    send(steps, device.doc)
    for moves_on in (lambda: steps.run(device.device_id), lambda: steps.click(device)):
        before = steps.control.get(device.device_id)
        assert send(steps, {**device.doc, **change}, source_ip=ELSEWHERE) == Answer(201, [])
        assert steps.control.get(device.device_id) == before
        moves_on()


def test_a_revision_that_would_win_overwrites_nothing(steps: Steps, device: NewDevice) -> None:
    send(steps, device.doc)
    before = steps.control.get(device.device_id)
    forged = {**device.doc, "owner": an_address(), "_rev": f"99-{'f' * 32}"}
    answer = send(steps, forged)
    reason = "_id is registered with other fields; register with a new _id"
    assert answer.body == [
        {
            "id": device.device_id,
            "rev": f"99-{'f' * 32}",
            "error": "forbidden",
            "reason": reason,
        }
    ]
    stored = steps.control.get(device.device_id, conflicts=True)
    assert stored == before


def test_a_strange_document_spoils_no_other(steps: Steps) -> None:
    first, second = a_device(owner=an_address()), a_device(owner=an_address())
    odd: list[Any] = [None, {"_id": "odd"}, {**first.doc, "_deleted": True}, {"_id": [1]}]
    refused = send(steps, first.doc, *odd, second.doc, first.doc).body
    assert [row["id"] for row in refused] == ["", "odd", first.device_id, ""]
    assert state(steps, first) == state(steps, second) == {"state": "new"}


def test_the_same_document_twice_in_one_request_is_one_registration(
    steps: Steps, device: NewDevice
) -> None:
    other = {**device.doc, "name": "Eve's phone"}
    answer = send(steps, device.doc, device.doc, other, again(device, 1))
    assert list(rows(answer)) == [device.device_id]
    stored = steps.control.get(device.device_id)
    assert (stored["name"], stored["generation"]) == (device.doc["name"], 1)


def test_a_document_that_is_no_device_stays_as_it_is(steps: Steps, device: NewDevice) -> None:
    steps.control.put({"_id": device.device_id, "type": "note", "state": "secret"})
    before = steps.control.get(device.device_id)
    assert "belongs to another document" in rows(send(steps, device.doc))[device.device_id]
    assert steps.control.get(device.device_id) == before
    assert registrations.show_state(steps.context, device.device_id).status == 404


def test_a_registration_that_was_removed_may_come_again(steps: Steps, device: NewDevice) -> None:
    send(steps, device.doc)
    steps.control.remove(steps.control.get(device.device_id))
    assert registrations.show_state(steps.context, device.device_id).status == 404
    assert send(steps, device.doc) == Answer(201, [])
    assert state(steps, device) == {"state": "new"}


# What a registration costs that is here already.


@pytest.fixture
def couch(steps: Steps) -> WatchedCouch:
    """A CouchDB in memory, in the place of the real one, that notes what it is asked."""
    couch = WatchedCouch()
    couch.create("control")
    server = couch.server()
    with_settings(steps, control_db="control", mails_per_network_hour=MAX_DOCS)
    steps.context = replace(steps.context, server=server, database=server.database("control"))
    return couch


def test_stored_registrations_sent_again_are_read_in_one_request(
    steps: Steps, couch: WatchedCouch
) -> None:
    devices = [a_device(owner=an_address()) for _ in range(MAX_DOCS)]
    docs = [device.doc for device in devices]
    for number, writes in ((0, MAX_DOCS), (1, 0)):
        couch.asked.clear()
        assert send(steps, *docs) == Answer(201, []), number
        assert couch.asked[0] == "POST /control/_all_docs"
        assert len(couch.asked) == 1 + writes


def test_one_document_many_times_is_one(steps: Steps, couch: WatchedCouch) -> None:
    device, stored = a_device(owner=an_address()), a_device(owner=an_address())
    send(steps, stored.doc)
    couch.asked.clear()
    other = {**stored.doc, "name": "Eve's phone"}
    answer = send(steps, *[device.doc] * 30, *[stored.doc] * 30, *[other] * 30)
    assert [row["id"] for row in answer.body] == [stored.device_id] * 30
    assert couch.asked == ["POST /control/_all_docs", f"PUT /control/{device.device_id}"]


def test_a_refused_resend_asks_once_whether_its_address_has_room(
    steps: Steps, device: NewDevice
) -> None:
    limit(steps, address=1)
    send(steps, device.doc)
    steps.run(device.device_id)
    asked = list[str]()
    limiter = steps.context.rate_limiter

    class Counting(type(limiter)):  # type: ignore[misc]
        def retry_at_s(self, bucket: str, *args: Any) -> int | None:
            asked.append(bucket)
            return limiter.retry_at_s(bucket, *args)

    counting = Counting(limiter.client, limiter.table_name)
    steps.context = replace(steps.context, rate_limiter=counting)
    answer = send(steps, *[again(device, 1)] * 20)
    assert [row["reason"][:27] for row in answer.body] == ["too many mails to this addr"] * 20
    assert len(asked) == 1


def test_a_request_without_a_right_document_asks_couchdb_nothing(
    steps: Steps, couch: WatchedCouch
) -> None:
    assert len(send(steps, None, {"_id": "odd"}).body) == 2
    assert couch.asked == []


def test_a_stored_document_that_cannot_be_read_is_an_error_and_no_other_is_lost(
    steps: Steps, device: NewDevice
) -> None:
    """An administrator may have written it."""
    other = a_device(owner=an_address())
    steps.control.put({"_id": device.device_id, "x": "x" * (MAX_ANSWER_BYTES + 1)})
    with pytest.raises(Unreadable):
        send(steps, other.doc, device.doc)
    assert state(steps, other) == {"state": "new"}


# MailRequest again.


def test_a_resend_brings_another_mail_and_the_older_link_is_replaced(
    steps: Steps, device: NewDevice
) -> None:
    send(steps, device.doc)
    steps.run(device.device_id)
    before = steps.control.get(device.device_id)
    assert send(steps, again(device, 1), source_ip=ELSEWHERE) == Answer(201, [])
    stored = steps.control.get(device.device_id)
    changed = {"state": "new", "generation": 1, "network": "198.51.100.0/24"}
    assert {**stored, "_rev": None} == {**before, **changed, "_rev": None}
    steps.run(device.device_id)
    first, second = steps.mailer.links()
    codes = [take_apart(link.rpartition("/")[2]) for link in (first, second)]
    assert [generation for _, generation, _ in codes] == ["0", "1"]
    steps.click(device, _id=confirm_id(device.device_id, 1))
    steps.run(device.device_id)
    assert state(steps, device) == {"state": "active"}


@pytest.mark.parametrize("end", ["expired", "undeliverable", "error"])
def test_a_resend_begins_again_what_came_to_nothing(
    steps: Steps, device: NewDevice, end: str
) -> None:
    steps.control.put({**device.doc, "state": end, "error": {"reason": "x", "at": "y"}})
    assert send(steps, again(device, 1)) == Answer(201, [])
    assert steps.run(device.device_id) is Outcome.SAVED
    stored = steps.control.get(device.device_id)
    assert (stored["state"], "error" in stored) == ("confirming", False)


@pytest.mark.parametrize("end", ["confirmed", "active", "revoking", "revoked", "rejected"])
def test_a_resend_changes_nothing_once_the_owner_has_answered(
    steps: Steps, device: NewDevice, end: str
) -> None:
    steps.control.put({**device.doc, "state": end})
    before = steps.control.get(device.device_id)
    reason = rows(send(steps, again(device, 1)))[device.device_id]
    assert reason == f"generation must not be raised any more: the device is {end}"
    assert steps.control.get(device.device_id) == before


@pytest.mark.parametrize(
    ("end", "status", "title"),
    [
        ("expired", 410, "This link has expired"),
        ("undeliverable", 410, "This link does not work any more"),
        ("error", 409, "Your device could not be activated"),
        ("rejected", 410, "This registration was refused"),
    ],
)
def test_a_registration_can_ask_for_another_mail_where_it_may_get_one(
    steps: Steps, device: NewDevice, end: str, status: int, title: str
) -> None:
    steps.control.put({**device.doc, "state": end})
    page = confirm.show(
        steps.context, steps.context.confirmation_links.sign(device.device_id, 0), None
    )
    assert (page.status, f"<h1>{title}</h1>" in page.body) == (status, True)
    is_given = send(steps, again(device, 1)) == Answer(201, [])
    assert ("sk for another mail on the device." in page.body) is is_given
    assert ("start the registration again" in page.body) is (end in ("error", "rejected"))


# Quotas.


def test_a_mail_is_counted_once_by_the_registrations_and_its_transition(
    steps: Steps, device: NewDevice
) -> None:
    limit(steps, network=2, address=2)
    send(steps, device.doc)
    assert steps.run(device.device_id) is Outcome.SAVED
    send(steps, again(device, 1))
    assert steps.run(device.device_id) is Outcome.SAVED
    assert len(steps.mailer.sent) == 2


def test_over_the_networks_quota_the_request_is_for_later(steps: Steps) -> None:
    limit(steps, network=2)
    devices = [a_device(owner=an_address()) for _ in range(3)]
    docs = [{"_id": "odd"}, *(device.doc for device in devices)]
    steps.clock.move(0.5)
    answer = send(steps, *docs)
    assert (answer.status, answer.body["error"]) == (429, "too_many_requests")
    assert answer.body["reason"] == (
        "too many mails from this network; ask again after 2026-11-23T07:00:00Z"
    )
    assert answer.headers == {"Retry-After": str(HOUR_S)}
    assert [state(steps, device).get("state") for device in devices] == ["new", "new", None]
    for device in devices[:2]:
        assert steps.run(device.device_id) is Outcome.SAVED
    assert send(steps, *docs).status == 429
    assert send(steps, devices[2].doc, source_ip="192.0.2.255").status == 429
    steps.clock.move(HOUR_S)
    assert list(rows(send(steps, *docs))) == ["odd"]
    assert steps.run(devices[2].device_id) is Outcome.SAVED


def test_a_device_that_asks_again_before_its_mail_uses_up_no_network(steps: Steps) -> None:
    limit(steps, network=2)
    one, neighbour = a_device(owner=an_address()), a_device(owner=an_address())
    docs = [one.doc, *(again(one, generation) for generation in range(1, 30))]
    assert send(steps, *docs) == Answer(201, [])
    assert send(steps, neighbour.doc) == Answer(201, [])


def test_a_device_whose_address_has_no_room_uses_up_no_network(steps: Steps) -> None:
    limit(steps, network=3, address=1)
    one, neighbour = a_device(owner=an_address()), a_device(owner=an_address())
    send(steps, one.doc)
    steps.run(one.device_id)
    for generation in range(1, 10):
        assert "too many mails to this address" in str(send(steps, again(one, generation)).body)
    assert send(steps, neighbour.doc) == Answer(201, [])


def test_another_network_has_its_own_quota(steps: Steps) -> None:
    limit(steps, network=1)
    first, second = a_device(owner=an_address()), a_device(owner=an_address())
    send(steps, first.doc)
    assert send(steps, second.doc).status == 429
    assert send(steps, second.doc, source_ip=ELSEWHERE) == Answer(201, [])


def test_those_without_an_address_share_one_quota(steps: Steps) -> None:
    limit(steps, network=1)
    first, second = a_device(owner=an_address()), a_device(owner=an_address())
    assert send(steps, first.doc, source_ip=None) == Answer(201, [])
    assert send(steps, second.doc, source_ip="nowhere").status == 429


def test_what_is_refused_or_here_already_is_not_counted(steps: Steps, device: NewDevice) -> None:
    limit(steps, network=2)
    send(steps, device.doc)
    forged = {**device.doc, "name": "Eve's phone", "generation": 5}
    for _ in range(3):
        assert len(rows(send(steps, forged, {**a_device().doc, "state": "active"}))) == 2
        assert send(steps, device.doc) == Answer(201, [])
    assert send(steps, a_device(owner=an_address()).doc) == Answer(201, [])
    assert send(steps, a_device(owner=an_address()).doc).status == 429
    assert send(steps, device.doc) == Answer(201, [])


def test_what_came_long_ago_is_accepted_again_however_full_the_network_is(
    steps: Steps, device: NewDevice
) -> None:
    """A replicator without a checkpoint brings it at each start."""
    limit(steps, network=1)
    send(steps, device.doc)
    steps.clock.move(DAY_S + 1)
    assert send(steps, a_device(owner=an_address()).doc) == Answer(201, [])
    assert send(steps, device.doc) == Answer(201, [])


def test_a_resend_over_the_addresss_quota_leaves_the_older_link_as_it_is(
    steps: Steps, device: NewDevice
) -> None:
    limit(steps, address=1)
    send(steps, device.doc)
    steps.run(device.device_id)
    before = steps.control.get(device.device_id)
    reason = rows(send(steps, again(device, 1)))[device.device_id]
    assert reason == "too many mails to this address; ask again after 2026-11-23T07:00:00Z"
    assert steps.control.get(device.device_id) == before
    steps.click(device)
    steps.run(device.device_id)
    assert state(steps, device) == {"state": "active"}


def test_a_resend_over_the_networks_quota_counts_nothing_against_the_address(
    steps: Steps, device: NewDevice
) -> None:
    limit(steps, network=1, address=2)
    send(steps, device.doc)
    steps.run(device.device_id)
    assert [send(steps, again(device, number)).status for number in (1, 2, 3)] == [429] * 3
    assert send(steps, again(device, 4), source_ip=ELSEWHERE) == Answer(201, [])


def test_a_new_registration_does_not_tell_whether_its_address_has_been_in_use(
    steps: Steps,
) -> None:
    limit(steps, address=1)
    address = an_address()
    first, second = a_device(owner=address), a_device(owner=address)
    send(steps, first.doc)
    steps.run(first.device_id)
    assert send(steps, second.doc) == Answer(201, [])
    assert steps.run(second.device_id) is Outcome.REJECTED
    assert len(steps.mailer.sent) == 1


def test_a_request_with_as_many_documents_as_may_be_is_taken(steps: Steps) -> None:
    limit(steps, network=MAX_DOCS)
    devices = [a_device(owner=an_address()) for _ in range(MAX_DOCS)]
    assert send(steps, *(device.doc for device in devices)) == Answer(201, [])
    assert len(contents(steps.control)) == MAX_DOCS


# At once.


def test_the_same_registration_at_once_is_one(steps: Steps, device: NewDevice) -> None:
    limit(steps, network=1)
    answers = at_once(*[lambda: send(steps, device.doc)] * 4)
    assert answers == [Answer(201, [])] * 4
    assert steps.control.get(device.device_id)["_rev"].startswith("1-")


def test_of_two_registrations_of_one_id_at_once_the_first_stands(
    steps: Steps, device: NewDevice
) -> None:
    names = [f"Phone {number}" for number in range(4)]
    sends = [lambda name=name: send(steps, {**device.doc, "name": name}) for name in names]
    refused = [bool(rows(answer)) for answer in at_once(*sends)]
    assert sorted(refused) == [False, True, True, True]
    stored = steps.control.get(device.device_id, conflicts=True)
    assert stored["name"] == names[refused.index(False)]
    assert "_conflicts" not in stored


def test_a_registration_that_came_first_by_a_moment_is_accepted_again(
    steps: Steps, device: NewDevice
) -> None:
    def other() -> None:
        steps.control.put({**device.doc, "network": "203.0.113.0/24"})

    with steps.meanwhile(steps.control, "put", other):
        assert send(steps, device.doc) == Answer(201, [])
    assert steps.control.get(device.device_id)["network"] == "203.0.113.0/24"


def test_another_registration_that_came_first_by_a_moment_stands(
    steps: Steps, device: NewDevice
) -> None:
    def other() -> None:
        steps.control.put({**device.doc, "name": "Eve's phone"})

    with steps.meanwhile(steps.control, "put", other):
        assert "other fields" in rows(send(steps, device.doc))[device.device_id]
    assert steps.control.get(device.device_id)["name"] == "Eve's phone"


def test_a_resend_that_comes_a_moment_after_the_answer_takes_nothing_back(
    steps: Steps, device: NewDevice
) -> None:
    send(steps, device.doc)
    steps.run(device.device_id)
    with steps.meanwhile(steps.control, "put", lambda: steps.click(device)):
        assert "must not be raised" in rows(send(steps, again(device, 1)))[device.device_id]
    assert state(steps, device) == {"state": "confirmed"}


# What it says of itself and of others.


def test_it_says_where_the_cloud_is_and_tells_no_credentials(steps: Steps, server: Server) -> None:
    info = registrations.info(steps.context)
    assert info.status == 200
    assert (info.body["db_name"], info.body["update_seq"]) == ("registrations", "0")
    assert info.body["syncpoint"] == {"couchdb": server.url, "control_db": steps.control.name}
    assert "@" not in server.url


def test_it_says_the_public_url_where_there_is_one(steps: Steps) -> None:
    url = "https://couch.example.com/db"
    settings = replace(steps.context.settings, couchdb_public_url=f"{url}/")
    context = replace(steps.context, settings=settings)
    assert registrations.info(context).body["syncpoint"]["couchdb"] == url
    assert context.public_url(context.control_database) == f"{url}/{context.control_database.name}"


def test_the_reason_of_an_error_is_shown_and_no_other_field(
    steps: Steps, device: NewDevice
) -> None:
    limit(steps, address=1)
    send(steps, device.doc)
    steps.run(device.device_id)
    other = a_device(owner=device.doc["owner"])
    send(steps, other.doc)
    steps.run(other.device_id)
    shown = state(steps, other)
    assert shown.keys() == {"state", "reason"}
    assert shown["reason"].startswith("too many mails to this address; ask again after ")
    assert state(steps, device) == {"state": "confirming"}
    steps.control.update(other.device_id, lambda doc: {**doc, "state": "new"})
    assert state(steps, other) == {"state": "new"}


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ({"reason": "name is missing"}, {"reason": "name is missing"}),
        ({"reason": f"owner: {sending.UNWANTED}"}, {"reason": NO_MAIL}),
        ({"reason": f"owner: {sending.NOT_SENT}"}, {"reason": NO_MAIL}),
        ({"reason": {"by": "an administrator"}}, {}),
        ("an administrator's", {}),
        (None, {}),
    ],
)
def test_a_reason_tells_nobody_whether_somebody_has_complained(
    steps: Steps, device: NewDevice, error: object, shown: JsonDict
) -> None:
    steps.control.put({**device.doc, "state": "error", "error": error})
    assert state(steps, device) == {"state": "error", **shown}


def test_a_device_that_is_not_there_is_not_found(steps: Steps, device: NewDevice) -> None:
    answer = registrations.show_state(steps.context, device.device_id)
    assert (answer.status, answer.body["error"]) == (404, "not_found")


@pytest.mark.parametrize("what", ["confirm", "expiry", "design", "old"])
def test_no_document_but_a_device_of_the_endpoints_is_asked_for(steps: Steps, what: str) -> None:
    device = a_device(owner=an_address())
    steps.activate(device)
    steps.control.put({"_id": "expiry-x", "type": "expiry", "state": "x"})
    steps.control.put({"_id": "device-old", "type": "device", "state": "active"})
    doc_id = {
        "confirm": confirm_id(device.device_id, 0),
        "expiry": "expiry-x",
        "design": "_design/syncpoint",
        "old": "device-old",
    }[what]
    for context in (steps.context, without_couchdb(steps.context)):
        answer = registrations.show_state(context, doc_id)
        assert (answer.status, answer.body["error"]) == (403, "forbidden")


# Out of reach.


def without_couchdb(context: Context) -> Context:
    """The same tools, but nobody answers where CouchDB should be."""
    nowhere = Server("http://127.0.0.1:9")
    return replace(context, server=nowhere, database=nowhere.database(context.database.name))


def without_table(context: Context) -> Context:
    return replace(context, rate_limiter=replace(context.rate_limiter, table_name="no-such-table"))


@pytest.mark.parametrize("failing", [without_couchdb, without_table])
def test_what_does_not_answer_is_an_error_and_the_replicator_tries_again(
    steps: Steps, device: NewDevice, failing: Callable[[Context], Context]
) -> None:
    context = steps.context
    steps.context = failing(context)
    with pytest.raises((CouchError, ClientError)):
        send(steps, device.doc)
    steps.context = context
    with pytest.raises(NotFound):
        steps.control.get(device.device_id)
    assert send(steps, device.doc) == Answer(201, [])


def test_a_state_that_cannot_be_looked_up_is_no_404(steps: Steps, device: NewDevice) -> None:
    with pytest.raises(Unavailable):
        registrations.show_state(without_couchdb(steps.context), device.device_id)


def test_what_needs_nothing_is_answered_without_couchdb(steps: Steps) -> None:
    assert registrations.info(without_couchdb(steps.context)).status == 200
    diff = registrations.revs_diff({}, b'{"device-x": ["1-a"], "_design/x": []}')
    assert diff.body == {"device-x": {"missing": ["1-a"]}, "_design/x": {"missing": []}}


def test_an_owner_is_known_by_the_address_as_it_was_written(steps: Steps) -> None:
    address = an_address()
    device = a_device(owner=f" {address.upper()} ")
    send(steps, device.doc)
    steps.run(device.device_id)
    steps.click(device)
    steps.run(device.device_id)
    assert steps.control_db_of(address).name.endswith(owner_id_of(address))
    assert steps.control_db_of(address).get(device.device_id)["state"] == "active"
