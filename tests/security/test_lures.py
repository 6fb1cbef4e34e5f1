"""Links and names that are to make a person do what the attacker cannot."""

import json

import pytest

from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.device_codes import plain_device_code
from chalicelib.domain.names import owner_control_db
from tests.kit.basics import a_device, an_address
from tests.kit.cases.attacks import lures
from tests.kit.cloud.access import contents
from tests.kit.cloud.site import Site
from tests.kit.cloud.steps import Owner, Steps


def test_no_devices_name_shows_its_code_to_whoever_has_just_the_mail(site: Site) -> None:
    """The stranger chooses both: the mail would say what to type, and a careless click do."""
    for what, name in lures("ABCD-EFGH").items():
        device = a_device(owner=an_address(), name=name)
        doc = {**device.doc, "device_code": "ABCD-EFGH"}
        [row] = json.loads(site.bring(doc).body)
        assert row["reason"].startswith("name must not have the device_code in it"), what
        site.steps.control.put(doc)  # or it came another way
        site.steps.run(device.device_id)
        after = site.steps.control.get(device.device_id)
        assert after["error"]["reason"] == row["reason"], what
    assert site.steps.mailer.sent == []


@pytest.mark.parametrize("digits", ["2345", "٢٣٤٥", "२३४५", "２３４５", "②③④⑤", "2٣४５"])
def test_no_devices_name_shows_its_code_in_the_digits_of_any_script(
    site: Site, digits: str
) -> None:
    device = a_device(owner=an_address(), name=f"Phone {digits}")
    [row] = json.loads(site.bring({**device.doc, "device_code": "2345"}).body)
    assert row["reason"].startswith("name must not have the device_code in it")


@pytest.mark.parametrize("name", ["Ada's phone", "ABCD", "EFGH-ABCD", "ABC DEF"])
def test_any_other_name_is_fine(site: Site, name: str) -> None:
    device = a_device(owner=an_address(), name=name)
    assert json.loads(site.bring({**device.doc, "device_code": "ABCD-EFGH"}).body) == []


def test_neither_mail_nor_page_has_the_device_code(steps: Steps, site: Site) -> None:
    device = a_device(owner=an_address())
    steps.register(device)
    [mail] = steps.mailer.sent
    pages = [site.get(f"/confirm/{steps.code()}").body.decode()]
    pages.append(site.post(f"/confirm/{steps.code()}", b"device_code=0000").body.decode())
    for text in (mail.text, mail.html, mail.subject, *mail.tags.values(), *pages):
        assert plain_device_code(device.device_code) not in plain_device_code(text)


def test_who_is_handed_an_invitations_link_gets_nothing_by_it(
    site: Site, ada: Owner, ben: Owner
) -> None:
    """The link is the guest's: it shares with the address that the mail went to, whoever clicks."""
    guest = an_address()
    ada.invite(guest)
    before = contents(ben.control)
    link = f"/invitation/{site.steps.invitation_code()}"
    body = f"answer=accept&email={ben.address}&guest={ben.id}&owner={ben.id}".encode()
    assert site.post(link, body).status_code == 303
    assert ada.after("invitation-1")["guest"] == owner_id_of(guest)
    assert contents(ben.control) == before
    assert ada.control.get("channel-photos")["members"] == [owner_id_of(guest)]


def test_who_is_handed_a_confirmations_link_confirms_nothing_of_their_own(
    site: Site, steps: Steps
) -> None:
    """Nor do other fields of the form say which device, whose, or in which state."""
    device, eve = a_device(owner=an_address()), a_device(owner=an_address())
    steps.register(eve)
    steps.register(device)
    body = f"device_code={eve.device_code}&device={eve.device_id}&_id={eve.device_id}&state=active"
    assert site.post(f"/confirm/{steps.code()}", body.encode()).status_code == 403
    assert {doc["state"] for doc in contents(steps.control).values()} == {"confirming"}


def test_a_registration_with_a_strangers_address_gives_no_access(site: Site, ada: Owner) -> None:
    """Neither a login nor a look at what the address's owner has."""
    eve = a_device(owner=ada.address)
    before = contents(ada.control)
    site.bring(eve.doc)
    site.steps.run(eve.device_id)
    assert contents(ada.control) == before
    users = site.steps.context.server.database("_users")
    assert users.find_one(f"org.couchdb.user:{eve.device_id}") is None
    assert ada.control.name == owner_control_db(site.steps.control.name, owner_id_of(ada.address))
