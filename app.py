"""The Lambdas: one function per (type, state), and the routes.

Entry points only: no rule and no storage lives here.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from chalice.app import Chalice, CloudWatchEvent, Rate, Request, Response, SNSEvent, SQSEvent

from chalicelib import settings
from chalicelib.engine.dependencies import Dependencies
from chalicelib.telemetry import count_feedback
from chalicelib.web import registrations
from chalicelib.web.default_headers import add_default_headers
from chalicelib.web.unavailable import answer_unavailable, context_of

if TYPE_CHECKING:
    from chalicelib.web.pages import Page

FORM = "application/x-www-form-urlencoded"
ANY = "*/*"  # the view itself refuses what it cannot read, in the words of CouchDB

# Chalice would set the level of the logger that is ours, too: nothing but errors would be logged.
app = Chalice(app_name="syncpoint", configure_logs=False)
app.register_middleware(add_default_headers, "http")
app.register_middleware(answer_unavailable, "http")
dependencies = Dependencies()

deployed = settings.Deployed.read(os.environ)


def on(doc_type: str, state: str, *, concurrency: int) -> Callable[..., Any]:
    """Bind a function to the queue of (type, state), for at most so many batches at a time.

    A mail that SES refuses five times becomes a dead letter; in its queue it waits (docs/scale.md).
    """
    name = settings.queue_name(deployed.stage, doc_type, state)
    return app.on_sqs_message(queue=name, batch_size=10, maximum_concurrency=concurrency)


@on("device", "new", concurrency=deployed.mail_concurrency)
def device_new(event: SQSEvent) -> None:
    """device/new → a mail with a link → confirming."""
    work(event, "device", "new")


@on("device", "confirmed", concurrency=deployed.couchdb_concurrency)
def device_confirmed(event: SQSEvent) -> None:
    """device/confirmed → a login → active."""
    work(event, "device", "confirmed")


@on("confirm", "clicked", concurrency=deployed.couchdb_concurrency)
def confirm_clicked(event: SQSEvent) -> None:
    """confirm/clicked → its device is confirmed → used."""
    work(event, "confirm", "clicked")


@on("device", "revoking", concurrency=deployed.couchdb_concurrency)
def device_revoking(event: SQSEvent) -> None:
    """device/revoking → its login goes → revoked."""
    work(event, "device", "revoking")


@on("channel", "new", concurrency=deployed.couchdb_concurrency)
def channel_new(event: SQSEvent) -> None:
    """channel/new → a database → ready."""
    work(event, "channel", "new")


@on("channel", "ready", concurrency=deployed.couchdb_concurrency)
def channel_ready(event: SQSEvent) -> None:
    """channel/ready: the database follows the document."""
    work(event, "channel", "ready")


@on("channel", "closing", concurrency=deployed.couchdb_concurrency)
def channel_closing(event: SQSEvent) -> None:
    """channel/closing → the database goes → closed."""
    work(event, "channel", "closing")


@on("invitation", "new", concurrency=deployed.mail_concurrency)
def invitation_new(event: SQSEvent) -> None:
    """invitation/new → a mail with a link → sent."""
    work(event, "invitation", "new")


@on("invitation", "accepting", concurrency=deployed.couchdb_concurrency)
def invitation_accepting(event: SQSEvent) -> None:
    """invitation/accepting → the guest is a member → accepted."""
    work(event, "invitation", "accepting")


@app.schedule(Rate(1, unit=Rate.DAYS), name="sweep_expired")
def sweep_expired(event: CloudWatchEvent) -> None:
    """Once a day: registrations and invitations that nobody answered in time → expired."""
    from chalicelib.jobs.sweep import sweep

    with dependencies.use() as context:
        sweep(context, lambda: remaining_s(event.context))


@app.on_sns_message(topic=settings.feedback_topic(deployed.stage), name="mail_feedback")
def mail_feedback(event: SNSEvent) -> None:
    """Bounces and complaints of mails → undeliverable; after a complaint, no more mail."""
    from chalicelib.jobs import mail_feedback

    with dependencies.use() as context:
        kind = mail_feedback.take(context, event.message)
    count_feedback(deployed.stage, kind)


@app.lambda_function(name="upgrade_designs")
def upgrade_designs(event: dict[str, Any], lambda_context: object) -> dict[str, Any]:
    """By hand, after a deployment (`make upgrade`): new design documents for old databases."""
    from chalicelib.jobs.upgrade import upgrade

    with dependencies.use() as context:
        return upgrade(context, event.get("after"), lambda: remaining_s(lambda_context))


def work(event: SQSEvent, doc_type: str, state: str) -> None:
    """Hand a batch of messages to the transition of (type, state)."""
    from chalicelib.engine.batch import LambdaWork, handle_batch
    from chalicelib.handlers import registry_for

    registry = registry_for(doc_type)
    transition = registry.transition(doc_type, state)
    batch = LambdaWork(dependencies, registry, transition, event.context)
    handle_batch(event.to_dict()["Records"], batch)


def remaining_s(lambda_context: Any) -> float:
    """How many seconds the Lambda may still run."""
    return float(lambda_context.get_remaining_time_in_millis()) / 1000


@app.route("/confirm/{token}", methods=["GET"])
def show_confirmation(token: str) -> Response:
    """The page behind the link in the mail; changes nothing."""
    from chalicelib.web import confirm

    query = dict(request().query_params or {})
    with context_of(dependencies) as context:
        return respond(confirm.show(context, token, query.get("step")))


@app.route("/confirm/{token}", methods=["POST"], content_types=[FORM])
def answer_confirmation(token: str) -> Response:
    """The owner's answer: the device code, or "this wasn't me"."""
    from chalicelib.web import confirm

    with context_of(dependencies) as context:
        return respond(confirm.answer(context, token, request().raw_body))


