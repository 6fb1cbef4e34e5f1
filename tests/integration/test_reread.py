"""`make reread`: after a backup was restored, the poller reads everything again, and no more."""

from pathlib import Path

import pytest

from chalicelib.settings import poller_key
from local.aws import LocalAws
from ops import reread
from ops.stage import OpsError
from poller.checkpoint import checkpoint_key
from tests.kit.basics import create_table
from tests.kit.ops.operator import Operator


@pytest.fixture
def operator(aws: LocalAws, tmp_path: Path) -> Operator:
    operator = Operator.make(aws, tmp_path)
    create_table(operator.client("dynamodb"), operator.stage.prefix)
    return operator


def put(operator: Operator, *keys: str) -> None:
    for key in keys:
        item = {"pk": {"S": key}}
        operator.client("dynamodb").put_item(TableName=operator.stage.prefix, Item=item)


def keys(operator: Operator) -> set[str]:
    items = operator.client("dynamodb").scan(TableName=operator.stage.prefix)["Items"]
    return {item["pk"]["S"] for item in items}


def test_cursors_and_seqs_are_deleted_and_nothing_else(operator: Operator) -> None:
    others = ("claim#control#device-1#new#0", "quota#mails-to#ab", "suppressed#ab", "feedback#1")
    put(operator, *others, poller_key("control"), poller_key("control", 1, 2))
    put(operator, *(checkpoint_key(f"control-{number:032x}") for number in range(60)))
    assert reread.main([operator.name], operator.tools) == 0
    assert keys(operator) == set(others)
    assert operator.said == [
        "deleted the cursors of 2 pollers and the seqs of 60 databases; the next run of the poller "
        "reads all databases from their beginnings"
    ]


def test_a_second_run_finds_nothing_to_delete(operator: Operator) -> None:
    reread.main([operator.name], operator.tools)
    assert "0 pollers and the seqs of 0 databases" in operator.said[-1]


def test_a_stage_that_does_not_exist_is_refused(operator: Operator) -> None:
    with pytest.raises(OpsError, match="no stage 'nowhere'"):
        reread.main(["nowhere"], operator.tools)
