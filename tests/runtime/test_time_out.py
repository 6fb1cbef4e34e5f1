"""A handler that Lambda stops at its time-out: in AWS's emulator, over a CouchDB that stalls.

Two are stopped, at once for they take some seconds: one while it looks at the document that it has
claimed, the other while it saves it, when the mail is out.
"""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from chalicelib.domain.documents import JsonDict
from tests.runtime.acts import Acts
from tests.runtime.harness.artifacts import STAGE
from tests.runtime.harness.emulator import Emulator, NoEmulator
from tests.runtime.harness.stalling import StallingCouchDB
from tests.runtime.harness.world import World

# A handler begins no message with less than fifteen seconds left.
TIME_OUT_S = 16
TABLE = f"syncpoint-{STAGE}"


@dataclass
class Stopped:
    """A function that was stopped in the midst of a message.

    Attributes
    ----------
    said : str
        What the emulator answered.
    """

    acts: Acts
    message: JsonDict
    said: str

    @property
    def doc(self) -> JsonDict:
        return self.acts.control.get(self.acts.cast.device_id)

    @property
    def mails(self) -> list[JsonDict]:
        return self.acts.world.mails_to(self.acts.cast.owner)

    @property
    def key(self) -> dict[str, Any]:
        name = f"claim#{self.acts.control.name}#{self.acts.cast.device_id}#new#0"
        return {"pk": {"S": name}}

    def claim(self) -> dict[str, str]:
        dynamodb = self.acts.world.aws.client("dynamodb")
        item = dynamodb.get_item(TableName=TABLE, Key=self.key, ConsistentRead=True)["Item"]
        return {name: next(iter(value.values())) for name, value in item.items()}

    def let_the_lease_end(self) -> None:
        """As time does."""
        self.acts.world.aws.client("dynamodb").update_item(
            TableName=TABLE,
            Key=self.key,
            UpdateExpression="SET lease_until_ms = :past",
            ExpressionAttributeValues={":past": {"N": "1"}},
        )

    def try_again(self) -> JsonDict | None:
        """SQS brings the message again; the error, if it fails."""
        event = _event(self.acts, self.message)
        return self.acts.world.invoke("device_new", event).error


@pytest.fixture(scope="module")
def emulated(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Stopped]]:
    """Both, by the method of the request that stalls; skipped where the emulator cannot run."""
    with ExitStack() as exits, ThreadPoolExecutor() as pool:
        running = {}
        for method in ("GET", "PUT"):
            acts = Acts.of(world)
            message = acts.message("device_new")
            folder = tmp_path_factory.mktemp("emulator")
            try:
                emulator = Emulator(
                    world.specs["device_new"],
                    world.artifacts.runtime,
                    folder,
                    _environment(acts, method, exits),
                    TIME_OUT_S,
                )
            except NoEmulator as exc:
                if os.environ.get("CI") == "true":
                    raise
                pytest.skip(str(exc))
            exits.callback(emulator.stop)
            other = Acts.of(world)
            first = _event(other, other.message("device_new"))
            said = pool.submit(_invoke_warm, emulator, first, _event(acts, message))
            running[method] = (acts, message, said)
        yield {
            method: Stopped(acts, message, said.result(timeout=60))
            for method, (acts, message, said) in running.items()
        }


@pytest.fixture
def while_looking(emulated: dict[str, Stopped]) -> Stopped:
    return emulated["GET"]


@pytest.fixture
def while_saving(emulated: dict[str, Stopped]) -> Stopped:
    return emulated["PUT"]


def _environment(acts: Acts, method: str, exits: ExitStack) -> dict[str, str]:
    """The function's, with a secret that leads it to a CouchDB that stalls."""
    world = acts.world
    stalling = StallingCouchDB(
        world.couch_url,
        lambda asked, path: asked == method and path.endswith(acts.cast.device_id),
    )
    exits.callback(stalling.stop)
    secret = f"stalling-{acts.cast.device_id}"
    world.aws.create_secret(secret, stalling.url, world.link_key)
    # A key that may do everything: the role does not know this secret.
    return world.environment("device_new") | {
        "SECRET_ID": secret,
        "AWS_ACCESS_KEY_ID": "emulator",
    }


def _invoke_warm(emulator: Emulator, first: JsonDict, event: JsonDict) -> str:
    """Another message first: what is imported for it takes no time of the one that stalls.

    And before that none: the emulator counts the start of a function to its first event's time.
    """
    assert emulator.invoke({"Records": []}) == "null"
    assert emulator.invoke(first) == "null"
    return emulator.invoke(event)


def _event(acts: Acts, message: JsonDict) -> JsonDict:
    event = acts.cast.event("device_new")
    event["Records"][0]["body"] = json.dumps(message)
    return event


def test_a_retry_takes_over_the_claim_of_a_handler_stopped_before_its_mail(
    while_looking: Stopped,
) -> None:
    stopped = while_looking
    assert f"Task timed out after {TIME_OUT_S}" in stopped.said
    before = stopped.claim()
    assert (before["status"], before["attempt"]) == ("running", "1")
    assert (stopped.doc["state"], stopped.mails) == ("new", [])

    # Within the lease nobody else may.
    error = stopped.try_again()
    assert error is not None
    assert error["errorType"] == "BatchFailed"
    assert stopped.claim() == before
    assert (stopped.doc["state"], stopped.mails) == ("new", [])

    stopped.let_the_lease_end()
    assert stopped.try_again() is None
    after = stopped.claim()
    assert (after["status"], after["attempt"]) == ("done", "2")
    assert after["token"] == before["token"]
    assert stopped.doc["state"] == "confirming"
    assert len(stopped.mails) == 1

    assert stopped.try_again() is None
    assert len(stopped.mails) == 1


def test_a_handler_stopped_after_its_mail_sends_no_other(while_saving: Stopped) -> None:
    stopped = while_saving
    assert f"Task timed out after {TIME_OUT_S}" in stopped.said
    assert stopped.claim()["status"] == "done"
    assert stopped.doc["state"] == "new"
    assert len(stopped.mails) == 1

    assert stopped.try_again() is None
    assert stopped.doc["state"] == "confirming"
    assert len(stopped.mails) == 1
