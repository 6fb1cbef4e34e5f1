"""What is logged and counted of a message: enough to find it, and nothing that is secret."""

import json
import time
from typing import Any

import pytest

from chalicelib import telemetry
from chalicelib.aws.claims import RunningElsewhere
from chalicelib.couch import Unavailable
from chalicelib.engine import batch
from chalicelib.engine.runner import Message, Outcome
from chalicelib.handlers.all import registry
from tests.kit.metrics import Metrics

TRANSITION = registry.transition("device", "new")
SECRET = "hunter2"


def record(**attributes: str) -> dict[str, Any]:
    return {"messageId": "m-1", "attributes": {"ApproximateReceiveCount": "2", **attributes}}


def message() -> Message:
    doc = {"_id": "device-1", "owner": "ada@example.com", "credentials": SECRET}
    return Message("control", "device-1", "device", "new", doc)


def test_a_transition_is_counted_by_type_state_and_outcome(
    metrics: Metrics,
) -> None:
    batch.log_success(record(), message(), TRANSITION, "dev", Outcome.STALE)
    dimensions = {"Stage": "dev", "Type": "device", "State": "new", "Outcome": "stale"}
    assert metrics() == [("Transitions", 1.0, dimensions)]


def test_the_age_of_what_was_saved_is_measured_from_its_message(
    metrics: Metrics,
) -> None:
    sent = record(SentTimestamp=str(int((time.time() - 5) * 1000)))
    batch.log_success(sent, message(), TRANSITION, "dev", Outcome.SAVED)
    [_, (name, age_ms, dimensions)] = metrics()
    assert (name, dimensions) == ("TransitionAge", {"Stage": "dev"})
    assert 5000 <= age_ms < 60_000


def test_what_another_worker_holds_is_counted_as_contended(
    metrics: Metrics,
) -> None:
    batch.log_failure(record(), message(), TRANSITION, "dev", RunningElsewhere("claim", 30))
    [(name, _, dimensions)] = metrics()
    assert (name, dimensions["Outcome"]) == ("Transitions", "contended")


def test_mails_and_notifications_are_counted(metrics: Metrics) -> None:
    telemetry.count_mail("dev", "over_quota")
    telemetry.count_feedback("dev", "bounce")
    assert metrics() == [
        ("Mails", 1.0, {"Stage": "dev", "Outcome": "over_quota"}),
        ("MailFeedback", 1.0, {"Stage": "dev", "Kind": "bounce"}),
    ]


def test_a_log_line_has_the_documents_id_for_its_correlation_and_nothing_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(
        telemetry.logger, "warning", lambda text, extra: lines.append({"text": text, **extra})
    )
    error = Unavailable(503, "service_unavailable", f"no {SECRET}", f"GET /x?{SECRET}")
    batch.log_failure(record(), message(), TRANSITION, "dev", error)
    [line] = lines
    assert line["correlation_id"] == "device-1"
    assert (line["doc_type"], line["doc_state"]) == ("device", "new")
    assert (line["couchdb_status"], line["exception_type"]) == (503, "Unavailable")
    assert SECRET not in json.dumps(line)
    assert "ada@example.com" not in json.dumps(line)
