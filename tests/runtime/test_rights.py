"""Least rights: each role allows what its function does in all plays, and nothing else.

The first half is held by every test here: `GuardedAws` refuses what a role forbids.
"""

import json
from collections import Counter
from typing import Any

import pytest

from local.system import ROOT
from tests.runtime.acts import Acts
from tests.runtime.harness import iam
from tests.runtime.harness.artifacts import STAGE
from tests.runtime.harness.specs import POLLER
from tests.runtime.harness.world import World
from tests.runtime.plays import PLAYS, ensure

# What is allowed and not called by our code; each with who calls it.
NOT_OURS = {
    "logs:CreateLogStream": "Lambda writes the log",
    "logs:PutLogEvents": "Lambda writes the log",
    # SES is seen to check SendRawEmail where this operation is given MIME; its reference names this
    # one for the operation. Neither allows more than the other: mail by the same address.
    "ses:SendEmail": "the name of the operation that sends MIME as ses:SendRawEmail",
    "sqs:SendMessage": "a message is sent again in an outage of CouchDB: integration/test_batch.py",
    "sqs:GetQueueAttributes": "the event source mapping, with the function's role",
    "sqs:ReceiveMessage": "the event source mapping, with the function's role",
}


def routes(world: World) -> dict[str, str]:
    """The functions that SQS feeds, and the routes of their queues."""
    resources = world.artifacts.packaged["Resources"].values()
    functions = [item["Properties"] for item in resources if item["Type"].endswith("Function")]
    names = {
        item["Handler"].rpartition(".")[2]
        for item in functions
        for source in item.get("Events", {}).values()
        if source["Type"] == "SQS"
    }
    return {name: name.replace("_", "-") for name in names}


def fail_one_of_two(acts: Acts, function: str, route: str) -> Counter[str]:
    """A batch of two messages of which one cannot be read; how many are left in the queue."""
    acts.make_owner()  # without their database both would fail
    acts.world.drain(route)
    sqs, queue_url = acts.world.aws.client("sqs"), acts.world.queue_url(route)
    [record] = acts.cast.event(function)["Records"]
    bodies = [record["body"], "none of the poller's"]
    entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
    sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
    records: list[Any] = []
    while len(records) < len(bodies):
        received = acts.world.receive(route)
        assert received, "the messages are not there"
        records += received
    before = _in_flight(sqs, queue_url)
    result = acts.world.invoke(function, {"Records": records})
    assert result.error is not None
    assert result.error["errorType"] == "BatchFailed"
    return before - _in_flight(sqs, queue_url)


def _in_flight(sqs: Any, queue_url: str) -> Counter[str]:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
    return Counter({name: int(found[name]) for name in names})


FUNCTIONS = sorted(
    path.stem.removeprefix(f"policy-{STAGE}-")
    for path in (ROOT / ".chalice").glob(f"policy-{STAGE}-*.json")
)


@pytest.fixture(scope="module")
def played(world: World) -> World:
    """After all plays, and a failure of each function that SQS feeds."""
    for name in PLAYS:
        ensure(world, name)
    for function, route in routes(world).items():
        fail_one_of_two(Acts.of(world), function, route)
    return world


def test_no_role_forbids_what_its_function_does(played: World) -> None:
    assert {key for key, _ in played.guarded.calls} == set(played.specs)
    assert played.guarded.refused == []


@pytest.mark.parametrize("function", [*FUNCTIONS, POLLER])
def test_no_role_allows_what_its_function_does_not_do(played: World, function: str) -> None:
    done = [request for key, request in played.guarded.calls if key == function]
    unused = [
        str(grant)
        for grant in iam.grants(played.specs[function].policy)
        if grant.action not in NOT_OURS and not any(grant.covers(request) for request in done)
    ]
    assert unused == []


def test_every_exception_is_one_of_some_role(played: World) -> None:
    allowed = {grant.action for spec in played.specs.values() for grant in iam.grants(spec.policy)}
    assert set(NOT_OURS) <= allowed


def test_each_function_of_chalices_has_a_policy_of_its_own(world: World) -> None:
    assert [*FUNCTIONS, POLLER] == [*sorted(set(world.specs) - {POLLER}), POLLER]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_functions_role_has_the_policy_of_the_file_with_its_name(
    world: World, function: str
) -> None:
    path = ROOT / ".chalice" / f"policy-{STAGE}-{function}.json"
    assert json.loads(path.read_text(encoding="utf-8")) == world.specs[function].policy


def test_of_a_batch_the_message_that_fails_stays_and_the_other_is_deleted(world: World) -> None:
    gone = fail_one_of_two(Acts.of(world), "channel_new", "channel-new")
    assert gone == {"ApproximateNumberOfMessagesNotVisible": 1}


def test_no_grant_is_of_every_resource(world: World) -> None:
    for spec in world.specs.values():
        assert "*" not in {grant.resource for grant in iam.grants(spec.policy)}


@pytest.mark.parametrize(
    ("function", "action", "resource"),
    [
        ("confirm_clicked", "ses:SendRawEmail", "arn:aws:ses:us-east-1:123456789012:identity/x"),
        ("api_handler", "ses:SendRawEmail", "arn:aws:ses:us-east-1:123456789012:identity/x"),
        (
            "api_handler",
            "sqs:ReceiveMessage",
            "arn:aws:sqs:us-east-1:123456789012:syncpoint-dev-device-new",
        ),
        (
            "device_new",
            "sqs:DeleteMessage",
            "arn:aws:sqs:us-east-1:123456789012:syncpoint-dev-channel-new",
        ),
        (
            "device_new",
            "secretsmanager:GetSecretValue",
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:syncpoint/prod-AbCdEf",
        ),
    ],
)
def test_what_a_role_must_not_allow(
    world: World, function: str, action: str, resource: str
) -> None:
    request = iam.Request(action, resource, {"ses:FromAddress": ("syncpoint@example.com",)})
    assert not iam.allows(world.specs[function].policy, request)


def test_what_a_role_forbids_fails_in_the_function_as_it_would_in_aws(world: World) -> None:
    event = Acts.of(world).cast.event("sweep_expired")
    world.invoke("sweep_expired", event)
    policy = world.guarded.policies["sweep_expired"]
    try:
        function = world.start("sweep_expired")
        world.guarded.policies["sweep_expired"] = {"Statement": []}
        refused = len(world.guarded.refused)
        result = function.invoke(event)
        assert result.error is not None
        assert "AccessDeniedException" in result.error["errorMessage"]
        assert len(world.guarded.refused) == refused + 1
        del world.guarded.refused[refused:]
    finally:
        world.guarded.policies["sweep_expired"] = policy