@app.route("/invitation/{token}", methods=["GET"])
def show_invitation(token: str) -> Response:
    """The page behind the link in an invitation's mail; changes nothing."""
    from chalicelib.web import invitation

    query = dict(request().query_params or {})
    with context_of(dependencies) as context:
        return respond(invitation.show(context, token, query.get("step")))


@app.route("/invitation/{token}", methods=["POST"], content_types=[FORM])
def answer_invitation(token: str) -> Response:
    """The guest's answer: accept or decline."""
    from chalicelib.web import invitation

    with context_of(dependencies) as context:
        return respond(invitation.answer(context, token, request().raw_body))


@app.route("/registrations", methods=["GET"])
def registrations_info() -> Response:
    """What a replicator asks first; and where a device finds the cloud's CouchDB."""
    with context_of(dependencies) as context:
        return reply(registrations.info(context))


@app.route("/registrations", methods=["HEAD"])
def registrations_exists() -> Response:
    """As the replication protocol has it; PouchDB and CouchDB ask by GET."""
    return Response("", {"Cache-Control": "no-store"}, 200)


@app.route("/registrations/_local/{doc_id}", methods=["GET"])
def registrations_get_checkpoint(doc_id: str) -> Response:
    """404: the registrations endpoint keeps no checkpoints, so a replicator starts over."""
    return reply(registrations.no_checkpoint())


@app.route("/registrations/_local/{doc_id}", methods=["PUT"], content_types=[ANY])
def registrations_put_checkpoint(doc_id: str) -> Response:
    """Takes a replicator's checkpoint, and forgets it."""
    return reply(registrations.put_checkpoint(doc_id))


@app.route("/registrations/_ensure_full_commit", methods=["POST"], content_types=[ANY])
def registrations_ensure_full_commit() -> Response:
    """What CouchDB's replicator asks at each checkpoint."""
    return reply(registrations.ensure_full_commit())


@app.route("/registrations/_revs_diff", methods=["POST"], content_types=[ANY])
def registrations_revs_diff() -> Response:
    """Everything that is asked for is missing."""
    return reply(registrations.revs_diff(request().headers, request().raw_body))


@app.route("/registrations/_bulk_docs", methods=["POST"], content_types=[ANY])
def registrations_bulk_docs() -> Response:
    """Takes new device documents; answers with those that it refused, and why."""
    asked = request()
    source_ip = asked.context.get("identity", {}).get("sourceIp")
    with context_of(dependencies) as context:
        return reply(registrations.bulk_docs(context, asked.headers, asked.raw_body, source_ip))


@app.route("/registrations/{doc_id}", methods=["GET"])
def registrations_show_state(doc_id: str) -> Response:
    """`{"state"}` of a device, and nothing more."""
    with context_of(dependencies) as context:
        return reply(registrations.show_state(context, doc_id))


@app.route("/registrations", methods=["POST", "PUT", "DELETE"], content_types=[ANY])
@app.route("/registrations/{doc_id}", methods=["POST", "PUT", "DELETE"], content_types=[ANY])
@app.route(
    "/registrations/{doc_id}/{rest}", methods=["GET", "POST", "PUT", "DELETE"], content_types=[ANY]
)
def registrations_refuse(doc_id: str = "", rest: str = "") -> Response:
    """Refused: no document comes out, and none goes in another way."""
    return reply(registrations.refuse())


@app.route("/health", methods=["GET"])
def health() -> Response:
    """Whether CouchDB, DynamoDB and SQS answer, and the poller's age."""
    from chalicelib.web.health import check_health

    status, body = check_health(dependencies, "device", "new")
    return Response(body, {"Cache-Control": "no-store"}, status)


def respond(page: "Page") -> Response:
    """A page as API Gateway takes it."""
    return Response(page.body, dict(page.headers), page.status)


def reply(answer: registrations.Answer) -> Response:
    """JSON as API Gateway takes it."""
    return Response(answer.body, {"Cache-Control": "no-store", **answer.headers}, answer.status)


def request() -> Request:
    """The request that is being answered."""
    return cast(Request, app.current_request)
