"""What a request says of the host that it was sent to is believed by nobody."""

from urllib.parse import urlsplit

import pytest

from tests.integration.steps import Owner
from tests.security.inputs import HOST_HEADERS
from tests.security.site import Site, whole
from tests.support import PUBLIC_URL, a_device, an_address

EVIL = "evil.example"


@pytest.mark.parametrize("name", HOST_HEADERS)
def test_a_mails_link_leads_where_the_deployment_is_whatever_host_was_asked(
    site: Site, name: str
) -> None:
    header, value = HOST_HEADERS[name]
    device = a_device(owner=an_address())
    answer = site.bring(device.doc, **{header.replace("-", "_"): value})
    assert answer.status_code == 201
    site.steps.run(device.device_id)
    [mail] = site.steps.mailer.sent
    assert site.steps.mailer.links()[0].startswith(f"{PUBLIC_URL}/confirm/{device.device_id}.")
    assert EVIL not in mail.text + mail.html + str(site.steps.control.get(device.device_id))


@pytest.mark.parametrize("name", HOST_HEADERS)
def test_no_answer_names_the_host_that_was_asked(site: Site, ada: Owner, name: str) -> None:
    header, value = HOST_HEADERS[name]
    named = {header.replace("-", "_"): value}
    ada.invite(an_address())
    device = a_device(owner=an_address())
    site.steps.register(device)
    confirm = f"/confirm/{site.steps.code()}"
    invitation = f"/invitation/{site.steps.mailer.links()[-2].rpartition('/')[2]}"
    for path in (confirm, invitation, "/mailbox", f"/mailbox/{device.device_id}", "/health"):
        plain, poisoned = site.get(path), site.get(path, **named)
        assert EVIL not in str(whole(poisoned))
        if path != "/health":  # it tells an age
            assert whole(poisoned) == whole(plain)
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
