"""Codes that were forged, changed, swapped or used before, on every way in."""

import pytest

from chalicelib.domain.documents import JsonDict
from chalicelib.domain.link_tokens import LinkKeys
from chalicelib.domain.names import confirm_id
from chalicelib.web import confirm, invitation
from syncpoint_device.registration import NewDevice
from tests.kit.basics import LINK_KEY, a_device, an_address
from tests.kit.cases.attacks import forged_codes, url_safe
from tests.kit.cloud.access import contents
from tests.kit.cloud.site import Site, whole
from tests.kit.cloud.steps import Owner, Steps
from tests.security.conftest import MakeSite

DAY_S = 24 * 3600


def confirm_form(device: NewDevice) -> bytes:
    return f"device_code={device.device_code}".encode()


def test_a_forged_code_gives_the_page_of_no_code_and_asks_couchdb_nothing(
    site: Site, device: NewDevice
) -> None:
    code = site.steps.code()
    other = a_device(owner=an_address())
    site.steps.register(other)
    nowhere = whole(site.get("/confirm/nothing"))
    before = contents(site.steps.control)
    for name, forged in forged_codes(code, site.steps.code()).items():
        asked = len(site.recorder.asked)
        for path in (f"/confirm/{url_safe(forged)}", f"/invitation/{url_safe(forged)}"):
            assert whole(site.get(path)) == nowhere, name
            assert whole(site.post(path, confirm_form(device))) == nowhere, name
            assert whole(site.post(path, b"answer=accept")) == nowhere, name
            assert whole(site.post(path, b"answer=not-me")) == nowhere, name
        for view in (confirm, invitation):  # as they get it where the path was decoded
            page = view.show(site.steps.context, forged, "answered")
            assert (page.status, page.body.encode()) == nowhere[:2], name
            assert view.answer(site.steps.context, forged, confirm_form(device)) == page, name
        assert site.recorder.asked[asked:] == [], name
    assert contents(site.steps.control) == before


def test_a_forged_code_in_a_document_confirms_nothing(steps: Steps, device: NewDevice) -> None:
    code, before = steps.code(), steps.control.get(device.device_id)
    other = a_device(owner=an_address())
    steps.register(other)
    click = {"_id": "click", "type": "confirm", "device_code": device.device_code}
    steps.control.put({**click, "state": "clicked", "confirm_code": ""})
    for name, forged in forged_codes(code, steps.code()).items():
        now = steps.control.get("click")
        steps.control.put({**now, "state": "clicked", "confirm_code": forged})
        steps.run("click")
        after = steps.control.get("click")
        assert (after["state"], after["error"]["reason"]) == ("error", "no matching device"), name
    assert steps.control.get(device.device_id) == before


def test_one_devices_link_is_worth_nothing_with_anothers_code(
    site: Site, steps: Steps, device: NewDevice
) -> None:
    code, other = steps.code(), a_device(owner=an_address())
    steps.register(other)
    page = site.post(f"/confirm/{code}", confirm_form(other))
    assert (page.status_code, b"4 tries are left" in page.body) == (403, True)
    page = site.post(f"/confirm/{steps.code()}", confirm_form(device))
    assert (page.status_code, b"4 tries are left" in page.body) == (403, True)
    assert {each["state"] for each in contents(steps.control).values()} == {"confirming"}


@pytest.mark.parametrize("whose", ["the device's name", "the other device's name"])
def test_a_confirm_document_confirms_the_device_of_its_code_and_no_other(
    steps: Steps, device: NewDevice, whose: str
) -> None:
    other = a_device(owner=an_address())
    steps.register(other)
    named = device if whose == "the device's name" else other
    doc: JsonDict = {"type": "confirm", "state": "clicked", "device_code": device.device_code}
    doc |= {"_id": confirm_id(named.device_id, 0), "confirm_code": steps.code()}
    steps.control.put({**doc, "owner": device.doc["owner"], "device": device.device_id})
    steps.run(doc["_id"])
    assert steps.control.get(doc["_id"])["error"]["reason"] == "wrong device code"
    assert steps.control.get(device.device_id)["state"] == "confirming"
    assert steps.control.get(other.device_id)["state"] == "confirming"


def as_mail_programs_change_it(code: str) -> dict[str, str]:
    """The spellings of a link's code that still lead to its page."""
    encoded = "".join(f"%{ord(letter):02x}" for letter in code)
    return {
        "as it is": code,
        "in capitals": code.upper(),
        "in both cases": code[:20].upper() + code[20:],
        "percent-encoded": encoded.upper(),
        "percent-encoded, in lower case": encoded,
        "percent-encoded in part": encoded[:30].upper() + code[10:].upper(),
        "with capitals, percent-encoded": "".join(f"%{ord(letter):02x}" for letter in code.upper()),
    }


