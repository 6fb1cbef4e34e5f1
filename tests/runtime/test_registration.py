"""A registration from its endpoint to the active device, by the artifacts and nothing else."""

import json
import re
from urllib.parse import urlencode

import pytest

from chalicelib.domain.documents import JsonDict
from local.lambdas import delete
from tests.runtime.acts import Acts
from tests.runtime.harness.function import Result
from tests.runtime.harness.world import PUBLIC_URL, World
from tests.runtime.plays import login_status
from tests.runtime.samples import DEVICE_CODE


@pytest.fixture
def acts(world: World) -> Acts:
    """With empty queues: other plays leave documents that the poller sends as well."""
    for route in ("device-new", "confirm-clicked", "device-confirmed"):
        world.drain(route)
    return Acts.of(world)


def carry(acts: Acts, function: str) -> Result:
    """Run the poller; hand what lies in a function's queue to the function, as Lambda does."""
    assert acts.invoke("poller").returned["polled"] is True
    route = function.replace("_", "-")
    records = acts.world.receive(route)
    ours = [record for record in records if acts.cast.device_id in record["body"]]
    assert len(ours) == 1
    result = acts.world.invoke(function, {"Records": ours})
    assert result.returned is None
    delete(acts.world.aws.client("sqs"), acts.world.queue_url(route), ours)
    return result


def page(acts: Acts, link: str, form: JsonDict | None = None, step: str | None = None) -> JsonDict:
    """Open a link as API Gateway hands it on, or post a form to it."""
    code = link.removeprefix(f"{PUBLIC_URL}/confirm/")
    changes: JsonDict = {"path": f"/confirm/{code}", "pathParameters": {"token": code}}
    if step is not None:
        changes["queryStringParameters"] = {"step": step}
        changes["multiValueQueryStringParameters"] = {"step": [step]}
    if form is None:
        return acts.api("show_confirmation", **changes)
    return acts.api("answer_confirmation", **changes, body=urlencode(form))


def state(acts: Acts) -> str:
    """What the registrations endpoint says of the device."""
    answer = acts.api("registrations_show_state")
    assert answer["statusCode"] == 200
    text: str = json.loads(answer["body"])["state"]
    return text


def title(answer: JsonDict) -> str:
    [heading] = re.findall(r"<h1[^>]*>(.*?)</h1>", answer["body"], re.DOTALL)
    return str(heading).strip()


def test_a_registration_goes_from_the_registrations_to_the_active_device(acts: Acts) -> None:
    answer = acts.api("registrations_bulk_docs")
    assert (answer["statusCode"], answer["body"]) == (201, "[]")
    assert state(acts) == "new"

    carry(acts, "device_new")
    assert state(acts) == "confirming"
    [mail] = acts.world.mails_to(acts.cast.owner)
    [link] = set(mail["links"])
    assert DEVICE_CODE not in mail["text"] + mail["html"]

    opened = page(acts, link)
    assert (opened["statusCode"], title(opened)) == (200, "Confirm your device")
    assert state(acts) == "confirming"
    wrong = page(acts, link, {"device_code": "0000-0001"})
    assert wrong["statusCode"] == 403
    assert page(acts, link, {"device_code": DEVICE_CODE})["statusCode"] == 303
    under_way = page(acts, link, step="answered")
    assert (under_way["statusCode"], title(under_way)) == (200, "Activating your device")
    assert login_status(acts) == 401

    carry(acts, "confirm_clicked")
    assert state(acts) == "confirmed"
    carry(acts, "device_confirmed")
    assert state(acts) == "active"
    assert login_status(acts) == 200
    done = page(acts, link, step="answered")
    assert (done["statusCode"], title(done)) == (200, "Your device is active")
    assert page(acts, link)["statusCode"] == 409
    assert len(acts.world.mails_to(acts.cast.owner)) == 1


def test_a_message_that_comes_twice_sends_one_mail(acts: Acts) -> None:
    acts.api("registrations_bulk_docs")
    acts.invoke("poller")
    records = acts.world.receive("device-new")
    [ours] = [record for record in records if acts.cast.device_id in record["body"]]
    event = {"Records": [ours, ours]}
    assert acts.world.invoke("device_new", event).returned is None
    assert acts.world.invoke("device_new", event).returned is None
    assert state(acts) == "confirming"
    assert len(acts.world.mails_to(acts.cast.owner)) == 1
