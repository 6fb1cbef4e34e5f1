"""Check what was deployed. Each check sends one or a few requests."""

from typing import Any

import requests
from botocore.exceptions import ClientError

from chalicelib.handlers.all import registry
from chalicelib.settings import POLLER_SILENT_S, Settings, poller_key, queue_name
from ops.check_couchdb import TIME_LIMIT_S
from ops.dead_letters import age
from ops.findings import Verdict, ok, warning, wrong
from ops.lookups import read_public_url
from ops.record import find_api_id
from ops.rights import RIGHTS
from ops.stage import Stage, lambda_name
from ops.tools import Client, is_missing

# What /health does not tell the world.
_REFUSED = {
    "failed: 401": "failed: CouchDB refuses the name or the password in the secret",
    "failed: 403": (
        "failed: CouchDB refuses the login; perhaps it is locked for some minutes, because "
        "somebody sent wrong passwords. The API's log says why"
    ),
}

NOT_DEPLOYED = ok("not deployed yet; run `make deploy`")


def check_stack(stage: Stage, client: Client) -> Verdict:
    """Check that the stack is complete, or not deployed yet."""
    try:
        stacks = client("cloudformation").describe_stacks(StackName=stage.prefix)["Stacks"]
    except ClientError as exc:
        if not is_missing(exc):
            raise
        return NOT_DEPLOYED
    status = stacks[0]["StackStatus"]
    if status in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"}:
        return ok(f"{stage.prefix} exists")
    return warning(
        f"{stage.prefix} has the status {status}; CloudFormation's console says why; deploy again"
    )


def check_table(stage: Stage, client: Client) -> Verdict:
    """Check that the table exists."""
    try:
        table = client("dynamodb").describe_table(TableName=stage.prefix)["Table"]
    except ClientError as exc:
        if not is_missing(exc):
            raise
        return wrong(f"{stage.prefix} does not exist; deploy again")
    if table["TableStatus"] != "ACTIVE":
        return wrong(f"{stage.prefix} has the status {table['TableStatus']}; wait, and check again")
    return ok(f"{stage.prefix} exists")


def check_queues(stage: Stage, client: Client) -> Verdict:
    """Check that each transition has its queue."""
    names = [queue_name(stage.name, t.doc_type, t.state) for t in registry]
    missing = [name for name in names if queue_url(name, client) is None]
    if missing:
        return wrong(f"missing: {', '.join(missing)}; deploy again")
    return ok(f"all {len(names)} exist")


