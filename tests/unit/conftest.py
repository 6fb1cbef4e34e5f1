"""DynamoDB as moto has it, for the tests of its adapters.

integration/test_fake_dynamodb.py runs the same tests over the one in memory.
"""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from local.aws import LocalAws
from tests.kit.basics import create_table


@pytest.fixture(scope="session")
def dynamodb(aws: LocalAws) -> Any:
    return aws.client("dynamodb")


@pytest.fixture
def table_name(dynamodb: Any) -> Iterator[str]:
    """An empty table like template.yaml's."""
    name = f"syncpoint-test-{uuid.uuid4().hex[:12]}"
    create_table(dynamodb, name)
    yield name
    dynamodb.delete_table(TableName=name)
