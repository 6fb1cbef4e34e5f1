"""Checks of what was deployed. Each sends a request or a few, to look."""

from typing import Any

import requests
from botocore.exceptions import ClientError

from chalicelib.handlers.all import registry
from chalicelib.settings import POLLER_SILENT_S, poller_key, queue_name
from ops.check_couchdb import TIME_LIMIT_S
from ops.dead_letters import age
from ops.findings import Verdict, ok, warning, wrong
from ops.lookups import read_public_url
from ops.rights import RIGHTS
from ops.stage import Stage, lambda_name
from ops.tools import Client, is_missing

NOT_DEPLOYED = ok("not deployed yet: `make deploy` does it")


def check_stack(stage: Stage, client: Client) -> Verdict:
    """The stack is there, and whole; or not yet."""
    try:
        stacks = client("cloudformation").describe_stacks(StackName=stage.prefix)["Stacks"]
    except ClientError as exc:
        if not is_missing(exc):
            raise
        return NOT_DEPLOYED
    status = stacks[0]["StackStatus"]
    if status in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"}:
        return ok(f"{stage.prefix} is there")
    return warning(f"{stage.prefix} is {status}: CloudFormation's console says why; deploy again")


def check_table(stage: Stage, client: Client) -> Verdict:
    """The table is there."""
    try:
        table = client("dynamodb").describe_table(TableName=stage.prefix)["Table"]
    except ClientError as exc:
        if not is_missing(exc):
            raise
        return wrong(f"{stage.prefix} is not there: deploy again")
    if table["TableStatus"] != "ACTIVE":
        return wrong(f"{stage.prefix} is {table['TableStatus']}: wait, then look again")
    return ok(f"{stage.prefix} is there")


def check_queues(stage: Stage, client: Client) -> Verdict:
    """Each transition has its queue."""
    names = [queue_name(stage.name, t.doc_type, t.state) for t in registry]
    missing = [name for name in names if queue_url(name, client) is None]
    if missing:
        return wrong(f"not there: {', '.join(missing)}; deploy again")
    return ok(f"all {len(names)} are there")


