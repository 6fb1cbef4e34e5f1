"""The Lambdas: one function per (type, state), and the routes. Wiring only."""

import os
from typing import TYPE_CHECKING, Any, cast

from chalice.app import Chalice, Request, Response, SQSEvent

from chalicelib import settings
from chalicelib.batch import Work, handle_batch
from chalicelib.cloud import Wiring
from chalicelib.handlers import control
from chalicelib.runner import Message, Outcome, handle

if TYPE_CHECKING:
    from chalicelib.web.pages import Page

FORM = "application/x-www-form-urlencoded"

app = Chalice(app_name="syncpoint")
wiring = Wiring()


def queue(doc_type: str, state: str) -> str:
    """The queue of a (type, state) in the stage that is deployed."""
    return settings.queue_name(os.environ.get("STAGE", "dev"), doc_type, state)


@app.on_sqs_message(queue=queue("device", "new"), batch_size=10)
def device_new(event: SQSEvent) -> None:
    """device/new → a mail with a link → confirming."""
    work(event, "device", "new")


@app.on_sqs_message(queue=queue("device", "confirmed"), batch_size=10)
def device_confirmed(event: SQSEvent) -> None:
    """device/confirmed → a login → active."""
    work(event, "device", "confirmed")


@app.on_sqs_message(queue=queue("confirm", "clicked"), batch_size=10)
def confirm_clicked(event: SQSEvent) -> None:
    """confirm/clicked → its device is confirmed → used."""
    work(event, "confirm", "clicked")


def work(event: SQSEvent, doc_type: str, state: str) -> None:
    """Hand a batch of messages to the transition of (type, state)."""
    batch = Work(
        transition=control.transition(doc_type, state),
        handle=handle_message,
        lease_s=wiring.settings.claim_lease_s,
        left_s=lambda: cast(Any, event.context).get_remaining_time_in_millis() / 1000,
        sqs=lambda: wiring.sqs,
        queue_url=lambda: wiring.queue_url(doc_type, state),
    )
    handle_batch(event.to_dict()["Records"], batch)


def handle_message(message: Message) -> Outcome:
    """Run the transition that one message asks for."""
    return wiring.use(lambda cloud: handle(message, control, cloud, wiring.claims))


@app.route("/confirm/{code}", methods=["GET"])
def show_confirmation(code: str) -> Response:
    """The page behind the link in the mail; changes nothing."""
    from chalicelib.web import confirm

    query = dict(request().query_params or {})
    return respond(confirm.show(wiring.use, code, query.get("step")))


@app.route("/confirm/{code}", methods=["POST"], content_types=[FORM])
def answer_confirmation(code: str) -> Response:
    """The owner's answer: the device code, or "this wasn't me"."""
    from chalicelib.web import confirm

    return respond(confirm.answer(wiring.use, code, request().raw_body))


@app.route("/health", methods=["GET"])
def health() -> Response:
    """Whether CouchDB, DynamoDB and SQS answer, and the poller's age."""
    from chalicelib.web.health import check_health

    status, body = check_health(wiring, "device", "new")
    return Response(body, {"Cache-Control": "no-store"}, status)


def respond(page: "Page") -> Response:
    """A page as API Gateway takes it."""
    return Response(page.body, dict(page.headers), page.status)


def request() -> Request:
    """The request that is being answered."""
    return cast(Request, app.current_request)
