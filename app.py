"""The Lambda functions, one for each (type, state), and the HTTP routes.

This module has only entry points. The rules and the storage are in chalicelib.
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
ANY = "*/*"  # each view checks the type itself, and refuses with CouchDB's error texts

# Without `configure_logs=False`, Chalice changes our logger too: it would log only errors.
app = Chalice(app_name="syncpoint", configure_logs=False)
app.register_middleware(add_default_headers, "http")
app.register_middleware(answer_unavailable, "http")
dependencies = Dependencies()

deployed = settings.Deployed.read(os.environ)


def on(doc_type: str, state: str, *, concurrency: int) -> Callable[..., Any]:
    """Bind a function to the queue of (type, state).

    Further messages wait in the queue. A mail that SES refuses five times becomes a dead letter
    (docs/scale.md). A batch is one message: behind ten messages of one owner, another owner's
    would wait for all ten (docs/decisions/0034-fair-queues.md).

    Parameters
    ----------
    concurrency : int
        The largest number of batches that run at the same time.
    """
    name = settings.queue_name(deployed.stage, doc_type, state)
    return app.on_sqs_message(queue=name, batch_size=1, maximum_concurrency=concurrency)


@on("device", "new", concurrency=deployed.mail_concurrency)
def device_new(event: SQSEvent) -> None:
    """Handle device/new: mail the owner a confirmation link → confirming."""
    work(event, "device", "new")


@on("device", "confirmed", concurrency=deployed.couchdb_concurrency)
def device_confirmed(event: SQSEvent) -> None:
    """Handle device/confirmed: create the device's login → active."""
    work(event, "device", "confirmed")


@on("confirm", "clicked", concurrency=deployed.couchdb_concurrency)
def confirm_clicked(event: SQSEvent) -> None:
    """Handle confirm/clicked: confirm the device → used."""
    work(event, "confirm", "clicked")


@on("device", "revoking", concurrency=deployed.couchdb_concurrency)
def device_revoking(event: SQSEvent) -> None:
    """Handle device/revoking: remove the device's login → revoked."""
    work(event, "device", "revoking")


@on("channel", "new", concurrency=deployed.couchdb_concurrency)
def channel_new(event: SQSEvent) -> None:
    """Handle channel/new: create the channel's database → ready."""
    work(event, "channel", "new")


@on("channel", "ready", concurrency=deployed.couchdb_concurrency)
def channel_ready(event: SQSEvent) -> None:
    """Handle channel/ready: reconcile the channel's database with its document."""
    work(event, "channel", "ready")


@on("channel", "closing", concurrency=deployed.couchdb_concurrency)
def channel_closing(event: SQSEvent) -> None:
    """Handle channel/closing: delete the channel's database → closed."""
    work(event, "channel", "closing")


@on("invitation", "new", concurrency=deployed.mail_concurrency)
def invitation_new(event: SQSEvent) -> None:
    """Handle invitation/new: mail the guest an invitation link → sent."""
    work(event, "invitation", "new")


@on("invitation", "accepting", concurrency=deployed.couchdb_concurrency)
def invitation_accepting(event: SQSEvent) -> None:
    """Handle invitation/accepting: make the guest a member of the channel → accepted."""
    work(event, "invitation", "accepting")


@app.schedule(Rate(1, unit=Rate.DAYS), name="sweep_expired")
def sweep_expired(event: CloudWatchEvent) -> None:
    """Expire the registrations and invitations that nobody answered in time. Runs once a day."""
    from chalicelib.jobs.sweep import sweep

    with dependencies.use() as context:
        sweep(context, lambda: remaining_s(event.context))


@app.on_sns_message(topic=settings.feedback_topic(deployed.stage), name="mail_feedback")
def mail_feedback(event: SNSEvent) -> None:
    """Handle a notification from SES about a bounce or a complaint.

    The mail's document records it. After a complaint, the address gets no more mail.
    """
    from chalicelib.jobs import mail_feedback

    with dependencies.use() as context:
        kind = mail_feedback.handle_notification(context, event.message)
    count_feedback(deployed.stage, kind)


@app.lambda_function(name="upgrade_designs")
def upgrade_designs(event: dict[str, Any], lambda_context: object) -> dict[str, Any]:
    """Install new design documents in existing databases.

    An operator calls this function after a deployment (`make upgrade`).
    """
    from chalicelib.jobs.upgrade import upgrade

    with dependencies.use() as context:
        return upgrade(context, event.get("after"), lambda: remaining_s(lambda_context))


def work(event: SQSEvent, doc_type: str, state: str) -> None:
    """Hand a batch of messages to the transition of (type, state)."""
    from chalicelib.engine.batch import LambdaWork, handle_batch
    from chalicelib.handlers import registry_for

    registry = registry_for(doc_type)
    transition = registry.transition(doc_type, state)
    batch = LambdaWork(dependencies, registry, transition, lambda: remaining_s(event.context))
    handle_batch(event.to_dict()["Records"], batch)


