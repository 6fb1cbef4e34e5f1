"""`python -m ops.policies`: write a policy for each function and stage, from rights.py.

The stages are those of .chalice/config.json. For each, this writes
``.chalice/policy-STAGE-FUNCTION.json``, and the name of each function's policy into the config.
Then Chalice gives each function a role of its own.
"""

import json
import sys
from collections.abc import Iterator
from email.utils import parseaddr
from pathlib import Path

from chalicelib.domain.documents import JsonDict
from ops.rights import RIGHTS, Rights
from ops.stage import ROOT, lambda_name, read_config


def main(root: Path = ROOT) -> int:
    """Write all policies, and delete those of functions that no longer exist; return 0."""
    folder, wanted = root / ".chalice", files(read_config(root))
    for path in set(folder.glob("policy-*.json")) - {folder / name for name in wanted}:
        path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


def are_current(root: Path = ROOT) -> bool:
    """Return whether the files in .chalice are up to date."""
    folder = root / ".chalice"
    there = {path.name: path.read_text("utf-8") for path in folder.glob("policy-*.json")}
    there["config.json"] = (folder / "config.json").read_text(encoding="utf-8")
    return there == files(read_config(root))


def files(config: JsonDict) -> dict[str, str]:
    """Return the files of .chalice by name: the config, and a policy for each function."""
    texts: dict[str, str] = {}
    stages = {}
    for stage, settings in config["stages"].items():
        variables = settings["environment_variables"]
        for function, rights in RIGHTS.items():
            policy = policy_of(stage, function, rights, variables["MAIL_FROM"])
            texts[policy_name(stage, function)] = _text(policy)
        of_functions = {name: {"iam_policy_file": policy_name(stage, name)} for name in RIGHTS}
        stages[stage] = {**settings, "lambda_functions": of_functions}
    return {"config.json": _text({**config, "stages": stages}), **texts}


def policy_name(stage: str, function: str) -> str:
    """Return the name of the file with a function's policy."""
    return f"policy-{stage}-{function}.json"


def policy_of(stage: str, function: str, rights: Rights, mail_from: str) -> JsonDict:
    """Return the IAM policy of one function of a stage.

    Parameters
    ----------
    mail_from : str
        The stage's MAIL_FROM: the only sender that the function may use.
    """
    statements = [
        _allow(
            "Logs",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            _arn("logs", f"log-group:/aws/lambda/{lambda_name(stage, function)}:*"),
        ),
        _allow(
            "Secret",
            ["secretsmanager:GetSecretValue"],
            # Six characters that Secrets Manager adds; `*` would match other stages' secrets, too.
            _arn("secretsmanager", f"secret:syncpoint/{stage}-??????"),
        ),
        *_queues(stage, rights),
        *_items(stage, rights),
        *(_mails(stage, mail_from) if rights.mails else ()),
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _queues(stage: str, rights: Rights) -> Iterator[JsonDict]:
    if rights.queue is not None:
        actions = [
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",  # for the event source mapping, as are receive and delete
            "sqs:GetQueueUrl",
            "sqs:ReceiveMessage",
            "sqs:SendMessage",  # a message again, in an outage of CouchDB
        ]
        yield _allow("Queue", actions, _arn("sqs", f"syncpoint-{stage}-{rights.queue}"))
    if rights.asks_for_queue is not None:
        queue = _arn("sqs", f"syncpoint-{stage}-{rights.asks_for_queue}")
        yield _allow("Health", ["sqs:GetQueueUrl"], queue)


def _items(stage: str, rights: Rights) -> Iterator[JsonDict]:
    """Yield what the function may do with items of the table, by the prefixes of their keys."""
    wanted: list[tuple[str, list[str], tuple[str, ...]]] = [
        ("Claims", ["DeleteItem", "UpdateItem"], ("claim#*",) if rights.claims else ()),
        ("Counts", ["GetItem", "PutItem"], rights.counts),
        ("Reads", ["GetItem"], rights.reads),
        ("Writes", ["PutItem"], rights.writes),
        ("Looks", ["BatchGetItem"], rights.looks),
        ("Adds", ["UpdateItem"], rights.adds),
    ]
    for sid, actions, keys in wanted:
        if keys:
            yield _allow(
                sid,
                [f"dynamodb:{action}" for action in actions],
                _arn("dynamodb", f"table/syncpoint-{stage}"),
                {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(keys)}},
            )


def _mails(stage: str, mail_from: str) -> Iterator[JsonDict]:
    # SES checks SendRawEmail if SendEmail of its version 2 gets MIME. In the sandbox it also checks
    # the recipient's identity. So all identities are allowed, but only one sender.
    # Source: https://github.com/anymail/django-anymail/issues/384
    # Source: https://github.com/cloudposse/terraform-aws-ses/issues/40
    yield _allow(
        "Mail",
        ["ses:SendEmail", "ses:SendRawEmail"],
        [_arn("ses", "identity/*"), _arn("ses", f"configuration-set/syncpoint-{stage}")],
        {"StringEquals": {"ses:FromAddress": parseaddr(mail_from)[1]}},
    )
    parameter = _arn("ssm", f"parameter/syncpoint/{stage}/public-url")
    yield _allow("PublicUrl", ["ssm:GetParameter"], parameter)


def _allow(
    sid: str, actions: list[str], resource: str | list[str], condition: JsonDict | None = None
) -> JsonDict:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}
    return statement | ({"Condition": condition} if condition else {})


def _arn(service: str, resource: str) -> str:
    """Return an ARN of any region and account."""
    return f"arn:aws:{service}:*:*:{resource}"


def _text(value: JsonDict) -> str:
    return json.dumps(value, indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(main())