def check_dead_letters(stage: Stage, client: Client) -> Verdict:
    """No message was given up."""
    url = queue_url(stage.dead_letters, client)
    if url is None:
        return wrong(f"{stage.dead_letters} is not there: deploy again")
    answer = client("sqs").get_queue_attributes(
        QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    count = int(answer["Attributes"]["ApproximateNumberOfMessages"])
    if count:
        return warning(f"{count}: look with `make redrive STAGE={stage.name} DRY_RUN=1`")
    return ok("none")


def check_functions(stage: Stage, client: Client) -> Verdict:
    """Every function is there, the poller too."""
    wanted = {lambda_name(stage.name, function) for function in [*RIGHTS, "poller"]}
    pages = client("lambda").get_paginator("list_functions").paginate()
    there = {function["FunctionName"] for page in pages for function in page["Functions"]}
    missing = sorted(wanted - there)
    if missing:
        return wrong(f"not there: {', '.join(missing)}; deploy again")
    return ok(f"all {len(wanted)} are there")


def check_mappings(stage: Stage, client: Client) -> Verdict:
    """Every queue feeds its function. One request for each hundred mappings of the account."""
    wanted = {
        lambda_name(stage.name, function): f"{stage.prefix}-{rights.queue}"
        for function, rights in RIGHTS.items()
        if rights.queue
    }
    pages = client("lambda").get_paginator("list_event_source_mappings").paginate()
    found = [mapping for page in pages for mapping in page["EventSourceMappings"]]
    ours = {
        _last(mapping["FunctionArn"]): mapping
        for mapping in found
        if wanted.get(_last(mapping["FunctionArn"])) == _last(mapping["EventSourceArn"])
    }
    missing = sorted(wanted.keys() - ours.keys())
    if missing:
        return wrong(f"no queue feeds {', '.join(missing)}: deploy again")
    for function, mapping in sorted(ours.items()):
        if mapping["State"] in {"Disabled", "Disabling"}:
            return wrong(
                f"the queue of {function} is switched off: `aws lambda "
                f"update-event-source-mapping --uuid {mapping['UUID']} --enabled`"
            )
    return ok(f"all {len(wanted)} queues feed their functions")


def check_feedback(stage: Stage, client: Client) -> Verdict:
    """What SES says of mails reaches its function. One request, as for the next."""
    function = lambda_name(stage.name, "mail_feedback")
    subscriptions = _subscriptions(f"{stage.prefix}-mail-feedback", client)
    if function in {_last(item["Endpoint"]) for item in subscriptions}:
        return ok("bounces and complaints reach their function")
    return wrong(f"{function} has no subscription, bounces and complaints are lost: deploy again")


def check_alarm_address(stage: Stage, client: Client) -> Verdict:
    """Somebody is told of alarms."""
    subscriptions = _subscriptions(f"{stage.prefix}-alarms", client)
    if not subscriptions:
        return warning(
            f"nobody is told of alarms: `make deploy STAGE={stage.name} ALARM_ADDRESS=…`"
        )
    if not any(item["SubscriptionArn"].startswith("arn:") for item in subscriptions):
        return warning("not confirmed: follow the link in AWS's mail, until then no alarm is sent")
    return ok("somebody is told")


def check_poller(stage: Stage, client: Client, now_s: float) -> Verdict:
    """Every poller was at work lately."""
    shards = int(stage.variables.get("POLLER_SHARDS", "1"))
    seen = [_seen_at_s(stage, client, shard, shards) for shard in range(shards)]
    if None in seen:
        return wrong(f"never seen: look into the log of {stage.prefix}-poller")
    silent_s = now_s - min(at_s for at_s in seen if at_s is not None)
    if silent_s > POLLER_SILENT_S:
        return wrong(f"last seen {age(silent_s)} ago: look into the log of {stage.prefix}-poller")
    return ok(f"last seen {age(silent_s)} ago")


def check_public_url(stage: Stage, client: Client) -> Verdict:
    """The mails' links will lead to the API."""
    url = stage.variables.get("PUBLIC_URL") or read_public_url(stage, client)
    if url is None:
        return wrong(
            f"the parameter {stage.public_url_parameter} is not there, and no mail goes out "
            "without it: deploy again"
        )
    return ok(url)


def check_health(url: str) -> Verdict:
    """The API answers, and reaches what it needs."""
    answer = requests.get(f"{url.rstrip('/')}/health", timeout=TIME_LIMIT_S, allow_redirects=False)
    try:
        said = answer.json()
        parts = [f"{name}: {said[name]}" for name in ("couchdb", "dynamodb", "sqs", "poller")]
    except (ValueError, TypeError, KeyError):
        return wrong(f"{url}/health answers {answer.status_code}, and is not Syncpoint's")
    if answer.ok and said.get("ok"):
        return ok("the API answers, and reaches CouchDB, DynamoDB and SQS")
    return wrong("; ".join(part for part in parts if not part.endswith(": ok")))


def check_alarms(stage: Stage, client: Client) -> Verdict:
    """No alarm is on."""
    answer = client("cloudwatch").describe_alarms(
        AlarmNamePrefix=f"{stage.prefix}-", StateValue="ALARM"
    )
    names = sorted(alarm["AlarmName"] for alarm in answer["MetricAlarms"])
    return warning(f"on: {', '.join(names)}; see docs/deploy.md") if names else ok("none is on")


def queue_url(name: str, client: Client) -> str | None:
    """The URL of a queue, None if it is not there."""
    try:
        url: str = client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
    except ClientError as exc:
        if not is_missing(exc):
            raise
        return None
    return url


def _subscriptions(topic: str, client: Client) -> list[Any]:
    pages = client("sns").get_paginator("list_subscriptions").paginate()
    found = [item for page in pages for item in page["Subscriptions"]]
    return [item for item in found if _last(item["TopicArn"]) == topic]


def _last(arn: str) -> str:
    """A resource's name."""
    return arn.rpartition(":")[2]


def _seen_at_s(stage: Stage, client: Client, shard: int, shards: int) -> float | None:
    key = poller_key(stage.control_db, shard, shards)
    item: Any = client("dynamodb").get_item(TableName=stage.prefix, Key={"pk": {"S": key}})
    return int(item["Item"]["seen_at_ms"]["N"]) / 1000 if "Item" in item else None
