"""What a function writes into its log, where Lambda's own runtime runs it."""

from urllib.parse import urlsplit

import pytest

from chalicelib.domain.documents import JsonDict
from tests.kit.system.registering import LONG_AGO
from tests.kit.tokens import MAC_LENGTH
from tests.runtime.acts import Acts
from tests.runtime.harness.function import Result
from tests.runtime.harness.world import World
from tests.runtime.plays import PLAYS, ensure


@pytest.fixture
def acts(world: World) -> Acts:
    return Acts.of(world)


def log_record(result: Result, message: str) -> JsonDict:
    """The only log record with this message."""
    [record] = [record for record in result.records if record.get("message") == message]
    return record


def test_a_transition_is_logged_with_the_document_as_its_correlation_id(acts: Acts) -> None:
    result, _ = acts.deliver("device_new")
    record = log_record(result, "transition")
    assert record["level"] == "INFO"
    assert record["correlation_id"] == acts.cast.device_id
    assert record["outcome"] == "saved"
    assert record["service"] == "syncpoint"


def test_a_message_that_fails_is_logged_as_a_warning(acts: Acts) -> None:
    event = acts.cast.event("channel_new")
    event["Records"][0]["body"] = "none of the poller's"
    record = log_record(acts.world.invoke("channel_new", event), "the message was not handled")
    assert record["level"] == "WARNING"
    assert record["exception_type"] == "InvalidMessage"


def test_the_sweep_logs_what_it_did(acts: Acts) -> None:
    acts.message("device_new", state="confirming", confirm_expires_at=LONG_AGO)
    record = log_record(acts.invoke("sweep_expired"), "sweep")
    assert record["expired"] >= 1
    assert record["complete"] is True


def test_no_log_and_no_environment_holds_a_secret_an_address_or_a_link(world: World) -> None:
    for name, (sample, _) in PLAYS.items():
        if sample.startswith(("device_", "invitation_", "mail_feedback", "api/answer")):
            ensure(world, name)
    written = world.output()
    assert "Transitions" in written
    password = urlsplit(world.couch_url).password
    assert password
    for secret in (password, world.link_key):
        assert secret not in written
        assert all(secret not in str(spec.variables) for spec in world.specs.values())
    assert "@example.com" not in written
    codes = [mail["links"][0].rpartition("/")[2] for mail in world.mails() if mail["links"]]
    assert codes
    assert not [code for code in codes if code[-MAC_LENGTH:] in written]
