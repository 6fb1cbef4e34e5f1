"""Restore Chalice's record of what it deployed, ``.chalice/deployed/STAGE.json``, from AWS.

Chalice writes the record at the end of a deployment. If it was stopped before, or the record is on
another machine, the next deployment would create a second API with another URL. It would also fail,
because the queues already have event source mappings. And `chalice delete` would delete nothing.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.domain.documents import JsonDict
from ops.rights import RIGHTS
from ops.stage import APP_NAME, Stage, lambda_name
from ops.tools import Client, Tools, is_missing

SCHEDULED = "sweep_expired"
NOTIFIED = "mail_feedback"


def record_path(stage: Stage, root: Path) -> Path:
    """Return the path of the record."""
    return root / ".chalice" / "deployed" / f"{stage.name}.json"


def read_record(stage: Stage, root: Path) -> dict[str, JsonDict]:
    """Return the recorded resources by Chalice's names; empty if there is no record."""
    try:
        record = json.loads(record_path(stage, root).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {resource["name"]: resource for resource in record["resources"]}


def mend_record(stage: Stage, tools: Tools) -> list[str]:
    """Add resources that exist in AWS but are missing in the record; return their names.

    Sends no request if nothing is missing, else one for each function and a few more.
    """
    recorded = read_record(stage, tools.root)
    if recorded.keys() >= _names():
        return []
    found = {resource["name"]: resource for resource in _find(stage, tools.client)}
    missing = sorted(found.keys() - recorded.keys())
    if missing:
        # Ordered by dependency, because `chalice delete` deletes from the end to the beginning.
        resources = list({**found, **recorded}.values())
        path = record_path(stage, tools.root)
        path.parent.mkdir(exist_ok=True)
        record = {"resources": resources, "schema_version": "2.0", "backend": "api"}
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return missing


def find_api_id(stage: Stage, client: Client) -> str | None:
    """Return the id of the stage's API in AWS; None if there is none.

    One request, and one or two for each API of the account that is named as ours.
    """
    try:
        name = lambda_name(stage.name, "api_handler")
        function = client("lambda").get_function(FunctionName=name)
    except ClientError as exc:
        if not is_missing(exc):
            raise
        return None
    arn = function["Configuration"]["FunctionArn"]
    for resource in _rest_api(stage, client("apigateway"), arn):
        return str(resource["rest_api_id"])
    return None


def _names() -> set[str]:
    """Return the names of a complete record."""
    names = {"rest_api", f"{SCHEDULED}-event", f"{NOTIFIED}-sns-subscription"}
    for function, rights in RIGHTS.items():
        names |= {function, f"{function}_role"}
        if rights.queue:
            names.add(f"{function}-sqs-event-source")
    return names


def _find(stage: Stage, client: Client) -> Iterator[JsonDict]:
    """Yield the resources that exist, in the form of Chalice's record."""
    pages = client("lambda").get_paginator("list_functions").paginate()
    arns = {f["FunctionName"]: f["FunctionArn"] for page in pages for f in page["Functions"]}
    api_lambda_arn = ""
    for function in RIGHTS:
        yield from _role(stage, client("iam"), function)
        arn = arns.get(lambda_name(stage.name, function))
        if arn is None:
            continue
        yield {"name": function, "resource_type": "lambda_function", "lambda_arn": arn}
        yield from _events(stage, client, function, arn)
        if function == "api_handler":
            api_lambda_arn = arn
    if api_lambda_arn:
        yield from _rest_api(stage, client("apigateway"), api_lambda_arn)


def _role(stage: Stage, iam: Any, function: str) -> Iterator[JsonDict]:
    role_name = f"{stage.prefix}-{function}"
    try:
        role = iam.get_role(RoleName=role_name)["Role"]
    except ClientError as exc:
        if not is_missing(exc):
            raise
        return
    name = f"{function}_role"
    values = {"role_arn": role["Arn"], "role_name": role_name}
    yield {"name": name, "resource_type": "iam_role", **values}


def _events(stage: Stage, client: Client, function: str, arn: str) -> Iterator[JsonDict]:
    """Yield what invokes a function: its queue, its schedule, its topic."""
    if RIGHTS[function].queue:
        yield from _queue_source(stage, client("lambda"), function, arn)
    if function == SCHEDULED:
        rule_name = f"{stage.prefix}-{function}-event"
        if client("events").list_rules(NamePrefix=rule_name)["Rules"]:
            name = f"{function}-event"
            yield {"name": name, "resource_type": "cloudwatch_event", "rule_name": rule_name}
    if function == NOTIFIED:
        yield from _subscription(stage, client("sns"), arn)


def _queue_source(stage: Stage, lambda_: Any, function: str, arn: str) -> Iterator[JsonDict]:
    queue = f"{stage.prefix}-{RIGHTS[function].queue}"
    mappings = lambda_.list_event_source_mappings(FunctionName=arn)["EventSourceMappings"]
    for mapping in mappings:
        if mapping["EventSourceArn"].endswith(f":{queue}"):
            yield {
                "name": f"{function}-sqs-event-source",
                "resource_type": "sqs_event",
                "queue_arn": mapping["EventSourceArn"],
                "event_uuid": mapping["UUID"],
                "queue": queue,
                "lambda_arn": arn,
            }


def _subscription(stage: Stage, sns: Any, arn: str) -> Iterator[JsonDict]:
    topic = f"{stage.prefix}-mail-feedback"
    topic_arn = ":".join(["arn", arn.split(":")[1], "sns", *arn.split(":")[3:5], topic])
    try:
        answer = sns.list_subscriptions_by_topic(TopicArn=topic_arn)
    except ClientError as exc:
        if not is_missing(exc):
            raise
        return
    for subscription in answer["Subscriptions"]:
        if subscription["Endpoint"] == arn:
            yield {
                "name": f"{NOTIFIED}-sns-subscription",
                "resource_type": "sns_event",
                "topic": topic,
                "lambda_arn": arn,
                "subscription_arn": subscription["SubscriptionArn"],
                "topic_arn": topic_arn,
            }


def _rest_api(stage: Stage, apigateway: Any, arn: str) -> Iterator[JsonDict]:
    """Yield the API whose routes invoke the stage's function. All stages' APIs have one name."""
    region = arn.split(":")[3]
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    for page in apigateway.get_paginator("get_rest_apis").paginate():
        for api in page["items"]:
            if api["name"] == APP_NAME and _leads_to(apigateway, api["id"], arn):
                host = f"{api['id']}.execute-api.{region}.{suffix}"
                yield {
                    "name": "rest_api",
                    "resource_type": "rest_api",
                    "rest_api_id": api["id"],
                    "rest_api_url": f"https://{host}/{stage.api_stage}/",
                }


def _leads_to(apigateway: Any, rest_api_id: str, arn: str) -> bool:
    pages = apigateway.get_paginator("get_resources").paginate(
        restApiId=rest_api_id, embed=["methods"]
    )
    methods = (
        method
        for page in pages
        for resource in page["items"]
        for method in resource.get("resourceMethods", {}).values()
    )
    target = f":{arn.rpartition(':')[2]}/invocations"
    return any(target in method.get("methodIntegration", {}).get("uri", "") for method in methods)
