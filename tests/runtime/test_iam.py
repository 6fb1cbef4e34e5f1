"""The rules by which roles are judged here, against IAM's own."""

from typing import Any

import pytest

from tests.runtime.harness.iam import Grant, Request, allows, grants, matches

TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/syncpoint-dev"


def policy(**statement: Any) -> dict[str, Any]:
    default = {"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": TABLE}
    return {"Version": "2012-10-17", "Statement": [{**default, **statement}]}


def item(*keys: str) -> Request:
    return Request("dynamodb:GetItem", TABLE, {"dynamodb:LeadingKeys": keys})


def keys_like(*patterns: str) -> dict[str, Any]:
    return {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(patterns)}}


@pytest.mark.parametrize(
    ("pattern", "value", "is_match"),
    [
        ("claim#*", "claim#a#b", True),
        ("claim#*", "quota#claim#", False),
        ("secret:syncpoint/dev-??????", "secret:syncpoint/dev-AbCdEf", True),
        ("secret:syncpoint/dev-??????", "secret:syncpoint/dev-two-AbCdEf", False),
        ("a.b", "axb", False),
        ("*", "a\nb", True),
    ],
)
def test_stars_and_question_marks_are_wild_and_nothing_else_is(
    pattern: str, value: str, is_match: bool
) -> None:
    assert matches(pattern, value) is is_match


def test_action_and_resource_must_both_be_named() -> None:
    assert allows(policy(), item("a"))
    assert not allows(policy(Action=["dynamodb:PutItem"]), item("a"))
    assert not allows(policy(Resource=[f"{TABLE}-two"]), item("a"))


def test_every_key_of_a_request_must_be_of_a_pattern() -> None:
    allowed = policy(Condition=keys_like("claim#*", "quota#*"))
    assert allows(allowed, item("claim#1", "quota#2"))
    assert not allows(allowed, item("claim#1", "poller#2"))


def test_an_address_must_be_one_that_is_named_and_must_be_given() -> None:
    allowed = policy(Condition={"StringEquals": {"ses:FromAddress": "a@example.com"}})
    request = Request("dynamodb:GetItem", TABLE, {"ses:FromAddress": ("a@example.com",)})
    assert allows(allowed, request)
    assert not allows(allowed, Request(request.action, TABLE, {"ses:FromAddress": ("b@x.org",)}))
    assert not allows(allowed, item("a"))


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Deny"},
        {"NotAction": "s3:*"},
        {"Condition": {"StringNotEquals": {"aws:SourceIp": "x"}}},
    ],
)
def test_what_is_not_known_here_is_an_error(statement: dict[str, Any]) -> None:
    with pytest.raises(NotImplementedError):
        allows(policy(**statement), item("a"))


def test_grants_are_told_apart_as_far_as_it_goes() -> None:
    both = policy(
        Action=["dynamodb:GetItem", "dynamodb:PutItem"], Condition=keys_like("claim#*", "quota#*")
    )
    found = list(grants(both))
    assert len(found) == 4
    wanted = (("ForAllValues:StringLike", "dynamodb:LeadingKeys", "claim#*"),)
    assert Grant("dynamodb:GetItem", TABLE, wanted) in found
    assert [grant.values[0][2] for grant in found if grant.covers(item("claim#1"))] == ["claim#*"]