def test_a_confirmations_link_survives_what_mail_programs_do_to_it(
    site: Site, steps: Steps
) -> None:
    device = a_device(owner=an_address())
    for number, name in enumerate(as_mail_programs_change_it("a" * 60)):
        doc = {**device.doc, "_id": f"Ada_s-PHONE-{device.device_id}-{number}"}
        steps.control.put({**doc, "owner": an_address()})
        steps.run(doc["_id"])
        path = f"/confirm/{as_mail_programs_change_it(steps.code())[name]}"
        assert site.get(path).status_code == 200, name
        assert site.post(path, confirm_form(device)).status_code == 303, name
        steps.run(confirm_id(doc["_id"], 0))
        assert steps.control.get(doc["_id"])["state"] == "confirmed", name


def test_an_invitations_link_survives_what_mail_programs_do_to_it(site: Site, ada: Owner) -> None:
    for number, name in enumerate(as_mail_programs_change_it("a" * 60)):
        invitation_id = f"Invitation_FOR-Ben-{number}"
        ada.invite(an_address(), invitation_id=invitation_id)
        path = f"/invitation/{as_mail_programs_change_it(site.steps.invitation_code())[name]}"
        assert site.get(path).status_code == 200, name
        assert site.post(path, b"answer=accept").status_code == 303, name
        assert ada.after(invitation_id)["state"] == "accepted", name


def ended(steps: Steps, device: NewDevice, how: str) -> None:
    """Bring a registration to where its link is used up."""
    if how == "expired":
        steps.clock.move(DAY_S)
        return
    if how == "replaced":
        doc = steps.control.get(device.device_id)
        steps.control.put({**doc, "state": "new", "generation": 1})
        steps.run(device.device_id)
        return
    steps.click(device)
    steps.run(device.device_id)
    if how == "revoked":
        doc = steps.control.get(device.device_id)
        steps.control.put({**doc, "state": "revoking"})
        steps.run(device.device_id)
        assert steps.control.get(device.device_id)["state"] == "revoked"


@pytest.mark.parametrize(
    ("how", "status"), [("used", 409), ("expired", 410), ("replaced", 410), ("revoked", 409)]
)
def test_a_link_that_was_good_once_is_not_good_again(
    site: Site, steps: Steps, device: NewDevice, how: str, status: int
) -> None:
    code = steps.code()
    ended(steps, device, how)
    before = steps.control.get(device.device_id)
    assert site.post(f"/confirm/{code}", confirm_form(device)).status_code == status
    assert site.post(f"/confirm/{code}", b"answer=not-me").status_code == status
    replay = {"_id": "replay", "type": "confirm", "state": "clicked", "confirm_code": code}
    steps.control.put({**replay, "device_code": device.device_code})
    steps.run("replay")
    assert steps.control.get("replay")["state"] == "error"
    after = steps.control.get(device.device_id)
    expired = {**before, "_rev": after["_rev"], "state": "expired"}
    assert after == (expired if how == "expired" else before)


@pytest.mark.parametrize(
    "elsewhere", [{"STAGE": "prod"}, {"CONTROL_DB": "other"}], ids=["stage", "installation"]
)
def test_a_code_of_another_stage_or_installation_is_none_here(
    make_site: MakeSite, elsewhere: dict[str, str]
) -> None:
    """Though both have the same key, and the same device."""
    here, there = make_site(), make_site(**elsewhere)
    device = a_device(owner=an_address())
    here.steps.register(device)
    foreign = there.steps.context.confirmation_links.sign(device.device_id, 0)
    assert whole(here.get(f"/confirm/{foreign}")) == whole(here.get("/confirm/nothing"))
    assert here.post(f"/confirm/{foreign}", confirm_form(device)).status_code == 404
    assert here.get(f"/confirm/{here.steps.code()}").status_code == 200


def test_a_code_of_another_page_is_none_on_this_one(site: Site, ada: Owner) -> None:
    """An invitation's on the confirmation's page and the other way round, whatever they name."""
    steps = site.steps
    ada.invite(an_address())
    code, device_id = steps.invitation_code(), ada.device.device_id
    receipt = steps.receipt()
    link = steps.context.invitation_links.verify(code)
    assert link is not None
    subject, before = link.subject, contents(ada.control)
    crossed = {
        f"/confirm/{code}",
        f"/confirm/{steps.context.invitation_links.sign(device_id, 0)}",
        f"/invitation/{steps.context.confirmation_links.sign(device_id, 0)}",
        f"/invitation/{steps.context.confirmation_links.sign(subject, 0)}",
        f"/invitation/{receipt}",
        f"/confirm/{receipt}",
    }
    for path in crossed:
        for page in (site.get(path), site.post(path, b"answer=accept")):
            assert page.status_code == 404, path
    assert contents(ada.control) == before


def test_a_key_that_was_taken_out_of_use_opens_nothing(site: Site, device: NewDevice) -> None:
    context = site.steps.context
    old = LinkKeys([b"o" * 32], context.confirmation_links.purpose).sign(device.device_id, 0)
    assert site.post(f"/confirm/{old}", confirm_form(device)).status_code == 404
    assert list(context.confirmation_links.keys) == [LINK_KEY]
