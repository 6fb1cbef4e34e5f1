"""Who asks about an address or a device learns nothing that they did not know."""

from typing import Any

import pytest
from chalice.test import HTTPResponse

from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict, timestamp
from chalicelib.domain.names import confirm_id
from syncpoint_device.registration import NewDevice
from tests.kit.basics import a_device, an_address
from tests.kit.cloud.site import Site, whole
from tests.kit.cloud.steps import Owner, Steps
from tests.kit.tokens import MAC_LENGTH, put_together
from tests.security.conftest import MakeSite

KNOWN = ("active", "invited", "pending", "over quota", "complained", "expired", "revoked")


def known_address(steps: Steps, how: str) -> str:
    """An address that the cloud has heard of, in one way or another."""
    address = an_address()
    device = a_device(owner=address)
    if how in ("active", "revoked"):
        steps.activate(device)
    if how == "revoked":
        steps.control.put({**steps.control.get(device.device_id), "state": "revoking"})
        steps.run(device.device_id)
    if how in ("pending", "expired"):
        steps.register(device)
    if how == "expired":
        steps.control.put({**steps.control.get(device.device_id), "state": "expired"})
    if how == "invited":
        owner = steps.an_owner()
        owner.channel()
        owner.invite(address)
    if how == "over quota":
        for _ in range(6):
            steps.register(a_device(owner=address))
    if how == "complained":
        steps.context.suppressions.add(owner_id_of(address), "complaint", timestamp(steps.clock()))
    return address


def alike(requests: list[str], device: NewDevice) -> list[str]:
    """Requests to CouchDB without what the asker chose."""
    owner = owner_id_of(str(device.doc["owner"]))
    return [path.replace(device.device_id, "DEVICE").replace(owner, "OWNER") for path in requests]


def blurred(answer: HTTPResponse, device: NewDevice) -> tuple[Any, ...]:
    """An answer without what the asker sent."""
    status, body, headers = whole(answer)
    return status, body.replace(device.device_id.encode(), b"DEVICE"), headers


@pytest.mark.parametrize("how", KNOWN)
def test_registering_for_a_known_address_is_answered_as_for_an_unknown_one(
    site: Site, how: str
) -> None:
    known = a_device(owner=known_address(site.steps, how))
    unknown = a_device(owner=an_address())
    answers, requests = [], []
    for device in (known, unknown):
        before = len(site.recorder.asked)
        answers.append(blurred(site.bring(device.doc), device))
        answers.append(blurred(site.bring(device.doc), device))
        answers.append(blurred(site.get(f"/registrations/{device.device_id}"), device))
        requests.append(alike(site.recorder.paths()[before:], device))
    assert answers[:3] == answers[3:]
    assert requests[0] == requests[1] != []


def test_a_device_that_is_not_there_is_not_told_from_any_other(site: Site, ada: Owner) -> None:
    device = a_device(owner=an_address())
    site.steps.register(device)
    click = {"_id": confirm_id(device.device_id, 0), "type": "confirm", "state": "error"}
    site.steps.control.put(click)
    missing = [a_device().device_id for _ in range(2)]
    answers = [whole(site.get(f"/registrations/{device_id}")) for device_id in missing]
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    for doc_id in (click["_id"], f"org.couchdb.user:{ada.device.device_id}", "channel-photos"):
        assert site.get(f"/registrations/{doc_id}").status_code == 403


def test_of_a_device_its_state_is_told_and_nothing_of_its_owner(site: Site) -> None:
    """The same for each, whoever its owner is, but for the state itself."""
    devices = [a_device(owner=known_address(site.steps, how)) for how in ("active", "pending")]
    for device in devices:
        site.steps.register(device)
    answers = {whole(site.get(f"/registrations/{each.device_id}"))[1] for each in devices}
    assert answers == {b'{"state":"confirming"}'}


def test_who_asks_for_revisions_asks_couchdb_nothing(site: Site, ada: Owner) -> None:
    body = f'{{"{ada.device.device_id}": ["1-a"], "nobody": ["1-a"]}}'.encode()
    asked = site.sends(
        site.ask, "POST", "/registrations/_revs_diff", body, Content_Type="application/json"
    )
    assert asked == []


def test_forged_codes_cost_couchdb_the_same_with_and_without_a_device(
    site: Site,
) -> None:
    """Nothing; so no time tells which device, or which invitation, there is."""
    device = a_device(owner=an_address())
    site.steps.register(device)
    for device_id in (device.device_id, a_device().device_id):
        forged = put_together(device_id, 0, "a" * MAC_LENGTH)
        for page in ("confirm", "invitation"):
            assert site.sends(site.get, f"/{page}/{forged}") == []
            assert site.sends(site.post, f"/{page}/{forged}", b"answer=accept") == []


def test_an_invitation_reads_the_same_whether_or_not_its_guest_has_devices(
    site: Site, ada: Owner, ben: Owner
) -> None:
    """Neither the owner's document nor the mail nor the page says."""
    seen: list[Any] = []
    for number, guest in enumerate((ben.address, an_address())):
        doc = ada.invite(guest, invitation_id=f"invitation-{number}")
        link, page = site.steps.invitation_code(), ""
        for answer in (site.get(f"/invitation/{link}"), site.post(f"/invitation/{link}", b"")):
            page += answer.body.decode()
        mail = site.steps.mailer.sent[-1].text.replace(link, "LINK")
        fields: JsonDict = {name: doc[name] for name in doc if name not in ("_id", "_rev", "email")}
        seen.append((fields, page, mail))
    assert seen[0] == seen[1]


def test_an_owner_sees_the_same_of_guests_with_and_without_devices(ada: Owner, ben: Owner) -> None:
    seen: list[JsonDict] = []
    for number, guest in enumerate((ben.address, an_address())):
        doc = ada.share(guest, number=number)
        private = (guest, owner_id_of(guest), f"invitation-{number}")
        shown = {name: value for name, value in doc.items() if name not in ("_rev", "answer_code")}
        seen.append({name: "…" if value in private else value for name, value in shown.items()})
    assert seen[0] == seen[1]
    assert ada.control.get("channel-photos")["state"] == "ready"


def test_a_full_network_is_told_so_whoever_it_asks_for(make_site: MakeSite) -> None:
    site = make_site(MAILS_PER_NETWORK_HOUR="1")
    site.bring(a_device(owner=an_address()).doc)
    owners = (known_address(site.steps, "active"), an_address())
    known, unknown = (whole(site.bring(a_device(owner=owner).doc)) for owner in owners)
    assert known == unknown
    assert known[0] == 429
