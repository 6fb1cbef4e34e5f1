"""What a request says of the host that it was sent to is believed by nobody."""

from urllib.parse import urlsplit

import pytest

from tests.kit.basics import PUBLIC_URL, a_device, an_address
from tests.kit.cases.attacks import HOST_HEADERS
from tests.kit.cloud.site import Site, whole
from tests.kit.cloud.steps import Owner
from tests.kit.tokens import subject_of

EVIL = "evil.example"


HEADERS = {
    name: {header.replace("-", "_"): value} for name, (header, value) in HOST_HEADERS.items()
}


def test_a_mails_link_leads_where_the_deployment_is_whatever_host_was_asked(site: Site) -> None:
    for name, named in HEADERS.items():
        device = a_device(owner=an_address())
        assert site.bring(device.doc, **named).status_code == 201
        site.steps.run(device.device_id)
        mail, link = site.steps.mailer.sent[-1], site.steps.mailer.links()[-1]
        assert link.startswith(f"{PUBLIC_URL}/confirm/"), name
        assert subject_of(link.rpartition("/")[2]) == device.device_id, name
        stored = str(site.steps.control.get(device.device_id))
        assert EVIL not in mail.text + mail.html + stored, name


@pytest.mark.parametrize("name", ["Host", "X-Forwarded-Host", "Forwarded"])
def test_an_answer_that_leads_on_leads_to_the_same_page(site: Site, ada: Owner, name: str) -> None:
    named = HEADERS[name]
    ada.invite(an_address())
    device = a_device(owner=an_address())
    site.steps.register(device)
    confirm = f"/confirm/{site.steps.code()}"
    invitation = f"/invitation/{site.steps.mailer.links()[-2].rpartition('/')[2]}"
    answers = [
        site.post(confirm, f"device_code={device.device_code}".encode(), **named),
        site.post(invitation, b"answer=accept", **named),
    ]
    for answer in answers:
        assert answer.status_code == 303
        location = urlsplit(answer.headers["Location"])
        assert (location.scheme, location.netloc, location.path) == ("", "", "")
    assert ada.after("invitation-1")["state"] == "accepted"
    assert EVIL not in str(ada.control.get("channel-photos"))


def test_no_answer_names_the_host_that_was_asked(site: Site, ada: Owner) -> None:
    ada.invite(an_address())
    invitation = f"/invitation/{site.steps.invitation_code()}"
    device = a_device(owner=an_address())
    site.steps.register(device)
    confirm = f"/confirm/{site.steps.code()}"
    for path in (
        confirm,
        invitation,
        "/registrations",
        f"/registrations/{device.device_id}",
        "/health",
    ):
        plain = whole(site.get(path))
        for name, named in HEADERS.items():
            poisoned = whole(site.get(path, **named))
            assert EVIL not in str(poisoned), name
            if path != "/health":  # it tells an age
                assert poisoned == plain, name