def check_dead_letters(stage: Stage, client: Client) -> Verdict:
    """Check that there are no dead letters."""
    url = queue_url(stage.dead_letters, client)
    if url is None:
        return wrong(f"{stage.dead_letters} does not exist; deploy again")
    answer = client("sqs").get_queue_attributes(
        QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    count = int(answer["Attributes"]["ApproximateNumberOfMessages"])
    if count:
        return warning(f"{count}; list them with `make redrive STAGE={stage.name} DRY_RUN=1`")
    return ok("none")


def check_functions(stage: Stage, client: Client) -> Verdict:
    """Check that every function exists, and the poller."""
    wanted = {lambda_name(stage.name, function) for function in [*RIGHTS, "poller"]}
    pages = client("lambda").get_paginator("list_functions").paginate()
    there = {function["FunctionName"] for page in pages for function in page["Functions"]}
    missing = sorted(wanted - there)
    if missing:
        return wrong(f"missing: {', '.join(missing)}; deploy again")
    return ok(f"all {len(wanted)} exist")


def check_mappings(stage: Stage, client: Client) -> Verdict:
    """Check that every function reads its queue. One request for each hundred mappings."""
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
        return wrong(f"not connected to a queue: {', '.join(missing)}; deploy again")
    for function, mapping in sorted(ours.items()):
        if mapping["State"] in {"Disabled", "Disabling"}:
            return wrong(
                f"{function} does not read its queue; enable it: `aws lambda "
                f"update-event-source-mapping --uuid {mapping['UUID']} --enabled`"
            )
    return ok(f"all {len(wanted)} functions read their queues")


def check_feedback(stage: Stage, client: Client) -> Verdict:
    """Check that bounces and complaints reach their function. One request."""
    function = lambda_name(stage.name, "mail_feedback")
    subscriptions = _subscriptions(f"{stage.prefix}-mail-feedback", client)
    if function in {_last(item["Endpoint"]) for item in subscriptions}:
        return ok("bounces and complaints reach their function")
    return wrong(
        f"{function} has no subscription, so bounces and complaints are lost; deploy again"
    )


def check_alarm_address(stage: Stage, client: Client) -> Verdict:
    """Check that somebody gets a mail for an alarm. One request."""
    subscriptions = _subscriptions(f"{stage.prefix}-alarms", client)
    if not subscriptions:
        return warning(
            f"nobody gets the alarms; run `make deploy STAGE={stage.name} ALARM_ADDRESS=…`"
        )
    if not any(item["SubscriptionArn"].startswith("arn:") for item in subscriptions):
        return warning(
            "not confirmed; follow the link in AWS's mail, because no alarm is sent before"
        )
    return ok("somebody gets the alarms by mail")


def check_poller(stage: Stage, client: Client, now_s: float) -> Verdict:
    """Check that every poller has run in the last minutes."""
    shards = int(stage.variables.get("POLLER_SHARDS", "1"))
    seen = [_seen_at_s(stage, client, shard, shards) for shard in range(shards)]
    if None in seen:
        return wrong(f"it has never run; see the log of {stage.prefix}-poller")
    silent_s = now_s - min(at_s for at_s in seen if at_s is not None)
    if silent_s > POLLER_SILENT_S:
        return wrong(f"last seen {age(silent_s)} ago; see the log of {stage.prefix}-poller")
    return ok(f"last seen {age(silent_s)} ago")


def check_public_url(stage: Stage, client: Client) -> Verdict:
    """Check that the links in mails lead to the API."""
    url = stage.variables.get("PUBLIC_URL") or read_public_url(stage, client)
    if url is None:
        return wrong(
            f"the parameter {stage.public_url_parameter} does not exist, and no mail is sent "
            "without it; deploy again"
        )
    return ok(url)


def check_throttle(stage: Stage, client: Client) -> Verdict:
    """Check that the API takes as many requests as the settings say. Some requests."""
    api_id = find_api_id(stage, client)
    if api_id is None:
        return wrong("the API does not exist; deploy again")
    answer = client("apigateway").get_stage(restApiId=api_id, stageName=stage.api_stage)
    found = answer.get("methodSettings", {}).get("*/*", {})
    limits = (found.get("throttlingRateLimit"), found.get("throttlingBurstLimit"))
    settings = Settings.read(stage.variables)
    if limits != (settings.api_requests_second, settings.api_burst):
        return wrong(
            "the API has not the limits of API_REQUESTS_PER_SECOND and API_BURST, so anybody can "
            "run up its bill; deploy again"
        )
    return ok(f"the API takes {limits[0]:g} requests a second, {limits[1]} at once")


def check_health(url: str) -> Verdict:
    """Check that the API answers, and reaches CouchDB and AWS."""
    answer = requests.get(f"{url.rstrip('/')}/health", timeout=TIME_LIMIT_S, allow_redirects=False)
    try:
        said = answer.json()
        answers = {name: said[name] for name in ("couchdb", "dynamodb", "sqs", "poller")}
        parts = [f"{name}: {_REFUSED.get(text, text)}" for name, text in answers.items()]
    except (ValueError, TypeError, KeyError):
        return wrong(
            f"{url}/health answers {answer.status_code}, but not as Syncpoint does; check the URL"
        )
    if answer.ok and said.get("ok"):
        return ok("the API answers, and reaches CouchDB, DynamoDB and SQS")
    return wrong("; ".join(part for part in parts if not part.endswith(": ok")))


def check_alarms(stage: Stage, client: Client) -> Verdict:
    """Check that no alarm is active."""
    answer = client("cloudwatch").describe_alarms(
        AlarmNamePrefix=f"{stage.prefix}-", StateValue="ALARM"
    )
    names = sorted(alarm["AlarmName"] for alarm in answer["MetricAlarms"])
    if not names:
        return ok("none is active")
    return warning(f"active: {', '.join(names)}; CloudWatch shows their descriptions")


def queue_url(name: str, client: Client) -> str | None:
    """Return the URL of a queue; None if it does not exist."""
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
    """Return the name at the end of an ARN."""
    return arn.rpartition(":")[2]


def _seen_at_s(stage: Stage, client: Client, shard: int, shards: int) -> float | None:
    key = poller_key(stage.control_db, shard, shards)
    item: Any = client("dynamodb").get_item(TableName=stage.prefix, Key={"pk": {"S": key}})
    return int(item["Item"]["seen_at_ms"]["N"]) / 1000 if "Item" in item else None