def remaining_s(lambda_context: Any) -> float:
    """Return how many seconds the Lambda may still run."""
    return float(lambda_context.get_remaining_time_in_millis()) / 1000


@app.route("/confirm/{token}", methods=["GET"])
def show_confirmation(token: str) -> Response:
    """Show the page behind the link in a confirmation mail; change nothing."""
    from chalicelib.web import confirm

    query = dict(request().query_params or {})
    with context_of(dependencies) as context:
        return respond(confirm.show(context, token, query.get("step")))


@app.route("/confirm/{token}", methods=["POST"], content_types=[FORM])
def answer_confirmation(token: str) -> Response:
    """Take the owner's answer: the device code, or "this wasn't me"."""
    from chalicelib.web import confirm

    with context_of(dependencies) as context:
        return respond(confirm.answer(context, token, request().raw_body))


@app.route("/invitation/{token}", methods=["GET"])
def show_invitation(token: str) -> Response:
    """Show the page behind the link in an invitation mail; change nothing."""
    from chalicelib.web import invitation

    query = dict(request().query_params or {})
    with context_of(dependencies) as context:
        return respond(invitation.show(context, token, query.get("step")))


@app.route("/invitation/{token}", methods=["POST"], content_types=[FORM])
def answer_invitation(token: str) -> Response:
    """Take the guest's answer: accept or decline."""
    from chalicelib.web import invitation

    with context_of(dependencies) as context:
        return respond(invitation.answer(context, token, request().raw_body))


@app.route("/registrations", methods=["GET"])
def registrations_info() -> Response:
    """Return the database information that a replicator reads first, and the URL of CouchDB."""
    with context_of(dependencies) as context:
        return reply(registrations.info(context))


@app.route("/registrations", methods=["HEAD"])
def registrations_exists() -> Response:
    """Answer 200, as the replication protocol requires. PouchDB and CouchDB use GET instead."""
    return Response("", {"Cache-Control": "no-store"}, 200)


@app.route("/registrations/_local/{doc_id}", methods=["GET"])
def registrations_get_checkpoint(doc_id: str) -> Response:
    """Answer 404: the endpoint stores no checkpoints, so every replication starts over."""
    return reply(registrations.no_checkpoint())


@app.route("/registrations/_local/{doc_id}", methods=["PUT"], content_types=[ANY])
def registrations_put_checkpoint(doc_id: str) -> Response:
    """Accept a replicator's checkpoint, but do not store it."""
    return reply(registrations.put_checkpoint(doc_id))


@app.route("/registrations/_ensure_full_commit", methods=["POST"], content_types=[ANY])
def registrations_ensure_full_commit() -> Response:
    """Answer 201; CouchDB's replicator sends this request at each checkpoint."""
    return reply(registrations.ensure_full_commit())


@app.route("/registrations/_revs_diff", methods=["POST"], content_types=[ANY])
def registrations_revs_diff() -> Response:
    """Answer that every revision in the request is missing."""
    return reply(registrations.revs_diff(request().headers, request().raw_body))


@app.route("/registrations/_bulk_docs", methods=["POST"], content_types=[ANY])
def registrations_bulk_docs() -> Response:
    """Take new device documents; return those that were refused, with reasons."""
    asked = request()
    source_ip = asked.context.get("identity", {}).get("sourceIp")
    with context_of(dependencies) as context:
        return reply(registrations.bulk_docs(context, asked.headers, asked.raw_body, source_ip))


@app.route("/registrations/{doc_id}", methods=["GET"])
def registrations_show_state(doc_id: str) -> Response:
    """Return `{state, reason?}` of a device, and nothing more."""
    with context_of(dependencies) as context:
        return reply(registrations.show_state(context, doc_id))


@app.route("/registrations", methods=["POST", "PUT", "DELETE"], content_types=[ANY])
@app.route("/registrations/{doc_id}", methods=["POST", "PUT", "DELETE"], content_types=[ANY])
@app.route(
    "/registrations/{doc_id}/{rest}", methods=["GET", "POST", "PUT", "DELETE"], content_types=[ANY]
)
def registrations_refuse(doc_id: str = "", rest: str = "") -> Response:
    """Answer 403: no document can be read here, and only `_bulk_docs` can write one."""
    return reply(registrations.refuse())


@app.route("/health", methods=["GET"])
def health() -> Response:
    """Check whether CouchDB, DynamoDB and SQS answer; return that and the poller's age."""
    from chalicelib.web.health import check_health

    status, body = check_health(dependencies, "device", "new")
    return Response(body, {"Cache-Control": "no-store"}, status)


def respond(page: "Page") -> Response:
    """Convert a page into a Chalice response."""
    return Response(page.body, dict(page.headers), page.status)


def reply(answer: registrations.Answer) -> Response:
    """Convert an answer of the registrations endpoint into a Chalice response."""
    return Response(answer.body, {"Cache-Control": "no-store", **answer.headers}, answer.status)


def request() -> Request:
    """Return the current request."""
    return cast(Request, app.current_request)
